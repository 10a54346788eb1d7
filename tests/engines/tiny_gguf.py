"""Makes tiny GGUF files with random weights: real models to llama.cpp, made in milliseconds, that talk nonsense.

Their vocabulary is GPT-2's 256 bytes, so that any text can be said with them, and a few control tokens.
"""

from pathlib import Path

import gguf
import numpy as np

CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
MARKUP = ("<think>", "</think>")
"""Plain tokens that models have for their markup."""

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)

WIDTH, LAYERS, HEADS, HIDDEN = 64, 2, 2, 96


def write(
    path: Path, *, template: str | None = CHATML, context: int = 1024, never_ends: bool = False, seed: int = 1
) -> Path:
    """Writes a llama of about 130 kB. With `never_ends`, no greedy reply stops by itself."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(context)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    _add_tokenizer(writer, template)
    _add_weights(writer, np.random.default_rng(seed), never_ends)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def tokens() -> list[str]:
    """The vocabulary: control tokens, markup, then the 256 bytes in GPT-2's spelling."""
    return [*CONTROL, *MARKUP, *_byte_spellings()]


def _byte_spellings() -> list[str]:
    """GPT-2 spells each byte as a visible character (`bytes_to_unicode` in its encoder.py)."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte if byte in visible else next(others)) for byte in range(256)]


def _add_tokenizer(writer: gguf.GGUFWriter, template: str | None) -> None:
    kinds = [gguf.TokenType.CONTROL] * len(CONTROL) + [gguf.TokenType.USER_DEFINED] * len(MARKUP)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens())
    writer.add_token_types(kinds + [gguf.TokenType.NORMAL] * 256)
    writer.add_token_merges(["Ā Ā"])  # llama.cpp wants one; two zero bytes are rare in speech
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(False)
    if template is not None:
        writer.add_chat_template(template)


def _add_weights(writer: gguf.GGUFWriter, random: np.random.Generator, never_ends: bool) -> None:
    size = len(tokens())

    def matrix(rows: int, columns: int) -> np.ndarray:
        return (random.standard_normal((rows, columns)) / np.sqrt(columns)).astype(np.float32)

    # Rows of zeros in the output matrix: the logits of control tokens are 0, and never the highest of 261.
    output = 4 * matrix(size, WIDTH)
    output[: len(CONTROL)] = 0
    if not never_ends:
        output[2] = 4 * matrix(1, WIDTH)[0]
    _add_matrix(writer, "token_embd", matrix(size, WIDTH) * np.float32(8))
    _add_matrix(writer, "output", output)
    writer.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
    for layer in range(LAYERS):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            _add_matrix(writer, f"blk.{layer}.{name}", matrix(WIDTH, WIDTH))
        _add_matrix(writer, f"blk.{layer}.ffn_gate", matrix(HIDDEN, WIDTH))
        _add_matrix(writer, f"blk.{layer}.ffn_up", matrix(HIDDEN, WIDTH))
        _add_matrix(writer, f"blk.{layer}.ffn_down", matrix(WIDTH, HIDDEN))
        writer.add_tensor(f"blk.{layer}.attn_norm.weight", np.ones(WIDTH, np.float32))
        writer.add_tensor(f"blk.{layer}.ffn_norm.weight", np.ones(WIDTH, np.float32))


def _add_matrix(writer: gguf.GGUFWriter, name: str, values: np.ndarray) -> None:
    # As Q8_0: in this type a row's result does not depend on the rows that are computed with it.
    kind = gguf.GGMLQuantizationType.Q8_0
    writer.add_tensor(f"{name}.weight", gguf.quants.quantize(values, kind), raw_dtype=kind)
