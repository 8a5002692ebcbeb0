"""Answers of registries: whole, mangled anywhere, damaged in their bytes, packed or not."""

import gzip
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from tests.faults.inputs import noise
from tests.faults.inputs.bench import Case, Target
from tests.faults.inputs.truth import check_document, check_reason
from tests.support import registry_records as shapes
from worker.errors import RegistryUnavailable
from worker.metadata.answers import Answers
from worker.metadata.registries import crossref, datacite, openalex
from worker.metadata.registries.agency import Agencies
from worker.metadata.registries.bodies import Malformed, whole
from worker.metadata.registries.catalogue import ALONE, LIST, Catalogue
from worker.metadata.registries.client import Reply

DOIS = [f"10.{1000 + n}/{'abc'[n % 3]}.{n}" for n in range(5)]
MANNERS = {one.MANNER.name: one.MANNER for one in (crossref, openalex, datacite)}
SHAPES: dict[str, tuple[Callable[..., Any], ...]] = {
    "crossref": (shapes.crossref_work, shapes.crossref_list, shapes.crossref_one),
    "openalex": (shapes.openalex_work, shapes.openalex_list, lambda work: work),
    "datacite": (shapes.datacite_doi, shapes.datacite_list, lambda doi: {"data": doi}),
}
FIELDS = {"year": 2001, "venue": "A Journal", "abstract": "Two words."}
PREFIX = b'[{"DOI": "10.1000", "RA": "mEDRA"}]'


class Told:
    """A registry's client with one answer; what else it is asked, it doesn't answer."""

    def __init__(self, body: bytes, *, kind: str, encoding: str) -> None:
        self._body = body
        self._kind = kind
        self._encoding = encoding

    def get(self, path: str, *, kind: str, read: Callable[[bytes], Any], **_: Any) -> Reply:
        """The body, unpacked and read."""
        assert path.isascii(), f"a path that is none: {path!r}"
        assert path.isprintable(), f"a path that is none: {path!r}"
        if kind != self._kind:
            raise RegistryUnavailable("not asked for")
        pieces = [self._body[n : n + 64] for n in range(0, len(self._body), 64)]
        try:
            return Reply(200, read(whole(pieces, encoding=self._encoding, limit=2**20)))
        except Malformed as error:
            raise RegistryUnavailable(str(error)) from error


def _title(doi: str) -> str:
    return f"On {doi}"


@contextmanager
def _open(_: Path, *, name: str) -> Iterator[Case]:
    record, together, alone = SHAPES[name]

    def case(rng: Random) -> bool:
        known = rng.sample(DOIS, k=rng.randint(1, 4))
        asked = known[: rng.choice((1, 9))] + rng.sample(DOIS, k=1)
        asked = list(dict.fromkeys(asked if rng.random() < 0.8 else asked[:1]))
        records = [record(doi, {"title": _title(doi), **FIELDS}) for doi in known]
        value = together(records) if len(asked) > 1 else alone(records[0])
        body, encoding = _body(rng, value)
        client: Any = Told(body, kind=LIST if len(asked) > 1 else ALONE, encoding=encoding)
        answers = _asked(partial(Catalogue(MANNERS[name], client, url="").ask, asked))
        _check(answers, asked)
        return bool(answers.found)

    yield case


@contextmanager
def _open_agencies(_: Path) -> Iterator[Case]:
    def case(rng: Random) -> bool:
        doi = rng.choice(DOIS)
        if rng.random() < 0.2:
            value = json.loads(PREFIX)
            body, encoding = _body(rng, value)
            kept: Any = {}
            client: Any = Told(body, kind="prefix", encoding=encoding)
            _asked(partial(Agencies(client, client, agencies=kept).ask, [doi]))
            assert all(isinstance(name, str) and name for name in kept.values()), kept
            return bool(kept)
        body, encoding = _body(rng, shapes.csl_item(doi, {"title": _title(doi), **FIELDS}))
        agencies: Any = {doi.partition("/")[0]: "mEDRA"}
        client = Told(body, kind="record", encoding=encoding)
        answers = _asked(partial(Agencies(client, client, agencies=agencies).ask, [doi]))
        _check(answers, [doi])
        return bool(answers.found)

    yield case


def _body(rng: Random, value: Any) -> tuple[bytes, str]:
    act = rng.random()
    if act < 0.7:
        value = noise.mangled(rng, value, most=3)
    body = json.dumps(value).encode()
    if act > 0.65:
        body = noise.damaged(rng, body)
    if rng.random() < 0.1:
        packed = gzip.compress(body, compresslevel=1)
        packed = noise.damaged(rng, packed) if rng.random() < 0.5 else packed
        return packed, rng.choice(("gzip", "x-gzip", "deflate", "br", "identity"))
    return body, ""


def _asked(ask: Callable[[], Answers]) -> Answers:
    try:
        return ask()
    except RegistryUnavailable as error:
        check_reason(error)
        return Answers({}, set())


def _check(answers: Answers, asked: Sequence[str]) -> None:
    """No entry of what wasn't asked for, none under another's DOI, none there and absent."""
    assert answers.found.keys() <= set(asked), "not asked for"
    assert answers.absent <= set(asked), "not asked for"
    assert not answers.absent & answers.found.keys(), "found and absent"
    for doi, answer in answers.found.items():
        assert answer.document.doi == doi, "another one's record"
        check_document(answer.document)
        assert isinstance(answer.dated, int)
        assert answer.dated >= 0, f"dated {answer.dated}"


TARGETS = (
    *(Target(name, 18, partial(_open, name=name)) for name in MANNERS),
    Target("agency", 12, _open_agencies),
)
