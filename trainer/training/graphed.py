"""The training pass of a BERT encoder on CUDA, recorded once for each shape of batch.

A batch of short texts keeps a GPU busy for less time than its few hundred kernels take to start.
All columns go through in one pass, and its kernels, forward and backward, are started as one CUDA
graph. It works on the very parameters of the transformers model, as `trainer.training.packed`.
"""

import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

TOKENS_STEP = 8  # few shapes, and what the attention's kernels want of a mask


class Padded(NamedTuple):
    """The texts of all columns: `ids` int64 and `mask` bool, both [texts, tokens]."""

    ids: Tensor
    mask: Tensor


def pad(columns: Sequence[dict[str, Tensor]]) -> Padded:
    """Join padded `input_ids` and `attention_mask`, int64 [texts, tokens], of all columns."""
    longest = max(column["input_ids"].shape[1] for column in columns)
    tokens = -(-longest // TOKENS_STEP) * TOKENS_STEP

    def joined(name: str) -> Tensor:
        parts = (column[name] for column in columns)
        return torch.cat([functional.pad(part, (0, tokens - part.shape[1])) for part in parts])

    return Padded(joined("input_ids"), joined("attention_mask").bool())


class Pass(nn.Module):
    """Mean-pooled unit vectors float32 [texts, width] of `Padded` texts."""

    def __init__(self, bert: Any) -> None:
        super().__init__()
        self.embeddings, self.layers = bert.embeddings, bert.encoder.layer
        self._heads = bert.config.num_attention_heads
        self._dropout = bert.config.hidden_dropout_prob
        self._attention_dropout = bert.config.attention_probs_dropout_prob

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """The vectors; only positions where `mask` is true count."""
        parts = self.embeddings
        positions = parts.position_embeddings.weight[: ids.shape[1]]
        x = parts.word_embeddings(ids) + positions + parts.token_type_embeddings.weight[0]
        x = self._drop(parts.LayerNorm(x))
        for layer in self.layers:
            x = self._encode(layer, x, mask[:, None, None])
        weights = mask[..., None].to(x.dtype)
        return functional.normalize((x * weights).sum(1) / weights.sum(1).clamp(min=1e-9))

    def _encode(self, layer: Any, x: Tensor, mask: Tensor) -> Tensor:
        output = layer.attention.output
        attended = self._attend(layer.attention.self, x, mask)
        x = output.LayerNorm(self._drop(output.dense(attended)) + x)
        widened = functional.gelu(layer.intermediate.dense(x))
        changed: Tensor = layer.output.LayerNorm(self._drop(layer.output.dense(widened)) + x)
        return changed

    def _attend(self, own: Any, x: Tensor, mask: Tensor) -> Tensor:
        projections = (own.query, own.key, own.value)
        qkv = functional.linear(
            x,
            torch.cat([p.weight for p in projections]),
            torch.cat([p.bias for p in projections]),
        )
        q, k, v = qkv.view(*x.shape[:2], 3, self._heads, -1).permute(2, 0, 3, 1, 4)
        rate = self._attention_dropout if self.training else 0.0
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=rate)
        return mixed.transpose(1, 2).flatten(2)

    def _drop(self, x: Tensor) -> Tensor:
        return functional.dropout(x, self._dropout, training=self.training)


class GraphedEncoder:
    """What `PackedEncoder` does, for CUDA.

    The gradients lie in memory that the next batch writes to: they are good for one step each, so
    not for `gradient_accumulation_steps`. Where there is no GPU the pass runs unrecorded.
    """

    def __init__(self, bert: Any) -> None:
        self._bert = bert
        self._recorded: dict[torch.Size, Pass] = {}
        self._pool: Any = None

    def __call__(self, columns: Sequence[dict[str, Tensor]]) -> list[Tensor]:
        """Vectors float32 [texts, width] for each column, all columns of as many texts."""
        padded = pad(columns)
        if not self._bert.training:  # what is recorded drops out
            return list(Pass(self._bert).eval()(*padded).chunk(len(columns)))
        shape = padded.ids.shape
        if shape not in self._recorded:
            self._recorded[shape] = self._record(padded)
        return list(self._recorded[shape](*padded).chunk(len(columns)))

    def whole(self) -> AbstractContextManager[None]:
        """The model is always as plain transformers has it."""
        return nullcontext()

    def _record(self, padded: Padded) -> Pass:
        made = Pass(self._bert).train(self._bert.training)
        if padded.ids.device.type != "cuda":
            return made
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        drawn = torch.cuda.get_rng_state()  # recording draws, and a resumed run must not differ
        with warnings.catch_warnings():
            # A node that an earlier recording keeps alive; both have streams of their own.
            warnings.filterwarnings("ignore", "The AccumulateGrad node's stream")
            torch.cuda.make_graphed_callables(
                made, tuple(tensor.clone() for tensor in padded), pool=self._pool
            )
        torch.cuda.set_rng_state(drawn)
        return made
