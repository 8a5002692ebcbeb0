"""What a promotion would do: how long it would take, and what the second collection needs."""

import json
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from schemas.document import Document
from schemas.model import ModelVersion, collection_name, render
from trainer.errors import PromotionRefused
from trainer.promotion.difference import Page, Unread, document_of, pages
from trainer.promotion.promote import Promoter
from trainer.promotion.prune import BYTES_A_NUMBER
from worker.model.loaded import Target

MEASURED_TEXTS = 256
# Of Qdrant's capacity planning (qdrant.tech/documentation/guides/capacity-planning): vectors with
# their HNSW index in memory take half as much again as the vectors alone.
INDEX_FACTOR = 1.5


class Forecast(NamedTuple):
    """What a promotion would do: `records` are to be copied, `points` are in the live collection.

    Records that only older collections have are to be copied too. Of the `unreadable` ones in the
    live collection, `recent` came in the last days: others like them will be dead letters. `rate`
    is in records a second, as this machine's device embeds a sample of them; each further worker
    adds its own. `memory_bytes` and `disk_bytes` are what the new collection needs when it is
    complete, the old one staying as it is; while its index is built, up to three times that was
    seen (docs/operations/size.md).
    """

    version: str
    live: str
    collection: str
    points: int
    records: int
    unreadable: tuple[str, ...]
    recent: int
    rate: float
    memory_bytes: int
    disk_bytes: int

    @property
    def seconds(self) -> float:
        """How long copying takes at this rate, ingest apart."""
        return self.records / self.rate if self.rate else 0.0


def forecast(promoter: Promoter, version: str) -> Forecast:
    """Look at what is live and at the version, and change nothing.

    Raises `PromotionRefused` where nothing is live yet, and `ModelError`.
    """
    manifest = promoter.stores.registry.get(version)[1]
    live = promoter.store.live(promoter.deployment.alias)
    if live is None:
        raise PromotionRefused("nothing is ingested yet")
    target = collection_name(promoter.deployment.alias, manifest.version)
    found = _look(promoter, live, target, manifest=manifest)
    sample = _sample(promoter, live)
    points = promoter.store.count(live)
    vectors = (points + found.gathered) * manifest.dimension * BYTES_A_NUMBER
    payloads = (points + found.gathered) * _mean_bytes(sample)
    return Forecast(
        version=manifest.version,
        live=live,
        collection=target,
        points=points,
        records=found.lacking + found.gathered,
        unreadable=tuple(found.unreadable),
        recent=found.unread.recent,
        rate=_rate(promoter.deployment.load(target), sample),
        memory_bytes=int(vectors * INDEX_FACTOR),
        disk_bytes=int(vectors * INDEX_FACTOR + payloads),
    )


class _Found(NamedTuple):
    """What the live collection has to be copied, and what only older ones have (`gathered`)."""

    lacking: int
    gathered: int
    unreadable: list[str]
    unread: Unread


def _look(promoter: Promoter, live: str, target: str, *, manifest: ModelVersion) -> _Found:
    there = promoter.store.collections(promoter.deployment.alias)
    lacking, unreadable, unread = 0, list[str](), Unread()
    holders = [target] if target in there else []
    for page in _pages(promoter, live, holders, manifest=manifest):
        lacking += len(page.lacking)
        unreadable += page.unreadable
        unread.add(page.unreadable)
    gathered, holders = 0, [live, *holders]
    for older in [name for name in there if name not in {live, target} and target != live]:
        found = _pages(promoter, older, holders, manifest=manifest)
        gathered += sum(len(page.lacking) for page in found)
        holders.append(older)
    return _Found(lacking, gathered, unreadable, unread)


def _pages(
    promoter: Promoter, source: str, holders: Sequence[str], *, manifest: ModelVersion
) -> Iterator[Page]:
    return pages(
        promoter.store,
        source,
        holders,
        buried=promoter.ledger.buried,
        version=manifest,
    )


def _sample(promoter: Promoter, live: str) -> list[dict[str, object]]:
    ids = list(islice(promoter.store.ids(live), MEASURED_TEXTS))
    return list(promoter.store.payloads(live, ids).values())


def _rate(target: Target, sample: list[dict[str, object]]) -> float:
    documents: list[Document] = [document_of(payload) for payload in sample]
    rendered = (render(document, target.templates) for document in documents)
    texts = [text for text in rendered if text is not None]
    if not texts:
        return 0.0
    target.encoder.encode(texts[:8])  # what the first call makes ready isn't the rate
    began = time.perf_counter()
    target.encoder.encode(texts)
    return len(texts) / (time.perf_counter() - began)


def _mean_bytes(sample: list[dict[str, object]]) -> float:
    return sum(len(json.dumps(payload)) for payload in sample) / max(1, len(sample))
