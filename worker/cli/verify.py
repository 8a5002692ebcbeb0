"""The command that recomputes what is stored."""

from typing import TYPE_CHECKING

import click

from worker import bootstrap
from worker.cli import console
from worker.cli.options import Group, as_json
from worker.cli.program import EXIT_LOSSES
from worker.cli.progress import Bar
from worker.settings.environment import read_settings

if TYPE_CHECKING:
    from worker.verification import Verification

commands = Group("commands")
SAMPLE = 3000  # none faulty among them: one in a thousand at the most


@commands.example("doi-worker verify --sample 10000")
@click.option(
    "--sample",
    type=click.IntRange(min=1),
    default=SAMPLE,
    show_default=True,
    help="How many points are drawn, each as likely as any other.",
)
@click.option("--all", "every", is_flag=True, help="Look at every point.")
@as_json
def verify(sample: int, every: bool, as_json: bool) -> int:
    """Recompute stored vectors with the model of the live collection, and compare.

    A line for each point with drift (a cosine below 0.9995), a foreign vector, a length that is not
    1, a changed payload, a wrong text_from, or that doivec did not write. Where a sample of n has
    none, at most 3/n of all points are so, with 95 % confidence. The exit code is 3 where something
    is wrong.
    """
    settings = read_settings()
    with bootstrap.verifying(settings) as verification:
        looked = verification.all() if every else verification.sample(sample)
        with Bar("verifying", unit="points", brief=True) as bar:
            total = verification.points if every else min(sample, verification.points)
            for findings in looked:
                for finding in findings:
                    words = f"{finding.doi or finding.id}  {finding.fault}: {finding.words}"
                    console.say_answer(finding._asdict(), words, as_json=as_json)
                bar.show(verification.looked_at, total)
        console.say_answer(_answer(verification), _words(verification), as_json=as_json)
        return EXIT_LOSSES if verification.faulty else 0


def _answer(done: "Verification") -> dict[str, int | float]:
    return {
        "points": done.points,
        "looked_at": done.looked_at,
        "faulty": done.faulty,
        **{fault.replace(" ", "_"): count for fault, count in done.faults.items()},
        "lowest_cosine": done.lowest,
        **({} if done.faulty else {"at_most": done.at_most}),
    }


def _words(done: "Verification") -> str:
    looked = f"{done.looked_at:,} of {done.points:,} points, lowest cosine {done.lowest:.6f}"
    if done.faulty:
        faults = ", ".join(f"{count:,} {fault}" for fault, count in done.faults.items() if count)
        share = f"{done.faulty / done.looked_at:.2%}"
        more = "" if done.looked_at >= done.points else "; `doi-worker verify --all` names all"
        return f"{looked}: {done.faulty:,} ({share}) are not as they should be ({faults}){more}"
    if not done.at_most:
        return f"{looked}: all are as they should be"
    return (
        f"{looked}: none is wrong, so with 95 % confidence at most {done.at_most:.3%} of all "
        f"points are ({int(done.at_most * done.points):,})"
    )
