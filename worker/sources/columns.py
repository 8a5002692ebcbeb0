"""Columns: what our fields are called in other programs' exports, and which of them a file has.

Names are compared without their case, and with one blank for each run of blanks and signs:
`container-title`, `Container Title` and `container.title` are one.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, NamedTuple

from worker.errors import SourceError

SIGNS = re.compile(r"[\s_\-./:]+")
SHOWN_NAMES = 40
SHOWN_CHARACTERS = 60
PLANS = 1000  # sets of keys that are remembered
NAMES = 1000  # names that are remembered as not used
Values = Mapping[str, Any]


class Vocabulary(NamedTuple):
    """For each of our fields the names it has elsewhere, the one to be preferred first.

    A table must have a column for each of the `required`.
    """

    names: Mapping[str, Sequence[str]]
    required: tuple[str, ...]


# Where several are in a file, the first that has a value in a row counts. Only names that can't
# mean another thing are here: a cited paper's DOI, a book's, a database's name (Scopus has a
# column `Source`) or the day on which a record was made are none of the paper's own.
DOCUMENT = Vocabulary(
    {
        # Web of Science: DI; Springer: Item DOI; Lens, OpenAlex, Crossref, DataCite, Zotero,
        # Scopus, PubMed, IEEE, Dimensions: DOI
        "doi": ("doi", "di", "item doi", "article doi", "doi link", "doi url"),
        # Web of Science: TI, Article Title; Springer: Item Title; IEEE: Document Title; RIS: T1;
        # OpenAlex: display_name; DataCite: titles
        "title": (
            *("title", "article title", "item title", "document title", "ti", "t1"),
            *("titles", "display name", "paper title"),
        ),
        # Zotero: Abstract Note; Web of Science: AB; OpenAlex, DataCite; Europe PMC: abstractText
        "abstract": (
            *("abstract", "abstract note", "ab", "n2", "abstract inverted index"),
            *("abstracttext", "abstract text", "descriptions"),
        ),
        # Dimensions: PubYear; Web of Science: PY, and EY for early access; Crossref and CSL-JSON:
        # issued; DataCite: publicationYear; Lens: Date Published; IEEE: Online Date
        "year": (
            *("year", "publication year", "publicationyear", "pubyear", "py", "year published"),
            *("issued", "published", "published print", "published online", "publication date"),
            *("date published", "date", "ey", "early access year", "early access date"),
            *("publication date online", "publication date print", "online date"),
        ),
        # Zotero, IEEE, Springer: Publication Title; Web of Science: SO, Source Title; Scopus,
        # Lens, Dimensions: Source title; PubMed: Journal/Book; Crossref, CSL-JSON: container-title;
        # OpenAlex: primary_location, host_venue; DataCite: container
        "venue": (
            *("venue", "journal", "publication title", "source title", "so"),
            *("source title anthology title", "journal book", "container title", "containertitle"),
            *("primary location source display name", "primary location display name"),
            *("primary location", "host venue", "host venue display name", "container", "jo", "jf"),
            *("journal title", "journaltitle", "journal name", "conference name", "book title"),
            *("proceedings title", "booktitle", "journal abbreviation"),
        ),
    },
    ("doi",),
)


class Use(NamedTuple):
    """Which columns of a source were used, for which of our fields, and which were not."""

    used: dict[str, tuple[str, ...]]
    unused: tuple[str, ...]


@lru_cache(maxsize=4096)
def folded(name: str) -> str:
    """A column's name as it is compared."""
    return SIGNS.sub(" ", name.strip()).strip().casefold()


class Columns:
    """Finds our fields in the rows of one source, and knows by which names it found them.

    `chosen` names the column of a field where a person did. `notes` are for who is told of them.
    """

    def __init__(self, vocabulary: Vocabulary, chosen: Mapping[str, str]) -> None:
        if strange := sorted(chosen.keys() - vocabulary.names.keys()):
            fields = ", ".join(vocabulary.names)
            raise SourceError(f"no field `{strange[0]}`; there are {fields}")
        self._vocabulary = vocabulary
        self._chosen = chosen
        self._know(vocabulary.names)
        self._plans: dict[tuple[Any, ...], dict[str, list[Any]]] = {}
        self._seen: dict[str, None] = {}
        self._used: dict[str, dict[str, None]] = {}
        self.are_tags = False  # of a format that says which field is which
        self.notes: list[str] = []

    def know_our_own_alone(self) -> None:
        """From now on know no names but our own, and chosen ones: the format has found its fields.

        PubMed's tag `SO` is not Web of Science's.
        """
        self._know({field: (field,) for field in self._vocabulary.names})
        self.are_tags = True

    @property
    def fields(self) -> set[str]:
        """Our own names of the fields, as they are compared."""
        return {folded(field) for field in self._names}

    def has_all(self, header: Sequence[str]) -> bool:
        """Whether a table with this header has a column for each field that it must have."""
        found = {folded(name) for name in header}
        wanted = {*self._vocabulary.required, *self._chosen}
        return all(not found.isdisjoint(self._names[field]) for field in wanted)

    def places(self, header: Sequence[str]) -> dict[str, list[int]]:
        """For each field the places of its columns in a header, the one to be preferred first.

        Raises `SourceError` where a required one or a chosen one is missing, or there twice.
        """
        names = [folded(name) for name in header]
        for field in dict.fromkeys((*self._chosen, *self._vocabulary.required)):
            self._check(field, names, header)
        found = self._plan(range(len(header)), names)
        self._note(header, {field: [header[n] for n in at] for field, at in found.items()})
        return found

    def pick(self, row: Values) -> dict[str, list[Any]]:
        """For each field the keys of a row that may hold it, the one to be preferred first."""
        keys = tuple(row)
        if (plan := self._plans.get(keys)) is None:
            if len(self._plans) >= PLANS:
                self._plans.clear()
            plan = self._plan(keys, [folded(str(key)) for key in keys])
            self._plans[keys] = plan
            self._note(map(str, keys), {f: list(map(str, names)) for f, names in plan.items()})
        return plan

    @property
    def use(self) -> Use:
        """Which names were used so far, and which were not."""
        used = {field: tuple(names) for field, names in self._used.items()}
        taken = {name for names in used.values() for name in names}
        return Use(used, tuple(name for name in self._seen if name not in taken))

    def missing(self) -> SourceError | None:
        """That no row had a column that must be there, and which columns they had; else None."""
        for field in dict.fromkeys((*self._chosen, *self._vocabulary.required)):
            if field not in self._used and self._seen:
                return SourceError(_missing(field, self._chosen.get(field), list(self._seen)))
        return None

    def _know(self, names: Mapping[str, Sequence[str]]) -> None:
        chosen = {field: (name,) for field, name in self._chosen.items()}
        self._names = {
            field: [folded(name) for name in known] for field, known in {**names, **chosen}.items()
        }
        self._ranks = {
            name: (field, rank)
            for field, known in self._names.items()
            for rank, name in enumerate(known)
        }

    def _check(self, field: str, names: Sequence[str], header: Sequence[str]) -> None:
        best = next((name for name in self._names[field] if name in names), None)
        if best is None:
            raise SourceError(_missing(field, self._chosen.get(field), header))
        if names.count(best) > 1:
            raise SourceError(f"more than one column `{best}` in its header line")

    def _plan(self, keys: Iterable[Any], names: Iterable[str]) -> dict[str, list[Any]]:
        ranked = [
            (*self._ranks[name], key)
            for key, name in zip(keys, names, strict=True)
            if name in self._ranks
        ]
        plan: dict[str, list[Any]] = {}
        for field, _, key in sorted(ranked, key=itemgetter(1)):
            plan.setdefault(field, []).append(key)
        return plan

    def _note(self, names: Iterable[str], plan: Mapping[str, Iterable[str]]) -> None:
        for name in names:
            if len(self._seen) < NAMES and name.strip():
                self._seen[name[:SHOWN_CHARACTERS]] = None
        for field, used in plan.items():
            self._used.setdefault(field, {}).update(
                dict.fromkeys(n[:SHOWN_CHARACTERS] for n in used)
            )


def _missing(field: str, chosen: str | None, header: Sequence[str]) -> str:
    shown = [" ".join(name.split())[:SHOWN_CHARACTERS] for name in header if name.strip()]
    more = f" and {len(shown) - SHOWN_NAMES} more" if len(shown) > SHOWN_NAMES else ""
    columns = ", ".join(f"`{name}`" for name in shown[:SHOWN_NAMES]) + more
    wanted = f"no column `{chosen or field}`"
    way = "" if chosen else f"; --column {field}=NAME says which it is"
    return f"{wanted} among {columns or 'none'}{way}"
