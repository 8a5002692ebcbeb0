"""A labelled pair of DOIs: what the trainer learns from."""

from typing import NamedTuple


class LabelledPair(NamedTuple):
    """Two canonical DOIs and whether they belong together.

    `label` is 1 or 0. `source` says who labelled, as `family` or `family:kind`; `group` is what
    the pair came with (the citing paper, the review): pairs of a group are not independent.
    """

    doi_a: str
    doi_b: str
    label: int
    source: str
    group: str

    @property
    def key(self) -> tuple[str, str]:
        """The two DOIs without their order."""
        return (self.doi_a, self.doi_b) if self.doi_a <= self.doi_b else (self.doi_b, self.doi_a)

    @property
    def family(self) -> str:
        """The source without its kind: `retractionwatch` of `retractionwatch:notice-original`."""
        return self.source.partition(":")[0]
