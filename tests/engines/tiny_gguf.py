"""Makes tiny GGUF files with random weights: real models to llama.cpp, made in milliseconds, that talk nonsense.

Their vocabulary is GPT-2's 256 bytes, so that any text can be said with them, and a few control tokens.
"""

from collections.abc import Sequence
from pathlib import Path

import gguf
import numpy as np

CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "[INST]", "[/INST]", "[TOOL_CALLS]", "[ARGS]")
MARKUP = ("<think>", "</think>", "<tool_call>", "</tool_call>")
"""Plain tokens that models have for their markup."""

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)

WIDTH, LAYERS, HEADS, HIDDEN = 64, 2, 2, 96


def write(
    path: Path,
    *,
    template: str | None = CHATML,
    context: int = 1024,
    never_ends: bool = False,
    seed: int = 2,
    sentencepiece: bool = False,
    pooling: gguf.PoolingType | None = None,
    with_weights: bool = True,
    tensors_a_file: int = 0,
    two_dimensions: bool = False,
    words: Sequence[str] = (),
) -> Path:
    """Writes a llama of about 130 kB.

    Args:
        path: the file.
        template: its chat template, if it is to have one.
        context: tokens that it says it was trained for.
        never_ends: no greedy reply stops by itself.
        seed: of the weights.
        sentencepiece: its vocabulary is Llama 2's kind, which puts a space before texts, not GPT-2's.
        pooling: makes it a model for embeddings.
        with_weights: without them it is a vocabulary.
        tensors_a_file: splits it into several, with no more tensors in each.
        two_dimensions: makes it a model that counts positions of images in two dimensions (M-RoPE), Qwen2-VL's kind.
        words: tokens that its vocabulary has besides, found in any text.
    """
    writer = gguf.GGUFWriter(path, "qwen2vl" if two_dimensions else "llama", split_max_tensors=tensors_a_file)
    if two_dimensions:
        writer.add_rope_dimension_sections([4, 6, 6, 0])
    writer.add_context_length(context)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    if pooling is not None:
        writer.add_pooling_type(pooling)
    if sentencepiece:
        _add_sentencepiece(writer, template)
    else:
        add_tokenizer(writer, template, words, gguf.TokenType.USER_DEFINED)
    if with_weights:
        _add_weights(writer, np.random.default_rng(seed), len(tokens()) + len(words), never_ends)
    return finish(writer, path)


def write_adapter(path: Path) -> Path:
    """Writes a LoRA adapter, which is no model by itself."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    for half in ("lora_a", "lora_b"):
        writer.add_tensor(f"blk.0.attn_q.weight.{half}", np.ones((4, WIDTH), np.float32))
    return finish(writer, path)


def write_encoder(path: Path) -> Path:
    """Writes a BERT of one layer: it reads text and writes none."""
    writer = gguf.GGUFWriter(path, "bert")
    writer.add_context_length(128)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_layer_norm_eps(1e-5)
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "\u2581a"]
    writer.add_tokenizer_model("bert")
    writer.add_token_list(words)
    writer.add_token_types([gguf.TokenType.CONTROL] * 5 + [gguf.TokenType.NORMAL])
    writer.add_token_type_count(2)
    for name, shape in (
        ("token_embd.weight", (len(words), WIDTH)),
        ("token_types.weight", (2, WIDTH)),
        ("position_embd.weight", (128, WIDTH)),
        ("token_embd_norm.weight", (WIDTH,)),
        ("token_embd_norm.bias", (WIDTH,)),
        *((f"blk.0.{part}.weight", (WIDTH, WIDTH)) for part in ("attn_q", "attn_k", "attn_v", "attn_output")),
        *((f"blk.0.{part}.bias", (WIDTH,)) for part in ("attn_q", "attn_k", "attn_v", "attn_output")),
        *((f"blk.0.{part}.{kind}", (WIDTH,)) for part in _BERT_NORMS for kind in ("weight", "bias")),
        ("blk.0.ffn_up.weight", (HIDDEN, WIDTH)),
        ("blk.0.ffn_up.bias", (HIDDEN,)),
        ("blk.0.ffn_down.weight", (WIDTH, HIDDEN)),
        ("blk.0.ffn_down.bias", (WIDTH,)),
    ):
        writer.add_tensor(name, np.ones(shape, np.float32))
    return finish(writer, path)


_BERT_NORMS = ("attn_output_norm", "layer_output_norm")


def finish(writer: gguf.GGUFWriter, path: Path) -> Path:
    """Writes what the writer has been given."""
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


def add_tokenizer(
    writer: gguf.GGUFWriter,
    template: str | None,
    words: Sequence[str] = (),
    kind: gguf.TokenType = gguf.TokenType.NORMAL,
) -> None:
    """Adds the vocabulary, with `words` behind it, each a token."""
    kinds = [gguf.TokenType.CONTROL] * len(CONTROL) + [gguf.TokenType.USER_DEFINED] * len(MARKUP)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([*tokens(), *words])
    writer.add_token_types([*kinds, *[gguf.TokenType.NORMAL] * 256, *[kind] * len(words)])
    writer.add_token_merges(["Ā Ā"])  # llama.cpp wants one; two zero bytes are rare in speech
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(False)
    if template is not None:
        writer.add_chat_template(template)


def _add_sentencepiece(writer: gguf.GGUFWriter, template: str | None) -> None:
    spellings = [*CONTROL, *MARKUP, *(f"<0x{byte:02X}>" for byte in range(256))]
    kinds = [gguf.TokenType.CONTROL] * len(CONTROL) + [gguf.TokenType.USER_DEFINED] * len(MARKUP)
    words = {"\u2581": 1, **{chr(code): 1 for code in range(97, 123)}, "\u2581h": 2, "hi": 3, "\u2581hi": 4}
    at = len(spellings) - len(words)  # in place of the last bytes, which no text in UTF-8 has or few have
    spellings[at:] = list(words)
    kinds += [gguf.TokenType.BYTE] * (256 - len(words)) + [gguf.TokenType.NORMAL] * len(words)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(spellings)
    writer.add_token_scores([0.0] * at + [float(score) for score in words.values()])
    writer.add_token_types(kinds)
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(False)
    if template is not None:
        writer.add_chat_template(template)


def _add_weights(writer: gguf.GGUFWriter, random: np.random.Generator, size: int, never_ends: bool) -> None:
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
