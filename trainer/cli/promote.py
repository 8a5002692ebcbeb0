"""The commands of doi-trainer that change what is live: promote, rollback, prune."""

import time
from collections.abc import Sequence
from typing import Any

import click

from trainer.bootstrap import open_promoter
from trainer.cli import preview as previews
from trainer.cli.show import SHORT
from trainer.promotion import forecast as forecasts
from trainer.promotion import prune as pruning
from trainer.promotion.difference import outlook
from trainer.promotion.forecast import Forecast
from trainer.promotion.promote import Promoted
from trainer.promotion.prune import Removable
from worker.cli.console import err, out, say_json
from worker.cli.options import Group, as_json
from worker.cli.progress import Bar
from worker.settings.environment import read_settings

SHOWN = 5
MIB = 2**20
moves = Group("moves")


class Screen:
    """Shows the steps of a move on standard error: a line and how long each took, and a bar."""

    def __init__(self) -> None:
        self._bar = Bar("", unit="records", brief=True)
        self._name = ""
        self._began = 0.0

    def __enter__(self) -> "Screen":
        self._bar.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._end_step()
        self._bar.__exit__()

    def step(self, name: str, words: str) -> None:
        """A named step begins."""
        self._end_step()
        self._name, self._began = name, time.monotonic()
        err.print(f"{name}: {words}")
        self._bar.name(name)

    def warn(self, words: str) -> None:
        """Something that a person should look at."""
        err.print(f"  {words}")

    def progress(self, done: int, total: int) -> None:
        """How many records of the step are done."""
        self._bar.show(done, total)

    def _end_step(self) -> None:
        if self._name:
            seconds = time.monotonic() - self._began
            err.print(f"  {seconds:,.1f} s")
        self._name = ""


@moves.example("doi-trainer promote 3f2a9c01 --preview 10.1038/s41586-020-2649-2")
@click.argument("version")
@click.argument("dois", nargs=-1, metavar="[DOI]...")
@click.option(
    "--preview",
    is_flag=True,
    help="Show what is near to these DOIs by the live model and by VERSION; change nothing.",
)
@click.option(
    "--preview-file",
    metavar="FILE",
    help="The same for a file: a DOI or a text a line, - for standard input.",
)
@click.option(
    "--allow-missing",
    is_flag=True,
    help="Promote a model too that can't read some records; they stay in the old collection.",
)
@click.option("--dry-run", is_flag=True, help="Say what would happen, how long, and what it needs.")
@as_json
def promote(
    version: str,
    dois: tuple[str, ...],
    preview: bool,
    preview_file: str | None,
    allow_missing: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Make VERSION the live model, while ingest and queries go on.

    Workers fill a collection for it; when it has all that the live one has, the alias moves.
    Interrupted at any point, the same command goes on. The old collection stays, for a rollback.

    With --preview nothing is changed: the live collection's records are read by VERSION, up to
    50,000 of them (of more a sample, and what the live model finds near), and compared with each
    DOI. The exit code is 3 where a DOI or a line has no answer.
    """
    if preview or preview_file:
        return previews.preview(
            read_settings(), version, dois=dois, file=preview_file, as_json=as_json
        )
    if dois:
        raise click.UsageError("DOIs are given with --preview alone")
    with open_promoter(read_settings(), command="promote") as promoter:
        if dry_run:
            _show_forecast(forecasts.forecast(promoter, version), as_json=as_json)
            return 0
        with Screen() as screen:
            done = promoter.promote(version, allow_missing=allow_missing, watcher=screen)
        _show_promoted(done, as_json=as_json)
        return 0


@moves.example("doi-trainer rollback --now")
@click.argument("version", required=False)
@click.option(
    "--now",
    is_flag=True,
    help="Move the alias first, whatever the model can read; say what is missing until the rest "
    "has caught up.",
)
@click.option(
    "--allow-missing",
    is_flag=True,
    help="Go back to a model too that can't read some records; they stay in the newer collection.",
)
@as_json
def rollback(version: str | None, now: bool, allow_missing: bool, as_json: bool) -> int:
    """Make the version before the live one live again, or VERSION.

    What came since is copied to its collection first, by the workers; then the alias moves. Where
    the version can't read all of it, nothing moves without --allow-missing or --now. What stays
    behind is listed, and comes back with the next promotion of a model that reads it.
    """
    with open_promoter(read_settings(), command="rollback") as promoter, Screen() as screen:
        done = promoter.rollback(version, now=now, allow_missing=allow_missing, watcher=screen)
    _show_promoted(done, as_json=as_json)
    return 0


@moves.example("doi-trainer prune --keep 3 --dry-run")
@click.option(
    "--keep",
    default=3,
    show_default=True,
    type=click.IntRange(min=0),
    help="So many of the newest versions stay.",
)
@click.option(
    "--losing",
    default=0,
    metavar="N",
    type=click.IntRange(min=0),
    help="Remove collections too that have the last copy of N records; --dry-run says how many.",
)
@click.option("--dry-run", is_flag=True, help="Say what would go, and remove nothing.")
@as_json
def prune(keep: int, losing: int, dry_run: bool, as_json: bool) -> int:
    """Remove old versions and their collections, and say before what that frees.

    Never the live one, the candidate of a promotion, nor the one to roll back to. Of one from
    which one that stays was trained, or that another alias of the store uses, only the collection.
    A collection with records that no other one has stays too, unless --losing names their number.
    """
    with open_promoter(read_settings(), command="prune") as promoter:

        def show(found: Sequence[Removable]) -> None:
            _show_removable(found, losing=losing, as_json=as_json)

        if dry_run:
            show(pruning.removable(promoter, keep=keep))
        else:
            pruning.prune(promoter, keep=keep, losing=losing, show=show)
    return 0


def _show_promoted(done: Promoted, *, as_json: bool) -> None:
    if as_json:
        say_json(done._asdict())
        return
    if done.previous == done.version:
        out.print(f"{done.version[:SHORT]} is live already, as {done.collection}")
        return
    out.print(
        f"{done.version[:SHORT]} is live, as {done.collection}, with {done.points:,} records; "
        f"before: {done.previous[:SHORT]}; {done.seconds:,.1f} s"
    )
    if done.listed:
        out.print(
            f"{done.missing:,} records that it can't read stay behind: {done.listed}; "
            "promoting a model that reads them brings them back",
            markup=False,
        )


def _show_forecast(found: Forecast, *, as_json: bool) -> None:
    if as_json:
        say_json({**found._asdict(), "seconds": found.seconds})
        return
    out.print(f"{found.live} has {found.points:,} records")
    out.print(
        f"to copy to {found.collection}: {found.records:,}, in about "
        f"{found.seconds:,.0f} s at {found.rate:,.0f} records/s, the rate of this machine's device "
        "(each worker adds its own; ingest comes first)"
    )
    if found.unreadable:
        shown = ", ".join(found.unreadable[:SHOWN]) + (", ..." if found.unreadable[SHOWN:] else "")
        out.print(f"it can't read {len(found.unreadable):,} records: {shown}")
        out.print("so it would be refused; with --allow-missing they stay where they are")
    if found.recent:
        out.print(outlook(found.recent))
    out.print(
        f"the second collection needs about {found.memory_bytes / MIB:,.0f} MiB of memory and "
        f"{found.disk_bytes / MIB:,.0f} MiB of disk; up to three times that while it is indexed"
    )


def _show_removable(found: Sequence[Removable], *, losing: int, as_json: bool) -> None:
    if as_json:
        say_json([_account(one) for one in found])
        return
    if not found:
        out.print("nothing to remove")
    for one in found:
        holds = (
            f"{one.collection} with {one.points:,} records" if one.collection else "no collection"
        )
        size = (one.path_bytes + one.vector_bytes) / MIB
        model = "" if one.path else "; its model stays"
        stays = f"; has the last copy of {one.last_copies:,} records" if one.last_copies else ""
        words = f"{one.version[:SHORT]} {one.name}: {holds}; frees {size:,.0f} MiB and more"
        out.print(f"{words}{model}{stays}")
    last = sum(one.last_copies for one in found)
    if last and not losing:
        out.print(
            f"{last:,} records are in no collection that stays, so those that have them stay too: "
            "promote a model that reads them, or give them up with "
            f"`doi-trainer prune --losing {last}`"
        )


def _account(one: Removable) -> dict[str, Any]:
    return {**one._asdict(), "path": str(one.path) if one.path else None}
