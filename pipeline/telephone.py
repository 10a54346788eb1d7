"""Telephone sound, G.711 at 8 kHz, to and from the pipeline's 24 kHz: streaming, and counted to the sample.

soxr gives back what it has when it likes (8 to 24 kHz: 13 to 73 ms late). Here three samples stand for one at every
moment, because the session's clock counts them as they come in and as they go out. So the filter is our own: linear
phase, applied to whole thirds.
"""

import numpy as np
from numpy.typing import NDArray

from pipeline.audio import slices
from pipeline.g711 import Law
from pipeline.types import WIRE_RATE, Pcm16

TELEPHONE_RATE = 8_000
"""Samples, and bytes, a second."""

_RATIO = WIRE_RATE // TELEPHONE_RATE
_DELAY = 95
"""Samples at 24 kHz by which a symmetric filter of 191 taps lags: 4 ms."""
_TAPS = 2 * _DELAY + 1
_UNIT = 1 << 20


def _lowpass() -> NDArray[np.float64]:
    """Returns a windowed sinc (Kaiser, beta 7: stop band at -70 dB) that passes 3.4 kHz and stops 4.2 kHz, `[191]`.

    Its values are whole multiples of 1 / `_UNIT`, so that sums over int16 are exact in float64 and the pieces of a
    stream join to the same bits wherever they are cut.
    """
    place = np.arange(_TAPS) - _DELAY
    cutoff = 2 * 3_800 / WIRE_RATE
    taps = cutoff * np.sinc(cutoff * place) * np.kaiser(_TAPS, 7.0)
    whole: NDArray[np.float64] = np.rint(taps / taps.sum() * _UNIT)
    return whole


_FILTER = _lowpass()

_PHASES = np.append(_FILTER, 0).reshape(-1, _RATIO).T
"""The filter by thirds, `[3, 64]`."""


def _to_pcm16(sums: NDArray[np.float64]) -> Pcm16:
    return np.clip(np.rint(sums / _UNIT), -32_768, 32_767).astype(np.int16)


class TelephoneDecoder:
    """Codes at 8 kHz → int16 at 24 kHz, three samples for each code at once. The sound comes 4 ms late."""

    def __init__(self, law: Law) -> None:
        self._law = law
        self._past = np.zeros(_PHASES.shape[1] - 1, np.int16)

    def samples(self, codes: bytes) -> Pcm16:
        """Returns int16 `[3 * len(codes)]`."""
        pieces = [self._upsample(piece) for piece in slices(self._law.decode(codes), TELEPHONE_RATE)]
        return np.concatenate((np.zeros(0, np.int16), *pieces))

    def _upsample(self, samples: Pcm16) -> Pcm16:
        known = np.concatenate((self._past, samples))
        self._past = known[len(samples) :]
        thirds = [np.convolve(known.astype(np.float64), phase * _RATIO, "valid") for phase in _PHASES]
        return _to_pcm16(np.stack(thirds, axis=1)).reshape(-1)


class TelephoneEncoder:
    """int16 at 24 kHz → codes at 8 kHz, the sound where it was; the last 4 ms come with `flush`."""

    def __init__(self, law: Law) -> None:
        self._law = law
        self._known = np.zeros(_DELAY, np.int16)

    def encode(self, samples: Pcm16) -> bytes:
        """Returns the codes that are ready."""
        pieces = [self._downsample(piece) for piece in slices(samples, WIRE_RATE)]
        return b"".join(pieces)

    def flush(self) -> bytes:
        """Ends the stream: returns the rest, so that there is one code for every three samples begun."""
        return self._downsample(np.zeros(_DELAY, np.int16))

    def _downsample(self, samples: Pcm16) -> bytes:
        known = np.concatenate((self._known, samples))
        ready = (len(known) - _TAPS) // _RATIO + 1
        if ready < 1:
            self._known = known
            return b""
        self._known = known[ready * _RATIO :]
        sums = np.zeros(ready)
        for third, phase in enumerate(_PHASES):
            # The last tap is 0: what it would need may not be there yet.
            heard = np.append(known[third::_RATIO], 0)[: ready + len(phase) - 1]
            sums += np.correlate(heard.astype(np.float64), phase, "valid")
        return self._law.encode(_to_pcm16(sums))
