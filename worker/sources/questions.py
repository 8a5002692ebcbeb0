"""Lists of questions: a DOI or a text a line."""

from collections.abc import Iterator

from schemas.job import Rejection
from schemas.search import Question
from worker.errors import SourceError
from worker.settings.ingest import LimitSettings
from worker.sources.parsing import attempt
from worker.sources.streams import decoded, lines, opened, source_name


def questions(source: str, *, limits: LimitSettings) -> Iterator[Question | Rejection]:
    """The question of each line that isn't blank, in order; what is no text is a rejection.

    `source` is a text file, plain or compressed, or `-` for standard input. Raises `SourceError`
    where it can't be read (on), after all that came before.
    """
    limit = limits.record_bytes
    try:
        with opened(source) as found:
            for number, raw in lines(found.stream, limit=limit):
                try:
                    text = attempt(decoded, raw, limit)
                except ValueError as error:
                    shown = raw.decode(errors="backslashreplace")
                    yield Rejection(source_name(source), number, shown, str(error))
                    continue
                if text.strip():
                    yield Question.read(text)
    except SourceError as error:
        raise SourceError(f"{source_name(source)}: {error}") from error
