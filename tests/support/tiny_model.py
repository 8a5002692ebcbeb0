"""A tiny real sentence-transformers model: BERT, WordPiece, mean pooling, unit length."""

import json
import string
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PIECES = ("10", "1038", "1016", "1007", "journal", "pone", "acm", "##00", "##20", "##19")
MODULES = ("Transformer", "1_Pooling", "2_Normalize")
POSITIONS = 128


def make_tiny_model(
    path: Path, seed: int = 0, *, dimension: int = 32, layers: int = 2, max_tokens: int = 64
) -> Path:
    """Write a model with weights drawn from `seed` into `path`, and return it.

    The same arguments give the same bytes. `dimension` is a multiple of 4.
    """
    vocabulary = _vocabulary()
    (path / "1_Pooling").mkdir(parents=True)
    _write(path / "modules.json", _modules())
    _write(path / "config.json", _config(dimension, layers, len(vocabulary)))
    _write(path / "sentence_bert_config.json", {"max_seq_length": max_tokens})
    _write(
        path / "1_Pooling" / "config.json",
        {"word_embedding_dimension": dimension, "pooling_mode_mean_tokens": True},
    )
    _write(
        path / "tokenizer_config.json",
        {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": POSITIONS},
    )
    _tokenizer(vocabulary).save(str(path / "tokenizer.json"))
    (path / "vocab.txt").write_text("\n".join(vocabulary) + "\n", "utf-8")
    save_file(
        _weights(np.random.default_rng(seed), dimension, layers=layers, words=len(vocabulary)),
        path / "model.safetensors",
        metadata={"format": "pt"},
    )
    return path


def _vocabulary() -> list[str]:
    characters = string.digits + string.ascii_lowercase
    continued = [f"##{c}" for c in characters]
    return [*SPECIAL, *string.punctuation, *characters, *continued, *PIECES]


def _tokenizer(vocabulary: list[str]) -> Tokenizer:
    ids = {word: number for number, word in enumerate(vocabulary)}
    tokenizer = Tokenizer(WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer()
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(w, ids[w]) for w in ("[CLS]", "[SEP]")]
    )
    tokenizer.add_special_tokens(list(SPECIAL))
    return tokenizer


def _modules() -> list[dict[str, Any]]:
    return [
        {
            "idx": number,
            "name": str(number),
            "path": folder if "_" in folder else "",
            "type": f"sentence_transformers.models.{folder.split('_')[-1]}",
        }
        for number, folder in enumerate(MODULES)
    ]


def _config(dimension: int, layers: int, words: int) -> dict[str, Any]:
    return {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "hidden_act": "gelu",
        "hidden_size": dimension,
        "intermediate_size": 4 * dimension,
        "num_attention_heads": 4,
        "num_hidden_layers": layers,
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": POSITIONS,
        "pad_token_id": 0,
        "type_vocab_size": 2,
        "vocab_size": words,
    }


def _weights(
    rng: np.random.Generator, width: int, *, layers: int, words: int
) -> dict[str, NDArray[np.float32]]:
    shapes = {
        "embeddings.word_embeddings": (words, width),
        "embeddings.position_embeddings": (POSITIONS, width),
        "embeddings.token_type_embeddings": (2, width),
        "pooler.dense": (width, width),
    }
    norms = ["embeddings.LayerNorm"]
    for layer in (f"encoder.layer.{number}" for number in range(layers)):
        shapes |= {f"{layer}.attention.self.{n}": (width, width) for n in ("query", "key", "value")}
        shapes |= {
            f"{layer}.attention.output.dense": (width, width),
            f"{layer}.intermediate.dense": (4 * width, width),
            f"{layer}.output.dense": (width, 4 * width),
        }
        norms += [f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"]
    weights = {f"{name}.weight": _draw(rng, shape) for name, shape in shapes.items()}
    biased = {name: shape[0] for name, shape in shapes.items() if "embeddings" not in name}
    weights |= {f"{name}.bias": _draw(rng, (size,)) for name, size in biased.items()}
    weights |= {f"{name}.weight": 1 + 0.1 * _draw(rng, (width,)) for name in norms}
    weights |= {f"{name}.bias": _draw(rng, (width,)) for name in norms}
    return weights


def _draw(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    return rng.normal(0, 0.2, shape).astype(np.float32)


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1), "utf-8")
