"""Texts to vectors: doivec against `SentenceTransformer.encode`, with parity beside the speed.

`python -m benchmarks.embedding` writes `benchmarks/results/embedding_cpu.json`, or
`embedding_cuda.json` where there is a GPU. The contenders take turns in one process; a figure
is the median of the rounds, its interval the lowest and the highest round, a ratio is of the
same round.
"""

import json
import lzma
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from torch.nn import functional
from transformers.utils import logging as transformers_logging

from benchmarks import machine
from worker.model import checkpoint
from worker.model.devices import pick_dtype
from worker.model.embedder import Embedder
from worker.model.origin import resolve_source

CORPUS, QUERIES, NEIGHBOURS = 20_000, 1_000, 10
ROUNDS = 9 if not torch.cuda.is_available() else 5
LOWEST_COSINE, SAME_TOP_TEN = 0.9995, 0.99
# all-MiniLM-L6-v2: layers, width; an encoder layer has 12 matrices of width by width.
LAYERS, WIDTH = 6, 384
Vectors = NDArray[np.float32]
Encode = Callable[[Sequence[str]], Vectors]


def main() -> None:
    """Measure, print and write the results."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dois, abstracts = machine.dois(CORPUS), read_abstracts(300)
    contenders = make_contenders(device, dois)
    results: dict[str, Any] = {"embedder": describe_units(device), "rounds": ROUNDS}
    sizes = {"short": 1_000, "long": 64} if device == "cpu" else {"short": 20_000, "long": 2_000}
    for name, texts in {"short": dois, "long": abstracts}.items():
        if texts:
            sample = list(islice(cycle(texts), sizes[name]))
            results[name] = compare(contenders, sample, device=device)
    results["parity"] = check_parity(contenders, dois, abstracts)
    machine.write_result(f"embedding_{device}", results)
    require_parity(results["parity"]["doivec"])


def read_abstracts(count: int) -> list[str]:
    """Real abstracts, most of them longer than the model reads; none where they are absent."""
    source = machine.DATA / "metadata.jsonl.xz"
    if not source.exists():
        return []
    with lzma.open(source, "rt") as rows:
        found = (record["abstract"] for record in map(json.loads, rows) if record.get("abstract"))
        return list(islice(found, count))


def make_contenders(device: str, dois: Sequence[str]) -> dict[str, Encode]:
    """What is compared; the first is the reference: sentence-transformers at its defaults."""
    embedder = Embedder.load("base", device=device)
    stock = open_stock(device)
    contenders: dict[str, Encode] = {"sentence_transformers": encode_with(stock)}
    if device == "cuda":
        half = open_stock(device).half()
        sizes = {size: encode_with(half, batch_size=size) for size in (32, 128, 512, 2048)}
        best = max(sizes, key=lambda size: per_second(sizes[size], dois))
        contenders[f"sentence_transformers_float16_batch_{best}"] = sizes[best]
    contenders["doivec"] = embedder.encode
    for encode in contenders.values():
        encode(dois[:1000])
    return contenders


def open_stock(device: str) -> SentenceTransformer:
    """The base model in sentence-transformers."""
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    return SentenceTransformer(str(resolve_source("base")), device=device, local_files_only=True)


def encode_with(model: SentenceTransformer, **options: Any) -> Encode:
    """`SentenceTransformer.encode` without its progress bar."""
    return lambda texts: model.encode(list(texts), show_progress_bar=False, **options)


def compare(
    contenders: Mapping[str, Encode],
    texts: Sequence[str],
    *,
    device: str,
) -> dict[str, Any]:
    """Texts a second of each contender, doivec's ratio to each, and its share of the machine."""
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    matrix: dict[str, list[float]] = {"bfloat16": [], "float32": []}
    for number in range(ROUNDS):
        order = list(contenders) if number % 2 else list(contenders)[::-1]
        for name in order:
            rates[name].append(per_second(contenders[name], texts))
        for dtype, measured in matrix.items():
            measured.append(matrix_gflops(getattr(torch, dtype), device))
    ours, lengths = rates["doivec"], count_tokens(texts)
    gflop = sum(map(flop, lengths)) / len(lengths) / 1e9
    return {
        "texts": len(texts),
        "mean_tokens": round(sum(lengths) / len(lengths), 1),
        "gflop_a_text": round(gflop, 4),
        "texts_a_second": {name: interval(values) for name, values in rates.items()},
        "doivec_times": {
            name: interval([a / b for a, b in zip(ours, values, strict=True)])
            for name, values in rates.items()
            if name != "doivec"
        },
        "doivec_gflops": interval([gflop * rate for rate in ours]),
        "matrix_gflops": {dtype: interval(values) for dtype, values in matrix.items()},
        "share_of_matrix_rate": {
            dtype: round(gflop * median(ours) / max(values), 3) for dtype, values in matrix.items()
        },
    }


def per_second(encode: Encode, texts: Sequence[str]) -> float:
    """Texts a second, once."""
    start = time.perf_counter()
    encode(texts)
    return len(texts) / (time.perf_counter() - start)


@torch.inference_mode()
def matrix_gflops(dtype: torch.dtype, device: str) -> float:
    """The rate of a matrix product, in GFLOP/s: the best of 20 of [2048, 384] by [384, 1536]."""
    rows, width, wide = 2048, WIDTH, 4 * WIDTH
    x = torch.randn(rows, width, device=device).to(dtype)
    weight = torch.randn(wide, width, device=device).to(dtype)
    best = float("inf")
    for _ in range(20):
        start = time.perf_counter()
        functional.linear(x, weight)
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return 2 * rows * width * wide / best / 1e9


def flop(tokens: int) -> float:
    """Floating-point operations for a text: 24 width² a token and layer, and attention."""
    return LAYERS * (24 * WIDTH**2 * tokens + 4 * WIDTH * tokens**2)


def count_tokens(texts: Sequence[str]) -> list[int]:
    """How many tokens the model reads of each text."""
    known = checkpoint.read(resolve_source("base"))
    if isinstance(known, str):
        raise SystemExit(f"the base model can't be read: {known}")
    return [len(encoding.ids) for encoding in known.tokenizer.encode_batch_fast(list(texts))]


def interval(values: Sequence[float]) -> dict[str, float]:
    """Median, lowest and highest, to four significant digits."""
    figures = {"median": median(values), "low": min(values), "high": max(values)}
    return {name: float(f"{value:.4g}") for name, value in figures.items()}


def check_parity(
    contenders: Mapping[str, Encode], dois: Sequence[str], abstracts: Sequence[str]
) -> dict[str, Any]:
    """How near the vectors are to the reference, as doivec picks its dtype and in half ones."""
    reference = next(iter(contenders.values()))
    short, long = reference(dois), reference(abstracts) if abstracts else None
    ours = {"doivec": contenders["doivec"]} | {
        f"doivec_{dtype}": Embedder.load("base", dtype=dtype).encode
        for dtype in ("float16", "bfloat16")
    }
    checked: dict[str, Any] = {"dois": len(dois), "abstracts": len(abstracts)}
    for name, encode in ours.items():
        vectors = encode(dois)
        checked[name] = {
            "lowest_cosine": lowest_cosine(short, vectors),
            "same_top_ten": round(same_neighbours(short, vectors), 5),
        }
        if long is not None:
            checked[name]["lowest_cosine_long"] = lowest_cosine(long, encode(abstracts))
    return checked


def require_parity(checked: Mapping[str, float]) -> None:
    """End with an error where doivec's vectors are not those of the reference."""
    cosines = [value for name, value in checked.items() if name.startswith("lowest_cosine")]
    if min(cosines) < LOWEST_COSINE or checked["same_top_ten"] < SAME_TOP_TEN:
        raise SystemExit(f"parity is lost: {checked}")


def lowest_cosine(one: Vectors, other: Vectors) -> float:
    """The lowest cosine between unit vectors of the same texts."""
    return round(float((one * other).sum(axis=1).min()), 7)


def same_neighbours(one: Vectors, other: Vectors) -> float:
    """The share of the ten nearest of 1,000 queries that both find."""
    pairs = zip(neighbours(one), neighbours(other), strict=True)
    shared = sum(len(set(a) & set(b)) for a, b in pairs)
    return shared / (NEIGHBOURS * min(QUERIES, len(one)))


def neighbours(vectors: Vectors) -> list[list[int]]:
    """The ten nearest others of each query, by cosine."""
    scores = vectors[:QUERIES] @ vectors.T
    np.fill_diagonal(scores, -1)
    found: list[list[int]] = np.argpartition(-scores, NEIGHBOURS)[:, :NEIGHBOURS].tolist()
    return found


def describe_units(device: str) -> dict[str, Any]:
    """What decides the speed here: the device, its matrix units, torch, the dtype picked."""
    info = Path("/proc/cpuinfo")
    flags = set(info.read_text().split()) if info.exists() else set()
    return {
        "gpu": torch.cuda.get_device_name() if device == "cuda" else None,
        "units": [u for u in ("avx512f", "avx512_bf16", "avx512_fp16", "amx_bf16") if u in flags],
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "doivec_dtype": str(pick_dtype("auto", torch.device(device))).removeprefix("torch."),
    }


if __name__ == "__main__":
    main()
