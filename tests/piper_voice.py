"""Reads back what the voices of scripts/make_test_models/piper.py were asked to say, from their sound alone.

It works on what has been through int16, and through resampling to any rate from 15,000 Hz up.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from piper.phoneme_ids import DEFAULT_PHONEME_ID_MAP

from pipeline.audio import to_float
from pipeline.types import Pcm16, Samples
from scripts.make_test_models.piper import (
    GAP,
    HIGH_HZ,
    LOW,
    LOW_HZ,
    NOISE,
    NOISE_HZ,
    NOISE_W_HZ,
    SPEAKER,
    SPEAKER_HZ,
    make_voice,
)

__all__ = ["Sentence", "make_voice", "phonemes_of", "read_back"]

_PHONEMES = {ids[0]: phoneme for phoneme, ids in DEFAULT_PHONEME_ID_MAP.items()}
_PAD, _BEGIN, _END = (DEFAULT_PHONEME_ID_MAP[mark][0] for mark in "_^$")

_WINDOW = 0.002
"""Seconds over which loudness is measured: almost two periods of the lowest tone, and less than a gap."""

_ENOUGH = 0.015
"""Seconds of a phoneme id that are looked at: enough to tell tones 125 Hz apart."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """What one run of the voice was asked for. `start` and `end` are seconds from the first sample.

    `id_seconds` is how long each phoneme id lasted, `speaker` a number (None: a voice without speakers).
    """

    ids: tuple[int, ...]
    start: float
    end: float
    id_seconds: float
    speaker: int | None
    noise: float
    noise_w: float

    @property
    def phonemes(self) -> str:
        """The phonemes as Piper writes them, without the marks of the beginning, the end and the padding."""
        return phonemes_of(self.ids)


def phonemes_of(ids: Sequence[int]) -> str:
    """Returns what ids of the default map stand for, without the marks of the beginning, the end and the padding."""
    return "".join(_PHONEMES[each] for each in ids if each not in (_PAD, _BEGIN, _END))


def read_back(sound: Pcm16, rate: int) -> list[Sentence]:
    """Returns the sentences in a sound, int16 `[n]`, in order. One that was cut off has no end mark among its ids."""
    samples = to_float(sound)
    spoken = [(start, stop, _id(_middle(samples, start, stop, rate), rate)) for start, stop in _sounding(samples, rate)]
    begins = [index for index, (_, _, id_) in enumerate(spoken) if id_ == _BEGIN or index == 0]
    ends = [*begins[1:], len(spoken)]
    return [_sentence(samples, rate, spoken[begin:end]) for begin, end in zip(begins, ends, strict=False)]


def _sounding(samples: Samples, rate: int) -> Iterator[tuple[int, int]]:
    """Yields where each phoneme id begins and its gap begins."""
    window = round(_WINDOW * rate)
    loudness = np.sqrt(np.convolve(np.square(samples), np.ones(window) / window, "same"))
    loud = loudness > 0.3 * loudness.max(initial=1e-3)
    edges = np.flatnonzero(np.diff(np.concatenate(([False], loud, [False])).astype(np.int8)))
    for start, stop in edges.reshape(-1, 2):
        if stop - start > window:
            yield int(start), int(stop)


def _middle(samples: Samples, start: int, stop: int, rate: int) -> Samples:
    """Returns what tells of a phoneme id: without its edges, which are blurred, and not more than needed."""
    margin = max(round(_WINDOW * rate), (stop - start - round(_ENOUGH * rate)) // 2)
    return samples[start + margin : stop - margin]


def _id(piece: Samples, rate: int) -> int:
    return 16 * _strongest(piece, rate, HIGH_HZ) + _strongest(piece, rate, LOW_HZ)


def _strongest(piece: Samples, rate: int, tones: Sequence[float]) -> int:
    return int(np.argmax(_strengths(piece, rate, tones)))


def _strengths(piece: Samples, rate: int, tones: Sequence[float]) -> NDArray[np.float64]:
    wave = np.exp(-2j * np.pi * np.outer(tones, np.arange(len(piece)) / rate))
    return np.abs(np.sum(wave * (piece * np.hanning(len(piece))), axis=1))


def _sentence(samples: Samples, rate: int, spoken: Sequence[tuple[int, int, int]]) -> Sentence:
    starts = [start for start, _, _ in spoken]
    each = (starts[-1] - starts[0]) / (len(starts) - 1) / rate if len(starts) > 1 else 0.0
    pieces = [_middle(samples, start, stop, rate) for start, stop, _ in spoken]
    speaker = int(np.argmax(sum(_strengths(piece, rate, SPEAKER_HZ) for piece in pieces)))
    amplitudes = np.median([_amplitudes(p, rate, s[2], speaker) for p, s in zip(pieces, spoken, strict=True)], axis=0)
    of_speaker, noise, noise_w = amplitudes
    return Sentence(
        ids=tuple(id_ for _, _, id_ in spoken),
        start=starts[0] / rate,
        end=spoken[-1][1] / rate + GAP,
        id_seconds=each,
        speaker=speaker if of_speaker > SPEAKER / LOW / 2 else None,
        noise=float(noise * LOW / NOISE),
        noise_w=float(noise_w * LOW / NOISE),
    )


def _amplitudes(piece: Samples, rate: int, id_: int, speaker: int) -> list[float]:
    """Fits all tones of a phoneme id at once; returns those of the speaker and the noises as parts of the low one."""
    tones = (LOW_HZ[id_ % 16], HIGH_HZ[id_ // 16], SPEAKER_HZ[speaker], NOISE_HZ, NOISE_W_HZ)
    angles = 2 * np.pi * np.outer(np.arange(len(piece)) / rate, tones)
    waves = np.hstack((np.cos(angles), np.sin(angles))).T
    # The normal equations, summed by hand: on a busy machine numpy's own threads wait for each other for seconds.
    products = np.sum(waves[:, None] * waves, axis=2)
    fit = np.linalg.solve(products, np.sum(waves * piece, axis=1))
    low, _, *others = np.hypot(fit[: len(tones)], fit[len(tones) :])
    return [float(other / low) for other in others]
