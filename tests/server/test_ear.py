"""The user's track: time goes on whatever the network does, to the sample."""

import fractions
from typing import Any

import av
import numpy as np
import pytest

from pipeline.types import Pcm16
from server.webrtc.ear import LAG_S, PATIENCE_S, Ear

RATE = 24_000
PACKET = 960
"""Length of a packet on its clock, at 48 kHz: 20 ms."""

SOUND = PACKET // 2
"""The same at 24 kHz."""


class Room:
    """An ear, the clock it goes by, and what it hears."""

    def __init__(self) -> None:
        self.now = 100.0
        self.heard: list[Pcm16] = []
        self.ear = Ear(self.heard.append, lambda: self.now)

    @property
    def sound(self) -> Pcm16:
        return np.concatenate([np.zeros(0, np.int16), *self.heard])

    @property
    def ticks(self) -> int:
        return len(self.sound)

    def packet(self, number: int, timestamp: int | None = None, payload: bytes | None = None, source: int = 1) -> None:
        """A packet comes; its content is a tone, unless it is given."""
        at = number * PACKET if timestamp is None else timestamp
        self.ear.take(source, number % 65_536, at % 2**32, TONE[number % len(TONE)] if payload is None else payload)

    def passes(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.02)):
            self.now += 0.02
            self.ear.tick()


def encoded(samples: Pcm16) -> list[bytes]:
    codec: Any = av.CodecContext.create("libopus", "w")
    codec.format, codec.layout, codec.sample_rate = "s16", "mono", 48_000
    codec.time_base = fractions.Fraction(1, 48_000)
    packets: list[bytes] = []
    for start in range(0, len(samples), PACKET):
        frame = av.AudioFrame.from_ndarray(samples[None, start : start + PACKET], format="s16", layout="mono")
        frame.sample_rate = 48_000
        packets += [bytes(packet) for packet in codec.encode(frame)]
    return packets


TONE = encoded((8000 * np.sin(2 * np.pi * 440 * np.arange(50 * PACKET) / 48_000)).astype(np.int16))


def level(samples: Pcm16) -> float:
    return float(np.abs(samples.astype(int)).max()) if len(samples) else 0.0


def test_each_packet_is_heard_when_it_comes() -> None:
    room = Room()
    for number in range(50):
        room.packet(number)
        assert room.ticks == (number + 1) * SOUND
    spectrum = np.abs(np.fft.rfft(room.sound[RATE // 10 :].astype(float)))
    loudest = np.argmax(spectrum) * RATE / (RATE * 9 / 10)
    assert abs(loudest - 440) < 5


def test_packets_out_of_order_are_heard_in_order() -> None:
    straight, mixed = Room(), Room()
    for number in range(8):
        straight.packet(number)
    for number in (0, 2, 1, 5, 4, 3, 7, 6):
        mixed.packet(number)
    assert np.array_equal(straight.sound, mixed.sound)


def test_a_packet_that_comes_twice_is_heard_once_and_one_that_is_too_late_not_at_all() -> None:
    room = Room()
    for number in (0, 1, 1, 0, 2):
        room.packet(number)
    assert room.ticks == 3 * SOUND


def test_a_lost_packet_is_silence_of_its_length() -> None:
    room = Room()
    room.packet(0)
    room.packet(2)
    assert room.ticks == SOUND, "it may still come"
    room.passes(PATIENCE_S + 0.02)
    assert room.ticks == 3 * SOUND
    room.packet(1)
    room.packet(3)
    assert room.ticks == 4 * SOUND


def test_what_a_sender_leaves_out_is_silence_as_long_as_it_says() -> None:
    room = Room()
    room.packet(0)
    room.packet(1, timestamp=PACKET * 20)
    assert room.ticks == 21 * SOUND


def test_time_goes_on_while_nothing_comes_and_what_was_left_out_is_not_filled_twice() -> None:
    room = Room()
    room.packet(0)
    room.passes(0.4)
    filled = room.ticks - SOUND
    assert filled == pytest.approx((0.4 - LAG_S) * RATE, abs=SOUND)
    room.packet(1, timestamp=PACKET * 20)
    assert room.ticks == 21 * SOUND


def test_where_the_server_stood_still_what_waits_is_heard_before_there_is_silence_in_its_place() -> None:
    room = Room()
    room.packet(0)
    room.now += 2.0
    room.ear.tick()
    for number in range(1, 101):
        room.packet(number)
    assert room.ticks <= 101 * SOUND + 0.05 * RATE


@pytest.mark.parametrize("seed", range(20))
def test_whatever_a_stranger_sends_breaks_nothing(seed: int) -> None:
    random, room = np.random.default_rng(seed), Room()
    for _ in range(100):
        payload = random.bytes(int(random.integers(0, 200)))
        number, timestamp = int(random.integers(0, 65_536)), int(random.integers(0, 2**32))
        room.ear.take(int(random.integers(0, 2)), number, timestamp, payload)
        room.passes(0.02)
    assert room.ticks < 100 * 12 * RATE


def test_what_comes_late_in_one_go_is_heard_whole() -> None:
    room = Room()
    room.packet(0)
    room.passes(0.4)
    before = room.ticks
    for number in range(1, 21):
        room.packet(number)
    assert room.ticks == before + 20 * SOUND


@pytest.mark.parametrize("payload", [b"", b"\xff" * 3, b"\x00"])
def test_a_broken_packet_costs_its_own_sound_and_no_other(payload: bytes) -> None:
    room = Room()
    room.packet(0)
    room.packet(1, payload=payload)
    room.packet(2)
    assert room.ticks == 3 * SOUND
    assert level(room.sound[2 * SOUND :]) > 1000


def test_numbers_and_timestamps_begin_anew_where_they_end() -> None:
    room = Room()
    for index in range(4):
        room.packet(65_534 + index, timestamp=2**32 - 2 * PACKET + index * PACKET)
    assert room.ticks == 4 * SOUND


def test_another_source_is_a_new_stream_that_follows_at_once() -> None:
    room = Room()
    room.packet(0)
    room.packet(7000, timestamp=12345, source=2)
    room.packet(7001, timestamp=12345 + PACKET, source=2)
    assert room.ticks == 3 * SOUND


def test_before_the_first_packet_there_is_no_time() -> None:
    room = Room()
    room.passes(1.0)
    assert room.ticks == 0


def test_what_lies_too_high_for_24_khz_is_not_heard_elsewhere() -> None:
    from server.webrtc.ear import _Halver

    def through(frequency: float) -> float:
        tone = (10_000 * np.sin(2 * np.pi * frequency * np.arange(48_000) / 48_000)).astype(np.int16)
        halver = _Halver()
        pieces = [halver.process(tone[start : start + 960]) for start in range(0, len(tone), 960)]
        return level(np.concatenate(pieces)[200:]) / 10_000

    assert through(1_000) == pytest.approx(1.0, abs=0.01)
    assert through(9_000) > 0.8
    assert through(15_000) < 0.005
    assert through(20_000) < 0.005
