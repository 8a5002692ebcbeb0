import json
import lzma
import math
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from schemas.model import TEXT_CHARACTERS, shorten
from tests.support.paths import DATA as SHARED
from tests.support.tiny_model import make_tiny_model
from worker.errors import ConfigurationError, EmbeddingError, ModelError, OutOfMemory
from worker.model import checkpoint
from worker.model.devices import pick_dtype, vendor_errors
from worker.model.embedder import Embedder, PackedModel, StockModel, check_unit_length, cut
from worker.model.forward import Linear
from worker.model.origin import BASE_PACKAGE, resolve_source
from worker.model.registry import Registry

DOIS = [
    "10.1029/2021JF006454",
    "10.3390/ijms221810075",
    "10.1038/srep25179",
    "10.1002/(sici)1097-4571(199806)49:8<693::aid-asi4>3.0.co;2-o",
    "10.1109/tci.2017.2706029",
    "10.1038/s41586-020-2649-2",
]
TEXTS = [
    *DOIS,
    "",
    "Schrödinger's Gleichung: 量子力学 \u0301\u200b",
    "Equation of state calculations by fast computing machines. " * 40,
]
CLS_POOLING = {"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True}
EXACT, PARITY = 0.999999, 0.9995
Vectors = NDArray[np.float32]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def base() -> Embedder:
    return Embedder.load("base", device="cpu")


@pytest.fixture(scope="module")
def base_reference() -> Embedder:
    return Embedder.load_reference(resolve_source("base"))


def lowest_cosine(one: Vectors, other: Vectors) -> float:
    return float((one * other).sum(axis=1).min())


def edit(path: Path, **changes: object) -> None:
    old = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(old | changes))


def without_normalize(path: Path) -> None:
    modules = json.loads((path / "modules.json").read_text())
    (path / "modules.json").write_text(json.dumps(modules[:2]))


def assert_like_reference(path: Path, *, kind: type, texts: Sequence[str] = TEXTS) -> None:
    embedder = Embedder.load(path, device="cpu", dtype="float32")
    assert isinstance(embedder._model, kind)
    reference = Embedder.load_reference(path)
    assert (embedder.dimension, embedder.max_tokens) == (reference.dimension, reference.max_tokens)
    vectors = embedder.encode(texts)
    assert vectors.shape == (len(texts), embedder.dimension)
    assert vectors.dtype == np.float32
    assert lowest_cosine(vectors, reference.encode(texts)) > EXACT


def test_vectors_are_those_of_sentence_transformers(tiny: Path) -> None:
    assert_like_reference(tiny, kind=PackedModel)


def test_a_directory_that_sentence_transformers_saved_is_packed_too(
    tiny: Path, tmp_path: Path
) -> None:
    Embedder.load_reference(tiny)._model._model.save(str(tmp_path / "saved"))  # type: ignore[attr-defined]
    assert_like_reference(tmp_path / "saved", kind=PackedModel)


@pytest.mark.parametrize("max_tokens", [16, 500])
def test_texts_are_cut_where_sentence_transformers_cuts_them(
    tmp_path: Path, max_tokens: int
) -> None:
    path = make_tiny_model(tmp_path / "model", max_tokens=max_tokens)
    (path / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 16}))
    assert_like_reference(path, kind=PackedModel)


def test_a_limit_may_come_from_the_tokenizer(tmp_path: Path) -> None:
    path = make_tiny_model(tmp_path / "model")
    (path / "sentence_bert_config.json").write_text("{}")
    edit(path / "tokenizer_config.json", model_max_length=24)
    assert_like_reference(path, kind=PackedModel)


def test_a_default_prompt_goes_before_every_text(tmp_path: Path) -> None:
    path = make_tiny_model(tmp_path / "model")
    plain = Embedder.load(path, device="cpu").encode(DOIS)
    edit(
        path / "config_sentence_transformers.json",
        prompts={"doi": "doi: ", "query": "q: "},
        default_prompt_name="doi",
    )
    assert_like_reference(path, kind=PackedModel)
    assert lowest_cosine(plain, Embedder.load(path, device="cpu").encode(DOIS)) < EXACT


def test_a_model_without_normalize_gives_unit_vectors(tmp_path: Path) -> None:
    path = make_tiny_model(tmp_path / "model")
    without_normalize(path)
    assert_like_reference(path, kind=PackedModel)


@pytest.mark.parametrize(
    ("file", "change"),
    [
        (
            "1_Pooling/config.json",
            {"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True},
        ),
        ("1_Pooling/config.json", {"pooling_mode_max_tokens": True}),
        ("config.json", {"hidden_act": "relu"}),
        ("tokenizer_config.json", {"do_lower_case": False}),
        ("sentence_bert_config.json", {"do_lower_case": True}),
    ],
)
def test_what_the_packed_pass_does_not_cover_runs_in_sentence_transformers(
    tmp_path: Path, file: str, change: dict[str, object]
) -> None:
    path = make_tiny_model(tmp_path / "model")
    edit(path / file, **change)
    embedder = Embedder.load(path, device="cpu")
    assert isinstance(embedder._model, StockModel)
    reference = Embedder.load_reference(path)
    if not isinstance(checkpoint.read(path), str):
        pytest.fail("the packed pass claims to cover it")
    assert lowest_cosine(embedder.encode(TEXTS), reference.encode(TEXTS)) > EXACT


def token(content: str) -> dict[str, object]:
    flags = ("special", "single_word", "lstrip", "rstrip", "normalized")
    return {"content": content, **dict.fromkeys(flags, False)}


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("config.json", {"is_causal": True}),
        ("tokenizer_config.json", {"padding_side": "left"}),
        ("tokenizer_config.json", {"model_input_names": ["input_ids"]}),
        ("tokenizer_config.json", {"split_special_tokens": True}),
        ("tokenizer_config.json", {"unk_token": "[MASK]"}),
        ("tokenizer_config.json", {"mask_token": "acm"}),
        ("tokenizer_config.json", {"additional_special_tokens": ["1038"]}),
        ("tokenizer_config.json", {"extra_special_tokens": {"field": "1038"}}),
        ("tokenizer_config.json", {"added_tokens_decoder": {"70": token("1038")}}),
        ("special_tokens_map.json", {"cls_token": "[MASK]"}),
        ("added_tokens.json", {"1038": 70}),
        ("tokenizer.json", {"truncation": {"direction": "Left", "max_length": 9, "stride": 0}}),
        ("tokenizer.json", {"padding": {"direction": "Left"}}),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else value,
)
def test_what_the_tokenizer_is_told_and_ours_is_not_runs_in_sentence_transformers(
    tmp_path: Path, file: str, change: dict[str, object]
) -> None:
    path = make_tiny_model(tmp_path / "model")
    if "truncation" in change:
        change = {"truncation": {**change["truncation"], "strategy": "LongestFirst"}}  # type: ignore[dict-item]
    if "padding" in change:
        usual = {"strategy": "BatchLongest", "pad_to_multiple_of": None, "pad_id": 0}
        usual |= {"pad_type_id": 0, "pad_token": "[PAD]"}
        change = {"padding": {**usual, **change["padding"]}}  # type: ignore[dict-item]
    edit(path / file, **change)
    assert_like_reference(path, kind=StockModel, texts=[*TEXTS, "of 1038 [PAD] acm10387"])


@pytest.mark.parametrize("name", ["roberta", "xlm-roberta"])
def test_a_limit_under_another_encoders_name_counts(tmp_path: Path, name: str) -> None:
    path = make_tiny_model(tmp_path / "model")
    (path / "sentence_bert_config.json").rename(path / f"sentence_{name}_config.json")
    edit(path / f"sentence_{name}_config.json", max_seq_length=8)
    assert_like_reference(path, kind=StockModel)
    assert Embedder.load(path, device="cpu").max_tokens == 8
    made = Registry(tmp_path / "models").register(path, name="tiny", templates=["{doi}"])
    assert made.max_tokens == 8


def test_weights_in_several_files_run_in_sentence_transformers(tmp_path: Path) -> None:
    path = make_tiny_model(tmp_path / "model")
    weights = load_file(path / "model.safetensors")
    (path / "model.safetensors").unlink()
    places = {name: f"model-{n % 2}.safetensors" for n, name in enumerate(sorted(weights))}
    for file in set(places.values()):
        part = {name: weights[name] for name, place in places.items() if place == file}
        save_file(part, path / file, metadata={"format": "pt"})
    index = {"metadata": {"total_size": 1}, "weight_map": places}
    (path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert_like_reference(path, kind=StockModel)
    made = Registry(tmp_path / "models").register(path, name="tiny", templates=["{doi}"])
    assert_like_reference(Registry(tmp_path / "models").get(made.version)[0], kind=StockModel)


def test_weights_under_older_names_are_read(tmp_path: Path) -> None:
    path = make_tiny_model(tmp_path / "model")
    weights = load_file(path / "model.safetensors")
    older = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    renamed = {}
    for name, tensor in weights.items():
        for new, old in older.items():
            name = name.replace(new, old)  # noqa: PLW2901 - one after the other
        renamed[name] = tensor
    save_file(renamed, path / "model.safetensors", metadata={"format": "pt"})
    assert_like_reference(path, kind=PackedModel)


LONG = (
    "Equation of state calculations by fast computing machines. " * 2000,
    "快速计算机的状态方程计算。" * 5000,
    "α-" * 40_000,
)


def test_what_is_cut_off_a_long_text_changes_no_vector(base: Embedder, tiny: Path) -> None:
    cut_off = [shorten(text) for text in LONG]
    assert all(
        len(short) <= TEXT_CHARACTERS < len(text) for short, text in zip(cut_off, LONG, strict=True)
    )
    for embedder in (base, Embedder.load(tiny, device="cpu")):
        assert np.array_equal(embedder.encode(cut_off), embedder.encode(LONG))


def test_order_and_size_of_batches_change_nothing(tiny: Path) -> None:
    embedder = Embedder.load(tiny, device="cpu", dtype="float32")
    texts = [f"{doi}.{number}" for number in range(300) for doi in DOIS]
    together = embedder.encode(texts)
    order = np.random.default_rng(0).permutation(len(texts))
    assert lowest_cosine(embedder.encode([texts[i] for i in order]), together[order]) > EXACT
    alone = np.concatenate([embedder.encode([text]) for text in texts[:40]])
    assert lowest_cosine(alone, together[:40]) > EXACT


def test_more_texts_than_a_slice_keep_their_order(tiny: Path) -> None:
    embedder = Embedder.load(tiny, device="cpu", dtype="float32")
    texts = [DOIS[i % 2] + "/" * (i % 7) for i in range(10_000)]
    few = embedder.encode(texts[:14])
    assert lowest_cosine(embedder.encode(texts), few[np.arange(10_000) % 14]) > EXACT


def test_no_texts_give_no_vectors(tiny: Path) -> None:
    assert Embedder.load(tiny, device="cpu").encode([]).shape == (0, 32)


def test_threads_may_encode_at_once(tiny: Path) -> None:
    embedder = Embedder.load(tiny, device="cpu", dtype="float32", threads=2)
    lists = [[f"{doi}/{number}" for doi in DOIS * 20] for number in range(8)]
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(embedder.encode, lists))
    for texts, vectors in zip(lists, made, strict=True):
        assert lowest_cosine(vectors, embedder.encode(texts)) > EXACT


def test_a_text_that_can_not_be_tokenized_fails_and_the_next_works(tiny: Path) -> None:
    embedder = Embedder.load(tiny, device="cpu")
    with pytest.raises((UnicodeError, TypeError)):
        embedder.encode([*DOIS, "\ud800"])
    assert embedder.encode(DOIS).shape == (6, 32)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_keeps_parity_on_real_dois(
    base: Embedder, base_reference: Embedder, dtype: str
) -> None:
    half = Embedder.load("base", device="cpu", dtype=dtype)
    assert lowest_cosine(half.encode(TEXTS), base_reference.encode(TEXTS)) > PARITY


def test_the_cpu_computes_in_float32_unless_told_otherwise() -> None:
    # bfloat16 loses one in a hundred of the nearest neighbours: see `pick_dtype`.
    assert pick_dtype("auto", torch.device("cpu")) == torch.float32


def test_the_base_model_keeps_parity_with_its_reference(
    base: Embedder, base_reference: Embedder
) -> None:
    assert lowest_cosine(base.encode(TEXTS), base_reference.encode(TEXTS)) > PARITY


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data")
def test_parity_on_real_lists_and_long_texts(base: Embedder, base_reference: Embedder) -> None:
    with (SHARED / "dois_100k.txt").open() as lines:
        dois = [line.strip() for line in islice(lines, 800)]
    with lzma.open(SHARED / "metadata.jsonl.xz", "rt") as rows:
        records = map(json.loads, islice(rows, 20_000))
        abstracts = [r["abstract"] for r in records if r.get("abstract")][:40]
    texts = dois + abstracts
    assert lowest_cosine(base.encode(texts), base_reference.encode(texts)) > PARITY


@pytest.mark.parametrize("gelu", [False, True])
def test_a_packed_linear_layer_is_a_linear_layer(gelu: bool) -> None:
    rng = torch.Generator().manual_seed(0)
    weight, bias, x = (torch.randn(s, generator=rng) for s in ((48, 32), (48,), (20, 32)))
    expected = torch.nn.functional.linear(x.double(), weight.double(), bias.double())
    expected = expected * (1 + torch.erf(expected / math.sqrt(2))) / 2 if gelu else expected
    assert torch.allclose(Linear(weight, bias, gelu=gelu)(x).double(), expected, atol=1e-5)


def test_canaries_tell_one_model_from_another(tiny: Path, tmp_path: Path) -> None:
    registry = Registry(tmp_path / "models")
    one = registry.register(tiny, name="one", templates=["{doi}"])
    other = registry.register(make_tiny_model(tmp_path / "o", 1), name="o", templates=["{doi}"])
    wide = make_tiny_model(tmp_path / "wide", dimension=64)
    embedder = Embedder.load(registry.get(one.version)[0], device="cpu")
    embedder.check_canaries(one)
    with pytest.raises(EmbeddingError, match="does not give the vectors recorded with it"):
        embedder.check_canaries(other)
    with pytest.raises(EmbeddingError, match="vectors of 64 numbers, not of 32"):
        Embedder.load(wide, device="cpu").check_canaries(one)
    with pytest.raises(EmbeddingError, match="no canaries"):
        embedder.check_canaries(one.model_copy(update={"canaries": ()}))


def test_output_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    path = make_tiny_model(tmp_path / "model")
    weights = load_file(path / "model.safetensors")
    weights["encoder.layer.1.output.dense.weight"][0, 0] = np.nan
    save_file(weights, path / "model.safetensors")
    with pytest.raises(EmbeddingError, match="6 of 6 vectors are not of unit length"):
        Embedder.load(path, device="cpu").encode(DOIS)


@pytest.mark.parametrize("wrong", [0.0, 1.01, np.inf])
def test_vectors_that_are_not_of_unit_length_are_refused(wrong: float) -> None:
    right = np.eye(3, dtype=np.float32)
    check_unit_length(right)
    right[1, 1] = wrong
    with pytest.raises(EmbeddingError, match="1 of 3"):
        check_unit_length(right)


def test_missing_memory_is_told_apart() -> None:
    with pytest.raises(OutOfMemory), vendor_errors():
        torch.empty(2**60, dtype=torch.uint8)
    with pytest.raises(RuntimeError, match="shapes"), vendor_errors():
        torch.ones(2, 3) @ torch.ones(2, 3)


def test_a_device_that_is_not_here_is_refused_in_one_line(tiny: Path) -> None:
    for device in ("cuda:99", "abacus"):
        with pytest.raises(ConfigurationError, match="can't be used") as refusal:
            Embedder.load(tiny, device=device)
        assert "\n" not in str(refusal.value)


def test_weights_that_are_broken_or_missing_are_refused(tmp_path: Path) -> None:
    path = make_tiny_model(tmp_path / "model")
    weights = load_file(path / "model.safetensors")
    save_file({k: v for k, v in weights.items() if "layer.1" not in k}, path / "model.safetensors")
    with pytest.raises(ModelError, match=r"lack encoder\.layer\.1"):
        Embedder.load(path, device="cpu")
    (path / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(ModelError, match="can't be read"):
        Embedder.load(path, device="cpu")


def test_what_is_no_model_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_text("[]")
    with pytest.raises(ModelError, match="can't be loaded") as refusal:
        Embedder.load(tmp_path, device="cpu")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("loader", ["load('base')", f"load_reference({BASE_PACKAGE}_path)"])
def test_loading_prints_nothing(loader: str) -> None:
    code = f"""
from pathlib import Path
from {BASE_PACKAGE} import get_model_path
from worker.model.embedder import Embedder
{BASE_PACKAGE}_path = Path(get_model_path())
Embedder.{loader}.encode(["10.1038/nphys1170"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_the_embedder_is_imported_without_torch() -> None:
    code = "import sys, worker.model.embedder; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_chunks_hold_every_row_once_and_no_more_than_their_limit() -> None:
    sizes = [3, 3, 4, 9, 10, 25, 30]
    chunks = list(cut(range(7), sizes, 12))
    assert chunks == [[0, 1, 2], [3], [4], [5], [6]]
