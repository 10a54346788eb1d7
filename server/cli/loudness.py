"""How loud sound is, and where speech truly ends in a recording."""

import numpy as np

from pipeline.types import Pcm16

_WINDOW_MS = 10
_SPEECH_RANGE_DB = 30.0
"""How far below its loudest moment the quietest end of a word lies, roughly; a room's noise lies lower."""
_ABOVE_NOISE_DB = 10.0
_SILENCE_DB = -100.0


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
    noise = float(np.percentile(_levels(samples, window), 10)) if len(samples) >= window else _SILENCE_DB
    levels = _levels(samples[start:end], window)
    if not len(levels):
        return min(end, len(samples))
    loudest = float(levels.max())
    threshold = max(loudest - _SPEECH_RANGE_DB, min(noise + _ABOVE_NOISE_DB, loudest - _ABOVE_NOISE_DB))
    return start + (int(np.flatnonzero(levels >= threshold)[-1]) + 1) * window


def _levels(samples: Pcm16, window: int) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    whole = len(samples) - len(samples) % window
    squares = np.square(samples[:whole].astype(np.float64) / 32768.0).reshape(-1, window)
    levels: np.ndarray[tuple[int], np.dtype[np.float64]] = 10.0 * np.log10(np.maximum(squares.mean(axis=1), 1e-10))
    return levels
