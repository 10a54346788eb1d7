"""The user's track: Opus packets as the network brings them → PCM at 24 kHz in which time goes on without a gap.

aiortc's own receiver holds four packets back, and decodes in a thread of each call's own. Here a packet is decoded when
it comes (30 µs), only those that come out of order wait for the others, and where none comes there is silence: senders
leave silence out (DTX), and networks lose packets. The timestamps say how much was left out.
"""

import time
from collections.abc import Callable
from typing import Any

import av
import numpy as np
from av import AudioFrame, CodecContext, Packet
from numpy.typing import NDArray

from pipeline.types import WIRE_RATE, Pcm16

OPUS_RATE = 48_000
"""The clock of Opus in RTP (RFC 7587), whatever the sound in it."""

_RATIO = OPUS_RATE // WIRE_RATE

PATIENCE_S = 0.06
"""How long the packets behind a gap wait for those in it."""

LAG_S = 0.1
"""How long nothing may come before there is silence instead."""

_MOST_FILLED = WIRE_RATE // 25
"""Silence that there is at once in place of what does not come, in samples at 24 kHz: 40 ms. So where it was the server
that stood still, packets that wait to be read come before much of it.
"""

_MOST_MISSING_S = 10
"""Silence that a sender left out, beyond which it is a new stream."""

_MOST_AHEAD = 250
"""Packets behind a gap beyond which it is a new stream: five seconds."""


class _Halver:
    """int16 at 48 kHz → 24 kHz: of every two samples one, at once; the sound comes half a millisecond late.

    A windowed sinc of 47 taps (Kaiser, beta 6: stop band at -63 dB from 14 kHz; what is folded lies above 10 kHz).
    """

    def __init__(self) -> None:
        place = np.arange(47) - 23
        taps = 0.5 * np.sinc(0.5 * place) * np.kaiser(47, 6.0)
        self._taps: NDArray[np.float64] = taps / taps.sum()
        self._past: Pcm16 = np.zeros(46, np.int16)
        self._odd = 0

    def process(self, samples: Pcm16) -> Pcm16:
        """Takes int16 `[n]`, returns `[n / 2]`; an odd sample counts with those that come next."""
        known = np.concatenate((self._past, samples))
        self._past = known[len(known) - 46 :]
        smooth = np.convolve(known.astype(np.float64), self._taps, "valid")[self._odd :: _RATIO]
        self._odd = (self._odd + len(samples)) % _RATIO
        return np.clip(np.rint(smooth), -32_768, 32_767).astype(np.int16)


class Ear:
    """One track. `take` packets as they come, and `tick` every 20 ms."""

    def __init__(self, deliver: Callable[[Pcm16], None], clock: Callable[[], float] = time.monotonic) -> None:
        """`deliver` is given int16 `[n]` at 24 kHz, piece after piece; `clock` is in seconds."""
        self._deliver = deliver
        self._clock = clock
        self._source: int | None = None
        self._decoder: Any = None
        self._halver = _Halver()
        self._next = 0
        """The packet that comes next, by its number; `_timestamp` is what it should begin with, at 48 kHz."""
        self._timestamp = 0
        self._waiting: dict[int, tuple[int, bytes]] = {}
        self._gap_since: float | None = None
        self._until = 0.0
        """Up to when there is sound, on the clock."""
        self._filled = 0
        """Silence since the last packet, in samples at 24 kHz."""

    def take(self, source: int, number: int, timestamp: int, payload: bytes) -> None:
        """Takes a packet of RTP: its SSRC, its sequence number, its timestamp, and the Opus packet in it."""
        ahead = (number - self._next) % 65_536
        if source != self._source or _MOST_AHEAD < ahead < 65_536 - _MOST_AHEAD:
            self._begin(source, number, timestamp)
        elif ahead > _MOST_AHEAD:
            return  # a second time, or too late
        self._waiting[number] = (timestamp, payload)
        self._play_on()

    def tick(self) -> None:
        """Gives up packets that do not come, and has time go on where none come at all."""
        if self._source is None:
            return
        now = self._clock()
        if self._gap_since is not None and now - self._gap_since >= PATIENCE_S:
            self._next = min(self._waiting, key=lambda number: (number - self._next) % 65_536)
            self._gap_since = None
            self._play_on()
        missing = min(int((now - self._until - LAG_S) * WIRE_RATE), _MOST_FILLED)
        if missing > 0:
            self._fill(missing)
            self._filled += missing
            self._until += missing / WIRE_RATE

    def _begin(self, source: int, number: int, timestamp: int) -> None:
        self._source, self._next, self._timestamp = source, number, timestamp
        self._waiting.clear()
        self._filled = 0
        self._decoder = _decoder()

    def _play_on(self) -> None:
        """Plays the packets that are there, up to the first that is not."""
        while (packet := self._waiting.pop(self._next, None)) is not None:
            self._next = (self._next + 1) % 65_536
            self._play(*packet)
        if not self._waiting:
            self._gap_since = None
        elif self._gap_since is None:
            self._gap_since = self._clock()

    def _play(self, timestamp: int, payload: bytes) -> None:
        sound = self._decoded(payload)
        if not len(sound):
            return  # what it stands for is filled up when the next one comes
        left_out = (timestamp - self._timestamp) % 2**32
        if left_out < _MOST_MISSING_S * OPUS_RATE:
            self._fill(max(0, left_out // _RATIO - self._filled))
        self._timestamp = (timestamp + len(sound)) % 2**32
        self._filled = 0
        self._until = self._clock()
        self._deliver(self._halver.process(sound))

    def _decoded(self, payload: bytes) -> Pcm16:
        """Returns the sound of an Opus packet at 48 kHz; nothing of one that is empty or broken."""
        if not payload:
            return np.zeros(0, np.int16)
        try:
            frames: list[AudioFrame] = self._decoder.decode(Packet(payload))
        except av.FFmpegError:
            return np.zeros(0, np.int16)
        return np.concatenate([np.zeros(0, np.int16), *(frame.to_ndarray().reshape(-1) for frame in frames)])

    def _fill(self, samples: int) -> None:
        if samples:
            self._deliver(np.zeros(samples, np.int16))


def _decoder() -> Any:
    codec: Any = CodecContext.create("libopus", "r")
    codec.format, codec.layout, codec.sample_rate = "s16", "mono", OPUS_RATE
    codec.thread_count = 1  # else FFmpeg has threads for each core, with nothing to do
    return codec
