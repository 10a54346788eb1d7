"""Sound of many sessions at 24 kHz → frames for a voice detector at 16 kHz, in one go and with next to no delay.

Transcribers get soxr's sound. A detector wants it soon: soxr holds back 11 to 20 ms at its lowest quality, and costs a
call for each piece of each session. So the filter is our own, as a matrix that makes some samples of 16 kHz out of a
window at 24 kHz: whatever frames are waiting are one product.
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.types import LISTENING_RATE, WIRE_RATE, Samples

_HALF: Final = 24
"""Samples at 48 kHz, where both rates meet, by which a symmetric filter of 49 taps lags: 0.5 ms."""

HISTORY: Final = _HALF
"""Ticks before a frame that its first sample is made of: 49 taps at 48 kHz reach over 24 steps of 24 kHz."""

_MOST: Final = 7
"""Frames in one product. With more, OpenBLAS gives its threads a share (above 2^18 multiplications), and they spin on
the other cores for longer than it takes to multiply."""


def _lowpass() -> NDArray[np.float64]:
    """Returns a windowed sinc at 48 kHz (Kaiser, beta 4: stop band at -45 dB) that passes 6.6 kHz and stops 9.3 kHz, so
    that what is folded back lies above 6.7 kHz; `[49]`. Its sum is 2: every other sample at 48 kHz is a zero.
    """
    place = np.arange(-_HALF, _HALF + 1)
    cutoff = 2 * 7_950 / (2 * WIRE_RATE)
    taps = np.sinc(cutoff * place) * np.kaiser(2 * _HALF + 1, 4.0)
    scaled: NDArray[np.float64] = taps * (2 / taps.sum())
    return scaled


class FrameMaker:
    """Makes frames of windows of sound. It keeps nothing: who cuts the windows keeps a little of what went before."""

    def __init__(self, frame: int) -> None:
        """`frame` is how many samples at 16 kHz a frame has: an even number, so that it is whole at 24 kHz.

        Raises:
            ValueError: it is odd.
        """
        if frame % 2:
            raise ValueError(f"a frame of {frame} samples at 16 kHz is not a whole number of them at 24 kHz")
        self.ticks = frame * WIRE_RATE // LISTENING_RATE
        """Samples at 24 kHz of a frame."""
        self._frame = frame
        self._block = math.gcd(frame, 32)
        self._step = self._block * WIRE_RATE // LISTENING_RATE
        self._matrix = self._weights()

    @property
    def window_bytes(self) -> int:
        """Size of a window: `HISTORY` ticks and a frame, in int16."""
        return 2 * (HISTORY + self.ticks)

    def frames(self, windows: Sequence[bytes | memoryview]) -> Samples:
        """Returns float32 `[len(windows), frame]` in [-1, 1), 0.5 ms late.

        A window is int16, little-endian: the last `HISTORY` ticks before the frame, which are zeros where it begins,
        and its own.
        """
        sound = np.frombuffer(b"".join(windows), "<i2").astype(np.float32).reshape(len(windows), -1)
        made = [self._product(sound[start : start + _MOST]) for start in range(0, len(windows), _MOST)]
        return np.concatenate(made) if len(made) > 1 else made[0]

    def _product(self, sound: Samples) -> Samples:
        windows = np.lib.stride_tricks.sliding_window_view(sound, HISTORY + self._step, axis=1)[:, :: self._step]
        made: Samples = windows.reshape(-1, HISTORY + self._step) @ self._matrix
        return made.reshape(len(sound), self._frame)

    def _weights(self) -> Samples:
        """Returns what makes a block of samples at 16 kHz of its ticks and `HISTORY` before them, `[ticks, block]`."""
        filter_, weights = _lowpass(), np.zeros((HISTORY + self._step, self._block))
        for sample in range(self._block):
            # At 48 kHz a tick is two places and a sample three; each is the sum over the last 49 places.
            for tick in range(len(weights)):
                past = 3 * sample - 2 * (tick - HISTORY)
                if 0 <= past < len(filter_):
                    weights[tick, sample] = filter_[past]
        return (weights / 32_768).astype(np.float32)
