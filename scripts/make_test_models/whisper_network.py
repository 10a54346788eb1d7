"""Whisper's network in PyTorch, small: https://arxiv.org/abs/2212.04356, figure 1."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Shape:
    """The sizes of a model. The last `timestamps` tokens of the vocabulary are times, 20 ms apart."""

    vocabulary: int
    timestamps: int
    mels: int = 80
    width: int = 64
    heads: int = 4
    encoder_layers: int = 2
    decoder_layers: int = 2
    audio_context: int = 1500
    text_context: int = 448


class Attention(nn.Module):
    """Attention with several heads, of a sequence to itself or to another."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.q = nn.Linear(shape.width, shape.width)
        self.k = nn.Linear(shape.width, shape.width, bias=False)
        self.v = nn.Linear(shape.width, shape.width)
        self.out = nn.Linear(shape.width, shape.width)

    def forward(self, x: Tensor, source: Tensor, causal: bool = False) -> Tensor:
        """[batch, time, width] and [batch, source time, width] → [batch, time, width]."""
        q, k, v = self._split(self.q(x)), self._split(self.k(source)), self._split(self.v(source))
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=causal)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def with_weights(self, x: Tensor, source: Tensor) -> tuple[Tensor, Tensor]:
        """As `forward`, and the weights [batch, heads, time, source time]."""
        q, k, v = self._split(self.q(x)), self._split(self.k(source)), self._split(self.v(source))
        weights = (q @ k.transpose(2, 3) / math.sqrt(q.shape[-1])).softmax(-1)
        return self.out((weights @ v).transpose(1, 2).flatten(2)), weights

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


class Layer(nn.Module):
    """Attention and a feed-forward network, each behind a norm and added to its input."""

    def __init__(self, shape: Shape, cross: bool) -> None:
        super().__init__()
        self.self_norm, self.self_attention = nn.LayerNorm(shape.width), Attention(shape)
        self.cross_norm = nn.LayerNorm(shape.width) if cross else None
        self.cross_attention = Attention(shape) if cross else None
        self.feed_norm = nn.LayerNorm(shape.width)
        self.feed_in = nn.Linear(shape.width, 4 * shape.width)
        self.feed_out = nn.Linear(4 * shape.width, shape.width)

    def forward(self, x: Tensor, sound: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Returns the output, and the weights of the attention to the sound where there is one."""
        normed, weights = self.self_norm(x), None
        x = x + self.self_attention(normed, normed, causal=sound is not None)
        if sound is not None:
            mixed, weights = self.cross_attention.with_weights(self.cross_norm(x), sound)
            x = x + mixed
        return x + self.feed_out(functional.gelu(self.feed_in(self.feed_norm(x)))), weights


class Whisper(nn.Module):
    """Encoder and decoder; the embeddings are also the output layer."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.conv1 = nn.Conv1d(shape.mels, shape.width, 3, padding=1)
        self.conv2 = nn.Conv1d(shape.width, shape.width, 3, stride=2, padding=1)
        self.register_buffer("audio_positions", sinusoids(shape.audio_context, shape.width))
        self.encoder = nn.ModuleList(Layer(shape, cross=False) for _ in range(shape.encoder_layers))
        self.encoder_norm = nn.LayerNorm(shape.width)
        self.token_embeddings = nn.Parameter(torch.randn(shape.vocabulary, shape.width) * 0.05)
        self.time_embeddings = nn.Linear(shape.width, shape.width, bias=False)
        self.text_positions = nn.Parameter(torch.randn(shape.text_context, shape.width) * 0.01)
        self.decoder = nn.ModuleList(Layer(shape, cross=True) for _ in range(shape.decoder_layers))
        self.decoder_norm = nn.LayerNorm(shape.width)
        nn.init.normal_(self.time_embeddings.weight, std=0.05)
        nn.init.zeros_(self.token_embeddings.data[-shape.timestamps :])

    def embeddings(self) -> Tensor:
        """Returns the embeddings [vocabulary, width].

        Those of times are made from the positions of the sound that they belong to: so what is learned of one time
        holds for its neighbours, and few examples do for 1501 of them.
        """
        times = sinusoids(self.shape.timestamps, self.shape.width)
        before = torch.zeros(self.shape.vocabulary - self.shape.timestamps, self.shape.width)
        return self.token_embeddings + torch.cat([before, self.time_embeddings(times)])

    def encode(self, mel: Tensor, first: int = 0) -> Tensor:
        """[batch, mels, frames] → [batch, frames / 2, width]. `first` is the position at which the sound begins."""
        x = functional.gelu(self.conv2(functional.gelu(self.conv1(mel)))).transpose(1, 2)
        x = x + self.audio_positions[first : first + x.shape[1]]
        for layer in self.encoder:
            x, _ = layer(x)
        return self.encoder_norm(x)

    def decode(self, tokens: Tensor, sound: Tensor) -> tuple[Tensor, Tensor]:
        """[batch, n] → [batch, n, width], and the last layer's attention to the sound."""
        x = functional.embedding(tokens, self.embeddings()) + self.text_positions[: tokens.shape[1]]
        weights = None
        for layer in self.decoder:
            x, weights = layer(x, sound)
        return self.decoder_norm(x), weights

    def logits(self, states: Tensor) -> Tensor:
        """[..., width] of the decoder → [..., vocabulary]."""
        return states @ self.embeddings().T


def sinusoids(length: int, width: int) -> Tensor:
    """Returns Whisper's positions of the sound, [length, width]: sines, then cosines, of 1 to 10,000 frames."""
    rates = torch.exp(-math.log(10_000) / (width // 2 - 1) * torch.arange(width // 2))
    angles = torch.arange(length)[:, None] * rates[None]
    return torch.cat([angles.sin(), angles.cos()], dim=1)
