"""Neighbours under the live and another model, on both stores, with real (tiny) models."""

import uuid
from pathlib import Path

import pytest

from schemas.document import Document
from schemas.doi import point_id
from schemas.model import ModelVersion, collection_name, render, text_from
from schemas.search import Question
from tests.support.learnable import DOIS
from tests.support.tiny_model import make_tiny_model
from tests.support.vectors import NOW, payload
from trainer.errors import PromotionRefused
from trainer.promotion.preview import Preview, Previewer
from worker.model.embedder import Embedder
from worker.model.loaded import Target
from worker.model.registry import Registry
from worker.search import Searcher
from worker.store.protocol import VectorStore, Write

TITLED = [Document(doi=doi.lower(), title=f"A study of {doi}") for doi in DOIS[:40]]
BARE = [Document(doi=doi.lower()) for doi in DOIS[40:45]]
QUESTIONS = [
    Question(doi=DOIS[0]),
    Question(text=f"A study of {DOIS[1]}"),
    Question(doi=DOIS[40]),
    Question(doi="10.5555/absent"),
    Question(doi="not-a-doi"),
]


class Bench:
    """A live collection of one model, and another model that reads titles alone."""

    def __init__(self, store: VectorStore, folder: Path) -> None:
        self.store, self.registry = store, Registry(folder / "models")
        self.alias = f"seen{uuid.uuid4().hex[:8]}"  # the tests' server is one
        first, second = (make_tiny_model(folder / f"m{n}", seed=n) for n in (0, 1))
        self.live = self.registry.register(first, name="live", templates=("{title}", "{doi}"))
        self.new = self.registry.register(second, name="new", templates=("{title}",))
        self.models = {self._name(v): v for v in (self.live, self.new)}

    def fill(self, version: ModelVersion, documents: list[Document]) -> str:
        """Store what a version reads, as a worker does; returns the collection."""
        name = self._name(version)
        self.store.create(name, dimension=version.dimension)
        read = [d for d in documents if render(d, version.templates)]
        whole = [
            payload(d, sequence=NOW) | {"text_from": text_from(d, version.templates)} for d in read
        ]
        texts = [render(d, version.templates) or "" for d in read]
        vectors = self.load(name).encoder.encode(texts)
        ids = [point_id(d.doi) for d in read]
        self.store.upsert(name, Write(ids, vectors, whole), revisions=())
        return name

    def load(self, collection: str) -> Target:
        version = self.models[collection]
        path, _ = self.registry.get(version.version)
        return Target(collection, version.templates, Embedder.load(path, threads=1))

    def previewer(self, **options: int) -> Previewer:
        return Previewer(self.store, self.registry, alias=self.alias, load=self.load, **options)

    def _name(self, version: ModelVersion) -> str:
        return collection_name(self.alias, version.version)


@pytest.fixture
def bench(store: VectorStore, tmp_path: Path) -> Bench:
    return Bench(store, tmp_path)


def dois(found: Preview) -> tuple[list[str], list[str]]:
    return [near.doi for near in found.live], [near.doi for near in found.new]


def test_what_both_models_find_is_what_a_search_finds_before_and_after(bench: Bench) -> None:
    with pytest.raises(PromotionRefused, match="nothing is ingested yet"):
        bench.previewer().preview(bench.new.version, QUESTIONS)
    live = bench.fill(bench.live, [*TITLED, *BARE])
    bench.store.publish([bench.alias], collection=live)
    heard: list[tuple[int, int]] = []
    found = bench.previewer().preview(
        bench.new.version[:12], QUESTIONS, on_progress=lambda *far: heard.append(far)
    )
    assert bench.store.collections(bench.alias) == [live], "nothing is written"
    assert (found.version, found.collection) == (bench.new.version, live)
    assert (found.points, found.compared, found.unread) == (45, 45, len(BARE))
    assert heard[-1] == (45, 45)
    titled, text, bare, absent, wrong = found.answers
    assert titled.title == f"A study of {DOIS[0]}"
    assert text.new[0].doi == DOIS[1].lower()
    assert text.new[0].score == pytest.approx(1, abs=1e-3)
    assert len(bare.live) == len(BARE) - 1, "a DOI is compared with its like"
    assert bare.new == absent.new == wrong.new == ()
    assert bare.new_refusal == wrong.new_refusal == "the new model reads nothing of it"
    assert "no DOI" in wrong.live_refusal
    name = bench.fill(bench.new, TITLED)
    bench.store.publish([f"{bench.alias}-after"], collection=name)
    after = Searcher(bench.store, alias=f"{bench.alias}-after", load=bench.load)
    for one, question in ((titled, QUESTIONS[0]), (text, QUESTIONS[1])):
        (answer,) = after.answers([question])
        assert dois(one)[1] == [hit.doi for hit in answer.hits]
        scores = [hit.score for hit in answer.hits]
        assert [near.score for near in one.new] == pytest.approx(scores, abs=1e-3)


def test_of_a_large_collection_a_sample_and_what_is_near_by_now(bench: Bench) -> None:
    bench.store.publish([bench.alias], collection=bench.fill(bench.live, TITLED))
    whole = bench.previewer().preview(bench.new.version, QUESTIONS[:2])
    part = bench.previewer(most_read=10).preview(bench.new.version, QUESTIONS[:2])
    assert (whole.compared, part.compared, part.points) == (40, 10, 40)
    assert part.answers == whole.answers, "all of so few are among the live model's nearest"
