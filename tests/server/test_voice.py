"""One voice activity detector hears every session: in one call, in order, at the right place, and nobody starves."""

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from pipeline.audio import pcm16_to_bytes
from pipeline.types import WIRE_RATE, Pcm16, Samples
from pipeline.vad.frames import HISTORY, FrameMaker
from pipeline.workers import CancelToken
from server.realtime.inbox import VoiceFailed, VoiceVerdict
from server.voice import VoiceFeed, VoiceHub
from tests.fakes import FakeDetector, no_hook
from tests.threads import parley_threads, until

FRAME = 768
"""Ticks of one frame."""

LONG = 11 * WIRE_RATE
"""More than may wait for the detector."""


def sound(samples: int, loud: bool = False) -> Pcm16:
    return np.full(samples, 10_000 if loud else 0, np.int16)


class Session:
    """What a session keeps of its feed."""

    def __init__(self, hub: VoiceHub) -> None:
        self.said: list[VoiceVerdict | VoiceFailed] = []
        self.feed: VoiceFeed = hub.open(self.said.append)
        self.position = 0

    def hear(self, samples: Pcm16) -> None:
        self.feed.hear(pcm16_to_bytes(samples), self.position)
        self.position += len(samples)

    @property
    def verdicts(self) -> list[VoiceVerdict]:
        return [verdict for verdict in self.said if isinstance(verdict, VoiceVerdict)]


class Blocker:
    """Holds the detector's thread until it is told to go on."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.go = threading.Event()

    def __call__(self, frames: int, cancel: CancelToken) -> None:
        self.reached.set()
        self.go.wait(10)


@pytest.fixture
def detector() -> FakeDetector:
    return FakeDetector()


@pytest.fixture
def hub(detector: FakeDetector) -> Iterator[VoiceHub]:
    hub = VoiceHub(detector, 10.0)
    yield hub
    if isinstance(detector.hook, Blocker):
        detector.hook.go.set()
    hub.close()
    assert not parley_threads("vad")


async def test_verdicts_come_in_order_and_without_gaps_whatever_the_pieces(hub: VoiceHub) -> None:
    session = Session(hub)
    for size in (1, 480, 3, 5_000, 17, 20_000, 0, 480):
        session.hear(sound(size))
    await until(lambda: len(session.said) >= (session.position - 1_000) // FRAME)
    starts = [verdict.start for verdict in session.verdicts]
    assert starts == list(range(0, len(starts) * FRAME, FRAME))
    assert all(verdict.end - verdict.start == FRAME and verdict.epoch == 0 for verdict in session.verdicts)


async def test_verdicts_equal_judging_frame_by_frame() -> None:
    speech = np.random.default_rng(3).integers(-9_000, 9_000, 5 * WIRE_RATE).astype(np.int16)
    speech[::2] //= 50

    class Loudness(FakeDetector):
        def detect(self, batch: Any) -> list[float]:
            return [self.judge(frame) for _, frame in batch]

        @staticmethod
        def judge(frame: Samples) -> float:
            return float(np.abs(frame).mean())

    detector = Loudness()
    hub = VoiceHub(detector, 10.0)
    sessions = [Session(hub) for _ in range(3)]
    for start in range(0, len(speech), 480):
        for session in sessions:
            session.hear(speech[start : start + 480])
    padded = bytes(2 * HISTORY) + pcm16_to_bytes(speech)
    maker = FrameMaker(detector.frame)
    starts = range(0, 2 * (len(speech) - FRAME + 1), 2 * FRAME)
    expected = [detector.judge(maker.frames([padded[at : at + maker.window_bytes]])[0]) for at in starts]
    await until(lambda: all(len(session.said) == len(expected) for session in sessions))
    for session in sessions:
        assert [v.probability for v in session.verdicts] == pytest.approx(expected, abs=1e-6)
    hub.close()


async def test_frames_of_several_sessions_are_judged_in_one_call(hub: VoiceHub, detector: FakeDetector) -> None:
    detector.hook = blocker = Blocker()
    first, others = Session(hub), [Session(hub) for _ in range(7)]
    first.hear(sound(FRAME))
    await until(blocker.reached.is_set)
    for session in others:
        session.hear(sound(FRAME))
    blocker.go.set()
    await until(lambda: all(session.said for session in others))
    assert detector.batches[:2] == [1, 7]


async def test_verdicts_of_many_sessions_come_in_order_when_the_loop_is_late(hub: VoiceHub) -> None:
    sessions = [Session(hub) for _ in range(100)]
    for index, session in enumerate(sessions):
        session.hear(sound((1 + index // 20) * FRAME))
    time.sleep(0.2)  # noqa: ASYNC251 - the detector goes on meanwhile
    await until(lambda: len(sessions[-1].said) == 5)
    for index, session in enumerate(sessions):
        assert [verdict.start for verdict in session.verdicts] == [FRAME * frame for frame in range(1 + index // 20)]


async def test_what_one_session_makes_of_a_verdict_costs_no_other_its_own(
    hub: VoiceHub, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(verdict: VoiceVerdict | VoiceFailed) -> None:
        raise RuntimeError("no idea")

    others = [Session(hub) for _ in range(50)]
    others[0].feed = hub.open(broken)
    for session in others:
        session.hear(sound(FRAME))
    await until(lambda: all(session.said for session in others[1:]))
    assert "no idea" in caplog.text


async def test_a_long_sound_does_not_starve_the_others(hub: VoiceHub, detector: FakeDetector) -> None:
    detector.hook = lambda frames, cancel: time.sleep(0.0005)
    greedy, modest = Session(hub), Session(hub)
    greedy.hear(sound(60 * WIRE_RATE))
    await until(lambda: greedy.said)
    modest.hear(sound(2 * FRAME))
    await until(lambda: modest.said)
    assert len(greedy.said) < 200, "it must not wait for the whole minute (1875 frames)"


async def test_a_reset_begins_anew_at_its_position_under_its_epoch(hub: VoiceHub, detector: FakeDetector) -> None:
    session = Session(hub)
    session.hear(sound(2 * FRAME + 100))
    await until(lambda: session.said)
    session.feed.reset(5)
    begin = session.position
    session.hear(sound(4 * FRAME, loud=True))
    await until(lambda: len([v for v in session.verdicts if v.epoch == 5]) >= 3)
    new = [v for v in session.verdicts if v.epoch == 5]
    assert new[0].start == begin
    assert [v.probability for v in new] == [1.0] * len(new), "nothing of what was heard before is in it"
    assert detector.states == 2


async def test_what_was_on_its_way_at_a_reset_is_not_judged(hub: VoiceHub, detector: FakeDetector) -> None:
    """Nobody wants to know, and a client that sends and clears in turn must not pile up work."""
    detector.hook = blocker = Blocker()
    session, other = Session(hub), Session(hub)
    session.hear(sound(100 * FRAME))
    await until(blocker.reached.is_set)
    session.feed.reset(1)
    blocker.go.set()
    other.hear(sound(2 * FRAME))
    await until(lambda: other.said)
    assert sum(detector.batches) <= 4


async def test_a_closed_feed_says_nothing_more(hub: VoiceHub, detector: FakeDetector) -> None:
    detector.hook = blocker = Blocker()
    session, other = Session(hub), Session(hub)
    session.hear(sound(100 * FRAME))
    await until(blocker.reached.is_set)
    session.feed.close()
    blocker.go.set()
    other.hear(sound(2 * FRAME))
    await until(lambda: other.said)
    assert not session.said
    assert sum(detector.batches) <= 4


# --- when the detector falls behind ----------------------------------------------------------------------------


async def test_who_sends_faster_than_the_detector_hears_has_to_wait(hub: VoiceHub, detector: FakeDetector) -> None:
    detector.hook = blocker = Blocker()
    session = Session(hub)
    session.hear(sound(LONG))
    waiting = asyncio.create_task(session.feed.caught_up())
    await until(blocker.reached.is_set)
    await asyncio.sleep(0.02)
    assert not waiting.done()
    blocker.go.set()
    async with asyncio.timeout(5):
        await waiting
    assert session.position - session.verdicts[-1].end <= 10 * WIRE_RATE + FRAME


async def test_a_little_backlog_keeps_nobody_waiting(hub: VoiceHub, detector: FakeDetector) -> None:
    detector.hook = Blocker()
    session = Session(hub)
    session.hear(sound(9 * WIRE_RATE))
    async with asyncio.timeout(1):
        await session.feed.caught_up()


async def test_the_backlog_of_a_new_epoch_begins_at_its_position(hub: VoiceHub, detector: FakeDetector) -> None:
    """A minute without detection is no backlog."""
    detector.hook = Blocker()
    session = Session(hub)
    session.feed.reset(1)
    session.position = 60 * WIRE_RATE
    session.hear(sound(480))
    async with asyncio.timeout(1):
        await session.feed.caught_up()


async def test_after_a_reset_nobody_waits_for_what_is_not_judged_any_more(
    hub: VoiceHub, detector: FakeDetector
) -> None:
    """A client sends a long file in one event and commits it: that commit renews the epoch."""
    detector.hook = blocker = Blocker()
    session = Session(hub)
    session.hear(sound(LONG))
    waiting = asyncio.create_task(session.feed.caught_up())
    await until(blocker.reached.is_set)
    session.feed.reset(1)
    async with asyncio.timeout(1):
        await waiting


async def test_closing_lets_go_of_who_waits(hub: VoiceHub, detector: FakeDetector) -> None:
    detector.hook = blocker = Blocker()
    session = Session(hub)
    session.hear(sound(LONG))
    waiting = asyncio.create_task(session.feed.caught_up())
    await until(blocker.reached.is_set)
    session.feed.close()
    async with asyncio.timeout(1):
        await waiting


# --- when the detector fails -----------------------------------------------------------------------------------


async def test_a_detector_that_raises_fails_the_frames_and_goes_on(hub: VoiceHub, detector: FakeDetector) -> None:
    def broken(frames: int, cancel: CancelToken) -> None:
        raise RuntimeError("no ears")

    detector.hook = broken
    session = Session(hub)
    session.hear(sound(2 * FRAME))
    await until(lambda: session.said)
    failed = session.said[0]
    assert isinstance(failed, VoiceFailed)
    assert failed.epoch == 0
    assert "RuntimeError: no ears" in failed.problem
    detector.hook = FakeDetector.hook
    session.feed.reset(1)
    session.hear(sound(2 * FRAME))
    await until(lambda: session.verdicts)
    assert session.verdicts[0].start == 2 * FRAME


async def test_a_detector_that_gives_too_few_answers_fails(hub: VoiceHub, detector: FakeDetector) -> None:
    detector.detect = lambda batch: []  # type: ignore[method-assign]
    session = Session(hub)
    session.hear(sound(2 * FRAME))
    await until(lambda: session.said)
    assert isinstance(session.said[0], VoiceFailed)


async def test_a_detector_that_cannot_be_opened_fails_the_frames_not_the_session(
    hub: VoiceHub, detector: FakeDetector
) -> None:
    def broken() -> list[float]:
        raise RuntimeError("no more ears")

    detector.open = broken  # type: ignore[method-assign]
    session = Session(hub)
    session.hear(sound(2 * FRAME))
    await until(lambda: session.said)
    assert isinstance(session.said[0], VoiceFailed)


async def test_nobody_waits_for_a_detector_that_failed(hub: VoiceHub, detector: FakeDetector) -> None:
    def broken(frames: int, cancel: CancelToken) -> None:
        raise RuntimeError("no ears")

    detector.hook = broken
    session = Session(hub)
    session.hear(sound(LONG))
    async with asyncio.timeout(2):
        await session.feed.caught_up()


# --- when the detector hangs -----------------------------------------------------------------------------------


async def test_a_detector_that_hangs_is_given_up_for_everybody_and_hears_again(detector: FakeDetector) -> None:
    hub = VoiceHub(detector, 0.05)
    detector.hook = blocker = Blocker()
    sessions = [Session(hub), Session(hub)]
    for session in sessions:
        session.hear(sound(20 * FRAME))
    await until(lambda: all(session.said for session in sessions))
    for session in sessions:
        (failed,) = session.said
        assert isinstance(failed, VoiceFailed)
        assert "timeout" in failed.problem
    detector.hook = no_hook
    for session in sessions:
        session.feed.reset(1)
        session.hear(sound(20 * FRAME))
    await until(lambda: all(len(session.verdicts) >= 18 for session in sessions))
    assert sessions[0].verdicts[0].start == 20 * FRAME
    blocker.go.set()
    hub.close()


async def test_a_detector_with_nothing_to_judge_is_not_taken_for_hung(detector: FakeDetector) -> None:
    hub = VoiceHub(detector, 0.02)
    session = Session(hub)
    for _ in range(5):
        session.hear(sound(2 * FRAME))
        await asyncio.sleep(0.03)
    assert session.verdicts
    assert len(session.verdicts) == len(session.said)
    hub.close()
