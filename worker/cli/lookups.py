"""Looking up, as a person sees it: how far it is, what came of it, what it would take."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from schemas.job import Job
from worker.cli import console
from worker.cli.program import EXIT_LOSSES
from worker.cli.progress import Bar, span
from worker.metadata.resolver import Resolver
from worker.settings.metadata import MetadataSettings
from worker.ticker import Ticker

if TYPE_CHECKING:
    from worker.metadata.plan import Plan

SHOW_S = 0.5
OF_THEM = ("looked_up", "found", "known", "unanswered")


class Done(NamedTuple):
    """A pass: how many DOIs lacked something, and the job that brings what was found."""

    lacking: int
    job: Job | None


@contextmanager
def shown(resolver: Resolver, total: int | None) -> Iterator[None]:
    """A bar of the DOIs that are looked up, of `total`, while the context is open."""
    with Bar("looking up", unit="DOIs") as bar:

        def show() -> None:
            tally = resolver.tally
            asked = {k.partition(":")[2]: n for k, n in tally.items() if k.startswith("asked:")}
            words = [f"found {tally['found']:,}"]
            words += (f"{name} asked for {count:,}" for name, count in asked.items())
            words += (f"{name} left alone" for name in resolver.resting_now())
            bar.show(tally["looked_up"], total, words=", ".join(words))

        ticker = Ticker("lookups", show, pause_s=SHOW_S)
        ticker.start()
        try:
            yield
        finally:
            ticker.stop()
            show()


def tell(resolver: Resolver, done: Done, *, as_json: bool) -> int:
    """Say what came of it; 3 where some DOIs are not answered yet."""
    tally, resting = resolver.tally, resolver.resting
    registries = {
        name: {what: tally[f"{what}:{name}"] for what in ("asked", "found", "absent")}
        for name in sorted({key.partition(":")[2] for key in tally if ":" in key})
    }
    if as_json:
        console.say_json(
            {
                "lacking": done.lacking,
                **{name: tally[name] for name in OF_THEM},
                "registries": registries,
                "left_alone": {name: rest.why for name, rest in resting.items()},
                "job": done.job.id if done.job else None,
            }
        )
    else:
        _say(resolver, registries)
        if done.job:
            console.print_summary(done.job)
    for name, rest in resting.items():
        console.say(f"{name} is left alone: {rest.why}", err=True)
    return EXIT_LOSSES if tally["unanswered"] else 0


def _say(resolver: Resolver, registries: dict[str, dict[str, int]]) -> None:
    tally = resolver.tally
    unknown = tally["looked_up"] - tally["found"] - tally["unanswered"]
    console.say(
        f"of {tally['looked_up']:,} DOIs that were looked up, {tally['found']:,} are found "
        f"({tally['known']:,} in the index before), {unknown:,} known to no source that was "
        f"asked, {tally['unanswered']:,} not answered yet"
    )
    for name, n in registries.items():
        console.say(
            f"  {name}: asked for {n['asked']:,}, found {n['found']:,}, "
            f"not known there {n['absent']:,}"
        )


def say_plan(found: "Plan", what: str, *, as_json: bool) -> None:
    """Say what looking up would take."""
    if as_json:
        estimates = [estimate._asdict() for estimate in found.estimates]
        console.say_json({**found._asdict(), "estimates": estimates})
        return
    console.say(f"{found.dois:,} {what}; the index knows {found.known:,} of them")
    for e in found.estimates:
        cost = f", ${e.usd:,.4f}" if e.usd else ""
        console.say(
            f"{e.registry}: at most {e.dois:,} DOIs in {e.requests:,} requests, "
            f"{span(e.least_s)} to {span(e.most_s)}{cost}"
        )


def say_sources(settings: MetadataSettings) -> None:
    """Say so where nobody is asked."""
    if not settings.sources:
        console.say(
            "no registry is asked: DOIVEC_METADATA__SOURCES names none, such as "
            "`crossref,openalex`; only the local index is",
            err=True,
        )


@contextmanager
def interruptible() -> Iterator[None]:
    """Say what is waited for when it is interrupted."""
    try:
        yield
    except KeyboardInterrupt:
        console.say("", err=True)
        console.say("what is being asked for is waited for, and kept", err=True)
        raise
