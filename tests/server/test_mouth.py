"""The server's track: frames in real time that neither drift nor pile up, and packets that a decoder understands."""

from typing import Any

import av
import numpy as np
import pytest

from server.playing import Player
from server.realtime import commands as do
from server.webrtc.mouth import FRAME, FRAME_S, MOST_LATE_S, Metronome, Mouth


def test_frames_are_due_by_the_clock_however_late_each_of_them_is_sent() -> None:
    metronome, now, sent = Metronome(), 10.0, []
    for index in range(1000):
        wait, frames = metronome.beat(now)
        assert frames == 1
        now += wait + (0.015 if index % 3 else 0.0)  # the loop is busy
        sent.append(now - 10.0)
    assert sent[-1] == pytest.approx(1000 * FRAME_S, abs=0.016)
    assert min(np.diff(sent)) > 0.004


def test_after_a_short_delay_frames_follow_at_once_and_after_a_long_one_they_are_left_out() -> None:
    metronome = Metronome()
    metronome.beat(0.0)
    late = 0.02 + MOST_LATE_S - 0.001
    waits = [metronome.beat(late) for _ in range(8)]
    assert [frames for _, frames in waits] == [1] * 8
    assert [wait > 0 for wait, _ in waits][:4] == [False] * 4
    assert waits[-1][0] > 0
    wait, frames = metronome.beat(5.0)
    assert frames > 200
    assert 0 < wait <= FRAME_S
    assert metronome.beat(5.0 + wait)[1] == 1


async def test_what_is_played_is_heard_by_a_decoder_and_then_it_is_silent() -> None:
    player = Player(lambda _: None)
    tone = (8000 * np.sin(2 * np.pi * 300 * np.arange(10 * FRAME) / 24_000)).astype("<i2")
    player.dispatch[do.PlaySound](do.PlaySound("resp", "item", tone.tobytes()))
    ticks: list[int] = []
    mouth = Mouth(lambda: ticks.append(1))
    mouth.player = player
    packets = [await mouth.recv() for _ in range(20)]
    mouth.stop()
    assert len(ticks) == 20
    assert np.diff([packet.pts for packet in packets]).tolist() == [960] * 19
    decoder: Any = av.CodecContext.create("libopus", "r")
    decoder.format, decoder.layout, decoder.sample_rate = "s16", "mono", 48_000
    heard = [frame.to_ndarray().astype(int) for packet in packets for frame in decoder.decode(packet)]
    assert all(frame.size == 960 for frame in heard)
    assert np.abs(np.concatenate(heard[2:9], axis=None)).max() > 6000
    assert np.abs(np.concatenate(heard[13:], axis=None)).max() < 50
