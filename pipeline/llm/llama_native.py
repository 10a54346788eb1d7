"""The part of llama.cpp's C interface that the engine needs, in Python's manners.

Nothing here is safe to call from two threads at once, except that a `Vocabulary` may be read while a `Context`
decodes. Who owns what is decided elsewhere (llama_scheduler.py).
"""

import ctypes
import functools
import logging
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import llama_cpp as c
import numpy as np
from numpy.typing import NDArray

log = logging.getLogger("llama.cpp")

MAX_ROWS = 63
"""Most rows in one decode. Up to here a row's result does not depend on how many rows are decoded with it: at 64
the CPU's flash attention changes to another algorithm."""

_LEVELS = {1: logging.DEBUG, 2: logging.DEBUG, 3: logging.INFO, 4: logging.WARNING}
"""llama.cpp's log levels (debug, info, warning, error; ggml.h) to ours, lower: what matters is raised."""


class NativeError(Exception):
    """llama.cpp said no; the message says why, as far as its log tells."""


class DecodeError(NativeError):
    """`llama_decode` failed; `code` is what it returned."""

    def __init__(self, code: int) -> None:
        super().__init__(f"llama_decode returned {code}")
        self.code = code


_heard = threading.local()


@c.llama_log_callback  # type: ignore[untyped-decorator]
def on_log(level: int, text: bytes, _data: object) -> None:
    line = text.decode("utf-8", "replace").rstrip("\n")
    if not line.strip(". "):
        return
    if level == 4 and hasattr(_heard, "errors"):
        _heard.errors.append(line)  # it will be part of an exception
        level = 1
    log.log(_LEVELS.get(level, logging.DEBUG), "%s", line)


@functools.cache
def start_library() -> None:
    """Sends llama.cpp's log to Python's. Its logger is global, so this happens once in the process."""
    c.llama_log_set(on_log, ctypes.c_void_p(0))
    c.llama_backend_init()


@contextmanager
def errors_heard() -> Iterator[list[str]]:
    """Collects the error lines that llama.cpp logs on this thread."""
    _heard.errors = []
    try:
        yield _heard.errors
    finally:
        del _heard.errors


def _reason(errors: list[str]) -> str:
    """The cause in llama.cpp's log: the first error says most, its frame repeats the function's name."""
    return re.sub(r"^.*error loading model: ", "", errors[0]) if errors else "llama.cpp gave no reason"


class Vocabulary:
    """Text to tokens and back."""

    def __init__(self, handle: Any, shown: frozenset[str]) -> None:
        """`shown` are control tokens that `piece` returns as text; other control tokens are silent."""
        self.handle = handle
        self._shown = shown
        self._pieces: dict[int, bytes] = {}
        self.size: int = c.llama_vocab_n_tokens(handle)
        self.adds_bos = bool(c.llama_vocab_get_add_bos(handle))
        self.bos: int = c.llama_vocab_bos(handle)
        self.eos: int = c.llama_vocab_eos(handle)
        self.is_sentencepiece = c.llama_vocab_type(handle) == c.LLAMA_VOCAB_TYPE_SPM

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        """Returns the tokens of `text`; with `special`, control tokens that are spelled out in it count as such."""
        data = text.encode("utf-8", "replace")
        room = len(data) + 16
        while True:
            tokens = (c.llama_token * room)()
            count = c.llama_tokenize(self.handle, data, len(data), tokens, room, False, special)
            if count >= 0:
                return list(tokens[:count])
            room = -count

    def text(self, token: int) -> str:
        """How a token is spelled, control tokens too; empty for no token."""
        return self._spelling(token).decode("utf-8", "replace") if token >= 0 else ""

    def piece(self, token: int) -> bytes:
        """The bytes that a token adds to the reply; a character may be spread over several tokens."""
        piece = self._pieces.get(token)
        if piece is None:
            piece = self._spelling(token)
            if self.is_control(token) and piece.decode("utf-8", "replace") not in self._shown:
                piece = b""
            self._pieces[token] = piece
        return piece

    def is_end(self, token: int) -> bool:
        """Whether the token ends a reply."""
        return bool(c.llama_vocab_is_eog(self.handle, token))

    def is_control(self, token: int) -> bool:
        return bool(c.llama_vocab_is_control(self.handle, token))

    def is_markup(self, token: int) -> bool:
        """Whether the token is a control token, or a tag such as `<think>` that a text by chance could spell too."""
        if self.is_control(token):
            return True
        if not c.llama_vocab_get_attr(self.handle, token) & c.LLAMA_TOKEN_ATTR_USER_DEFINED:
            return False
        spelling = self._spelling(token)
        return len(spelling) > 2 and spelling[:1] in (b"<", b"[")

    def single(self, text: str) -> int | None:
        """The one token that spells `text`, if there is one."""
        tokens = self.tokenize(text, special=True)
        return tokens[0] if len(tokens) == 1 and self.text(tokens[0]) == text else None

    def _spelling(self, token: int) -> bytes:
        buffer = ctypes.create_string_buffer(256)
        size = c.llama_token_to_piece(self.handle, token, buffer, len(buffer), 0, True)
        if size < 0:
            buffer = ctypes.create_string_buffer(-size)
            size = c.llama_token_to_piece(self.handle, token, buffer, len(buffer), 0, True)
        return buffer.raw[:size]


class Model:
    """Weights and vocabulary, read from a GGUF file."""

    def __init__(self, path: Path, shown: frozenset[str] = frozenset(), gpu_layers: int | None = None) -> None:
        """Loads the file; of a model in several, the first, which lie beside each other.

        Args:
            path: the file.
            shown: see `Vocabulary`.
            gpu_layers: how many layers go to the GPUs, -1 for all; None: the CPU alone computes.

        Raises:
            NativeError: llama.cpp cannot load it, or it holds no model that writes text.
        """
        start_library()
        params = c.llama_model_default_params()
        self.on_gpu = gpu_layers is not None
        params.n_gpu_layers = 0 if gpu_layers is None else gpu_layers
        no_devices = (ctypes.c_void_p * 1)(None)
        if gpu_layers is None:  # without a list of devices llama.cpp takes all there are, whatever the layers
            params.devices = ctypes.cast(no_devices, ctypes.c_void_p)
        with errors_heard() as errors:
            self.handle = c.llama_model_load_from_file(str(path).encode(), params)
        if not self.handle:
            raise NativeError(_reason(errors))
        vocabulary = c.llama_model_get_vocab(self.handle)
        if c.llama_vocab_type(vocabulary) == c.LLAMA_VOCAB_TYPE_NONE or not self._writes():
            self.close()
            raise NativeError(_OTHER_KIND)
        self.vocabulary = Vocabulary(vocabulary, shown)
        self.trained_context: int = c.llama_model_n_ctx_train(self.handle)
        self.rewinds = not (c.llama_model_is_recurrent(self.handle) or c.llama_model_is_hybrid(self.handle))
        self.weights: int = c.llama_model_n_params(self.handle)

    def _writes(self) -> bool:
        """Whether the model continues text: not with an encoder, nor made for embeddings or ranking."""
        if c.llama_model_has_encoder(self.handle) or c.llama_model_is_diffusion(self.handle):
            return False
        architecture = self._metadata("general.architecture")
        return (
            self._metadata(f"{architecture}.pooling_type") in ("", "0", "-1")
            and self._metadata(f"{architecture}.attention.causal") != "false"
        )

    def _metadata(self, key: str) -> str:
        """What the file says under `key`, as text; empty where it says nothing."""
        buffer = ctypes.create_string_buffer(256)
        size = c.llama_model_meta_val_str(self.handle, key.encode(), buffer, len(buffer))
        return buffer.value.decode("utf-8", "replace") if size >= 0 else ""

    def chat_template(self) -> str | None:
        """The Jinja source under `tokenizer.chat_template`, when the file has one."""
        source = c.llama_model_chat_template(self.handle, None)
        return source.decode("utf-8", "replace") if source else None

    def close(self) -> None:
        c.llama_model_free(self.handle)


@dataclass(frozen=True, slots=True)
class Cache:
    """How keys and values are kept: types from `CACHE_TYPES`. Quantised values need flash attention."""

    keys: str = "f16"
    values: str = "f16"
    flash_attention: Literal["auto", "on", "off"] = "auto"


CACHE_TYPES = {
    "f32": c.GGML_TYPE_F32,
    "f16": c.GGML_TYPE_F16,
    "q8_0": c.GGML_TYPE_Q8_0,
    "q5_1": c.GGML_TYPE_Q5_1,
    "q5_0": c.GGML_TYPE_Q5_0,
    "q4_1": c.GGML_TYPE_Q4_1,
    "q4_0": c.GGML_TYPE_Q4_0,
}

_FLASH_ATTENTION = {
    "auto": c.LLAMA_FLASH_ATTN_TYPE_AUTO,
    "on": c.LLAMA_FLASH_ATTN_TYPE_ENABLED,
    "off": c.LLAMA_FLASH_ATTN_TYPE_DISABLED,
}

_OTHER_KIND = "the file holds a model of another kind, not one that continues text"


@dataclass(frozen=True, slots=True)
class Slice:
    """Consecutive tokens of one sequence, to be decoded from position `start` on.

    With `sampled`, the last of them yields the logits from which the next token is drawn.
    """

    sequence: int
    start: int
    tokens: list[int]
    sampled: bool


class Context:
    """The memory of a number of sequences (keys and values of their tokens), and the means to extend them.

    The memory is not unified: each sequence has cells of its own. An idle sequence then costs a step nothing and
    every sequence has its whole context for sure; and what a sequence holds lies in its order, so that results do not
    depend on who else is there. The price is that copying a part of one sequence to another would abort the process
    (llama-kv-cache.cpp, `seq_cp`), so there is no method for it (see llama_memory.py), and that only sequences with
    consecutive ids are decoded together in one pass.

    `rewinds` says whether `trim` can go back: a recurrent model cannot.
    """

    def __init__(
        self,
        model: Model,
        *,
        context: int,
        sequences: int,
        threads: int,
        cache: Cache | None = None,
        rows: int = MAX_ROWS,
    ) -> None:
        """Makes room for `sequences` sequences of `context` tokens. `rows` is the most rows of an image in one decode.

        Raises:
            NativeError: it cannot be made, for want of memory for example.
        """
        cache = cache or Cache()
        params = c.llama_context_default_params()
        params.n_ctx = context * sequences
        params.n_batch = params.n_ubatch = max(rows, MAX_ROWS)
        params.n_seq_max = sequences
        params.n_threads = params.n_threads_batch = threads
        params.flash_attn_type = _FLASH_ATTENTION[cache.flash_attention]
        params.type_k, params.type_v = CACHE_TYPES[cache.keys], CACHE_TYPES[cache.values]
        params.kv_unified = False
        params.no_perf = True
        params.offload_kqv = params.op_offload = model.on_gpu
        with errors_heard() as errors:
            self.handle = c.llama_init_from_model(model.handle, params)
        if not self.handle:
            raise NativeError(_reason(errors))
        self._memory = c.llama_get_memory(self.handle)
        if not self._memory:
            self.close()
            raise NativeError(_OTHER_KIND)
        self._batch = _Batch()
        self._vocabulary_size = model.vocabulary.size
        self.rewinds, self.on_gpu = model.rewinds, model.on_gpu

    def decode(self, slices: Sequence[Slice]) -> list[int]:
        """Extends sequences by `MAX_ROWS` tokens at most. A sequence occurs once at most.

        Returns:
            For each slice the row of its last token, for `Sampler.sample`; good until the next decode.

        Raises:
            DecodeError: some of the slices may have been decoded and others not.
        """
        rows = self._batch.fill(slices)
        code = c.llama_decode(self.handle, self._batch.struct)
        if code != 0:
            raise DecodeError(code)
        return rows

    def logits(self, row: int) -> NDArray[np.float32]:
        """The logits of a row of the last decode, one per token; good until the next."""
        return np.ctypeslib.as_array(c.llama_get_logits_ith(self.handle, row), shape=(self._vocabulary_size,))

    def trim(self, sequence: int, length: int) -> bool:
        """Forgets all of a sequence from position `length` on.

        Returns:
            Whether that was possible. If not (a recurrent model cannot go back), the sequence is empty.
        """
        if length > 0 and c.llama_memory_seq_rm(self._memory, sequence, length, -1):
            last = c.llama_memory_seq_pos_max(self._memory, sequence)
            if last == length - 1 and c.llama_memory_seq_pos_min(self._memory, sequence) == 0:
                return True
        self.clear(sequence)
        return length == 0

    def clear(self, sequence: int) -> None:
        """Forgets a sequence."""
        c.llama_memory_seq_rm(self._memory, sequence, -1, -1)

    def state_size(self, sequence: int) -> int:
        """Bytes that `save` returns."""
        return int(c.llama_state_seq_get_size(self.handle, sequence))

    def save(self, sequence: int) -> NDArray[np.uint8]:
        """Returns all that a sequence holds, for `restore`.

        Raises:
            NativeError: llama.cpp cannot tell.
        """
        state = np.empty(self.state_size(sequence), np.uint8)
        if c.llama_state_seq_get_data(self.handle, _pointer(state), state.nbytes, sequence) != state.nbytes:
            raise NativeError("llama_state_seq_get_data failed")
        return state

    def restore(self, sequence: int, state: NDArray[np.uint8]) -> bool:
        """Makes a sequence hold what `save` returned of any of this context. If that fails, it is empty.

        A later decode gives the same bits as one of the sequence that was saved.
        """
        self.clear(sequence)
        if c.llama_state_seq_set_data(self.handle, _pointer(state), state.nbytes, sequence) == state.nbytes:
            return True
        self.clear(sequence)
        return False

    def close(self) -> None:
        c.llama_free(self.handle)


def _pointer(data: NDArray[np.uint8]) -> Any:
    return data.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))


class _Batch:
    """The rows of one decode, in memory that llama.cpp reads and NumPy writes."""

    def __init__(self) -> None:
        rows = MAX_ROWS
        # One array per column of the struct: llama_batch_init would have each row's sequence id in its own block.
        self._tokens, self._positions, self._sequences = (np.zeros(rows, np.int32) for _ in range(3))
        self._sampled = np.zeros(rows, np.int8)
        self._counts = np.ones(rows, np.int32)
        first = self._sequences.ctypes.data
        self._pointers = np.arange(first, first + 4 * rows, 4, dtype=np.uintp)
        integers = ctypes.POINTER(ctypes.c_int32)
        self.struct = c.llama_batch(
            token=self._tokens.ctypes.data_as(integers),
            pos=self._positions.ctypes.data_as(integers),
            n_seq_id=self._counts.ctypes.data_as(integers),
            seq_id=self._pointers.ctypes.data_as(ctypes.POINTER(integers)),
            logits=self._sampled.ctypes.data_as(ctypes.POINTER(ctypes.c_int8)),
        )

    def fill(self, slices: Sequence[Slice]) -> list[int]:
        """Writes the rows. Returns the last row of each slice."""
        self._sampled[:] = 0
        last: list[int] = []
        begin = 0
        for piece in slices:
            end = begin + len(piece.tokens)
            self._tokens[begin:end] = piece.tokens
            self._positions[begin:end] = np.arange(piece.start, piece.start + len(piece.tokens))
            self._sequences[begin:end] = piece.sequence
            self._sampled[end - 1] = piece.sampled
            last.append(end - 1)
            begin = end
        self.struct.n_tokens = begin
        return last
