"""Tagged records, line by line: RIS, PubMed's .nbib, Web of Science's export, EndNote's .enw.

A line begins with a tag, or goes on with the value before it. A record ends where the next one
begins, whether or not it says so; what stands between records belongs to none.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from worker.sources.streams import BOM, Line

LONGEST_TAG = len("ISSN  - ")
DOI_URL = r"(?:doi:\s*|(?:https?://)?[^/\s]{0,99}\bdoi[.-]org[^/\s]{0,99}/)10\.\S+"
FIRST_LINE, WITH_DOI = r"([^\n]+)", r"([^\n]*\b10\.[^\n]+)"
ONLY_URL = rf"(?i)({DOI_URL})[ \t]*(?:\n|\Z)"
ONLY_DOI = rf"(?i)((?:doi:?\s*)?10\.[0-9]{{4,}}/\S+|{DOI_URL})[ \t]*(?:\n|\Z)"
MARKED_DOI = r"(?i)(\S+)\s*\[doi\]"
A_DOI = re.compile(rb"\b10\.[0-9]{4,9}/\S")
A_YEAR = re.compile(r"(?<![0-9])[12][0-9]{3}(?![0-9])")

Values = dict[str, list[str]]


@dataclass(frozen=True)
class Dialect:
    """How one kind of program tags its records.

    `line` matches the tag that a line begins with; `begins` are those that come first in a
    record, `ends` those after it or round all of them. `dois` says in which tags the paper's own
    DOI may stand, and how: never one that is cited. `fields` says the same of our other fields,
    best first. `sign` is found near the beginning of a file.
    """

    line: str
    begins: Sequence[str]
    ends: Sequence[str]
    dois: Sequence[tuple[str, str]]
    fields: Mapping[str, Sequence[str]]
    sign: bytes

    def records(self, lines: Iterator[Line], *, limit: int) -> Iterator[Line]:
        """The records among numbered lines; of one longer than `limit`, the first limit + 1.

        Between records, a line that holds a DOI counts as one, which `parse` rejects.
        """
        held, after_blank = _Held(limit), True
        for number, raw in lines:
            line = raw.lstrip(b"\r").removeprefix(BOM)
            tag = self._tag(line[:LONGEST_TAG].decode("latin-1"))
            begins = tag in self.begins and (after_blank or tag in held.tags)
            if begins or tag in self.ends:
                yield from held.taken()
            if tag not in self.ends and (tag or held.lines):
                held.add(number, line, tag=tag)
            elif not tag and A_DOI.search(line):
                yield number, line[: limit + 1]  # to be rejected: it may be a record, damaged
            after_blank = not line.strip()
        yield from held.taken()

    def parse(self, text: str) -> dict[str, Any]:
        """The fields of a record by our names, and by its own tags what they don't use.

        Raises ValueError for what stands outside of records.
        """
        if "10." in text and not self._tag(text):
            raise ValueError("outside of any record")
        values = self._values(text)
        found = {"doi": self._doi(values), "year": _year(values, self.fields["year"])}
        for name in ("title", "abstract", "venue"):
            tag = next((tag for tag in self.fields[name] if tag in values), "")
            found[name] = values.pop(tag, [])
        found["abstract"] = ["\n".join(found["abstract"])]  # some give each of its parts a line
        return {
            name: given[0] if len(given) == 1 else given
            for name, given in (found | values).items()
            if any(given)
        }

    def _tag(self, line: str) -> str | None:
        found = re.match(self.line, line)
        return found[1] if found else None

    def _values(self, text: str) -> Values:
        """The values by tag, but for empty ones."""
        found: dict[str, list[list[str]]] = {}
        last: list[str] = []
        for line in text.split("\n"):
            if tag := re.match(self.line, line):
                last = []
                found.setdefault(tag[1], []).append(last)
            last.append(line[tag.end() if tag else 0 :].strip())
        joined = {
            tag: ["\n".join(value).strip() for value in given] for tag, given in found.items()
        }
        return {tag: list(filter(None, given)) for tag, given in joined.items() if any(given)}

    def _doi(self, values: Values) -> list[str]:
        for tag, form in self.dois:
            found = [match[1] for value in values.get(tag, ()) if (match := re.match(form, value))]
            if found:
                del values[tag]
                return list(dict.fromkeys(found))
        return []


@dataclass
class _Held:
    """The lines of the record that is being read, up to a limit in bytes."""

    limit: int
    first: int = 0
    lines: list[bytes] = field(default_factory=list)
    tags: set[str] = field(default_factory=set)
    size: int = 0

    def add(self, number: int, line: bytes, *, tag: str | None) -> None:
        if not self.lines:
            self.first = number
        if tag:
            self.tags.add(tag)
        if self.size <= self.limit:
            self.lines.append(line)
            self.size += len(line) + 1

    def taken(self) -> Iterator[Line]:
        if self.lines:
            yield self.first, b"\n".join(self.lines)[: self.limit + 1]
        self.lines.clear()
        self.tags.clear()
        self.size = 0


def _year(values: Values, tags: Sequence[str]) -> list[str]:
    """What may be a year: of `10 15` and `24-27 Sept. 2019` the second; as found where none is."""
    given = [(tag, value) for tag in tags for value in values.get(tag, ())]
    for tag, value in given:
        if A_YEAR.match(value):
            del values[tag]
            return [value]
    for tag, value in given:
        if len(years := set(A_YEAR.findall(value))) == 1:
            del values[tag]
            return list(years)
    return values.pop(given[0][0]) if given else []


RIS = Dialect(
    line=r"([A-Z][A-Z0-9]) {1,2}-(?:\s|\Z)",
    begins=("TY",),
    ends=("ER",),
    dois=(
        *(("DO", WITH_DOI), ("UR", ONLY_URL), ("L3", ONLY_DOI), ("M3", ONLY_DOI)),
        ("DO", FIRST_LINE),
    ),
    fields={
        "title": ("TI", "T1", "CT", "BT"),
        "abstract": ("AB", "N2"),
        "year": ("PY", "Y1", "DA"),
        "venue": ("JF", "T2", "BT", "JO", "JA", "J2"),
    },
    sign=rb"(?m)^\r?(?:\xef\xbb\xbf)?TY {1,2}-\s",
)
NBIB = Dialect(
    line=r"([A-Z][A-Z0-9]{1,3}) {0,2}-(?:\s|\Z)",
    begins=("PMID", "OWN"),
    ends=(),
    dois=(("LID", MARKED_DOI), ("AID", MARKED_DOI), ("AID", ONLY_URL)),
    fields={
        "title": ("TI", "BTI", "CTI", "TT"),
        "abstract": ("AB", "OAB"),
        "year": ("DP", "DEP"),
        "venue": ("JT", "TA", "BTI"),
    },
    sign=rb"(?m)^\r?(?:\xef\xbb\xbf)?(?:PMID- ?[0-9]|OWN {1,2}- [A-Z])",
)
WEB_OF_SCIENCE = Dialect(
    line=r"([A-Z][A-Z0-9])(?: |\Z)",
    begins=("PT",),
    ends=("ER", "EF", "FN", "VR"),
    dois=(("DI", FIRST_LINE),),
    fields={
        "title": ("TI",),
        "abstract": ("AB",),
        "year": ("PY", "EA"),
        "venue": ("SO", "JI", "J9"),
    },
    sign=rb"(?m)^\r?(?:\xef\xbb\xbf)?(?:FN (?:Clarivate|Thomson|ISI)|PT [A-Z]\s*$)",
)
ENDNOTE = Dialect(
    line=r"(%\S)(?:\s|\Z)",
    begins=("%0",),
    ends=(),
    dois=(("%R", WITH_DOI), ("%U", ONLY_URL), ("%R", FIRST_LINE)),
    fields={"title": ("%T",), "abstract": ("%X",), "year": ("%D", "%8"), "venue": ("%J", "%B")},
    sign=rb"(?m)^\r?(?:\xef\xbb\xbf)?%0 [A-Z]",
)
DIALECTS = {".ris": RIS, ".nbib": NBIB, ".enw": ENDNOTE, ".ciw": WEB_OF_SCIENCE}


def looks_like(head: bytes) -> Dialect | None:
    """The dialect of a file that begins with these bytes, whatever its name; None for none."""
    return next((dialect for dialect in DIALECTS.values() if re.search(dialect.sign, head)), None)
