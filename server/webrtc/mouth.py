"""The server's track: the sound of replies, in Opus packets of 20 ms, paced in real time; silence in between."""

import asyncio
import fractions
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from aiortc.mediastreams import MediaStreamTrack
from av import AudioFrame, CodecContext, Packet

from pipeline.types import WIRE_RATE, Pcm16
from server.playing import Player
from server.webrtc.ear import OPUS_RATE

FRAME_S = 0.02
FRAME = round(FRAME_S * WIRE_RATE)

MOST_LATE_S = 0.1
"""How late a packet may leave and still be followed by the next at once; beyond that what was missed is left out."""

_FADE = 5
"""Frames of silence that are encoded after sound, so that it ends as the encoder would have it."""

_BIT_RATE = 40_000
"""Bits a second: beyond what speech at 24 kHz needs to sound like the original (RFC 7587, 3.1.1: 28 to 40 kbit/s)."""


class Metronome:
    """When frames are due, counted from the first, so that nothing drifts."""

    def __init__(self) -> None:
        self._due: float | None = None

    def beat(self, now: float) -> tuple[float, int]:
        """Returns in how many seconds the next frame is due, and how many frames it comes after the one before: more
        than one where it is so late already that those in between are left out. `now` is in seconds of a steady clock.
        """
        if self._due is None:
            self._due = now
        frames = 1
        if now - self._due > MOST_LATE_S:
            frames += int((now - self._due) / FRAME_S)
        self._due += frames * FRAME_S
        return max(0.0, self._due - now), frames


class Mouth(MediaStreamTrack):
    """Plays what a player has. aiortc asks it for packet after packet; it answers in real time."""

    kind = "audio"

    def __init__(self, tick: Callable[[], None]) -> None:
        """`tick` is called with each packet, every 20 ms: whatever else has to go on in real time."""
        super().__init__()
        self.player: Player | None = None
        """Who has something to play, when the session has begun."""
        self._tick = tick
        self._encoder: Any = None
        self._quiet = _FADE
        self._metronome = Metronome()
        self._timestamp = 0

    async def recv(self) -> "Packet[Any]":
        """Returns the next packet when it is time for it."""
        wait, frames = self._metronome.beat(asyncio.get_running_loop().time())
        self._timestamp += frames * FRAME * OPUS_RATE // WIRE_RATE
        await asyncio.sleep(wait)
        self._tick()
        sound = self.player.frame(FRAME) if self.player is not None else None
        packet: Packet[Any] = Packet(self._encoded(sound))
        packet.pts = self._timestamp
        packet.time_base = fractions.Fraction(1, OPUS_RATE)
        return packet

    def stop(self) -> None:
        """Ends the track. FFmpeg has threads for an encoder: they end with it, not whenever garbage is collected."""
        super().stop()
        self.player = self._encoder = None

    def _encoded(self, samples: Pcm16 | None) -> bytes:
        if samples is None and self._quiet >= _FADE:
            return _silence()
        self._quiet = 0 if samples is not None else self._quiet + 1
        if self._encoder is None:
            self._encoder = _encoder()
        return _encode(self._encoder, np.zeros(FRAME, np.int16) if samples is None else samples)


def _encoder() -> Any:
    codec: Any = CodecContext.create("libopus", "w")
    codec.format, codec.layout, codec.sample_rate = "s16", "mono", WIRE_RATE
    codec.bit_rate = _BIT_RATE
    codec.thread_count = 1
    codec.options = {"application": "voip"}
    codec.time_base = fractions.Fraction(1, WIRE_RATE)
    return codec


def _encode(encoder: Any, samples: Pcm16) -> bytes:
    """Returns the packet of a frame, 0.2 ms of work."""
    frame = AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
    frame.sample_rate = WIRE_RATE
    (packet,) = encoder.encode(frame)
    return bytes(packet)


@cache
def _silence() -> bytes:
    """Returns the packet of a silent frame."""
    encoder = _encoder()
    return [_encode(encoder, np.zeros(FRAME, np.int16)) for _ in range(_FADE)][-1]
