"""What a person sees of the neighbours that a promotion would change."""

from collections.abc import Iterator, Sequence
from statistics import fmean

import click

from schemas.job import Rejection
from schemas.search import Question
from trainer.bootstrap import open_previewer
from trainer.cli.progress import Texts
from trainer.cli.show import SHORT
from trainer.promotion.preview import CANDIDATES, MOST_QUESTIONS, Neighbour, Preview, Previews
from worker.cli.console import out, print_rejection, say_json
from worker.cli.program import EXIT_LOSSES
from worker.settings.environment import Settings
from worker.sources.questions import questions


def preview(
    settings: Settings, version: str, *, dois: Sequence[str], file: str | None, as_json: bool
) -> int:
    """Show what both models find near to the DOIs, and to what the file has, and write nothing."""
    asked = [Question(doi=doi) for doi in dois]
    found = list(questions(file, limits=settings.limits)) if file else []
    asked += [one for one in found if isinstance(one, Question)]
    unread = [one for one in found if isinstance(one, Rejection)]
    for rejection in unread:
        print_rejection(rejection)
    if not 0 < len(asked) <= MOST_QUESTIONS:
        raise click.UsageError(f"give 1 to {MOST_QUESTIONS:,} DOIs, not {len(asked):,}")
    with open_previewer(settings) as previewer, Texts("preview") as texts:
        answers = previewer.preview(version, asked, on_progress=texts.show)
    _show(answers, as_json=as_json)
    is_whole = not unread and all(one.live or one.new for one in answers.answers)
    return 0 if is_whole else EXIT_LOSSES


def _show(found: Previews, *, as_json: bool) -> None:
    if as_json:
        answers = [_account(one) for one in found.answers]
        say_json({**found._asdict(), "answers": answers})
        return
    for words in _heading(found):
        out.print(words)
    for one in found.answers:
        out.print("")
        out.print(f"{one.subject}  {one.title}".rstrip())
        for model, refusal in (("live", one.live_refusal), ("new", one.new_refusal)):
            if refusal:
                out.print(f"  {model}: {refusal}")
        for line in _lines(one):
            out.print(line)
    out.print("")
    out.print(f"nothing is changed; next: doi-trainer promote {found.version[:SHORT]} --dry-run")


def _heading(found: Previews) -> Iterator[str]:
    both = [_shared(one) for one in found.answers if one.live and one.new]
    if both:
        same = f"{fmean(both):.0%} of the neighbours stay, on average over {len(both):,}"
        yield f"{found.version[:SHORT]} beside {found.collection}, which is live: {same}"
    if found.compared < found.points:
        yield (
            f"the new model's are sought among {found.compared:,} of {found.points:,} records, "
            f"drawn by chance, and the live model's {CANDIDATES} nearest to each: of others that "
            "it would find most are missing"
        )
    else:
        yield f"the new model's are sought among all {found.points:,} records"
    if found.unread:
        yield f"{found.unread:,} of them it can't read, and never finds"


def _shared(one: Preview) -> float:
    live, new = ({near.doi for near in some} for some in (one.live, one.new))
    return len(live & new) / max(len(live), len(new))


def _lines(one: Preview) -> Iterator[str]:
    """The new neighbours by rank, then those that are no more: ranks by both, cosine, title."""
    new, live = _ranks(one.new), _ranks(one.live)
    if new or live:
        yield "  new  live  cosine"
    gone = [near for near in one.live if near.doi not in new]
    for near in (*one.new, *gone):
        ranks = f"{new.get(near.doi, '-'):>5} {live.get(near.doi, '-'):>5}"
        yield f"{ranks}  {near.score:.4f}  {near.doi}  {near.title}".rstrip()


def _ranks(found: Sequence[Neighbour]) -> dict[str, int]:
    return {near.doi: rank for rank, near in enumerate(found, start=1)}


def _account(one: Preview) -> dict[str, object]:
    both = {"live": one.live, "new": one.new}
    return {**one._asdict(), **{name: [n._asdict() for n in some] for name, some in both.items()}}
