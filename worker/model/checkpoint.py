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
    "is_causal": {None, False},
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
SIDES: Wanted = {
    "tokenizer_class": BERT_TOKENIZERS,
    "truncation_side": {None, "right"},
    "padding_side": {None, "right"},
    "split_special_tokens": {None, False},
}
TRUNCATION: Wanted = {
    "direction": {None, "Right"},
    "strategy": {None, "LongestFirst"},
    "stride": {None, 0},
}
SPECIAL = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
FURTHER = ("added_tokens_decoder", "additional_special_tokens", "extra_special_tokens")
FLAGS = ("special", "single_word", "lstrip", "rstrip", "normalized")


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
    weights = _weights(transformer)
    tokenizer_config = _json(transformer / "tokenizer_config.json")
    settings = _settings(transformer)
    limits = (
        settings.get("max_seq_length") or tokenizer_config.get("model_max_length"),
        config["max_position_embeddings"],
    )
    max_tokens = min(limit for limit in limits if limit)
    return Checkpoint(
        weights=weights,
        heads=config["num_attention_heads"],
        layers=config["num_hidden_layers"],
        layer_norm_eps=config["layer_norm_eps"],
        max_tokens=max_tokens,
        prompt=prompt,
        tokenizer=_tokenizer(transformer, tokenizer_config, max_tokens),
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


def _weights(folder: Path) -> Path:
    if (folder / "adapter_config.json").exists():
        raise Unhandled("it has an adapter beside its weights")
    if not (folder / "model.safetensors").is_file():
        raise Unhandled("its weights are not in one file model.safetensors")
    return folder / "model.safetensors"


def _settings(folder: Path) -> dict[str, Any]:
    """The settings of the first module, which some models have under another encoder's name."""
    others = {path.name for path in folder.glob("sentence_*_config.json")}
    if others - {"sentence_bert_config.json"}:
        raise Unhandled(f"its settings are in {', '.join(sorted(others))}")
    settings = _json(folder / "sentence_bert_config.json")
    _check_settings(settings)
    return settings


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


def _tokenizer(folder: Path, config: dict[str, Any], max_tokens: int) -> Tokenizer:
    # transformers builds a BERT tokenizer from the vocabulary and tokenizer_config.json; where
    # tokenizer.json says the same, it can be used as it is.
    content = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    _require(content["model"], WORD_PIECE, "tokenizer")
    normalizer: Wanted = {
        **NORMALIZER,
        "lowercase": {config.get("do_lower_case", True)},
        "strip_accents": {config.get("strip_accents")},
        "handle_chinese_chars": {config.get("tokenize_chinese_chars", True)},
    }
    _require(content["normalizer"], normalizer, "tokenizer")
    _require(content["pre_tokenizer"], {"type": {"BertPreTokenizer"}}, "tokenizer")
    _check_sides(content, config)
    _check_tokens(content, config, folder)
    try:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:
        raise Unhandled(f"its tokenizer.json can't be read: {error}") from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)
    if tokenizer.encode("").tokens != [SPECIAL["cls_token"], SPECIAL["sep_token"]]:
        raise Unhandled("its tokenizer does not put a text between [CLS] and [SEP]")
    return tokenizer


def _check_sides(content: dict[str, Any], config: dict[str, Any]) -> None:
    _require(config, SIDES, "tokenizer")
    _require(content.get("truncation") or {}, TRUNCATION, "tokenizer's truncation")
    _require(content.get("padding") or {}, {"direction": {None, "Right"}}, "tokenizer's padding")
    if "attention_mask" not in config.get("model_input_names", ["attention_mask"]):
        raise Unhandled("its tokenizer gives no attention mask")


def _check_tokens(content: dict[str, Any], config: dict[str, Any], folder: Path) -> None:
    """No file names a token that tokenizer.json has not, or has otherwise."""
    known = {token["content"]: token for token in content["added_tokens"]}
    _require(content["model"], {"unk_token": {SPECIAL["unk_token"]}}, "tokenizer")
    named: list[Any] = [{"content": name, "special": True} for name in SPECIAL.values()]
    for own in (config, _json(folder / "special_tokens_map.json")):
        for kind, usual in SPECIAL.items():
            if _content(own.get(kind) or usual) != usual:
                raise Unhandled(f"its tokenizer has {kind} = {own[kind]}")
        further = [own.get(kind) or [] for kind in FURTHER]
        named += [t for few in further for t in (few.values() if isinstance(few, dict) else few)]
    for token in (*named, *_json(folder / "added_tokens.json")):
        same = known.get(_content(token))
        flags = token if isinstance(token, dict) else {}
        if same is None or any(same[flag] != flags.get(flag, same[flag]) for flag in FLAGS):
            raise Unhandled(f"its tokenizer.json lacks the token {_content(token)!r}")


def _content(token: Any) -> Any:
    return token["content"] if isinstance(token, dict) else token


def _require(config: dict[str, Any], wanted: Wanted, what: str) -> None:
    for key, values in wanted.items():
        if config.get(key) not in values:
            raise Unhandled(f"its {what} has {key} = {config.get(key)}")


def _json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return content
