"""The playback buffer of a call: item after item, frame by frame, and its beginnings and ends told."""

import asyncio
from typing import Any

import numpy as np

from server.playing import MOST_WAITING, Player
from server.realtime import commands as do
from server.realtime.inbox import SoundPaused, SoundPlaying

FRAME = 480


class Stage:
    def __init__(self) -> None:
        self.told: list[Any] = []
        self.player = Player(self.told.append)

    def play(self, item: str, samples: int, value: int = 1) -> None:
        audio = np.full(samples, value, "<i2").tobytes()
        self.player.dispatch[do.PlaySound](do.PlaySound("resp", item, audio))

    def end(self, item: str) -> None:
        self.player.dispatch[do.EndSound](do.EndSound(item))

    def drop(self, item: str) -> None:
        self.player.dispatch[do.DropSound](do.DropSound(item))

    def frames(self, count: int) -> list[int | None]:
        """The first sample of each of the next frames; None for one that is silent."""
        frames = [self.player.frame(FRAME) for _ in range(count)]
        return [None if frame is None else int(frame[0]) for frame in frames]


def test_items_are_played_in_the_order_of_their_first_sound_and_not_mixed() -> None:
    stage = Stage()
    stage.play("a", FRAME, 1)
    stage.play("b", FRAME, 2)
    stage.play("a", FRAME, 3)
    stage.end("a")
    stage.end("b")
    assert stage.frames(4) == [1, 3, 2, None]
    assert stage.told == [SoundPlaying("a", 0), SoundPlaying("b", 0), SoundPaused("b", FRAME)]


def test_the_next_waits_until_all_of_one_has_come() -> None:
    stage = Stage()
    stage.play("a", FRAME, 1)
    stage.play("b", FRAME, 2)
    stage.end("b")
    assert stage.frames(3) == [1, None, None]
    stage.play("a", FRAME, 3)
    stage.end("a")
    assert stage.frames(3) == [3, 2, None]
    assert stage.told == [
        SoundPlaying("a", 0),
        SoundPaused("a", FRAME),
        SoundPlaying("a", FRAME),
        SoundPlaying("b", 0),
        SoundPaused("b", FRAME),
    ]


def test_part_of_a_frame_waits_for_the_rest_and_the_last_is_filled_up() -> None:
    stage = Stage()
    stage.play("a", FRAME + 100, 1)
    assert stage.frames(2) == [1, None]
    stage.play("a", 100, 2)
    stage.end("a")
    last = stage.player.frame(FRAME)
    assert last is not None
    assert last.tolist() == [1] * 100 + [2] * 100 + [0] * (FRAME - 200)
    stage.frames(1)
    assert stage.told[-1] == SoundPaused("a", FRAME + 200)


def test_what_is_dropped_is_silent_with_the_next_frame() -> None:
    stage = Stage()
    stage.play("a", 10 * FRAME, 1)
    stage.play("b", FRAME, 2)
    stage.end("b")
    assert stage.frames(2) == [1, 1]
    stage.drop("a")
    assert stage.frames(2) == [2, None]


async def test_who_makes_too_much_waits_until_it_is_played() -> None:
    stage = Stage()
    await asyncio.wait_for(stage.player.room(), 1)
    stage.play("a", MOST_WAITING)
    waiting = asyncio.ensure_future(stage.player.room())
    await asyncio.sleep(0)
    assert not waiting.done()
    stage.frames(1)
    await asyncio.wait_for(waiting, 1)
