"""G.711: telephone sound in eight bits a sample, by the tables of ITU-T G.711 (1988).

A code is a sign and the number of an interval. The intervals of a segment are twice as wide as those of the segment
before. A magnitude is coded as the interval that it lies in, and decoded as the middle of it. The tables are in the
standard's own units (14 bits for mu-law, 13 for A-law) and are scaled to 16 here.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.types import Pcm16

_MU_WIDTHS = [1] + [2] * 15 + [width for segment in range(1, 8) for width in [2 << segment] * 16]
"""G.711 table 2: the first decision values are 0, 1, 3, 5; the last is 8159."""

_A_WIDTHS = [2] * 32 + [width for segment in range(2, 8) for width in [2 << (segment - 1)] * 16]
"""G.711 table 1: the first decision values are 0, 2, 4; the last is 4096."""


@dataclass(frozen=True, slots=True, eq=False)
class Law:
    """One of the two laws, as tables: `_decoded` int16 `[256]` by code, `_encoded` uint8 `[65536]` by sample."""

    _decoded: Pcm16
    _encoded: NDArray[np.uint8]

    def decode(self, codes: bytes) -> Pcm16:
        """Returns int16 `[n]` of n codes, at their own rate."""
        return self._decoded[np.frombuffer(codes, np.uint8)]

    def encode(self, samples: Pcm16) -> bytes:
        """Returns the codes of int16 `[n]`, at their own rate."""
        return self._encoded[samples.view(np.uint16)].tobytes()


def _law(widths: list[int], scale: int, middles: NDArray[np.float64], codes: tuple[int, int], mask: int) -> Law:
    """`codes` are those of the first interval, of positive and of negative sound, before `mask` inverts bits."""
    intervals = np.arange(128)
    decoded = np.zeros(256, np.int16)
    decoded[(codes[1] + intervals) ^ mask] = -middles * scale
    decoded[(codes[0] + intervals) ^ mask] = middles * scale
    samples = np.arange(65_536, dtype=np.uint16).view(np.int16).astype(np.int32)
    decisions = np.cumsum([0, *widths[:-1]]) * scale
    interval = np.searchsorted(decisions, np.abs(samples), side="right") - 1
    encoded = (np.where(samples < 0, codes[1], codes[0]) + interval) ^ mask
    return Law(decoded, encoded.astype(np.uint8))


def _middles(widths: list[int]) -> NDArray[np.float64]:
    ends = np.cumsum(widths)
    return ends - np.array(widths) / 2


def _mu_law() -> Law:
    middles = _middles(_MU_WIDTHS)
    middles[0] = 0  # the first interval reaches as far to the other side of zero
    return _law(_MU_WIDTHS, 4, middles, (0x80, 0x00), 0x7F)


MU_LAW = _mu_law()
"""North America and Japan: `audio/pcmu`."""

A_LAW = _law(_A_WIDTHS, 8, _middles(_A_WIDTHS), (0x80, 0x00), 0x55)
"""The rest of the world: `audio/pcma`. Every other bit is inverted on the line."""
