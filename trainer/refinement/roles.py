"""Who a refine deals with: what makes a version live, and who is told how it gets on."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from trainer.evaluation import evaluate
from trainer.promotion import passes
from trainer.training import following


class Promoted(Protocol):
    """What a promotion did."""

    @property
    def previous(self) -> str:
        """The version that was live before."""

    @property
    def collection(self) -> str:
        """The collection that is live now."""

    @property
    def points(self) -> int:
        """How many points it has."""

    @property
    def missing(self) -> int:
        """How many records of the old one it has not."""


class Promoter(Protocol):
    """Knows what is live, and makes another version so."""

    def live(self) -> str | None:
        """The version of the live collection; None before there is one."""

    def promote(
        self, version: str, *, replacing: str | None, allow_missing: bool, watcher: passes.Watcher
    ) -> Promoted:
        """Make `version` live, or find that it is; raises `PromotionRefused`."""


class Watcher(Protocol):
    """Who is told how far a refine is."""

    def say(self, words: str) -> None:
        """Tell a line."""

    def training(self, name: str) -> AbstractContextManager[following.Progress]:
        """Where the steps of a training by the recipe of this name are told."""

    def evaluating(self) -> AbstractContextManager[evaluate.Progress]:
        """Where the progress of an evaluation is told."""

    def promoting(self) -> AbstractContextManager[evaluate.Progress]:
        """Where the progress of a promotion is told."""


class PromotionSteps(NamedTuple):
    """Tells who watches a refine the steps of its promotion, each after a check."""

    say: Callable[[str], None]
    progress: evaluate.Progress
    check: Callable[[], None]

    def step(self, name: str, words: str) -> None:
        """A named step begins; raises what the check raises."""
        self.check()
        self.say(f"{name}: {words}")

    def warn(self, words: str) -> None:
        """Something that a person should look at."""
        self.say(words)
