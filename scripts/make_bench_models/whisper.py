"""Whisper in CTranslate2's format: true shape, random weights, one transcript.

As in qwen3.py the decoder's blocks compute all they would and add nothing: their last matrices are zero. So the logits
of a token depend on the token alone, and the output matrix has each token of the transcript follow the one before.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ctranslate2.specs import common_spec, whisper_spec
from faster_whisper.tokenizer import _LANGUAGE_CODES

from scripts.make_test_models.whisper_tokens import Tokens

TRANSCRIPT = "Would you tell me what one could do on such rainy days?"
"""What it hears in everything: 12 words, 3 or 4 seconds of speech. No token comes twice."""

TEXT_TOKENS = 50_257
LANGUAGES = tuple(sorted(code for code in _LANGUAGE_CODES if code != "yue"))
"""The 99 that Whisper knew before large-v3."""

SURE = 25.0
"""The logit of the next token; that of any other is about 1."""

KERNEL = 3
AUDIO_POSITIONS, TEXT_POSITIONS = 1500, 448


@dataclass(frozen=True)
class Shape:
    """Sizes as in the configuration files of openai/whisper-tiny, -base and -small."""

    width: int
    layers: int
    heads: int
    mels: int = 80


SHAPES = {
    "whisper-tiny": Shape(384, 4, 6),
    "whisper-base": Shape(512, 6, 8),
    "whisper-small": Shape(768, 12, 12),
}


def write(folder: Path, shape: Shape, seed: int = 0) -> Path:
    """Writes the folder that `model` of the engine faster-whisper names, in int8."""
    tokens = Tokens([TRANSCRIPT, f" {TRANSCRIPT}"], LANGUAGES, TEXT_TOKENS)
    spec = whisper_spec.WhisperSpec(shape.layers, shape.heads, shape.layers, shape.heads)
    _Weights(shape, np.random.default_rng(seed)).fill(spec, tokens)
    spec.config.suppress_ids = tokens.suppressed()
    spec.config.suppress_ids_begin = tokens.suppressed_first()
    spec.config.lang_ids = sorted(tokens.languages.values())
    spec.config.alignment_heads = [(shape.layers - 1, head) for head in range(shape.heads)]
    spec.register_vocabulary(tokens.vocabulary())
    spec.validate()
    spec.optimize(quantization="int8_float16")
    folder.mkdir(parents=True, exist_ok=True)
    spec.save(str(folder))
    (folder / "tokenizer.json").write_text(tokens.tokenizer.to_str(), "utf-8")
    preprocessor = {"feature_size": shape.mels, "hop_length": 160, "n_fft": 400, "sampling_rate": 16_000}
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor, indent=2) + "\n", "utf-8")
    return folder


def chain(tokens: Tokens) -> list[int]:
    """Returns the tokens that follow each other."""
    begin = [tokens.start, tokens.languages["en"], tokens.transcribe, tokens.timestamp(0.0)]
    return [*begin, *tokens.encode(f" {TRANSCRIPT}"), tokens.timestamp(30.0), tokens.end]


class _Weights:
    def __init__(self, shape: Shape, random: np.random.Generator) -> None:
        self._shape = shape
        self._random = random

    def fill(self, spec: Any, tokens: Tokens) -> None:
        """Fills in all weights."""
        width = self._shape.width
        self._linear(spec.encoder.conv1, width, self._shape.mels, KERNEL)
        self._linear(spec.encoder.conv2, width, width, KERNEL)
        spec.encoder.position_encodings.encodings = self._normal(AUDIO_POSITIONS, width, spread=0.1)
        spec.decoder.position_encodings.encodings = self._normal(TEXT_POSITIONS, width, spread=0.01)
        embeddings = self._normal(tokens.size, width)
        output = self._normal(tokens.size, width, spread=width**-0.5)
        following = chain(tokens)
        output[following[1:]] = embeddings[following[:-1]] * np.float32(SURE / width)
        spec.decoder.embeddings.weight = embeddings
        spec.decoder.projection.weight = output
        for side in (spec.encoder, spec.decoder):
            self._norm(side.layer_norm)
            for layer in side.layer:
                self._layer(layer, adds=side is spec.encoder)

    def _layer(self, layer: Any, adds: bool) -> None:
        """Fills in a block, which adds something to what passes by, or nothing."""
        width, scale = self._shape.width, float(adds)
        self._attention(layer.self_attention, (3,), scale)
        if hasattr(layer, "attention"):
            self._attention(layer.attention, (1, 2), scale)
        self._norm(layer.ffn.layer_norm)
        self._linear(layer.ffn.linear_0, 4 * width, width)
        self._linear(layer.ffn.linear_1, width, 4 * width, scale=scale)

    def _attention(self, attention: Any, parts: tuple[int, ...], scale: float) -> None:
        """Fills in an attention; of queries, keys and values, `parts` tells which are computed in one go."""
        width = self._shape.width
        self._norm(attention.layer_norm)
        for linear, count in zip(attention.linear, parts, strict=False):
            self._linear(linear, count * width, width)
        self._linear(attention.linear[-1], width, width, scale=scale)

    def _linear(
        self, target: common_spec.LinearSpec | common_spec.Conv1DSpec, rows: int, *columns: int, scale: float = 1.0
    ) -> None:
        target.weight = self._normal(rows, *columns, spread=scale / float(np.prod(columns)) ** 0.5)
        target.bias = self._normal(rows, spread=0.01 * scale)

    def _norm(self, target: common_spec.LayerNormSpec) -> None:
        target.gamma = np.ones(self._shape.width, np.float32)
        target.beta = np.zeros(self._shape.width, np.float32)

    def _normal(self, *sizes: int, spread: float = 1.0) -> np.ndarray:
        return self._random.standard_normal(sizes, np.float32) * np.float32(spread)
