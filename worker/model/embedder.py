"""Texts to unit vectors: load a model version, tokenize, run, check what comes out."""

import base64
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from schemas.model import ModelVersion
from worker import metrics
from worker.errors import EmbeddingError, ModelError
from worker.model import checkpoint
from worker.model.checkpoint import Checkpoint
from worker.model.origin import resolve_source
from worker.ticker import start_all

if TYPE_CHECKING:
    from worker.model.forward import PackedBert

LOWEST_CANARY_COSINE = 0.9995
UNIT_TOLERANCE = 1e-3
SLICE_TEXTS = 4096
STOCK_BATCH_TEXTS = 32
Vectors = NDArray[np.float32]
Done = Callable[[int], None]  # told of some more texts that are embedded
log = logging.getLogger(__name__)


class Model(Protocol):
    """What runs a model: doivec's own forward pass, or sentence-transformers' modules."""

    dimension: int
    max_tokens: int

    def encode(self, texts: Sequence[str], done: Done) -> Vectors:
        """Vectors float32 [n, dimension], in the order of the texts, of which there is one."""


class Embedder:
    """A loaded model. `encode` may be called from several threads at once."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.dimension = model.dimension
        self.max_tokens = model.max_tokens

    @classmethod
    def load(
        cls,
        path_or_name: str | Path,
        *,
        device: str = "auto",
        dtype: str = "auto",
        threads: int | None = None,
    ) -> "Embedder":
        """Load a sentence-transformers directory, or `base`.

        `device` is `auto`, `cpu`, `cuda`, `cuda:1`, ...; `dtype` is `auto`, `float32`,
        `bfloat16` or `float16`; `threads` is how many the CPU uses, by default torch's number.
        What doivec's own forward pass does not cover runs in sentence-transformers, in float32
        unless `dtype` says otherwise. Raises `ModelError`, `ConfigurationError`, `OutOfMemory`.
        """
        path = resolve_source(str(path_or_name))
        known = checkpoint.read(path)
        if isinstance(known, Checkpoint):
            return cls(PackedModel(known, device=device, dtype=dtype, threads=threads))
        log.info("%s runs in sentence-transformers, which is slower: %s", path.name, known)
        return cls(StockModel(path, device=device, dtype=dtype, threads=threads))

    @classmethod
    def load_reference(cls, path: Path) -> "Embedder":
        """The model as sentence-transformers runs it, on the CPU in float32."""
        return cls(StockModel(path, device="cpu", dtype="float32", threads=None))

    def encode(self, texts: Sequence[str], done: Done = lambda _: None) -> Vectors:
        """Unit vectors float32 [n, dimension], in the order of the texts.

        Longer texts than `max_tokens` are cut off. `done` hears of some more texts as they come.
        Raises `EmbeddingError` for output that is
        not finite or not of unit length, `OutOfMemory`, `DeviceLost`.
        """
        if not texts:
            return np.empty((0, self.dimension), np.float32)
        vectors = self._model.encode(texts, done)
        check_unit_length(vectors)
        return vectors

    def check_canaries(self, version: ModelVersion) -> None:
        """Compare the vectors of the version's fixed texts with those recorded with it.

        Raises `EmbeddingError` where the lowest cosine is below 0.9995.
        """
        if not version.canaries:
            raise EmbeddingError(f"the model {version.name} has no canaries to compare with")
        recorded = np.stack([_decode(canary.vector) for canary in version.canaries])
        vectors = self.encode([canary.text for canary in version.canaries])
        if recorded.shape != vectors.shape:
            raise EmbeddingError(
                f"the model {version.name} gives vectors of {self.dimension} numbers, "
                f"not of {recorded.shape[1]} as recorded with it"
            )
        lowest = float((recorded * vectors).sum(axis=1).min())
        if not lowest >= LOWEST_CANARY_COSINE:
            raise EmbeddingError(
                f"the model {version.name} does not give the vectors recorded with it: "
                f"cosine {lowest:.6f}, at least {LOWEST_CANARY_COSINE} is required"
            )


class PackedModel:
    """Tokenizes slices of the texts while the forward passes of earlier ones run.

    On a CPU each thread of a pool runs chunks of its own, from end to end: operators that
    share a chunk would wait for each other at every one. On CUDA one thread queues kernels.
    """

    def __init__(self, source: Checkpoint, *, device: str, dtype: str, threads: int | None) -> None:
        from worker.model import devices, forward  # noqa: PLC0415 - imports torch, which takes a second

        self._bert: PackedBert = forward.open_packed(source, device=device, dtype=dtype)
        self._tokenizer = source.tokenizer
        self._prompt = source.prompt
        on_cpu = self._bert.device.type == "cpu"
        count = (threads or devices.threads()) if on_cpu else 1
        self._pool = ThreadPoolExecutor(
            count,
            thread_name_prefix="doivec-embed",
            initializer=devices.use_threads if on_cpu else None,
        )
        start_all(self._pool, count)
        self._to_host = devices.to_host
        self.dimension = self._bert.dimension
        self.max_tokens = source.max_tokens

    def encode(self, texts: Sequence[str], done: Done) -> Vectors:
        """Vectors float32 [n, dimension], in the order of the texts."""
        vectors = np.empty((len(texts), self.dimension), np.float32)
        running: list[tuple[list[int], int, Future[Any]]] = []
        try:
            for rows, tokens in self._chunks(texts):
                size = sum(len(ids) for ids in tokens)
                running.append((rows, size, self._pool.submit(self._bert, tokens)))
            for rows, size, result in running:
                vectors[rows] = self._to_host(result.result())
                metrics.TEXTS.inc(len(rows))
                metrics.TOKENS.inc(size)
                done(len(rows))
        finally:
            for _, _, result in running:
                result.cancel()
        return vectors

    def _chunks(self, texts: Sequence[str]) -> Iterator[tuple[list[int], list[list[int]]]]:
        """Rows and their token ids, shortest text first, some `chunk_tokens` at a time."""
        by_size = sorted(range(len(texts)), key=lambda row: len(texts[row]))
        for start in range(0, len(texts), SLICE_TEXTS):
            rows = by_size[start : start + SLICE_TEXTS]
            tokens = dict(zip(rows, self._tokenize([texts[row] for row in rows]), strict=True))
            rows.sort(key=lambda row: len(tokens[row]))
            for chunk in cut(rows, [len(tokens[r]) for r in rows], self._bert.chunk_tokens):
                yield chunk, [tokens[row] for row in chunk]

    def _tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        encodings = self._tokenizer.encode_batch_fast([self._prompt + text for text in texts])
        return [encoding.ids for encoding in encodings]


class StockModel:
    """The modules of sentence-transformers, for every model that they can load."""

    def __init__(self, path: Path, *, device: str, dtype: str, threads: int | None) -> None:
        from worker.model import devices  # noqa: PLC0415 - as above

        if threads:
            devices.use_threads(threads)
        self._lock = threading.Lock()
        self._errors = devices.vendor_errors
        with self._errors():
            place = devices.pick_device(device)
            self._model = _open_stock(path, device=str(place))
            self._model.to(devices.pick_dtype("float32" if dtype == "auto" else dtype, place))
        self.dimension = int(self._model.get_embedding_dimension() or 0)
        self.max_tokens = int(self._model.max_seq_length or 0)

    def encode(self, texts: Sequence[str], done: Done) -> Vectors:
        """Vectors float32 [n, dimension], in the order of the texts."""
        with self._lock, self._errors():
            vectors: Vectors = self._model.encode(
                list(texts),
                batch_size=STOCK_BATCH_TEXTS,
                convert_to_numpy=True,
                normalize_embeddings=True,
                show_progress_bar=False,
            )
        metrics.TEXTS.inc(len(texts))
        done(len(texts))
        return np.asarray(vectors, np.float32)


def cut(rows: Sequence[int], sizes: Sequence[int], limit: int) -> Iterator[list[int]]:
    """Consecutive rows whose sizes add up to at most `limit`; a larger one goes alone."""
    chunk: list[int] = []
    total = 0
    for row, size in zip(rows, sizes, strict=True):
        if chunk and total + size > limit:
            yield chunk
            chunk, total = [], 0
        chunk.append(row)
        total += size
    if chunk:
        yield chunk


def check_unit_length(vectors: Vectors) -> None:
    """Raise `EmbeddingError` unless all vectors [n, d] are finite and of length 1 ± 0.001."""
    lengths = np.linalg.norm(vectors, axis=1)
    wrong = np.flatnonzero(~(np.abs(lengths - 1) <= UNIT_TOLERANCE))
    if wrong.size:
        raise EmbeddingError(
            f"{wrong.size} of {len(vectors)} vectors are not of unit length; "
            f"the first has length {lengths[wrong[0]]}"
        )


def _decode(vector: str) -> Vectors:
    return np.frombuffer(base64.b64decode(vector), "<f4").astype(np.float32)


def _open_stock(path: Path, *, device: str) -> Any:
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - takes five seconds
    from transformers.utils import logging as transformers_logging  # noqa: PLC0415

    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        return SentenceTransformer(
            str(path),
            device=device,
            trust_remote_code=False,
            local_files_only=True,
            model_kwargs={"use_safetensors": True},
        )
    except Exception as error:
        reason = str(error).strip().split("\n")[0]
        raise ModelError(f"the model in {path} can't be loaded: {reason}") from error
