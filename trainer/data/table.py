"""Labelled pairs as columns: ten million of them in a gigabyte.

As objects they take half a kilobyte each. Here a pair takes 17 bytes, beside the texts, each of
which is kept once.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from operator import eq
from typing import NamedTuple, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from schemas.pair import LabelledPair

ROWS_AT_ONCE = 65_536
TEXT = pa.large_string()  # there may be more than 2 GiB of them

Codes = NDArray[np.int32]
Mask = NDArray[np.bool_]
Places = NDArray[np.int64]


class Texts:
    """Distinct texts, an Arrow array; a text's code is its place among them."""

    def __init__(self, array: pa.Array) -> None:
        self.array = array

    @classmethod
    def of(cls, texts: "Texts | Collection[str]") -> "Texts":
        """Texts that are distinct already."""
        return texts if isinstance(texts, Texts) else cls(pa.array(list(texts), TEXT))

    def __len__(self) -> int:
        return len(self.array)

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), ROWS_AT_ONCE):  # not all as objects at once
            yield from self.array[start : start + ROWS_AT_ONCE].to_pylist()

    def at(self, codes: "Codes | Places") -> list[str]:
        """The texts of these codes."""
        return list(self.array.take(pa.array(codes)).to_pylist())

    def only(self, mask: Mask) -> "Texts":
        """Those in the mask; they have other codes."""
        return Texts(self.array.filter(pa.array(mask)))

    def joined(self, others: "Texts") -> "Texts":
        """These and the others, each once."""
        return Texts(pa.concat_arrays([self.array, others.array]).unique())

    def codes_in(self, others: "Texts") -> Codes:
        """The code that each text has among others, int32; -1 where it isn't among them."""
        found = pc.index_in(self.array, value_set=others.array).fill_null(-1)
        return np.asarray(found.to_numpy(zero_copy_only=False), np.int32)

    def among(self, others: "Texts | Collection[str]") -> Mask:
        """Of each text whether it is one of the others."""
        found = pc.is_in(self.array, value_set=Texts.of(others).array)
        return np.asarray(found.to_numpy(zero_copy_only=False), bool)


class Words(NamedTuple):
    """The texts of pairs."""

    dois: Texts
    sources: Texts
    groups: Texts


@dataclass(frozen=True, eq=False, slots=True)
class Pairs(Sequence[LabelledPair]):
    """Labelled pairs: of each column its codes, int32 [pairs], and the labels, int8 [pairs].

    `words` may hold texts that none of the pairs has. A pair becomes an object where it is looked
    at. Equal is every sequence of the same pairs.
    """

    doi_a: Codes
    doi_b: Codes
    label: NDArray[np.int8]
    source: Codes
    group: Codes
    words: Words

    @classmethod
    def of(cls, pairs: Iterable[LabelledPair]) -> "Pairs":
        """Pairs that come one after the other, as columns."""
        if isinstance(pairs, Pairs):
            return pairs
        rows, gathered = iter(pairs), Gathered()
        while some := list(islice(rows, ROWS_AT_ONCE)):
            a, b, label, source, group = zip(*some, strict=True)
            texts = (pa.array(column, TEXT) for column in (a, b, source, group))
            gathered.add(texts, label=np.array(label, np.int8))
        return gathered.pairs()

    @classmethod
    def of_pieces(cls, pieces: Iterable[pa.RecordBatch]) -> "Pairs":
        """The rows of Arrow's batches with the columns of a `LabelledPair`."""
        gathered = Gathered()
        for piece in pieces:
            texts = (piece[name].cast(TEXT) for name in ("doi_a", "doi_b", "source", "group"))
            gathered.add(texts, label=piece["label"].to_numpy())
        return gathered.pairs()

    @classmethod
    def joined(cls, first: "Pairs", second: "Pairs") -> "Pairs":
        """The rows of two, one behind the other, with words of their own."""
        gathered = Gathered()
        for some in (first, second):
            gathered.add_coded(some)
        return gathered.pairs()

    def __len__(self) -> int:
        return len(self.label)

    def __iter__(self) -> Iterator[LabelledPair]:
        for start in range(0, len(self), ROWS_AT_ONCE):
            yield from self._objects(slice(start, start + ROWS_AT_ONCE))

    @overload
    def __getitem__(self, place: int) -> LabelledPair: ...
    @overload
    def __getitem__(self, place: slice) -> "Pairs": ...
    def __getitem__(self, place: int | slice) -> "LabelledPair | Pairs":
        if isinstance(place, slice):
            return self.only(place)
        at = range(len(self))[place]
        (pair,) = self._objects(slice(at, at + 1))
        return pair

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(map(eq, self, other))

    __hash__ = None  # type: ignore[assignment]

    def only(self, rows: "Mask | Places | slice") -> "Pairs":
        """These rows, by a mask or by their places; the words stay."""
        return replace(
            self,
            doi_a=self.doi_a[rows],
            doi_b=self.doi_b[rows],
            label=self.label[rows],
            source=self.source[rows],
            group=self.group[rows],
        )

    def in_groups(self, groups: Codes) -> "Pairs":
        """The same pairs, each in the group of this code."""
        return replace(self, group=groups)

    @property
    def keys(self) -> NDArray[np.int64]:
        """A number for each pair, int64 [pairs]: equal where the two DOIs are the same two."""
        return self._keys(self.doi_a, self.doi_b)

    def having(self, others: "Pairs") -> Mask:
        """Of each pair whether its two DOIs stand in one of the `others`, either way round."""
        codes = self.words.dois.codes_in(others.words.dois)
        a, b = codes[self.doi_a], codes[self.doi_b]
        is_known = (a >= 0) & (b >= 0)
        is_known[is_known] = np.isin(others._keys(a[is_known], b[is_known]), others.keys)
        return is_known

    def touching(self, known: Mask) -> Mask:
        """Of each pair whether one of its DOIs is among the `known` ones [words.dois]."""
        return np.asarray(known[self.doi_a] | known[self.doi_b])

    def used(self) -> Mask:
        """Of each DOI among the words whether a pair has it."""
        found = np.zeros(len(self.words.dois), bool)
        found[self.doi_a] = found[self.doi_b] = True
        return found

    def dois(self) -> Texts:
        """The distinct DOIs of the pairs."""
        return self.words.dois.only(self.used())

    def group_counts(self) -> NDArray[np.int64]:
        """How many pairs are of each group among the words."""
        return np.bincount(self.group, minlength=len(self.words.groups))

    def group_names(self) -> Texts:
        """The distinct groups of the pairs."""
        return self.words.groups.only(self.group_counts() > 0)

    def families(self) -> tuple[list[str], Codes]:
        """The families of the words' sources, by name, and the number of each source's."""
        of_sources = [source.partition(":")[0] for source in self.words.sources]
        names = sorted(set(of_sources))
        places = {name: place for place, name in enumerate(names)}
        return names, np.array([places[name] for name in of_sources], np.int32)

    def coded(self) -> tuple[pa.Array, pa.Array, pa.Array, pa.Array]:
        """The texts of `doi_a`, `doi_b`, `source`, `group` [pairs], in dictionary arrays."""
        words = self.words
        return (
            pa.DictionaryArray.from_arrays(self.doi_a, words.dois.array),
            pa.DictionaryArray.from_arrays(self.doi_b, words.dois.array),
            pa.DictionaryArray.from_arrays(self.source, words.sources.array),
            pa.DictionaryArray.from_arrays(self.group, words.groups.array),
        )

    def _keys(self, a: Codes, b: Codes) -> NDArray[np.int64]:
        low, high = np.minimum(a, b).astype(np.int64), np.maximum(a, b)
        return low * len(self.words.dois) + high

    def _objects(self, rows: slice) -> Iterator[LabelledPair]:
        some, words = self.only(rows), self.words
        columns = (
            words.dois.at(some.doi_a),
            words.dois.at(some.doi_b),
            some.label.tolist(),
            words.sources.at(some.source),
            words.groups.at(some.group),
        )
        return map(LabelledPair, *columns)


class Where:
    """Where each code stands in a column."""

    def __init__(self, codes: Codes) -> None:
        self._order = np.argsort(codes, kind="stable")
        self._first = np.concatenate([[0], np.cumsum(np.bincount(codes))])

    def of(self, code: int) -> Places:
        """The places of a code that stands there, int64, in their order."""
        return np.asarray(self._order[self._first[code] : self._first[code + 1]], np.int64)


class Gathered:
    """Columns that come in pieces; each text of a piece is kept once."""

    def __init__(self) -> None:
        self._dois: tuple[list[pa.Array], list[pa.Array]] = ([], [])
        self._sources: list[pa.Array] = []
        self._groups: list[pa.Array] = []
        self._labels: list[NDArray[np.int8]] = []

    def add(self, texts: Iterable[pa.Array], *, label: NDArray[np.int8]) -> None:
        """Take in `doi_a`, `doi_b`, `source`, `group` [pairs], large strings, and `label`."""
        self._add((column.dictionary_encode() for column in texts), label)

    def add_coded(self, pairs: Pairs) -> None:
        """Take pairs in that are columns already."""
        self._add(pairs.coded(), pairs.label)

    def pairs(self) -> Pairs:
        """All that was taken in, in its order."""
        rows = sum(map(len, self._labels))
        doi, dois = _encode([*self._dois[0], *self._dois[1]])
        source, sources = _encode(self._sources)
        group, groups = _encode(self._groups)
        label = np.concatenate([*self._labels, np.empty(0, np.int8)])
        return Pairs(doi[:rows], doi[rows:], label, source, group, Words(dois, sources, groups))

    def _add(self, columns: Iterable[pa.Array], label: NDArray[np.int8]) -> None:
        for pieces, column in zip((*self._dois, self._sources, self._groups), columns, strict=True):
            pieces.append(column)
        self._labels.append(label)


def _encode(pieces: list[pa.Array]) -> tuple[Codes, Texts]:
    if not pieces:
        return np.empty(0, np.int32), Texts.of(())
    whole = pa.chunked_array(pieces).unify_dictionaries()
    codes = np.concatenate([chunk.indices.to_numpy() for chunk in whole.chunks])
    return codes.astype(np.int32, copy=False), Texts(whole.chunk(0).dictionary)
