"""Looking DOIs up: in the local index first, then at one registry after the other."""

import logging
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from math import isfinite
from typing import NamedTuple

from schemas.document import Document
from worker import metrics
from worker.errors import RegistryBlocked, RegistryRefused, RegistryUnavailable, WorkerError
from worker.metadata.answers import Answers, Registry
from worker.metadata.index import Index
from worker.metadata.memory import abstracts_since, note
from worker.metadata.supplements import kept, lacking
from worker.settings.metadata import MetadataSettings

PAGE_DOIS = 1000  # so that what one registry leaves fills lists of the next
PAGES = 3  # at once: while one is at the last registry, the first has another
DAY_S = 86400.0
JITTER = 0.2  # or all that was not found on one day would be asked for again on one day
NOTE_S = 5.0
SILENCE_S = 3600.0  # after a registry answered, but not for this DOI
REST_S = 60.0  # after a registry didn't answer, with all its tries
log = logging.getLogger(__name__)


class Page(NamedTuple):
    """DOIs that were looked up, and of those with what is wanted what is known of them."""

    dois: Sequence[str]
    found: dict[str, list[Document]]


class Rest(NamedTuple):
    """Until when a registry isn't asked, in Unix seconds, and why."""

    until: float
    why: str


class Resolver:
    """Looks DOIs up, and keeps in the index what every registry said.

    What was answered is kept before it is given back: who is killed asks again only for what was
    under way. A registry that didn't answer is left alone for a minute, one whose budget is spent
    until it says, one that refuses for good; the others are asked meanwhile.
    """

    def __init__(
        self,
        index: Index,
        registries: Sequence[Registry],
        *,
        settings: MetadataSettings,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._index = index
        self._registries = registries
        self._settings = settings
        self._want = settings.want
        self._clock = clock
        self._asking = {
            registry.name: ThreadPoolExecutor(registry.threads, f"doivec-{registry.name}")
            for registry in registries
        }
        self._paging = ThreadPoolExecutor(PAGES, "doivec-page")
        self._lock = threading.Lock()
        self._noted = 0.0
        self._silent: dict[tuple[str, str], float] = {}
        self._answered = threading.Condition()
        self._under_way: set[tuple[str, str]] = set()
        self._abstracts_since = abstracts_since(index, wanted=self._want == "abstract", now=clock())
        self.resting: dict[str, Rest] = {}
        self.tally: Counter[str] = Counter()

    def begin(self, *, lacking: int) -> None:
        """Begin to count anew; raises `IndexUnavailable` where nothing found could be kept."""
        self.tally.clear()
        self.note(lacking=lacking, at_once=True)

    def resolve(self, dois: Iterable[str]) -> Iterator[Page]:
        """Look canonical DOIs up, page by page, in their order.

        `tally` counts meanwhile those that are done (`looked_up`), those `found` and of them those
        the index `known`, those left `unanswered`, and for each registry its `asked:NAME`,
        `found:NAME`, `absent:NAME`.
        """
        left, running = iter(dois), deque[Future[Page]]()
        try:
            while True:
                while len(running) < PAGES and (page := list(islice(left, PAGE_DOIS))):
                    running.append(self._paging.submit(self._page, page))
                if not running:
                    return
                yield running.popleft().result()
        finally:
            for future in running:
                future.cancel()

    def resting_now(self) -> dict[str, Rest]:
        """The registries that are left alone now."""
        with self._lock:
            now = self._clock()
            return {name: rest for name, rest in self.resting.items() if rest.until > now}

    def note(self, *, lacking: int, at_once: bool = False) -> None:
        """Leave in the index how far this is, for others to see; every few seconds, or at once."""
        now = self._clock()
        metrics.LOOKUPS_WAITING.set(max(0, lacking - self.tally["looked_up"]))
        if now - self._noted < NOTE_S and not at_once:
            return
        self._noted = now
        resting = {
            name: {"until": rest.until if isfinite(rest.until) else None, "why": rest.why}
            for name, rest in self.resting_now().items()
        }
        note(self._index, {"at": now, "lacking": lacking, **self.tally, "resting": resting})

    def close(self) -> None:
        """End what is under way, keeping what was answered, and let go of connections."""
        for registry in self._registries:
            registry.close()
        for pool in (self._paging, *self._asking.values()):
            pool.shutdown(wait=False, cancel_futures=True)
        for pool in (self._paging, *self._asking.values()):
            pool.shutdown()

    def _page(self, dois: Sequence[str]) -> Page:
        found = self._index.find(dois)
        left = lacking(dois, found, self._want)
        self._count(known=len(dois) - len(left))
        for registry in self._registries:
            if not left:
                break
            now = self._clock()
            asked = self._not_silent(registry.name, self._to_ask(registry, left), now=now)
            if asked and self._may_ask(registry.name, now):
                with self._alone(registry.name, asked) as mine:
                    # Another page may have been answered between the look and the turn.
                    self._ask_all(registry, self._to_ask(registry, mine))
                found |= self._index.find(asked)
                left = lacking(left, found, self._want)
        self._count(unanswered=len(self._unanswered(left)))
        whole = {doi: kept(found[doi], self._want) for doi in dois if doi in found}
        whole = {doi: documents for doi, documents in whole.items() if documents}
        self._count(looked_up=len(dois), found=len(dois) - len(left))
        return Page(dois, whole)

    def _unanswered(self, dois: Sequence[str]) -> set[str]:
        """Those of which some registry has yet to say anything."""
        asked = (self._to_ask(registry, dois) for registry in self._registries if dois)
        return {doi for page in asked for doi in page}

    def _to_ask(self, registry: Registry, dois: Sequence[str]) -> list[str]:
        """Those of which it said nothing that holds; what was kept without an abstract, too."""
        asked = self._index.to_ask(dois, registry.name, now=self._clock())
        if self._want != "abstract":
            return asked
        poor = {
            doi
            for doi, entries in self._index.entries(dois).items()
            for entry in entries
            if entry.source == registry.name
            and entry.document
            and not entry.document.abstract
            and entry.kept < self._abstracts_since
        }
        due = poor.union(asked)
        return [doi for doi in dois if doi in due]

    @contextmanager
    def _alone(self, name: str, dois: Sequence[str]) -> Iterator[list[str]]:
        """Those that no other page asks this registry for now; at the end, all are answered."""
        keys = {(name, doi) for doi in dois}
        with self._answered:
            mine = keys - self._under_way
            self._under_way |= mine
        try:
            yield [doi for doi in dois if (name, doi) in mine]
        finally:
            with self._answered:
                self._under_way -= mine
                self._answered.notify_all()
        with self._answered:
            self._answered.wait_for(lambda: not keys & self._under_way)

    def _ask_all(self, registry: Registry, dois: Sequence[str]) -> None:
        groups = [dois[n : n + registry.most] for n in range(0, len(dois), registry.most)]
        list(self._asking[registry.name].map(lambda group: self._ask(registry, group), groups))

    def _ask(self, registry: Registry, dois: Sequence[str]) -> None:
        name, now = registry.name, self._clock()
        if not self._may_ask(name, now):
            return
        try:
            answers = registry.ask(dois)
        except RegistryBlocked as blocked:
            self._rest(name, blocked.until, str(blocked))
        except RegistryUnavailable as error:
            self._rest(name, self._clock() + REST_S, str(error))  # its tries may have taken longer
        except RegistryRefused as error:
            self._rest(name, float("inf"), str(error))
        else:
            self._hear_silence(name, dois, answers, now=now)
            self._keep(name, answers, now=now)
            said = {"found": len(answers.found), "absent": len(answers.absent)}
            said["none"] = len(dois) - sum(said.values())
            for answer, count in said.items():
                metrics.LOOKUPS.labels(name, answer).inc(count)
            self._count(
                **{
                    f"asked:{name}": len(dois),
                    f"found:{name}": len(answers.found),
                    f"absent:{name}": len(answers.absent),
                }
            )

    def _keep(self, name: str, answers: Answers, *, now: float) -> None:
        """Keep what was said, without abstracts unless they are wanted."""
        if self._want != "abstract":
            bare = {
                doi: answer._replace(document=answer.document.model_copy(update={"abstract": None}))
                for doi, answer in answers.found.items()
            }
            answers = answers._replace(found=bare)
        try:
            self._index.keep(name, answers, asked_at=now, until=self._until(answers, now))
        except WorkerError as error:
            self._rest(name, self._clock() + REST_S, f"its answers can't be kept: {error}")
            raise

    def _not_silent(self, name: str, dois: Sequence[str], *, now: float) -> list[str]:
        with self._lock:
            return [doi for doi in dois if self._silent.get((name, doi), 0.0) <= now]

    def _hear_silence(
        self, name: str, dois: Sequence[str], answers: Answers, *, now: float
    ) -> None:
        """Note the DOIs that a registry which answers doesn't answer for."""
        with self._lock:
            self._silent = {key: at for key, at in self._silent.items() if at > now}
            silent = set(dois) - answers.found.keys() - answers.absent
            self._silent.update(((name, doi), now + SILENCE_S) for doi in silent)

    def _may_ask(self, name: str, now: float) -> bool:
        with self._lock:
            return name not in self.resting or self.resting[name].until <= now

    def _rest(self, name: str, until: float, why: str) -> None:
        with self._lock:
            told = self.resting.get(name)
            self.resting[name] = Rest(until, why)
        metrics.LEFT_ALONE_UNTIL.labels(name).set(until)
        if told is None or told.why != why:
            log.warning("%s is left alone %s: %s", name, _words(until), why)

    def _until(self, answers: Answers, now: float) -> dict[str, float]:
        """Until when each answer holds."""
        found_s = self._settings.found_days * DAY_S
        until = dict.fromkeys(answers.found, now + found_s)
        years = {str(datetime.fromtimestamp(now, UTC).year - ago) for ago in (0, 1)}
        for doi in answers.absent:
            is_young = any(year in doi for year in years)
            days = self._settings.young_absent_days if is_young else self._settings.absent_days
            until[doi] = now + days * DAY_S * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311
        return until

    def _count(self, **counts: int) -> None:
        with self._lock:
            self.tally.update(counts)


def _words(until: float) -> str:
    if until == float("inf"):
        return "from now on"
    return f"until {datetime.fromtimestamp(until, UTC):%Y-%m-%d %H:%M:%S} UTC"
