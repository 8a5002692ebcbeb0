"""DOIs: real ones in all that people write round them, damaged ones, several, and noise."""

from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path
from random import Random
from urllib.parse import quote

from schemas.doi import InvalidDoi, normalize
from tests.faults.inputs import noise
from tests.faults.inputs.bench import Case, Target
from tests.faults.inputs.truth import check_reason, comes_from, is_canonical
from tests.support.paths import ROOT

FORMS = (
    *(
        "10.1002/(sici)1098-2736(199812)35:10<1069::aid-tea2>3.0.co;2-a",
        "10.48550/arxiv.1706.03762",
    ),
    *("10.1175/1520-0434(1995)010<0078:tcofhr>2.0.co;2", "10.1016/s0140-6736(05)67889-7"),
    *("10.1061/(asce)0733-9496(2008)134:4(337)", "10.5281/zenodo.3509134", "10.1000.10/123"),
    *(
        "10.1007/978-3-642-22984-8_8",
        "10.17487/rfc2119",
        "10.1093/nar/gku542",
        "10.1101/2020.04.12",
    ),
)
BEFORE = ("", "", "https://doi.org/", "http://dx.doi.org/", "doi:", "DOI: ", "  ", "(", '"', "<")
AFTER = ("", "", ".", ",", ")", " ", "\n", ";", '"', ">", "\u200b", " .", "\u00a0", "&nbsp;")
BETWEEN = (" ", ", ", "; ", "\n", " and ", " | ", "\t", ",", "; doi:", "<br/>", " / ")
SIGNS = "/.-_():;<>[]%&#?=+,~*'\"{}|\\ \n\t\u2010\u2013\u00ad\u200b0123456789abcxyzABC10"


@contextmanager
def _open(_: Path) -> Iterator[Case]:
    lines = (ROOT / "examples" / "dois.txt").read_text().splitlines()
    given = [line.split()[0] for line in lines if line.strip() and not line.startswith("#")]
    known = sorted({normalize(raw) for raw in (*given, *FORMS)})

    def case(rng: Random) -> bool:
        return rng.choice(KINDS)(rng, known)

    yield case


def _decorated(rng: Random, known: list[str]) -> bool:
    """A DOI in what people write round it: it is read, or refused, and never another one."""
    doi = rng.choice(known)
    raw = doi
    for change in rng.sample(CHANGES, k=rng.choice((0, 1, 1, 2))):
        raw = change(rng, raw)
    found = _read(f"{rng.choice(BEFORE)}{raw}{rng.choice(AFTER)}")
    assert found in {None, doi}, f"{raw!r} was read as {found!r}, not as {doi!r}"
    return found is not None


def _several(rng: Random, known: list[str]) -> bool:
    """Two different DOIs: neither may be taken."""
    one, two = rng.sample(known, k=2)
    raw = f"{rng.choice(BEFORE)}{one}{rng.choice(BETWEEN)}{rng.choice(BEFORE)}{two}"
    found = _read(raw)
    assert found is None, f"of two DOIs, {raw!r}, one was taken: {found!r}"
    return False


def _mutated(rng: Random, known: list[str]) -> bool:
    signs = list(rng.choice(known))
    for _ in range(rng.randint(1, 5)):
        at = rng.randint(0, len(signs))
        act = rng.random()
        if act < 0.5:
            signs[at:at] = rng.choice(SIGNS)
        elif act < 0.7:
            del signs[at : at + rng.choice((1, 1, 3))]
        elif act < 0.85:
            signs[at:at] = rng.choice((noise.text(rng), *BEFORE, *AFTER, "/full", ".pdf", "%2F"))
        else:
            signs[at:] = rng.choice(known)[rng.randrange(12) :]
    return _any("".join(signs))


def _noise(rng: Random, _: list[str]) -> bool:
    pieces = [
        rng.choice((noise.text(rng), "10.", "10.1000/", "/", "doi.org/", "a")) for _ in range(5)
    ]
    return _any("".join(pieces))


def _any(raw: str) -> bool:
    found = _read(raw)
    if found is not None:
        assert comes_from(found, raw), f"{found!r} is not in {raw!r}"
    return found is not None


def _read(raw: str) -> str | None:
    try:
        found = normalize(raw)
    except InvalidDoi as error:
        check_reason(error)
        return None
    assert is_canonical(found), f"{raw!r} was read as {found!r}"
    return found


def _in_other_case(rng: Random, doi: str) -> str:
    return "".join(rng.choice((sign.upper(), sign)) for sign in doi)


def _with_invisible(rng: Random, doi: str) -> str:
    at = rng.randrange(len(doi))
    return doi[:at] + rng.choice(("\u200b", "\u00ad", "\ufeff", "\u2060")) + doi[at:]


def _linked(rng: Random, doi: str) -> str:
    return f'<a href="https://doi.org/{escape(doi)}">{rng.choice((escape(doi), "link"))}</a>'


CHANGES = (
    *(_in_other_case, _with_invisible, _linked),
    lambda _, doi: quote(doi, safe="/"),
    lambda _, doi: quote(doi, safe=""),
    lambda _, doi: escape(doi),
    lambda _, doi: doi.replace("-", "\u2010"),
    lambda _, doi: f"{doi} {doi}",
)
KINDS = (_decorated, _decorated, _decorated, _several, _mutated, _mutated, _mutated, _noise)
TARGETS = (Target("doi", 560, _open),)
