"""Sound as numbers: PCM bytes, pieces of it, and resampling that streams without seams."""

from collections.abc import Iterator

import numpy as np
import soxr

from pipeline.types import Pcm16, Samples


def pcm16_from_bytes(data: bytes | bytearray | memoryview) -> Pcm16:
    """Returns little-endian 16-bit PCM as int16 `[n]`, without a copy where the machine is little-endian.

    Raises:
        ValueError: the number of bytes is odd.
    """
    return np.frombuffer(data, dtype="<i2").astype(np.int16, copy=False)


def pcm16_to_bytes(samples: Pcm16) -> bytes:
    """Returns int16 `[n]` as little-endian bytes."""
    return samples.astype("<i2", copy=False).tobytes()


def to_float(samples: Pcm16) -> Samples:
    """Returns int16 as float32 in [-1, 1)."""
    return samples.astype(np.float32) / np.float32(32768.0)


def slices(samples: Pcm16, most: int) -> Iterator[Pcm16]:
    """Yields the samples in pieces of `most` at most; nothing for no samples."""
    for start in range(0, len(samples), most):
        yield samples[start : start + most]


class StreamResampler:
    """Resamples a mono int16 stream, anti-aliased, piece by piece: the pieces join as if resampled in one, to the bit.

    The output lags the input (soxr, 24 to 16 kHz: 21-37 ms) until `flush`; it is not shifted: output sample `i` belongs
    to the time `i / rate_out`. Detectors, which need the sound sooner, have `vad/frames.py`.
    """

    def __init__(self, rate_in: int, rate_out: int) -> None:
        self._stream: soxr.ResampleStream | None = None
        if rate_in != rate_out:
            self._stream = soxr.ResampleStream(rate_in, rate_out, 1, dtype="float32", quality="HQ")

    def process(self, samples: Pcm16) -> Pcm16:
        """Takes the next samples at the input rate, returns what is ready at the output rate."""
        return samples if self._stream is None else self._resample(samples, last=False)

    def flush(self) -> Pcm16:
        """Ends the stream and returns the rest of it."""
        return np.zeros(0, np.int16) if self._stream is None else self._resample(np.zeros(0, np.int16), last=True)

    def _resample(self, samples: Pcm16, last: bool) -> Pcm16:
        assert self._stream is not None
        # As float32: what soxr rounds by itself it dithers, and that depends on where the stream is cut.
        resampled = np.round(self._stream.resample_chunk(samples.astype(np.float32), last=last))
        rounded: Pcm16 = np.clip(resampled, -32768, 32767).astype(np.int16)
        return rounded
