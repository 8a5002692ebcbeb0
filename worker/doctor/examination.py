"""All checks, one after the other; what doesn't answer is a finding, and the rest goes on."""

from contextlib import ExitStack, closing

from worker.app import answering, make_app
from worker.doctor import ledger as of_ledger
from worker.doctor import machine, models, work
from worker.doctor import store as of_store
from worker.doctor.findings import Finding, Findings, attempted, fine, wrong
from worker.embedded.server import redis_settings
from worker.errors import StoreBusy, WorkerError
from worker.ledger.ledger import Ledger
from worker.patience import Patience
from worker.settings.environment import Settings
from worker.store.opening import look, open_store
from worker.store.protocol import VectorStore

LOOK_S = 5.0
ANSWER_S = 1.0
BRING = "bring the model to this machine, as the words say, or set DOIVEC_DATA_DIR to where it is"


def examine(settings: Settings) -> Findings:
    """Everything that is to be said of a deployment, from this machine; it changes nothing.

    A private Redis is started for it where none runs.
    """
    yield from machine.look(settings)
    with ExitStack() as stack:
        ledger = _ledger(settings, stack)
        if isinstance(ledger, Finding):
            yield ledger
        else:
            yield from _of_ledger(*ledger, is_private=settings.redis.url is None)
        yield from _of_store(settings, None if isinstance(ledger, Finding) else ledger[0])


def _ledger(settings: Settings, stack: ExitStack) -> tuple[Ledger, Settings] | Finding:
    """The ledger with the settings by which it is reached, or why there is none."""
    try:
        redis, _ = stack.enter_context(redis_settings(settings, command="doctor"))
        brief = redis.model_copy(update={"timeout_s": min(LOOK_S, redis.timeout_s)})
        ledger = Ledger.connect(brief, options=settings.ingest)
        stack.callback(ledger.close)
        Patience(give_up_s=0.0)(ledger.ping)
    except (WorkerError, OSError) as error:
        return wrong(of_ledger.CHECK, str(error), of_ledger.AWAY)
    return ledger, settings.model_copy(update={"redis": redis})


def _of_ledger(ledger: Ledger, settings: Settings, *, is_private: bool) -> Findings:
    yield from attempted(
        of_ledger.CHECK,
        lambda: of_ledger.look(ledger, settings.redis, is_private=is_private),
        todo=of_ledger.AWAY,
    )
    yield from attempted(work.CHECK, lambda: work.look(ledger, settings), todo=of_ledger.AWAY)
    with closing(make_app(lambda: settings)) as application:
        yield from attempted(
            work.CELERY,
            lambda: work.of_celery(answering(application, timeout_s=ANSWER_S)),
            todo=of_ledger.AWAY,
        )


def _of_store(settings: Settings, ledger: Ledger | None) -> Findings:
    brief = {"timeout_s": min(LOOK_S, settings.qdrant.timeout_s)}
    live, alias = None, settings.collection
    try:
        opened = open_store(settings.qdrant.model_copy(update=brief), data_dir=settings.data_dir)
        with closing(opened) as store:
            yield from of_store.look(store, settings.qdrant, alias=alias)
            if ledger:
                yield from _of_both(ledger, store, alias=alias)
            live = store.live(alias)
    except StoreBusy as error:
        yield fine(of_store.CHECK, f"not looked into: {error}")
        live, _ = look(settings.qdrant, data_dir=settings.data_dir, alias=alias)
    except (WorkerError, OSError) as error:
        yield wrong(of_store.CHECK, str(error), of_store.AWAY)
        return
    yield from attempted(models.CHECK, lambda: models.look(settings, live), todo=BRING)


def _of_both(ledger: Ledger, store: VectorStore, *, alias: str) -> Findings:
    yield from attempted(
        of_store.BELONG,
        lambda: of_store.of_deployment(ledger, store, alias=alias),
        todo="set them to those that belong together; after a restore, `doi-worker adopt`",
    )
