"""The command line, `doi-trainer`."""
