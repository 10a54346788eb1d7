"""Whisper's log-mel spectrogram, which models that are built on its encoder are fed with.

80 bands, windows of 25 ms every 10 ms: `log_mel_spectrogram` of https://github.com/openai/whisper (whisper/audio.py),
with the filter bank of librosa's `filters.mel` (Slaney's scale, triangles of equal area).
"""

import functools

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from pipeline.types import LISTENING_RATE, Samples

BANDS = 80
HOP = 160
"""Samples at 16 kHz from one column to the next."""

_WINDOW = 400
_FLOOR = 1e-10
_RANGE = 8.0
"""Decades of power below the loudest point at which the picture is cut off."""

# Slaney's mel scale (Auditory Toolbox, 1998): linear up to 1 kHz, 15 mels, then 27 mels for each factor of 6.4.
_BEND_HZ, _BEND_MEL = 1000.0, 15.0
_MEL_PER_E = 27.0 / np.log(6.4)


def log_mel(sound: Samples) -> NDArray[np.float32]:
    """Returns the spectrogram of a sound at 16 kHz, float32 `[80, n // 160]`; `n` is 201 at least.

    The values are (log10(power) + 4) / 4: from about -1 to 1 for a sound with a variance of one.
    """
    padded = np.pad(sound, _WINDOW // 2, mode="reflect")
    windows = sliding_window_view(padded, _WINDOW)[::HOP][: len(sound) // HOP]
    hann = np.hanning(_WINDOW + 1)[:-1].astype(np.float32)
    power = np.abs(np.fft.rfft(windows * hann)) ** 2
    decades = np.log10(np.maximum(_filters() @ power.T, _FLOOR))
    picture: NDArray[np.float32] = (np.maximum(decades, decades.max() - _RANGE) + 4) / 4
    return picture


@functools.cache
def _filters() -> NDArray[np.float32]:
    """Returns the weights `[80, 201]` with which the FFT's bins count in each band."""
    top = _BEND_MEL + _MEL_PER_E * np.log(LISTENING_RATE / 2 / _BEND_HZ)
    mels = np.linspace(0, top, BANDS + 2)
    edges = np.where(mels < _BEND_MEL, mels * _BEND_HZ / _BEND_MEL, _BEND_HZ * np.exp((mels - _BEND_MEL) / _MEL_PER_E))
    low, centre, high = (edges[start : start + BANDS, None] for start in range(3))
    bins = np.fft.rfftfreq(_WINDOW, 1 / LISTENING_RATE)
    triangles = np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre))
    weights: NDArray[np.float32] = (np.maximum(triangles, 0) * 2 / (high - low)).astype(np.float32)
    return weights
