"""How the answers to searches are shown: to a person, as CSV, as JSON."""

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from schemas.search import Answer, Filter, Hit
from worker.cli import console

COLUMNS = ("query", "rank", "score", "doi", "title", "year", "venue")
INDENT = " " * 8  # as wide as a score and the blanks after it


def tell(answer: Answer, *, form: str | None) -> None:
    """Print one of many answers: it says which question it belongs to."""
    if form == "csv":
        tell_rows(answer)
    elif form == "json":
        hits = [hit.model_dump() for hit in answer.hits]
        refusal = {"refusal": answer.refusal} if answer.refusal else {}
        console.say_json({"query": answer.subject, "hits": hits, **refusal})
    else:
        console.out.print(_titled(answer.subject, answer.known or {}))
        print_hits(answer.hits)
        console.out.print("")


def tell_alone(answer: Answer, *, form: str | None) -> None:
    """Print the answer to the only question, in words with the title of its DOI on top."""
    if form == "csv":
        tell_rows(answer)
    elif form == "json":
        console.say_json([hit.model_dump() for hit in answer.hits])
    else:
        if answer.known and answer.known.get("title"):
            console.out.print(_titled(answer.subject, answer.known))
        print_hits(answer.hits)


def tell_columns(*, form: str | None) -> None:
    """Print what stands above all answers."""
    if form == "csv":
        console.say_row(COLUMNS)


def tell_rows(answer: Answer) -> None:
    """Print a row of CSV for each hit."""
    for rank, hit in enumerate(answer.hits, start=1):
        metadata = (hit.metadata.get(name, "") for name in COLUMNS[4:])
        console.say_row((answer.subject, rank, f"{hit.score:.6f}", hit.doi, *metadata))


def print_hits(hits: Iterable[Hit]) -> None:
    """Print the hits, best first, as wide as the terminal is; into a pipe, a line for each."""
    for line in hit_lines(hits, width=console.out.width if console.out.is_terminal else None):
        console.out.print(line)


def hit_lines(hits: Iterable[Hit], *, width: int | None) -> Iterator[str]:
    """For each hit its cosine, its DOI, title, year and venue, in a line.

    Where that is longer than `width`, what is known of the DOI goes to lines of its own.
    """
    for hit in hits:
        head, known = f"{hit.score:.4f}  {hit.doi}", _known(hit.metadata)
        if known and width and len(head) + 2 + len(known) > width:
            yield head
            wrapped = textwrap.wrap(known, max(20, width - len(INDENT)))
            yield from (INDENT + line for line in wrapped)
        else:
            yield f"{head}  {known}".rstrip()


def notes(answer: Answer, *, only: Filter, all_kinds: bool) -> Iterator[str]:
    """What a person should know to judge an answer."""
    doi = answer.subject
    if answer.refusal:
        yield answer.refusal if doi in answer.refusal else f"{doi!r}: {answer.refusal}"
        return
    if answer.is_doi and answer.known is None:
        yield f"{doi} is not in the collection"
    if answer.is_doi and answer.of_text is False:
        yield _on_the_string(answer)
    if not answer.hits:
        kinds = {True: "the vectors made of text", False: "the vectors made of a DOI's string"}
        kind = None if all_kinds or answer.of_text is None else kinds[answer.of_text]
        yield (
            f"nothing found for {doi!r}"
            + (" with these filters" if only != Filter() else "")
            + (" (--venue is compared letter by letter)" if only.venue is not None else "")
            + (f" among {kind}; --all takes all vectors" if kind else "")
        )


def _on_the_string(answer: Answer) -> str:
    little = "neighbours by the string alone say little"
    if answer.known and answer.known.get("title"):
        return f"the live model reads no title of {answer.subject}: {little}"
    cure = "`doi-worker metadata resolve` looks it up, or ingest it with its title"
    return f"no title is known of {answer.subject}: {little}; {cure}"


def _titled(subject: str, known: Mapping[str, Any]) -> str:
    return f"{subject}  {_known(known)}".rstrip()


def _known(metadata: Mapping[str, Any]) -> str:
    """Title, year and venue, those that are known: `A title (2020, Nature)`."""
    title = str(metadata.get("title", ""))
    rest = ", ".join(str(metadata[name]) for name in ("year", "venue") if metadata.get(name))
    return f"{title} ({rest})".strip() if rest else title
