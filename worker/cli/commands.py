"""doi-worker: queue DOI lists, work them off, ask for similar DOIs."""

import signal
import sqlite3
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

import click

from schemas.doi import InvalidDoi
from worker.cli import (
    audit,
    collection,
    doctor,
    jobs,
    metadata,
    migrate,
    program,
    resolving,
    search,
    verify,
)
from worker.cli.options import Group
from worker.errors import WorkerError


@click.group(cls=Group)
@click.version_option(package_name="doivec")
def cli() -> None:
    """Turn lists of DOIs into a searchable Qdrant collection.

    Nothing need be configured: without DOIVEC_REDIS__URL and DOIVEC_QDRANT__URL, a private
    Redis and an embedded Qdrant run for as long as a command does.

    Exit codes: 0 all went well; 3 done, but with records that are invalid, without a DOI,
    dead-lettered, cancelled or missing; 1 failed; 2 wrong usage.
    """


for subject in (jobs, collection, search, metadata, doctor, audit, verify, migrate):
    for command in subject.commands.commands.values():
        cli.add_command(command)
for command in resolving.commands.commands.values():
    metadata.metadata.add_command(command)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run `doi-worker`; one clear line for each failure, no traceback."""
    signal.signal(signal.SIGTERM, _terminate)
    failures = (WorkerError, InvalidDoi, OSError, sqlite3.Error)
    program.run(cli, arguments, name="doi-worker", failures=failures)


def _terminate(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(143)
