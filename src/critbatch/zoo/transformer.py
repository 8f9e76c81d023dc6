"""A small transformer that predicts the next character."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class TransformerBlock(nn.Module):
    """Causal self-attention, then two linear layers with GELU, each after a layer norm and added to its input.

    (batch, tokens, width) to the same.
    """

    def __init__(self, width: int, *, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.attention_out = nn.Linear(width, width)
        self.feed_norm = nn.LayerNorm(width)
        self.feed_in = nn.Linear(width, 4 * width)
        self.feed_out = nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        batch, length, width = tokens.shape
        joint = self.query_key_value(self.attention_norm(tokens))
        query, key, value = joint.view(batch, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        tokens = tokens + self.attention_out(mixed.transpose(1, 2).reshape(batch, length, width))
        fed: Tensor = self.feed_out(F.gelu(self.feed_in(self.feed_norm(tokens))))
        return tokens + fed


class Positions(nn.Module):
    """Adds a learned vector to each place of a sequence: a layer of its own, so that its gradient is one of a layer.

    (batch, tokens, width) to the same.
    """

    def __init__(self, context: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(context, width))

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens + self.weight[: tokens.shape[1]]


class GPT(nn.Module):
    """A decoder as in Radford et al. 2019, "Language models are unsupervised multitask learners", section 2.3.

    Layer norms come first and once more at the end, positions are learned, weights start normal with standard deviation
    0.02, and those that write to the residual stream with 0.02 / sqrt(2 layers). The matrix that gives the logits is
    not tied to the embedding: with so few characters tying saves nothing.

    Characters, int64, (batch, tokens), to logits, (batch, tokens, vocabulary).

    Args:
        vocabulary: how many characters there are.
        context: the most tokens of a sequence.
        layers: how many blocks.
        width: of the residual stream.
        heads: of attention; they divide the width.

    >>> sum(weight.numel() for weight in GPT(vocabulary=65, context=64, layers=2, width=64, heads=4).parameters())
    112512
    """

    def __init__(self, *, vocabulary: int, context: int, layers: int, width: int, heads: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.positions = Positions(context, width)
        self.blocks = nn.Sequential(*(TransformerBlock(width, heads=heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        nn.init.normal_(self.positions.weight, std=0.02)
        for name, layer in self.named_modules():
            if isinstance(layer, (nn.Linear, nn.Embedding)):
                writes = name.endswith(("attention_out", "feed_out"))
                nn.init.normal_(layer.weight, std=0.02 / math.sqrt(2 * layers) if writes else 0.02)
            if isinstance(layer, nn.Linear) and layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(self, characters: Tensor) -> Tensor:
        tokens = self.positions(self.embedding(characters))
        logits: Tensor = self.head(self.norm(self.blocks(tokens)))
        return logits
