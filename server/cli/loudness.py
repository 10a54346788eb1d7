"""How loud sound is, and where speech truly ends in a recording."""

import numpy as np

from pipeline.types import Pcm16

_WINDOW_MS = 10
_SPEECH_RANGE_DB = 30.0
"""How far below its loudest moment the quietest end of a word lies, roughly; a room's noise lies lower."""
_ABOVE_NOISE_DB = 10.0
_SILENCE_DB = -100.0
_AUDIBLE_DB = -50.0
"""Quieter than this nobody calls it sound: speech lies some 30 dB above it."""


def level_db(samples: Pcm16) -> float:
    """Returns the root mean square in dB of full scale; -100 for silence and for no samples."""
    if not len(samples):
        return _SILENCE_DB
    mean_square = float(np.mean(np.square(samples.astype(np.float64) / 32768.0)))
    return max(10.0 * float(np.log10(mean_square)), _SILENCE_DB) if mean_square > 0 else _SILENCE_DB


def end_of_speech(samples: Pcm16, rate: int, start: int, end: int) -> int:
    """Returns the sample at which speech ends within `samples[start:end]`, to 10 ms.

    It is the end of the last window that is less than 30 dB below the loudest of the stretch and at least 10 dB
    above the noise (the quietest tenth of the whole recording), as long as speech stands out of the noise at all.
    """
    window = rate * _WINDOW_MS // 1000
    levels = _levels(samples[start:end], window)
    if not len(levels):
        return min(end, len(samples))
    return start + (int(np.flatnonzero(levels >= _threshold(samples, window, levels))[-1]) + 1) * window


def speech_bounds(samples: Pcm16, rate: int) -> tuple[int, int] | None:
    """Returns the samples between which there is speech in a recording, to 10 ms, found as in `end_of_speech`.

    None: it is silent, or shorter than that.
    """
    window = rate * _WINDOW_MS // 1000
    levels = _levels(samples, window)
    if not len(levels) or levels.max() <= _SILENCE_DB:
        return None
    loud = np.flatnonzero(levels >= _threshold(samples, window, levels))
    return int(loud[0]) * window, (int(loud[-1]) + 1) * window


def first_audible(samples: Pcm16, rate: int) -> int | None:
    """Returns the first sample that one would hear, to 10 ms: where 10 ms are louder than -50 dB of full scale.

    None: there is none.
    """
    window = rate * _WINDOW_MS // 1000
    loud = np.flatnonzero(_levels(samples, window) > _AUDIBLE_DB)
    return int(loud[0]) * window if len(loud) else None


def _threshold(samples: Pcm16, window: int, levels: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> float:
    """Returns the level above which a window of a stretch with these levels is speech."""
    noise = float(np.percentile(_levels(samples, window), 10)) if len(samples) >= window else _SILENCE_DB
    loudest = float(levels.max())
    return max(loudest - _SPEECH_RANGE_DB, min(noise + _ABOVE_NOISE_DB, loudest - _ABOVE_NOISE_DB))


def _levels(samples: Pcm16, window: int) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    whole = len(samples) - len(samples) % window
    squares = np.square(samples[:whole].astype(np.float64) / 32768.0).reshape(-1, window)
    levels: np.ndarray[tuple[int], np.dtype[np.float64]] = 10.0 * np.log10(np.maximum(squares.mean(axis=1), 1e-10))
    return levels
