"""The command line, `doi-worker`."""
