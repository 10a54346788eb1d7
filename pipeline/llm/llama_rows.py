"""Rows of images among the tokens of a prompt: what stands for them, and how they are decoded.

They stand in lists of tokens as negative numbers that follow from what is in the image. So whatever compares prompts
finds the same image again, in any turn and in any session, and another one to be another.
"""

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import llama_cpp as c
import numpy as np
from numpy.typing import NDArray

from pipeline.llm.llama_native import Context, DecodeError
from pipeline.types import Image

_ROW_BITS, _STEP_BITS = 20, 16


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """An image as a model sees it. `number` follows from its bytes.

    `tokens` are what stands for it in a prompt: its rows, with the text that some models want around and between them.
    `embeddings` are the rows, [rows, width]. `positions` are theirs, [kinds, rows], from that of their tile's first row
    on: one kind, or four where the model counts in two dimensions. `ends` are the rows where its tiles end. Unless it
    is `causal`, the rows of a tile look at each other, and have to be decoded together.
    """

    number: int
    tokens: tuple[int, ...]
    embeddings: NDArray[np.float32]
    positions: NDArray[np.int32]
    ends: tuple[int, ...]
    causal: bool


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Consecutive rows of an image, to be decoded at `positions` ([kinds, rows]) of a sequence.

    `tokens` stand for them in lists of tokens. Unless `causal`, each row looks at all of them, not at those before it.
    `embeddings` are [rows, width].
    """

    sequence: int
    tokens: list[int]
    embeddings: NDArray[np.float32]
    positions: NDArray[np.int32]
    causal: bool


Pictures: TypeAlias = Mapping[Image, Picture]
"""The images of a conversation, as the model sees them."""


def ends_in_tile(tokens: Sequence[int]) -> bool:
    """Whether they end among rows that share a position, so that a sequence cannot be cut down to them."""
    return bool(tokens) and is_row(tokens[-1]) and not _step(tokens[-1])


def by_number(pictures: Pictures) -> dict[int, Picture]:
    return {picture.number: picture for picture in pictures.values()}


def is_row(token: int) -> bool:
    """Whether it stands for a row of an image, and is no token."""
    return token < 0


def text_before_rows(tokens: Sequence[int], most: int) -> int:
    """Returns how many of the first `most` tokens come before the first row of an image."""
    return next((index for index in range(most) if is_row(tokens[index])), most)


def next_rows(
    sequence: int, held: Sequence[int], pending: Sequence[int], pictures: Mapping[int, Picture], most: int
) -> Rows:
    """Returns the rows that `pending` begins with: up to `most` of them, or a whole tile where it has to be whole.
    `held` are the tokens that the sequence holds.
    """
    number, first = _place(pending[0])
    picture = pictures[number]
    end = next(end for end in picture.ends if end > first)
    begin = max((end for end in picture.ends if end <= first), default=0)
    if picture.causal:
        end = min(end, first + most)
    rows = slice(first, end)
    start = position(held[: len(held) - (first - begin)])
    # What is the same for all rows of a picture, wherever it stands, is no position.
    moves = np.array([[1]] if len(picture.positions) == 1 else [[1], [1], [1], [0]], np.int32)
    return Rows(
        sequence,
        list(pending[: end - first]),
        picture.embeddings[rows],
        picture.positions[:, rows] + start * moves,
        picture.causal,
    )


def position(tokens: Sequence[int]) -> int:
    """Returns the position behind tokens. A row takes one, but where the model counts in two dimensions: there a tile
    takes as many as its longer side has rows.
    """
    if min(tokens, default=0) >= 0:
        return len(tokens)  # as a rule, and in every step
    return sum(_step(token) if is_row(token) else 1 for token in tokens)


def row_token(number: int, row: int, step: int = 1) -> int:
    """What stands for a row of a picture in a list of tokens. `step` is how many positions it takes."""
    return -((number << _STEP_BITS | step) << _ROW_BITS | row) - 1


def _place(token: int) -> tuple[int, int]:
    """Returns which picture a token stands for a row of, and which row."""
    return -(token + 1) >> _ROW_BITS + _STEP_BITS, -(token + 1) & (1 << _ROW_BITS) - 1


def _step(token: int) -> int:
    return -(token + 1) >> _ROW_BITS & (1 << _STEP_BITS) - 1


def decode_rows(context: Context, rows: Rows) -> None:
    """Extends a sequence by rows of an image.

    Raises:
        DecodeError: nothing, or a part of them, has been decoded.
    """
    batch = _RowBatch(rows)
    if not rows.causal:
        c.llama_set_causal_attn(context.handle, False)
    try:
        code = c.llama_decode(context.handle, batch.struct)
    finally:
        if not rows.causal:
            c.llama_set_causal_attn(context.handle, True)
    if code != 0:
        raise DecodeError(code)


class _RowBatch:
    """Rows of an image in place of tokens, in memory that llama.cpp reads. A batch has the one or the other."""

    def __init__(self, rows: Rows) -> None:
        count = len(rows.embeddings)
        self._embeddings = np.ascontiguousarray(rows.embeddings, np.float32)
        self._positions = np.ascontiguousarray(rows.positions, np.int32)
        self._counts = np.ones(count, np.int32)
        self._sequence = np.array([rows.sequence], np.int32)
        self._pointers = np.full(count, self._sequence.ctypes.data, np.uintp)
        self._sampled = np.zeros(count, np.int8)
        integers = ctypes.POINTER(ctypes.c_int32)
        self.struct = c.llama_batch(
            n_tokens=count,
            embd=self._embeddings.ctypes.data_as(ctypes.POINTER(ctypes.c_float)),
            pos=self._positions.ctypes.data_as(integers),
            n_seq_id=self._counts.ctypes.data_as(integers),
            seq_id=self._pointers.ctypes.data_as(ctypes.POINTER(integers)),
            logits=self._sampled.ctypes.data_as(ctypes.POINTER(ctypes.c_int8)),
        )
