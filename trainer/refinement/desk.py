"""What a trainer's worker does: it takes requests in, and carries out the one that is pending."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime

from pydantic import ValidationError

from schemas.history import Entry
from trainer.alone import REFINING, Check, alone
from trainer.errors import TrainerError
from trainer.evaluation.evaluate import Progress as Texts
from trainer.history import History
from trainer.pace import Pace
from trainer.refinement.ends import End
from trainer.refinement.pending import Pending, Request, Wishes
from trainer.refinement.refine import FAILED, GOES_ON, Refine
from trainer.training.following import Progress as Steps
from worker.errors import Busy, DeviceLost, LeaseLost, LedgerUnavailable, WorkerError
from worker.ledger.ledger import Ledger
from worker.patience import Patience
from worker.settings.environment import Settings
from worker.ticker import Ticker

STARTS = 10  # by processes that died at it, one after the other
log = logging.getLogger(__name__)


class Logged:
    """Tells the log how far a refine is."""

    def say(self, words: str) -> None:
        """Tell a line."""
        log.info("%s", words)

    @contextmanager
    def training(self, name: str) -> Iterator[Steps]:
        """Tell the steps now and then."""
        yield Pace(f"training {name}", self.say).show

    @contextmanager
    def evaluating(self) -> Iterator[Texts]:
        """Tell the texts and queries now and then."""
        yield Pace("evaluating", self.say).show

    @contextmanager
    def promoting(self) -> Iterator[Texts]:
        """Tell the records now and then."""
        yield Pace("promoting", self.say).show


class Taker:
    """Takes up what is pending as soon as nobody else is at it.

    So a worker's death costs a lease's time, and no request: this worker or another one goes on.
    `refine` carries a request out, `alone` is held meanwhile; `lost` is called where the device
    is lost.
    """

    def __init__(
        self,
        pending: Pending,
        *,
        refine: Callable[[Request, Check], Entry],
        alone: Callable[[], AbstractContextManager[Check]],
        history: History,
        lost: Callable[[], None],
    ) -> None:
        self._pending = pending
        self._refine = refine
        self._alone = alone
        self._history = history
        self._lost = lost

    def take_up(self) -> None:
        """Carry out what is pending, if there is something and nobody else is at it.

        Raises `LedgerUnavailable`.
        """
        if self._pending.read() is None:
            return
        try:
            with self._alone() as check:
                request = self._pending.read()
                if request is not None:
                    self._carry_out(request, check)
        except Busy as error:
            log.debug("not taken up: %s", error)

    def _carry_out(self, request: Request, check: Check) -> None:
        if request.starts >= STARTS:
            self._give_up(request)
            return
        self._pending.keep(request.model_copy(update={"starts": request.starts + 1}))
        try:
            entry = self._refine(request, check)
        except GOES_ON as error:
            log.warning("refine of %s goes on later: %s", request.id, error)
            self._put_back(request, error)
            return
        except (TrainerError, WorkerError) as error:
            log.warning("refine of %s failed: %s", request.id, error)
        except Exception:
            log.exception("refine of %s failed", request.id)
        else:
            log.info("refine of %s: %s: %s", request.id, entry.outcome, entry.words)
        self._pending.end()

    def _put_back(self, request: Request, error: Exception) -> None:
        if isinstance(error, DeviceLost):
            log.critical("the accelerator is lost; this worker ends")
            self._lost()
        elif not isinstance(error, LeaseLost):  # then another worker may have it by now
            with suppress(LedgerUnavailable):
                self._pending.keep(request)

    def _give_up(self, request: Request) -> None:
        words = f"given up: {request.starts} processes died at it, one after the other"
        log.error("refine of %s: %s", request.id, words)
        ended_at = datetime.now(UTC)
        self._history.append(
            Entry(
                kind="refine",
                started_at=min(request.asked_at, ended_at),
                ended_at=ended_at,
                outcome=FAILED,
                words=words,
            )
        )
        self._pending.end()


class Desk:
    """All that a trainer's worker holds for as long as it runs.

    `make_refine` is `trainer.bootstrap.make_refine`; `lost` is called where the device is lost.
    Raises `ConfigurationError`; waits for a ledger that is away.
    """

    def __init__(
        self, settings: Settings, *, make_refine: Callable[..., Refine], lost: Callable[[], None]
    ) -> None:
        self._settings = settings
        self._make_refine = make_refine
        self._told = threading.Event()
        self._patience = Patience()
        self._ledger = Ledger.connect(settings.redis, options=settings.ingest)
        self._patience(self._ledger.ping)
        self._pending = Pending(self._ledger)
        self._history = History.below(settings.data_dir)
        taker = Taker(
            self._pending,
            refine=self._refine,
            alone=lambda: alone(settings, REFINING),
            history=self._history,
            lost=lost,
        )
        self._ticker = Ticker(REFINING, taker.take_up, pause_s=settings.ingest.sweep_s)

    def ask(self, request: Request) -> None:
        """Keep a request, to be taken up; one that can't be read is an entry of the history.

        Waits for a ledger that is away; raises `Stopped` where the worker is told to stop.
        """
        try:
            Wishes.of(self._settings.refine, **request.wishes)
        except ValidationError as error:
            log.warning("refine of %s is dropped: %s", request.id, error)
            first = error.errors()[0]
            words = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
            end = End(FAILED, f"asked for by {request.id}, which can't be read: {words}")
            self._history.append(end.entry(datetime.now(UTC)))
            return
        asked = {name: value for name, value in request.wishes.items() if value is not None}
        request = request.model_copy(update={"wishes": asked})
        answer = self._patience(self._pending.ask, request)
        if answer == "busy":
            log.warning("refine of %s is dropped: another one has not ended", request.id)
        else:
            log.info("refine of %s is %s", request.id, answer)

    def start(self) -> None:
        """Begin to take up what is pending."""
        self._ticker.start()

    def tell_to_stop(self) -> None:
        """Let what is under way stop at its next step; it goes on later."""
        self._told.set()
        self._patience.stop()

    def close(self) -> None:
        """Stop, and let go of the ledger."""
        self.tell_to_stop()
        self._ticker.stop()
        self._ledger.close()

    def _refine(self, request: Request, check: Check) -> Entry:
        refine = self._make_refine(
            self._settings, watcher=Logged(), told_to_stop=self._told.is_set, check=check
        )
        return refine.run(Wishes.of(self._settings.refine, **request.wishes))
