"""The command that asks the collection for similar DOIs."""

import shlex
from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from typing import Any

import click

from schemas.job import Rejection
from schemas.search import Answer, Filter, Question, Years, check_registrant
from worker import bootstrap
from worker.cli import answers, console
from worker.cli.options import Group, checked
from worker.cli.program import EXIT_LOSSES
from worker.errors import Unanswerable
from worker.settings.environment import read_settings
from worker.sources.questions import questions

commands = Group("commands")
Ask = Callable[[Iterable[Question]], Iterator[Answer]]
OPTIONS = (
    click.option(
        "--registrant",
        callback=checked(check_registrant),
        help="Only DOIs of this prefix, such as 10.1038.",
    ),
    click.option(
        "--year",
        metavar="YEARS",
        callback=checked(Years.read),
        help="Only records of these years: 2015, 2015-2020, 2015- or -2020.",
    ),
    click.option(
        "--venue",
        help="Only records of this venue, written as the records have it, capitals included.",
    ),
)


def filters(command: Callable[..., int]) -> Callable[..., int]:
    """The options that say which records may be among the hits, as one argument `only`."""

    @wraps(command)
    def called(
        *, registrant: str | None, year: Years | None, venue: str | None, **others: Any
    ) -> int:
        return command(only=Filter(registrant, venue, year), **others)

    for option in reversed(OPTIONS):
        called = option(called)
    return called


def _text(text: str) -> str:
    if not text.strip():
        raise ValueError("it is empty")
    return text


@commands.example('doi-worker search --text "array programming" -k 5 --year 2015-2020')
@click.argument("doi", required=False)
@click.option("--text", callback=checked(_text), help="Search with a text instead of a DOI.")
@click.option(
    "--queries",
    metavar="FILE",
    help="Many searches at once: a DOI or a text a line, - for standard input.",
)
@click.option(
    "-k", "k", default=10, show_default=True, type=click.IntRange(1, 10_000), help="How many hits."
)
@filters
@click.option("--all", "all_kinds", is_flag=True, help="Compare with vectors of either kind.")
@click.option("--csv", "form", flag_value="csv", help="Print CSV, a row for each hit.")
@click.option("--json", "form", flag_value="json", help="Print JSON for a program to read.")
def search(
    doi: str | None,
    text: str | None,
    queries: str | None,
    k: int,
    only: Filter,
    all_kinds: bool,
    form: str | None,
) -> int:
    """Print the DOIs most similar to a DOI, or to a text, with their cosine similarity.

    A text is compared with the records whose titles (or abstracts) are known. A DOI is compared
    with vectors of its own kind: those made of text where its own is, else those made of a DOI's
    string, which say little about what a paper is about. --all widens either.

    With --queries each answer says which question it belongs to, and with --json it is a line;
    the exit code is 3 where some could not be answered.
    """
    if sum(given is not None for given in (doi, text, queries)) != 1:
        raise click.UsageError("give a DOI, --text or --queries, one of the three")
    settings = read_settings()
    with bootstrap.open_searcher(settings) as searcher:

        def ask(asked: Iterable[Question]) -> Iterator[Answer]:
            for answer in searcher.answers(asked, k=k, only=only, all_kinds=all_kinds):
                if not answer.refusal or queries:
                    for note in answers.notes(answer, only=only, all_kinds=all_kinds):
                        console.say(note, err=True)
                yield answer

        if queries is None:
            return _one(ask, Question(doi, text), form=form)
        return _many(ask, questions(queries, limits=settings.limits), form=form)


def _one(ask: Ask, question: Question, *, form: str | None) -> int:
    (answer,) = ask([question])
    if answer.refusal:
        hint = ""
        if question.doi and not Question.read(question.doi).doi:
            hint = f"; to search by text: doi-worker search --text {shlex.quote(question.doi)}"
        raise Unanswerable(f"{answer.subject!r}: {answer.refusal}{hint}")
    answers.tell_columns(form=form)
    answers.tell_alone(answer, form=form)
    is_known = not answer.is_doi or answer.known is not None
    return 0 if answer.hits or is_known else 1


def _many(ask: Ask, listed: Iterable[Question | Rejection], *, form: str | None) -> int:
    unread: list[Rejection] = []

    def readable() -> Iterator[Question]:
        for question in listed:
            if isinstance(question, Question):
                yield question
            else:
                console.print_rejection(question)
                unread.append(question)

    answers.tell_columns(form=form)
    refused = 0
    for answer in ask(readable()):
        answers.tell(answer, form=form)
        refused += bool(answer.refusal)
    return EXIT_LOSSES if refused or unread else 0
