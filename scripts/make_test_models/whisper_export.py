"""Writes a network as the folder that faster-whisper loads."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from ctranslate2.specs import attention_spec, common_spec, whisper_spec
from torch import Tensor, nn

from .whisper_network import Attention, Layer, Whisper
from .whisper_tokens import Tokens

ALIGNMENT_HEADS = (0, 1)
"""The heads of the last decoder layer that are taught to look where the words are."""


def export(folder: Path, network: Whisper, tokens: Tokens) -> None:
    """Writes model.bin, config.json, vocabulary.json, tokenizer.json and preprocessor_config.json."""
    shape = network.shape
    spec = whisper_spec.WhisperSpec(shape.encoder_layers, shape.heads, shape.decoder_layers, shape.heads)
    _copy(spec.encoder.conv1, network.conv1)
    _copy(spec.encoder.conv2, network.conv2)
    spec.encoder.position_encodings.encodings = _array(network.audio_positions)
    _copy_norm(spec.encoder.layer_norm, network.encoder_norm)
    spec.decoder.embeddings.weight = _array(network.embeddings())
    spec.decoder.projection.weight = spec.decoder.embeddings.weight
    spec.decoder.position_encodings.encodings = _array(network.text_positions)
    _copy_norm(spec.decoder.layer_norm, network.decoder_norm)
    for side, layers in ((spec.encoder, network.encoder), (spec.decoder, network.decoder)):
        for target, layer in zip(side.layer, layers, strict=True):
            _copy_layer(target, layer)
    spec.config.suppress_ids = tokens.suppressed()
    spec.config.suppress_ids_begin = tokens.suppressed_first()
    spec.config.lang_ids = sorted(tokens.languages.values())
    spec.config.alignment_heads = [(shape.decoder_layers - 1, head) for head in ALIGNMENT_HEADS]
    spec.register_vocabulary(tokens.vocabulary())
    spec.validate()
    spec.optimize(quantization="int8_float16")
    folder.mkdir(parents=True, exist_ok=True)
    spec.save(str(folder))
    (folder / "tokenizer.json").write_text(tokens.tokenizer.to_str(), "utf-8")
    preprocessor = {"feature_size": shape.mels, "hop_length": 160, "n_fft": 400, "sampling_rate": 16000}
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor, indent=2) + "\n", "utf-8")


def _copy_layer(target: common_spec.model_spec.LayerSpec, layer: Layer) -> None:
    _copy_attention(target.self_attention, layer.self_attention, fused=("q", "k", "v"))
    _copy_norm(target.self_attention.layer_norm, layer.self_norm)
    if layer.cross_attention is not None:
        _copy(target.attention.linear[0], layer.cross_attention.q)
        _copy_attention(target.attention, layer.cross_attention, fused=("k", "v"))
        _copy_norm(target.attention.layer_norm, layer.cross_norm)
    _copy(target.ffn.linear_0, layer.feed_in)
    _copy(target.ffn.linear_1, layer.feed_out)
    _copy_norm(target.ffn.layer_norm, layer.feed_norm)


def _copy_attention(target: attention_spec.MultiHeadAttentionSpec, source: Attention, fused: tuple[str, ...]) -> None:
    """Copies the output, and before it those inputs that CTranslate2 computes in one go."""
    parts = [getattr(source, name) for name in fused]
    inputs, output = target.linear[-2], target.linear[-1]
    inputs.weight = np.concatenate([_array(part.weight) for part in parts])
    biases = [np.zeros(len(part.weight), np.float32) if part.bias is None else _array(part.bias) for part in parts]
    inputs.bias = np.concatenate(biases)
    _copy(output, source.out)


def _copy(target: common_spec.LinearSpec | common_spec.Conv1DSpec, source: nn.Linear | nn.Conv1d) -> None:
    target.weight = _array(source.weight)
    target.bias = _array(source.bias)


def _copy_norm(target: common_spec.LayerNormSpec, source: nn.LayerNorm) -> None:
    target.gamma = _array(source.weight)
    target.beta = _array(source.bias)


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().float().numpy().copy()
