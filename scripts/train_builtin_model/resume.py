"""Reads an exported file back, so that training can go on from it with more time or more data."""

from __future__ import annotations

from pathlib import Path

import gguf
import torch
from tokenizers import Tokenizer

from .export import gguf_name
from .model import Llama, Shape, is_rotated, to_halves
from .tokenizer import rebuild


def resume(path: Path) -> tuple[Llama, Tokenizer]:
    """The model and the tokenizer of a file that `export` wrote, the weights as exact as Q8_0 keeps them."""
    reader = gguf.GGUFReader(path)
    merges = [(left, right) for left, right in (pair.split(" ") for pair in _strings(reader, "tokenizer.ggml.merges"))]
    tokenizer = rebuild(_strings(reader, "tokenizer.ggml.tokens"), merges)
    shape = Shape(
        vocabulary=tokenizer.get_vocab_size(),
        width=_number(reader, "llama.embedding_length"),
        layers=_number(reader, "llama.block_count"),
        heads=_number(reader, "llama.attention.head_count"),
        hidden=_number(reader, "llama.feed_forward_length"),
        context=_number(reader, "llama.context_length"),
    )
    model = Llama(shape)
    stored = {tensor.name: gguf.quants.dequantize(tensor.data, tensor.tensor_type) for tensor in reader.tensors}
    weights = {}
    for name, _ in model.named_parameters():
        weight = torch.from_numpy(stored[gguf_name(name)].copy())
        weights[name] = to_halves(weight, shape.heads) if is_rotated(name) else weight
    model.load_state_dict(weights)
    return model, tokenizer


def _strings(reader: gguf.GGUFReader, key: str) -> list[str]:
    field = reader.fields[key]
    return [bytes(field.parts[index]).decode() for index in field.data]


def _number(reader: gguf.GGUFReader, key: str) -> int:
    field = reader.fields[key]
    return int(field.parts[field.data[0]][0])
