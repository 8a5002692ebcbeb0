"""A sentence-transformers directory of the kind that doivec runs with a forward pass of its own."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import Tokenizer

TEXT_ONLY = {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}
Wanted = Mapping[str, set[Any]]
NORMALIZE: Wanted = {
    "module_input_name": {None, "sentence_embedding"},
    "module_output_name": {None, "sentence_embedding"},
}
ENCODER: Wanted = {
    "model_type": {"bert"},
    "hidden_act": {"gelu"},
    "position_embedding_type": {None, "absolute"},
    "is_decoder": {None, False},
    "add_cross_attention": {None, False},
    "quantization_config": {None},
}
NORMALIZER: Wanted = {"type": {"BertNormalizer"}, "clean_text": {True}}
WORD_PIECE: Wanted = {
    "type": {"WordPiece"},
    "continuing_subword_prefix": {"##"},
    "max_input_chars_per_word": {100},
}
BERT_TOKENIZERS = {None, "BertTokenizer", "BertTokenizerFast"}


class Unhandled(Exception):
    """The directory asks for something that the forward pass does not do; never leaves here."""


class Checkpoint(NamedTuple):
    """A BERT encoder with absolute positions, mean pooling and unit length.

    The tokenizer truncates to `max_tokens` and does not pad; `prompt` goes before every text.
    """

    weights: Path
    heads: int
    layers: int
    layer_norm_eps: float
    max_tokens: int
    prompt: str
    tokenizer: Tokenizer


def read(path: Path) -> Checkpoint | str:
    """The checkpoint in a directory, or why it is not one of this kind."""
    try:
        return _read(path)
    except (Unhandled, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        return str(error)


def _read(path: Path) -> Checkpoint:
    transformer, pooling = _modules(path)
    prompt = _prompt(path)
    _check_pooling(_json(pooling / "config.json"), prompt)
    config = _json(transformer / "config.json")
    _require(config, ENCODER, "encoder")
    tokenizer_config = _json(transformer / "tokenizer_config.json")
    settings = _json(transformer / "sentence_bert_config.json")
    _check_settings(settings)
    limits = (
        settings.get("max_seq_length") or tokenizer_config.get("model_max_length"),
        config["max_position_embeddings"],
    )
    max_tokens = min(limit for limit in limits if limit)
    return Checkpoint(
        weights=transformer / "model.safetensors",
        heads=config["num_attention_heads"],
        layers=config["num_hidden_layers"],
        layer_norm_eps=config["layer_norm_eps"],
        max_tokens=max_tokens,
        prompt=prompt,
        tokenizer=_tokenizer(transformer / "tokenizer.json", tokenizer_config, max_tokens),
    )


def _modules(path: Path) -> tuple[Path, Path]:
    modules = json.loads((path / "modules.json").read_text("utf-8"))
    kinds = [module["type"].rpartition(".")[2] for module in modules]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise Unhandled(f"its modules are {', '.join(kinds)}")
    if len(modules) == 3:  # noqa: PLR2004 - with Normalize
        _require(_json(path / modules[2]["path"] / "config.json"), NORMALIZE, "normalization")
    return path / modules[0]["path"], path / modules[1]["path"]


def _prompt(path: Path) -> str:
    config = _json(path / "config_sentence_transformers.json")
    _require(config, {"truncate_dim": {None}, "model_type": {None, "SentenceTransformer"}}, "model")
    name = config.get("default_prompt_name")
    return str(config["prompts"][name]) if name else ""


def _check_pooling(config: dict[str, Any], prompt: str) -> None:
    legacy = [key for key, value in config.items() if key.startswith("pooling_mode_") and value]
    if config.get("pooling_mode", legacy) not in ("mean", ["mean"], ["pooling_mode_mean_tokens"]):
        raise Unhandled("it does not pool by the mean of the tokens")
    if prompt and not config.get("include_prompt", True):
        raise Unhandled("it leaves its prompt out of the mean")


def _check_settings(settings: dict[str, Any]) -> None:
    known = {
        "max_seq_length": settings.get("max_seq_length"),
        "do_lower_case": False,
        "transformer_task": "feature-extraction",
        "modality_config": TEXT_ONLY,
        "module_output_name": "token_embeddings",
    }
    for key, value in settings.items():
        if key not in known or known[key] != value:
            raise Unhandled(f"its sentence_bert_config.json has {key} = {value}")


def _tokenizer(path: Path, config: dict[str, Any], max_tokens: int) -> Tokenizer:
    # transformers builds a BERT tokenizer from the vocabulary and tokenizer_config.json; where
    # tokenizer.json says the same, it can be used as it is.
    content = json.loads(path.read_text("utf-8"))
    _require(content["model"], WORD_PIECE, "tokenizer")
    normalizer: Wanted = {
        **NORMALIZER,
        "lowercase": {config.get("do_lower_case", True)},
        "strip_accents": {config.get("strip_accents")},
        "handle_chinese_chars": {config.get("tokenize_chinese_chars", True)},
    }
    _require(content["normalizer"], normalizer, "tokenizer")
    _require(content["pre_tokenizer"], {"type": {"BertPreTokenizer"}}, "tokenizer")
    sides: Wanted = {"truncation_side": {None, "right"}, "tokenizer_class": BERT_TOKENIZERS}
    _require(config, sides, "tokenizer")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:
        raise Unhandled(f"its tokenizer.json can't be read: {error}") from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)
    _check_frame(tokenizer, config)
    return tokenizer


def _check_frame(tokenizer: Tokenizer, config: dict[str, Any]) -> None:
    frame = [config.get("cls_token", "[CLS]"), config.get("sep_token", "[SEP]")]
    if tokenizer.encode("").tokens != frame:
        raise Unhandled(f"its tokenizer does not put a text between {' and '.join(frame)}")


def _require(config: dict[str, Any], wanted: Wanted, what: str) -> None:
    for key, values in wanted.items():
        if config.get(key) not in values:
            raise Unhandled(f"its {what} has {key} = {config.get(key)}")


def _json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return content
