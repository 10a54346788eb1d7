"""Long sound → pieces to transcribe one by one, cut where nobody speaks.

Pieces let live sessions have their turn between them, keep the memory of a request small, and give transcripts times
where the engine has none.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.types import LISTENING_RATE, Pcm16

LONGEST_S = 28.0
"""Seconds of a piece: Whisper reads 30 at once."""

_FRAME = LISTENING_RATE // 50
"""Samples whose loudness is looked at together: 20 ms."""

_PAUSE = 25
"""Frames of quiet in a row that are a pause between sentences: 0.5 s."""

_BREATH = 10
"""Frames of quiet that a piece is cut in where there is no pause: 0.2 s."""

_QUIET = 0.08
"""Part of the loudness of speech (the 95th percentile) below which a frame is quiet: -22 dB."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of the sound: int16 `[n]` at 16 kHz, and where it begins, in samples. `voiced_from` and `voiced_to` are
    where in the whole sound it is louder than its quiet ends.
    """

    samples: Pcm16
    start: int
    voiced_from: int
    voiced_to: int


def pieces(sound: Iterable[Pcm16], shortest_s: float) -> Iterator[Piece]:
    """Cuts sound, int16 at 16 kHz, in pauses, into pieces of `LONGEST_S` at most that joined are the whole again.

    `shortest_s` is after how many seconds the next pause ends a piece. Where none comes, the quietest place does.
    """
    least, most = round(shortest_s * LISTENING_RATE), round(LONGEST_S * LISTENING_RATE)
    waiting: list[Pcm16] = []
    length = position = looked_at = 0
    for block in sound:
        waiting.append(block)
        length += len(block)
        while length >= min(most, max(least, looked_at + LISTENING_RATE)):
            buffer = np.concatenate(waiting)
            cut = _pause(buffer[:most], least)
            if cut is None and length >= most:
                cut = _quietest(buffer[:most], most * 2 // 3)
            looked_at = length
            waiting = [buffer]
            if cut is None:
                break
            yield _piece(buffer[:cut], position)
            position += cut
            waiting, length, looked_at = [buffer[cut:]], length - cut, 0
    if length:
        yield _piece(np.concatenate(waiting), position)


def _loudness(samples: Pcm16) -> NDArray[np.float32]:
    """Root mean squares of the whole frames in the samples."""
    frames = samples[: len(samples) // _FRAME * _FRAME].reshape(-1, _FRAME).astype(np.float32)
    levels: NDArray[np.float32] = np.sqrt((frames**2).mean(axis=1))
    return levels


def _is_quiet(levels: NDArray[np.float32]) -> NDArray[np.bool_]:
    return levels <= _QUIET * np.percentile(levels, 95) if len(levels) else np.zeros(0, np.bool_)


def _pause(samples: Pcm16, least: int) -> int | None:
    """Returns the middle of the first pause that begins after `least` samples, and after something was said."""
    quiet = _is_quiet(_loudness(samples))
    if quiet.all():
        return None
    run = 0
    for index in range(max(int(np.argmin(quiet)), least // _FRAME), len(quiet)):
        run = run + 1 if quiet[index] else 0
        if run == _PAUSE:
            return (index - _PAUSE // 2) * _FRAME
    return None


def _quietest(samples: Pcm16, after: int) -> int:
    """Returns the middle of the quietest stretch behind `after` samples."""
    levels = _loudness(samples[after:])
    sums = np.convolve(levels, np.ones(_BREATH, np.float32), "valid")
    return after + (int(np.argmin(sums)) + _BREATH // 2) * _FRAME


def _piece(samples: Pcm16, start: int) -> Piece:
    voiced = np.flatnonzero(~_is_quiet(_loudness(samples)))
    if not len(voiced):
        return Piece(samples, start, start, start + len(samples))
    end = min(len(samples), (int(voiced[-1]) + 1) * _FRAME)
    return Piece(samples, start, start + int(voiced[0]) * _FRAME, start + end)
