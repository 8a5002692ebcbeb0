"""A registry that answers lists of DOIs: what fits into one, and what is to be made of the answer.

An answer is matched by the DOIs in it, never by its order. What an answer does not say of a DOI
in so many words, the DOI is asked for alone.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from worker.errors import RegistryBlocked, RegistryRefused, RegistryUnavailable, WorkerError
from worker.metadata.answers import Answer, Answers
from worker.metadata.registries.bodies import Malformed, parsed
from worker.metadata.registries.client import NO_SUCH, OK, TRIES, UNFIT, Client

URL_BYTES = 3500
# Signs that no filter takes for its own, and that need no escape; nearly all DOIs have no other.
LISTED = re.compile(r"[a-z0-9./()_:;<>\[\]#+-]+")
LIST, ALONE = "list", "alone"  # the kinds of requests


class Rows(NamedTuple):
    """The records in an answer to a list, and how many the registry has for it."""

    records: list[Any]
    total: int


class Manner(NamedTuple):
    """How a registry is asked, and what its answers look like.

    `list_path` (for several DOIs, and of their records `fields`) and `path` (for one) are what
    follows its address, escaped; `abstract` is the field that is asked for only where it is wanted.
    `rows` and `row` find the records in the JSON of the answers, and raise `Malformed` where it is
    none; `answer` gives what a record says, None where it is none of a DOI. `html_is_404` says
    that an unknown DOI is told by a page of HTML; all others are another server's.
    """

    name: str
    most: int
    threads: int
    list_path: Callable[[Sequence[str], Sequence[str]], str]
    path: Callable[[str], str]
    rows: Callable[[Any], Rows]
    row: Callable[[Any], Any]
    answer: Callable[[Mapping[str, Any]], Answer | None]
    fields: Sequence[str]
    abstract: str
    html_is_404: bool = False


class Catalogue:
    """A `Registry` that is asked in a manner.

    `lists` says whether it is asked for lists at all, `abstracts` whether they are wanted in them.
    """

    def __init__(
        self,
        manner: Manner,
        client: Client,
        *,
        url: str,
        lists: bool = True,
        abstracts: bool = True,
    ) -> None:
        self.name = manner.name
        self.most = manner.most
        self.threads = manner.threads
        self._manner = manner
        self._fields = [name for name in manner.fields if abstracts or name != manner.abstract]
        self._client = client
        self._room = URL_BYTES - len(url)
        self._lists = lists

    def ask(self, dois: Sequence[str]) -> Answers:
        """What it says of canonical DOIs, as a `Registry`; where it fails, what it said so far."""
        gathered = Answers({}, set())
        failed: WorkerError | None = None
        for group in self._groups(dois):
            try:
                # One DOI may be to blame; after a second failure in a row it's the registry.
                _gather(gathered, self._ask_group(group, tries=1 if failed else TRIES))
                failed = None
            except RegistryUnavailable as error:
                if failed:
                    break
                failed = error
            except (RegistryBlocked, RegistryRefused) as error:
                failed = error
                break
        if failed and not gathered.found and not gathered.absent:
            raise failed
        return gathered

    def close(self) -> None:
        """Let go of connections."""
        self._client.close()

    def _groups(self, dois: Sequence[str]) -> Iterator[Sequence[str]]:
        """What is asked for in one request each: lists first, then DOIs that none takes."""
        group: list[str] = []
        alone: list[str] = []
        for doi in dict.fromkeys(dois):
            if not self._lists or not LISTED.fullmatch(doi):
                alone.append(doi)
                continue
            if len(group) == self.most or not self._fits([*group, doi]):
                yield group
                group = []
            group.append(doi)
        yield from ([group] if group else [])
        yield from ([doi] for doi in alone)

    def _fits(self, dois: Sequence[str]) -> bool:
        return len(dois) == 1 or len(self._manner.list_path(dois, self._fields)) <= self._room

    def _ask_group(self, dois: Sequence[str], *, tries: int) -> Answers:
        try:
            return self._ask_list(dois, tries=tries)
        except RegistryUnavailable as error:
            if tries == 1 or len(dois) == 1:
                raise
            return self._narrowed(dois, error)

    def _narrowed(self, dois: Sequence[str], error: RegistryUnavailable) -> Answers:
        """The answers to a list that fails, if one of its DOIs is to blame, without that one's.

        Raises the error where both halves fail, too.
        """
        gathered = Answers({}, set())
        while len(dois) > 1:
            failed = []
            for half in _halves(dois):
                try:
                    _gather(gathered, self._ask_list(half, tries=1))
                except RegistryUnavailable:
                    failed.append(half)
            if len(failed) > 1 and not gathered.found and not gathered.absent:
                raise error
            dois = failed[0] if len(failed) == 1 else []
        return gathered

    def _ask_list(self, dois: Sequence[str], *, tries: int) -> Answers:
        if len(dois) == 1:
            return self._ask_alone(dois[0], tries=tries)
        path = self._manner.list_path(dois, self._fields)
        reply = self._client.get(path, kind=LIST, read=self._rows, tries=tries)
        if reply.status in NO_SUCH:
            raise RegistryUnavailable(f"{self.name} answered {reply.status} to a list of DOIs")
        if reply.status in UNFIT:
            return self._gathered(_halves(dois), Answers({}, set()), tries=tries)
        answers = self._sorted(reply.value, dois)
        left = [doi for doi in dois if doi not in answers.found and doi not in answers.absent]
        return self._gathered([[doi] for doi in left], answers, tries=tries)

    def _gathered(
        self, groups: Iterable[Sequence[str]], answers: Answers, *, tries: int
    ) -> Answers:
        """The answers and those to more lists; raises where there are none at all."""
        for group in groups:
            try:
                _gather(answers, self._ask_list(group, tries=tries))
            except (RegistryBlocked, RegistryRefused, RegistryUnavailable):
                if not answers.found and not answers.absent:
                    raise
                break
        return answers

    def _ask_alone(self, doi: str, *, tries: int) -> Answers:
        reply = self._client.get(self._manner.path(doi), kind=ALONE, read=self._row, tries=tries)
        if reply.is_html and not (reply.status in NO_SUCH and self._manner.html_is_404):
            raise RegistryUnavailable(f"{self.name} answered {reply.status} with a page of HTML")
        if reply.status != OK:
            return Answers({}, {doi})
        answer = self._answer(reply.value)
        if answer is not None and answer.document.doi == doi:
            return Answers({doi: answer}, set())
        # It leads elsewhere with a DOI that is another's alias: it has nothing under this one.
        return Answers({}, {doi} if reply.moved else set())

    def _sorted(self, rows: Rows, dois: Sequence[str]) -> Answers:
        """What an answer says of what was asked for; only from a whole one is a DOI absent."""
        asked = set(dois)
        found: dict[str, Answer] = {}
        is_whole = rows.total == len(rows.records)
        for record in rows.records:
            answer = self._answer(record)
            if answer is None or answer.document.doi not in asked:
                is_whole = False
            elif not (kept := found.get(answer.document.doi)) or not kept.document.title:
                found[answer.document.doi] = answer
        return Answers(found, asked - found.keys() if is_whole else set())

    def _answer(self, record: Any) -> Answer | None:
        return self._manner.answer(record) if isinstance(record, Mapping) else None

    def _rows(self, body: bytes) -> Rows:
        return self._manner.rows(parsed(body))

    def _row(self, body: bytes) -> Any:
        return self._manner.row(parsed(body))


def held(value: Any, *names: str, kind: type) -> Any:
    """The value of a kind under a path of names; raises `Malformed` where there is none."""
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    if not isinstance(value, kind) or isinstance(value, bool):
        raise Malformed(f"without {'.'.join(names) or 'an object'}")
    return value


def _gather(gathered: Answers, more: Answers) -> None:
    gathered.found.update(more.found)
    gathered.absent.update(more.absent)


def _halves(dois: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    middle = len(dois) // 2
    return dois[:middle], dois[middle:]
