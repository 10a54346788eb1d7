"""Noise reduction: takes noise out of a stream of speech, 10 ms at a time.

A short-time spectrum is weighed band by band. How loud the noise is follows from how likely a band holds speech
(Gerkmann and Hendriks, "Unbiased MMSE-based noise power estimation with low complexity and low tracking delay", IEEE
TASLP 20(4), 2012). The weights are those of the log-spectral amplitude estimator (Ephraim and Malah, IEEE TASSP 33(2),
1985), with its decision-directed estimate of how far speech stands out.

It is our own because what there is in packages works at 16 or 48 kHz, on Linux alone, or with torch.
docs/turn-detection.md has what it does for the signal-to-noise ratio, and the command that measures it.
"""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.types import Pcm16

NoiseField = Literal["near_field", "far_field"]
"""Where the microphone is: at the mouth, or somewhere in the room, where more of what it hears is noise."""

HOP: Final = 240
"""Samples at 24 kHz from one spectrum to the next: 10 ms."""

DELAY: Final = 2 * HOP
"""Samples at 24 kHz by which the sound comes late: 20 ms. That is the window; none of it lies ahead."""

_BANDS: Final = DELAY // 2 + 1
_WINDOW: Final = np.sin(np.pi * (np.arange(DELAY) + 0.5) / DELAY)
"""Before and after the weights: the squares of two that overlap add up to one."""

_LEAST_NOISE: Final = 9.0 * HOP
"""Power in a band of noise of three steps of int16: below it lies digital silence, beside which all would be speech."""

_FIRST: Final = 5
"""Spectra that are taken for noise, to begin with. If they are speech, the estimate comes down within 100 ms."""

_SPEECH_SNR: Final = 10.0**1.5
"""How far speech stands out where it is, 15 dB: the fixed prior of the estimate of noise (Gerkmann and Hendriks)."""

_WEIGHT_OF_SPEECH: Final = _SPEECH_SNR / (1 + _SPEECH_SNR)
_SMOOTHING: Final = 0.85
"""Of the noise's power, from spectrum to spectrum: 0.8 in the paper, for spectra that are 16 ms apart, not 10."""

_MEMORY: Final = 0.9
"""Of the probability of speech, by which speech that never ends is found to be noise after all."""

_CARRY: Final = 0.97
"""Share of the last spectrum in the decision-directed estimate. 0.98 and more smear what begins suddenly."""

_LEAST_SNR: Final = 10.0**-2.5


@dataclass(frozen=True, slots=True)
class _Strength:
    floor: float
    """The least weight: what is left of noise. Nothing left at all sounds, and is heard by detectors, as clicking."""
    caution: float
    """By how much noise is taken for louder than estimated."""


_STRENGTHS: Final = {
    "near_field": _Strength(floor=10 ** (-15 / 20), caution=1.4),
    "far_field": _Strength(floor=10 ** (-20 / 20), caution=2.0),
}


def _exponential_integral(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns E1(x), the integral of exp(-t) / t from x on: by its series up to 1, by Lentz's fraction above
    (Abramowitz and Stegun, 5.1.11 and 5.1.22).
    """
    series = -np.euler_gamma - np.log(x)
    term = np.ones_like(x)
    for k in range(1, 20):
        term = term * -np.minimum(x, 1.0) / k
        series -= term / k
    fraction = np.zeros_like(x)
    for k in range(60, 0, -1):
        fraction = k / (1 + k / (np.maximum(x, 1.0) + fraction))
    result: NDArray[np.float64] = np.where(x <= 1, series, np.exp(-x) / (x + fraction))
    return result


_ARGUMENTS: Final = np.logspace(-3, 1.5, 400)
_LIFT: Final = np.exp(_exponential_integral(_ARGUMENTS) / 2)
"""What the log-spectral amplitude estimator multiplies Wiener's weight with, at `_ARGUMENTS`."""


class NoiseReducer:
    """One stream. As many samples come out as go in, `DELAY` late; where the pieces are cut makes no difference."""

    def __init__(self, field: NoiseField) -> None:
        self.field = field
        """May be changed at any time: what is known of the noise stays."""
        self._heard = np.zeros(HOP, np.int16)
        """The newest sound that is not done with: always a hop that was, and what is not a hop yet."""
        self._overlap = np.zeros(HOP)
        self._ready = np.zeros(HOP, np.int16)
        self._noise = np.zeros(_BANDS)
        self._speech = np.zeros(_BANDS)
        self._clean = np.zeros(_BANDS)
        self._spectra = 0

    def process(self, samples: Pcm16) -> Pcm16:
        """Takes int16 `[n]` at 24 kHz and returns as many, with the noise of `field` taken out."""
        heard = np.concatenate((self._heard, samples))
        hops = len(heard) // HOP - 1
        self._heard = heard[hops * HOP :]
        pieces = [self._ready]
        if hops:
            frames = np.lib.stride_tricks.sliding_window_view(heard[: (hops + 1) * HOP], DELAY)[::HOP]
            pieces.append(self._filter(frames))
        ready = np.concatenate(pieces)
        self._ready = ready[len(samples) :]
        return ready[: len(samples)]

    def _filter(self, frames: NDArray[np.int16]) -> Pcm16:
        """Returns the hops that the frames `[k, DELAY]` complete, `[k * HOP]`."""
        spectra = np.fft.rfft(frames * _WINDOW, axis=1)
        powers = np.maximum(spectra.real**2 + spectra.imag**2, 1.0)
        strength = _STRENGTHS[self.field]
        weights = np.stack([self._weigh(power, strength) for power in powers])
        weighed = np.fft.irfft(spectra * weights, DELAY, axis=1) * _WINDOW
        before = np.concatenate((self._overlap[np.newaxis], weighed[:-1, HOP:]))
        self._overlap = weighed[-1, HOP:].copy()
        return np.clip(np.rint(before + weighed[:, :HOP]), -32_768, 32_767).astype(np.int16).reshape(-1)

    def _weigh(self, power: NDArray[np.float64], strength: _Strength) -> NDArray[np.float64]:
        """Returns the weight of each band of the next spectrum, and learns from it."""
        self._learn_noise(power)
        noise = self._noise * strength.caution
        now = np.minimum(power / noise, 1e3)
        snr = _CARRY * self._clean / noise + (1 - _CARRY) * np.maximum(now - 1, 0)
        wiener = np.maximum(snr, _LEAST_SNR)
        wiener /= 1 + wiener
        weight: NDArray[np.float64] = wiener * np.interp(now * wiener, _ARGUMENTS, _LIFT)
        np.clip(weight, strength.floor, 1, out=weight)
        self._clean = weight * weight * power
        return weight

    def _learn_noise(self, power: NDArray[np.float64]) -> None:
        self._spectra += 1
        if self._spectra <= _FIRST:
            self._noise += (power - self._noise) / self._spectra
        else:
            odds = (1 + _SPEECH_SNR) * np.exp(-_WEIGHT_OF_SPEECH * np.minimum(power / self._noise, 50))
            speech = 1 / (1 + odds)
            self._speech += (1 - _MEMORY) * (speech - self._speech)
            speech = np.where(self._speech > 0.99, np.minimum(speech, 0.99), speech)
            self._noise += (1 - _SMOOTHING) * (1 - speech) * (power - self._noise)
        np.maximum(self._noise, _LEAST_NOISE, out=self._noise)
