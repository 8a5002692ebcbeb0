"""Messages of Celery: what any program may send as a task's arguments, in a real Redis's ledger."""

import json
import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

from schemas.document import Document
from schemas.job import JobState
from tests.faults.inputs import noise
from tests.faults.inputs.bench import Case, Target
from tests.faults.inputs.servers import Served, configured, served
from tests.faults.inputs.truth import check_document, comes_from
from trainer import tasks as trainer_tasks
from trainer.history import History
from trainer.refinement.desk import Desk
from trainer.refinement.pending import Pending, Wishes
from worker import tasks
from worker.errors import WorkerError
from worker.ingest.intake import Intake
from worker.ingest.producer import Producer
from worker.patience import Patience
from worker.settings.environment import Settings
from worker.settings.ingest import IngestSettings, LimitSettings
from worker.settings.servers import RedisSettings

JOBS = ("job", "a:b", "x" * 300, "é", "a b", "7", "a\nb", "*", "{}", "a\0b", "\ud800")
FLAGS = {
    True,
    False,
    None,
    "true",
    "false",
    "yes",
    "no",
    "on",
    "off",
    "1",
    "0",
    "t",
    "f",
    "y",
    "n",
}
CLEAN = [f"10.{1000 + n}/abc.{n}" for n in range(40)]


@contextmanager
def _quietly() -> Iterator[None]:
    """What is refused is logged, a hundred thousand times."""
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


@contextmanager
def _open_lists(folder: Path) -> Iterator[Case]:
    with served(folder) as there, _quietly():
        patience = Patience()
        producer = Producer(
            there.ledger,
            lambda _job, _number: None,
            options=IngestSettings(batch_records=3),
            limits=LimitSettings(),
            patience=patience,
        )
        intake = Intake(producer, there.ledger, patience=patience)

        def case(rng: Random) -> bool:
            there.client.flushdb()
            job = rng.choice(JOBS) if rng.random() < 0.2 else f"{rng.getrandbits(48):x}"
            arguments, named = _list_message(rng)
            intake.take(job, arguments, named)
            return _check_job(there, job, arguments, named)

        yield case


def _list_message(rng: Random) -> tuple[list[Any], dict[str, Any]]:
    items = [_item(rng) for _ in range(rng.randint(0, 7))]
    act = rng.random()
    if act < 0.75:
        made: tuple[list[Any], dict[str, Any]] = (
            ([items], {}) if rng.random() < 0.5 else ([], {"dois": items})
        )
    elif act < 0.85:
        made = ([noise.value(rng)], {})
    else:
        extra = {noise.text(rng): noise.value(rng)} if rng.random() < 0.6 else {}
        made = ([items, *(noise.value(rng) for _ in range(rng.randint(0, 2)))], extra)
    return json.loads(json.dumps(made))  # type: ignore[no-any-return]


def _item(rng: Random) -> Any:
    act = rng.random()
    if act < 0.4:
        return rng.choice(CLEAN)
    if act < 0.6:
        fields = {"title": "On something", "year": 2001, "venue": "A Journal", "abstract": "Words."}
        return noise.mangled(rng, {"doi": rng.choice(CLEAN), **fields})
    if act < 0.8:
        raw = noise.damaged(rng, rng.choice(CLEAN).encode(), most=2)
        return raw.decode(errors="surrogateescape")
    return noise.value(rng)


def _check_job(there: Served, name: str, arguments: list[Any], named: dict[str, Any]) -> bool:
    """The job says what became of each item of the list, or why that is none."""
    name = name.encode(errors="backslashreplace").decode()
    job = there.ledger.job(name)
    is_call = (len(arguments), set(named)) in ((1, set()), (0, {"dois"}))
    if job.state is JobState.REJECTED:
        assert job.note, "rejected without a reason"
        assert not is_call, f"a list was rejected: {job.note}"
        return False
    assert is_call, "taken, though it is no call of this task"
    (given,) = named.values() if named else arguments
    items = given if isinstance(given, list) else [given]
    total = job.accepted + job.repeated + job.invalid + job.without_doi
    assert len(items) == job.read == total, f"{len(items)} given: {job!r}"
    documents = [d for batch in there.ledger.kept(name) for d in batch.documents]
    assert len(documents) == job.accepted
    _check_documents(documents, items)
    return bool(documents)


def _check_documents(documents: list[Document], items: list[Any]) -> None:
    found = {document.doi for document in documents}
    sure = {item for item in items if isinstance(item, str) and item in CLEAN}
    assert sure <= found, f"lost {sure - found}"
    texts = [
        item if isinstance(item, str) else json.dumps(item, ensure_ascii=False) for item in items
    ]
    for document in documents:
        check_document(document)
        assert any(comes_from(document.doi, text) for text in texts), f"nobody gave {document!r}"
        assert document.source == "given"
        assert not document.supplied


@contextmanager
def _open_batches(folder: Path) -> Iterator[Case]:
    with served(folder) as there, _quietly():
        claimed: list[Any] = []

        def run(job: str, number: int) -> None:
            try:
                claimed.append(there.ledger.claim(job, number))
            except Exception as error:  # noqa: BLE001 - the task logs it, and says no more
                claimed.append(error)

        # What a worker has once it started, as far as this task asks it.
        tasks._runtime = SimpleNamespace(  # type: ignore[assignment]
            patience=Patience(), ingestor=SimpleNamespace(run=run)
        )

        with configured(there.url):
            assert tasks.app.conf.broker_url

        def case(rng: Random) -> bool:
            there.client.flushdb()
            there.ledger.open("job", identity=None, source="s", batch_records=2)
            there.ledger.accept("job", 0, [Document(doi="10.1000/a")])
            claimed.clear()
            arguments = [rng.choice(("job", "job", "other", noise.value(rng)))]
            arguments.append(rng.choice((0, 0, 1, 2**32, 2**64, 10**400, noise.value(rng))))
            arguments += [noise.value(rng)] * rng.choice((0, 0, 0, 1))
            named = {noise.text(rng): noise.value(rng)} if rng.random() < 0.15 else {}
            arguments, named = json.loads(json.dumps([arguments, named]))
            tasks.batch(*arguments[: rng.choice((9, 9, 9, 1))], **named)
            return _check_claim(claimed, arguments, named)

        yield case


def _check_claim(claimed: list[Any], arguments: list[Any], named: dict[str, Any]) -> bool:
    errors = [one for one in claimed if isinstance(one, Exception)]
    assert all(isinstance(error, WorkerError) for error in errors), f"not ours: {errors}"
    if any(claimed and one is not None and not isinstance(one, Exception) for one in claimed):
        assert arguments == ["job", 0], f"claimed by {arguments}"
        assert type(arguments[1]) is int, f"claimed by {arguments}"
        assert not named, f"claimed by {arguments} {named}"
        return True
    return False


@contextmanager
def _open_refines(folder: Path) -> Iterator[Case]:
    with served(folder) as there, _quietly():
        settings = Settings(data_dir=folder, redis=RedisSettings(url=there.url), _env_file=None)
        with closing(Desk(settings, make_refine=_never, lost=_never)) as desk:
            trainer_tasks._desk = desk
            with configured(there.url):
                assert trainer_tasks.app.conf.broker_url
            pending, history = Pending(there.ledger), History.below(folder)

            def case(rng: Random) -> bool:
                there.client.flushdb()
                arguments, named = _wish_message(rng)
                result = trainer_tasks.refine.apply(arguments, named, task_id="task")
                assert result.successful(), f"failed: {result.result!r}"
                entries = history.entries()
                (folder / "trainer" / "history.jsonl").unlink(missing_ok=True)
                request = pending.read()
                if request is None:
                    assert len(entries) == 1, "refused, and nobody is told"
                    assert "can't be read" in entries[0].words, entries[0]
                    return False
                assert not entries
                _check_wishes(Wishes.of(settings.refine, **request.wishes), arguments, named)
                return True

            yield case


def _never(*_: Any, **__: Any) -> Any:
    raise AssertionError("called")


def _wish_message(rng: Random) -> tuple[list[Any], dict[str, Any]]:
    named: dict[str, Any] = {}
    for name in rng.sample(
        ("recipe", "parent", "allow_missing", "force", "slot"), k=rng.randint(0, 3)
    ):
        likely = rng.choice(("title", "base", True, False, None, "yes", 1, 0, "2026-01-01 03:00"))
        named[name] = likely if rng.random() < 0.7 else noise.value(rng)
    if rng.random() < 0.15:
        named[rng.choice((noise.text(rng), "settings", "wishes", "self", "cls", "id"))] = (
            noise.value(rng)
        )
    arguments = [noise.value(rng)] if rng.random() < 0.1 else []
    return json.loads(json.dumps([arguments, named]))  # type: ignore[no-any-return]


def _check_wishes(wishes: Wishes, arguments: list[Any], named: dict[str, Any]) -> None:
    asked = {name: value for name, value in named.items() if name != "slot" and value is not None}
    assert not arguments, f"taken with {arguments}"
    assert asked.keys() <= Wishes.model_fields.keys(), f"taken with {asked}"
    for name in asked.keys() & {"recipe", "parent"}:
        assert getattr(wishes, name) == asked[name], f"{asked} was taken as {wishes}"
    for name in asked.keys() & {"allow_missing", "force"}:
        value = asked[name]
        value = value.lower() if isinstance(value, str) else value
        assert value in FLAGS, f"{asked} was taken as {wishes}"
        assert getattr(wishes, name) is (value in {True, "true", "yes", "on", "1", "t", "y"})


TARGETS = (
    Target("ingest", 30, _open_lists),
    Target("batch", 20, _open_batches),
    Target("refine", 16, _open_refines),
)
