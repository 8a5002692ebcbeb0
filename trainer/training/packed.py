"""The training pass of a BERT encoder over texts of any lengths, without padding.

It works on the very parameters of the transformers model, so that optimizer, checkpoints and
saving are the Trainer's own. All columns of a batch go through in one pass.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import groupby
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

DRAWS = 2**16


class Packed(NamedTuple):
    """The tokens of some texts, shortest text first, without padding.

    `ids` and `positions` are int64 [tokens]; `groups` has (texts, tokens each) of every run of
    texts of one length; `order` int64 [texts] says which text of the input each one is.
    """

    ids: Tensor
    positions: Tensor
    groups: list[tuple[int, int]]
    order: Tensor


def pack(columns: Sequence[dict[str, Tensor]]) -> Packed:
    """Pack the padded `input_ids` and `attention_mask`, int64 [texts, tokens], of all columns."""
    texts = [
        row[mask.bool()]
        for column in columns
        for row, mask in zip(column["input_ids"], column["attention_mask"], strict=True)
    ]
    lengths = [len(text) for text in texts]
    order = sorted(range(len(texts)), key=lengths.__getitem__)
    sizes = [lengths[row] for row in order]
    return Packed(
        ids=torch.cat([texts[row] for row in order]),
        positions=torch.cat([torch.arange(size) for size in sizes]),
        groups=[(len(list(run)), size) for size, run in groupby(sizes)],
        order=torch.tensor(order),
    )


def drop(x: Tensor, rate: float) -> Tensor:
    """Dropout of float32 numbers, its mask drawn 16 bits a number, from torch's own generator.

    The rate is met to 1/65536, and the scale is exact for what was drawn. On a CPU it takes a
    third of the time of `torch.dropout`, which draws a Bernoulli variate for each number.
    """
    limit = round(rate * DRAWS)
    words = torch.empty(-(-x.numel() // 4), dtype=torch.int64, device=x.device)
    bits = words.random_(-(2**63), None).view(torch.int16)[: x.numel()].view(x.shape)
    return x * (bits >= limit - DRAWS // 2).to(x.dtype).mul_(DRAWS / (DRAWS - limit))


class Words:
    """The rows of a word embedding that some texts use, in place of the whole table.

    A row that no text uses gets no gradient, and AdamW without weight decay leaves it as it is:
    to leave it out gives the same weights, for less to read and write at every step.
    """

    def __init__(self, bert: Any, used: Sequence[int]) -> None:
        self._parts = bert.embeddings
        self._whole = self._parts.word_embeddings
        self._used = torch.tensor(sorted(set(used)))
        # An id that was not counted among those used finds no row, rather than another one's.
        self._places = torch.full((len(self._whole.weight),), len(self._used))
        self._places[self._used] = torch.arange(len(self._used))
        self._rows = nn.Embedding(len(self._used), self._whole.embedding_dim)
        self._show()

    def __call__(self, ids: Tensor) -> Tensor:
        """The embeddings float32 [tokens, width] of token ids of the whole vocabulary."""
        rows: Tensor = self._rows(self._places[ids])
        return rows

    @contextmanager
    def whole(self) -> Iterator[None]:
        """The model with the whole table, for the time that it is saved or loaded."""
        with torch.no_grad():
            self._whole.weight[self._used] = self._rows.weight
        self._parts.word_embeddings = self._whole
        try:
            yield
        finally:
            self._show()

    def _show(self) -> None:
        with torch.no_grad():
            self._rows.weight.copy_(self._whole.weight[self._used])
        self._parts.word_embeddings = self._rows


class PackedEncoder:
    """Mean-pooled unit vectors of a `BertModel` in training, in one pass for all columns.

    With `used`, the token ids that all texts hold, it trains these rows of the embedding alone.
    """

    def __init__(self, bert: Any, used: Sequence[int] = ()) -> None:
        self._bert = bert
        self._words = Words(bert, used) if used else None
        self._heads = bert.config.num_attention_heads
        self._dropout = bert.config.hidden_dropout_prob
        self._attention_dropout = bert.config.attention_probs_dropout_prob

    def __call__(self, columns: Sequence[dict[str, Tensor]]) -> list[Tensor]:
        """Vectors float32 [texts, width] for each column, all columns of as many texts."""
        packed = pack(columns)
        x = self._embed(packed)
        for layer in self._bert.encoder.layer:
            x = self._encode(layer, x, packed.groups)
        means = [
            piece.view(texts, tokens, -1).mean(1)
            for piece, (texts, tokens) in zip(_pieces(x, packed.groups), packed.groups, strict=True)
        ]
        vectors = functional.normalize(torch.cat(means))
        back = torch.empty_like(packed.order).scatter_(
            0, packed.order, torch.arange(len(packed.order))
        )
        return list(vectors[back].chunk(len(columns)))

    def whole(self) -> AbstractContextManager[None]:
        """The model as plain transformers has it, for the time that it is saved or loaded."""
        return self._words.whole() if self._words else nullcontext()

    def _embed(self, packed: Packed) -> Tensor:
        parts = self._bert.embeddings
        words = (self._words or parts.word_embeddings)(packed.ids)
        x = words + parts.position_embeddings(packed.positions)
        return self._drop(parts.LayerNorm(x + parts.token_type_embeddings.weight[0]))

    def _encode(self, layer: Any, x: Tensor, groups: Sequence[tuple[int, int]]) -> Tensor:
        output = layer.attention.output
        attended = self._attend(layer.attention.self, x, groups)
        x = output.LayerNorm(self._drop(output.dense(attended)) + x)
        widened = functional.gelu(layer.intermediate.dense(x))
        changed: Tensor = layer.output.LayerNorm(self._drop(layer.output.dense(widened)) + x)
        return changed

    def _attend(self, own: Any, x: Tensor, groups: Sequence[tuple[int, int]]) -> Tensor:
        projections = (own.query, own.key, own.value)
        qkv = functional.linear(
            x,
            torch.cat([p.weight for p in projections]),
            torch.cat([p.bias for p in projections]),
        )
        pieces = zip(_pieces(qkv, groups), groups, strict=True)
        return torch.cat([self._within(piece, group) for piece, group in pieces])

    def _within(self, qkv: Tensor, group: tuple[int, int]) -> Tensor:
        texts, tokens = group
        q, k, v = qkv.view(texts, tokens, 3, self._heads, -1).permute(2, 0, 3, 1, 4)
        rate = self._attention_dropout if self._bert.training else 0.0
        mixed = functional.scaled_dot_product_attention(q, k, v, dropout_p=rate)
        return mixed.transpose(1, 2).reshape(texts * tokens, -1)

    def _drop(self, x: Tensor) -> Tensor:
        return drop(x, self._dropout) if self._bert.training and self._dropout else x


def covers(modules: Sequence[nn.Module]) -> bool:
    """Whether the pass gives what these modules do: BERT, mean pooling, unit length."""
    kinds = [type(module).__name__ for module in modules]
    if kinds != ["Transformer", "Pooling", "Normalize"]:
        return False
    bert: Any = getattr(modules[0], "model", None)
    pooling: Any = modules[1]
    return (
        type(bert).__name__ == "BertModel"
        and bert.config.hidden_act == "gelu"
        and pooling.get_config_dict().get("pooling_mode") in ("mean", ("mean",), ["mean"])
    )


def _pieces(x: Tensor, groups: Sequence[tuple[int, int]]) -> Sequence[Tensor]:
    return torch.split(x, [texts * tokens for texts, tokens in groups])
