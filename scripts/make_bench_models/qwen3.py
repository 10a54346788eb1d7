"""Qwen3 in llama.cpp's format: true shape, random weights, one reply.

The blocks compute all they would, and add nothing: the matrices that write to the residual stream are zero. So the
logits of a token depend on the token alone, and the output matrix has each token of the reply follow the one before.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np

from pipeline.llm.llama_files import locate


@dataclass(frozen=True)
class Shape:
    """Sizes as in the configuration files of Qwen/Qwen3-0.6B and -1.7B."""

    width: int
    hidden: int
    layers: int = 28
    heads: int = 16
    key_value_heads: int = 8
    head_width: int = 128
    vocabulary: int = 151_936
    context: int = 40_960
    rope_base: float = 1e6
    norm_epsilon: float = 1e-6


SHAPES = {"qwen3-0.6b": Shape(1024, 3072), "qwen3-1.7b": Shape(2048, 6144)}
KINDS = {"q4_0": gguf.GGMLQuantizationType.Q4_0, "q8_0": gguf.GGMLQuantizationType.Q8_0}

REPLY = (
    "Sure, here is what you wanted to know about that. It takes three short steps, none of them hard: open your "
    "settings, pick sound, then choose which voice should answer. Anything else?"
)
"""What the model says to everything: 32 words, as an assistant's spoken reply may have. No word comes twice."""

STARTS_WITH = "Ċ"
"""The token before the reply: the end of the line that says who speaks."""

END = "<|im_end|>"

BLOCK_BYTES = {gguf.GGMLQuantizationType.Q4_0: 18, gguf.GGMLQuantizationType.Q8_0: 34}
"""Bytes of 32 weights: a scale as float16, and 4 or 8 bits each (ggml-common.h)."""


def write(path: Path, shape: Shape, kind: str, seed: int = 0) -> Path:
    """Writes the file. The tokenizer is that of the built-in model, filled up with words that nothing says."""
    writer = gguf.GGUFWriter(path, "qwen3", use_temp_file=True)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.hidden)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.key_value_heads)
    writer.add_key_length(shape.head_width)
    writer.add_value_length(shape.head_width)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_layer_norm_rms_eps(shape.norm_epsilon)
    tokens = _add_tokenizer(writer, shape.vocabulary)
    chain = [tokens.index(token) for token in (STARTS_WITH, *_words(), END)]
    _Weights(writer, shape, KINDS[kind], np.random.default_rng(seed)).add(chain)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _words() -> list[str]:
    """The reply in the spelling of byte-level BPE, a word and its mark a token."""
    first, *others = REPLY.split()
    return [first, *(f"Ġ{word}" for word in others)]


def _add_tokenizer(writer: gguf.GGUFWriter, size: int) -> list[str]:
    """Writes the tokenizer of the built-in model with the words of the reply, filled up to `size` with others."""
    fields = gguf.GGUFReader(locate("builtin")).fields
    tokens: list[str] = fields["tokenizer.ggml.tokens"].contents()
    kinds: list[int] = fields["tokenizer.ggml.token_type"].contents()
    added = [word for word in _words() if word not in tokens]
    added += [f"<|unused_{number}|>" for number in range(size - len(tokens) - len(added))]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens + added)
    writer.add_token_types([gguf.TokenType(kind) for kind in kinds] + [gguf.TokenType.NORMAL] * len(added))
    writer.add_token_merges(fields["tokenizer.ggml.merges"].contents())
    end = tokens.index(END)
    writer.add_bos_token_id(end)
    writer.add_eos_token_id(end)
    writer.add_eot_token_id(end)
    writer.add_add_bos_token(False)
    writer.add_chat_template(fields["tokenizer.chat_template"].contents())
    return tokens + added


class _Weights:
    """Random weights, made in the file's own format: nothing is ever held as floats."""

    def __init__(
        self, writer: gguf.GGUFWriter, shape: Shape, kind: gguf.GGMLQuantizationType, random: np.random.Generator
    ) -> None:
        self._writer = writer
        self._shape = shape
        self._kind = kind
        self._random = random

    def add(self, chain: list[int]) -> None:
        """Adds all tensors; `chain` are the tokens that follow each other."""
        shape = self._shape
        heads, shared = shape.heads * shape.head_width, shape.key_value_heads * shape.head_width
        embedding = self._blocks(shape.vocabulary, shape.width, 1.0)
        output = self._blocks(shape.vocabulary, shape.width, 0.1)
        output[chain[1:]] = embedding[chain[:-1]]
        self._put("token_embd", embedding)
        self._put("output", output)
        self._norm("output_norm", shape.width)
        for layer in range(shape.layers):
            block = f"blk.{layer}"
            for name, rows, columns, scale in (
                ("attn_q", heads, shape.width, 1.0),
                ("attn_k", shared, shape.width, 1.0),
                ("attn_v", shared, shape.width, 1.0),
                ("attn_output", shape.width, heads, 0.0),
                ("ffn_gate", shape.hidden, shape.width, 1.0),
                ("ffn_up", shape.hidden, shape.width, 1.0),
                ("ffn_down", shape.width, shape.hidden, 0.0),
            ):
                self._put(f"{block}.{name}", self._blocks(rows, columns, scale))
            for name, width in (("attn_norm", shape.width), ("ffn_norm", shape.width)):
                self._norm(f"{block}.{name}", width)
            for name in ("attn_q_norm", "attn_k_norm"):
                self._norm(f"{block}.{name}", shape.head_width)

    def _blocks(self, rows: int, columns: int, scale: float) -> np.ndarray:
        """Random blocks, uint8 [rows, bytes]; their weights have about `scale` / √columns as standard deviation."""
        size = BLOCK_BYTES[self._kind]
        blocks = self._random.integers(0, 256, (rows, columns // 32, size), np.uint8)
        spread = 4.6 if self._kind is gguf.GGMLQuantizationType.Q4_0 else 73.9  # of uniform 4-bit and 8-bit integers
        blocks[..., :2] = np.frombuffer(np.float16(scale / columns**0.5 / spread).tobytes(), np.uint8)
        return blocks.reshape(rows, -1)

    def _put(self, name: str, blocks: np.ndarray) -> None:
        self._writer.add_tensor(f"{name}.weight", blocks, raw_dtype=self._kind)

    def _norm(self, name: str, width: int) -> None:
        self._writer.add_tensor(f"{name}.weight", np.ones(width, np.float32))
