"""`python -m worker.cli` is `doi-worker`."""

from worker.cli.commands import main

main()
