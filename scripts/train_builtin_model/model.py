"""A small llama in PyTorch: RMSNorm, rotary positions, SwiGLU, tied embeddings.

The shapes are those of llama.cpp's `llama` architecture. Rotated pairs are the halves of a head, as in Hugging Face's
code, since that is quick here; llama.cpp rotates neighbours, as in Meta's: `to_neighbours` and `to_halves` reorder the
rows of the matrices between the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Shape:
    """The sizes of a model; every dimension is a multiple of 32, as Q8_0 wants."""

    vocabulary: int = 6144
    width: int = 256
    layers: int = 6
    heads: int = 4
    hidden: int = 704
    context: int = 2048
    rope_base: float = 10000.0
    norm_epsilon: float = 1e-5


class Attention(nn.Module):
    """Causal self-attention with rotary positions."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.q = nn.Linear(shape.width, shape.width, bias=False)
        self.k = nn.Linear(shape.width, shape.width, bias=False)
        self.v = nn.Linear(shape.width, shape.width, bias=False)
        self.o = nn.Linear(shape.width, shape.width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """[batch, time, width] → the same; `cos` and `sin` are [time, head width / 2]."""
        batch, time, width = x.shape
        together = functional.linear(x, torch.cat((self.q.weight, self.k.weight, self.v.weight)))
        q, k, v = together.view(batch, time, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o(mixed.transpose(1, 2).reshape(batch, time, width))


class Block(nn.Module):
    """One layer: attention and SwiGLU, each behind an RMSNorm and added to its input."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(shape.width, eps=shape.norm_epsilon)
        self.attention = Attention(shape)
        self.feed_norm = nn.RMSNorm(shape.width, eps=shape.norm_epsilon)
        self.gate = nn.Linear(shape.width, shape.hidden, bias=False)
        self.up = nn.Linear(shape.width, shape.hidden, bias=False)
        self.down = nn.Linear(shape.hidden, shape.width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """[batch, time, width] → the same."""
        x = x + self.attention(self.attention_norm(x), cos, sin)
        y = self.feed_norm(x)
        gate, up = functional.linear(y, torch.cat((self.gate.weight, self.up.weight))).chunk(2, dim=-1)
        return x + self.down(functional.silu(gate) * up)


class Forms(NamedTuple):
    """Which tokens are forms of one piece: `pieces` numbers the piece of each token, `kinds` its form; [tokens] each.

    The forms of `name` are `name`, ` name`, `Name` and ` Name`.
    """

    pieces: Tensor
    kinds: Tensor


class FormsEmbedding(nn.Module):
    """The vector of a token: of its piece, plus of its form, plus what is the token's own.

    What is learned of one form then holds for all, and to say a name back with a capital is to copy the piece and to
    change the form. The file has the sums.
    """

    def __init__(self, forms: Forms, width: int) -> None:
        super().__init__()
        self.shared = nn.Parameter(0.02 * torch.randn(int(forms.pieces.max()) + 1, width))
        self.form = nn.Parameter(0.02 * torch.randn(int(forms.kinds.max()) + 1, width))
        self.own = nn.Parameter(torch.zeros(len(forms.pieces), width))
        self.register_buffer("pieces", forms.pieces, persistent=False)
        self.register_buffer("kinds", forms.kinds, persistent=False)

    def summed(self, shared: Tensor, form: Tensor, own: Tensor) -> Tensor:
        """The vectors of all tokens, [tokens, width]."""
        return shared[self.pieces] + form[self.kinds] + own

    @property
    def weight(self) -> Tensor:
        """The vectors as they are now."""
        return self.summed(self.shared, self.form, self.own)


class Llama(nn.Module):
    """Token ids to the logits of the next token."""

    def __init__(self, shape: Shape, forms: Forms | None = None) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = FormsEmbedding(forms, shape.width) if forms else nn.Embedding(shape.vocabulary, shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = nn.RMSNorm(shape.width, eps=shape.norm_epsilon)
        cos, sin = rotary_table(shape)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        self.apply(_initialise)
        for block in self.blocks:  # keeps the sum over layers at the scale of one (GPT-2, section 2.3)
            for layer in (block.attention.o, block.down):
                nn.init.normal_(layer.weight, std=0.02 / (2 * shape.layers) ** 0.5)

    def forward(self, ids: Tensor, places: Tensor) -> Tensor:
        """[batch, time] → the logits at some of the flat places, [places, vocabulary]."""
        vectors = self.embedding.weight
        x = functional.embedding(ids, vectors)
        cos, sin = self.cos[: ids.shape[1]], self.sin[: ids.shape[1]]
        for block in self.blocks:
            x = block(x, cos, sin)
        return functional.linear(self.norm(x).flatten(0, 1)[places], vectors)

    def plain(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weights of this model as llama.cpp knows them: one vector for each token."""
        if not isinstance(self.embedding, FormsEmbedding):
            return weights
        parts = [weights[f"embedding.{part}"] for part in ("shared", "form", "own")]
        others = {name: weight for name, weight in weights.items() if not name.startswith("embedding.")}
        return {"embedding.weight": self.embedding.summed(*parts)} | others


def rotary_table(shape: Shape) -> tuple[Tensor, Tensor]:
    """Cosines and sines of every position, [context, head width / 2] each (Su et al. 2021, eq. 15)."""
    width = shape.width // shape.heads
    rates = shape.rope_base ** (-torch.arange(0, width, 2).float() / width)
    angles = torch.outer(torch.arange(shape.context).float(), rates)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turns each pair (i, i + half the width) of the last axis by the angle of its position."""
    left, right = x.float().chunk(2, dim=-1)
    return torch.cat((left * cos - right * sin, left * sin + right * cos), dim=-1).to(x.dtype)


def is_rotated(name: str) -> bool:
    """Whether a weight makes queries or keys, whose pairs llama.cpp has in another order."""
    return name.endswith(("attention.q.weight", "attention.k.weight"))


def to_neighbours(weight: Tensor, heads: int) -> Tensor:
    """A matrix of queries or keys whose pairs are halves of each head → the one whose pairs are neighbours."""
    rows, width = weight.shape
    return weight.view(heads, 2, rows // heads // 2, width).transpose(1, 2).reshape(rows, width)


def to_halves(weight: Tensor, heads: int) -> Tensor:
    """The inverse of `to_neighbours`."""
    rows, width = weight.shape
    return weight.view(heads, rows // heads // 2, 2, width).transpose(1, 2).reshape(rows, width)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
