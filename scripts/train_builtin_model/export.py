"""Writes a trained model as one GGUF file that llama.cpp loads: weights, tokenizer, chat template."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
from tokenizers import Tokenizer
from torch import Tensor

from .model import Shape, is_rotated, to_neighbours

NAMES = {
    "embedding": "token_embd",
    "norm": "output_norm",
    "attention_norm": "attn_norm",
    "attention.q": "attn_q",
    "attention.k": "attn_k",
    "attention.v": "attn_v",
    "attention.o": "attn_output",
    "feed_norm": "ffn_norm",
    "gate": "ffn_gate",
    "up": "ffn_up",
    "down": "ffn_down",
}


@dataclass(frozen=True)
class Card:
    """What a file says of itself: `kinds` are the tokens that are not ordinary pieces of text."""

    name: str
    description: str
    template: str
    kinds: Mapping[str, gguf.TokenType]
    end: str
    pad: str


def export(path: Path, shape: Shape, weights: dict[str, Tensor], tokenizer: Tokenizer, card: Card) -> None:
    """Writes `path`: matrices as Q8_0, norms as F32. The old file stays until the new one is complete."""
    partial = path.with_suffix(".partial")
    writer = gguf.GGUFWriter(partial, "llama")
    writer.add_name(card.name)
    writer.add_description(card.description)
    writer.add_license("apache-2.0")
    writer.add_languages(["en"])
    _add_shape(writer, shape)
    _add_tokenizer(writer, tokenizer, card)
    for name, weight in weights.items():
        rows = weight.detach().float().cpu()
        if is_rotated(name):
            rows = to_neighbours(rows, shape.heads)
        _add_tensor(writer, gguf_name(name), rows.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    partial.replace(path)


def gguf_name(name: str) -> str:
    """`blocks.3.attention.q.weight` → `blk.3.attn_q.weight`."""
    parts = name.removesuffix(".weight").split(".")
    if parts[0] == "blocks":
        return f"blk.{parts[1]}.{NAMES['.'.join(parts[2:])]}.weight"
    return f"{NAMES['.'.join(parts)]}.weight"


def _add_shape(writer: gguf.GGUFWriter, shape: Shape) -> None:
    """Writes what llama.cpp needs to know of the network, whose matrices are Q8_0."""
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.hidden)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.heads)
    writer.add_rope_dimension_count(shape.width // shape.heads)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_layer_norm_rms_eps(shape.norm_epsilon)
    writer.add_vocab_size(shape.vocabulary)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)


def _add_tokenizer(writer: gguf.GGUFWriter, tokenizer: Tokenizer, card: Card) -> None:
    model = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([card.kinds.get(token, gguf.TokenType.NORMAL) for token in tokens])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(tokens.index(card.pad))
    writer.add_eos_token_id(tokens.index(card.end))
    writer.add_eot_token_id(tokens.index(card.end))
    writer.add_pad_token_id(tokens.index(card.pad))
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)
    writer.add_chat_template(card.template)


def _add_tensor(writer: gguf.GGUFWriter, name: str, values: np.ndarray) -> None:
    if values.ndim == 2 and values.shape[1] % 32 == 0:
        kind = gguf.GGMLQuantizationType.Q8_0
        writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)
    else:
        writer.add_tensor(name, np.ascontiguousarray(values, dtype=np.float32))
