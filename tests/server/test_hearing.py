"""A session's hearing: every word of an utterance goes to one stream, in order; what fails, fails alone."""

import asyncio
import contextlib
import dataclasses
import threading
import time
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise

import numpy as np
import pytest

from pipeline.audio import StreamResampler
from pipeline.errors import StageError, StageTimeoutError
from pipeline.types import LISTENING_RATE, WIRE_RATE, Pcm16, Transcript
from pipeline.workers import CancelToken
from server import hearing as hearing_module
from server.hearing import Hearing
from tests.fakes import FakeEars, FakeEarsStream
from tests.threads import end_of_threads, until


def noise(samples: int, seed: int = 0) -> Pcm16:
    return np.random.default_rng(seed).integers(-20_000, 20_000, samples).astype(np.int16)


def sound(samples: int = 4_800, value: int = 0) -> Pcm16:
    return np.full(samples, value, np.int16)


def nobody(turn: int, words: str, tokens: object) -> None:
    """Is shown words and does not care."""


@pytest.fixture
def ears() -> FakeEars:
    """Tells the value of the sound that it heard, where it is steady: 100, 200, …"""
    return FakeEars(hear=lambda heard: f"{len(heard)} of {round(float(np.median([0, 0, *heard])), -2):.0f}")


@pytest.fixture
async def hearing(ears: FakeEars) -> AsyncIterator[Hearing]:
    hearing = Hearing(ears, timeout=5.0, show=nobody)
    yield hearing
    hearing.close()
    assert ears.open_streams == 0
    await end_of_threads()


@pytest.fixture
def stuck() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


async def finish(hearing: Hearing, turn: int) -> str:
    return (await hearing.answer(hearing.finish(turn))).text


async def test_all_that_was_fed_is_heard_resampled_without_seams(ears: FakeEars, hearing: Hearing) -> None:
    heard: list[Pcm16] = []
    ears.hear = lambda sound: heard.append(sound) or "yes"
    speech = noise(3 * WIRE_RATE)
    for start in range(0, len(speech), 777):
        hearing.feed(1, speech[start : start + 777])
    assert await finish(hearing, 1) == "yes"
    resampler = StreamResampler(WIRE_RATE, LISTENING_RATE)
    whole = np.concatenate([resampler.process(speech), resampler.flush()]).astype(int)
    assert len(heard[0]) == len(whole) == 3 * LISTENING_RATE
    assert np.abs(heard[0] - whole).max() <= 2


async def test_a_long_sound_is_fed_second_by_second(ears: FakeEars, hearing: Hearing) -> None:
    """So that a transcriber gives signs of life, and can be given up in between."""
    hearing.feed(1, sound(5 * WIRE_RATE))
    await finish(hearing, 1)
    assert ears.streams[0].calls == ["feed"] * 6 + ["finish"]


async def test_calls_have_their_place_in_line(ears: FakeEars, hearing: Hearing) -> None:
    hearing.feed(1, sound())
    early = hearing.hypothesis(1)
    hearing.feed(1, sound(24_000))
    late = hearing.hypothesis(1)
    assert int((await hearing.answer(early)).text.split()[0]) < 4_000
    assert int((await hearing.answer(late)).text.split()[0]) > 10_000
    hearing.discard(1)


async def test_what_is_fed_after_the_end_belongs_to_the_next_utterance(ears: FakeEars, hearing: Hearing) -> None:
    hearing.feed(1, sound(24_000, 100))
    first = hearing.finish(1)
    hearing.feed(2, sound(12_000, 200))
    second = hearing.finish(2)
    assert (await hearing.answer(first)).text == "16000 of 100"
    assert (await hearing.answer(second)).text == "8000 of 200"
    assert len(ears.streams) == 1, "a stream takes utterances one after the other"


async def test_a_discarded_utterance_leaves_nothing_for_the_next(ears: FakeEars, hearing: Hearing) -> None:
    hearing.feed(1, sound(24_000, 100))
    hearing.discard(1)
    hearing.discard(1)
    hearing.feed(2, sound(12_000, 200))
    assert await finish(hearing, 2) == "8000 of 200"
    assert ears.streams[0].calls.count("discard") == 1


async def test_an_utterance_without_sound_is_finished_too(ears: FakeEars, hearing: Hearing) -> None:
    ears.hear = lambda sound: f"{len(sound)}"
    assert await finish(hearing, 1) == "0"


# --- other settings --------------------------------------------------------------------------------------------


async def test_new_settings_hold_from_the_next_utterance_on(ears: FakeEars, hearing: Hearing) -> None:
    """Whoever changes the language in the middle of a sentence does not lose the sentence."""
    hearing.configure("en", None, shows=False)
    hearing.feed(1, sound(12_000, 100))
    await until(lambda: ears.streams)
    hearing.configure("de", "Fachwörter", shows=False)
    hearing.feed(1, sound(12_000, 100))
    first = hearing.finish(1)
    hearing.feed(2, sound(12_000, 200))
    assert (await hearing.answer(first)).text == "16000 of 100"
    assert await finish(hearing, 2) == "8000 of 200"
    assert ears.opened_with == [("en", None), ("de", "Fachwörter")]
    await until(lambda: ears.streams[0].closed)
    assert not ears.streams[1].closed


async def test_an_idle_stream_is_closed_when_the_settings_change(ears: FakeEars, hearing: Hearing) -> None:
    hearing.feed(1, sound())
    await finish(hearing, 1)
    hearing.configure("de", None, shows=False)
    await until(lambda: ears.streams[0].closed)


async def test_the_same_settings_again_change_nothing(ears: FakeEars, hearing: Hearing) -> None:
    for turn in (1, 2):
        hearing.configure("en", None, shows=False)
        hearing.feed(turn, sound())
        await finish(hearing, turn)
    assert len(ears.streams) == 1


# --- failures --------------------------------------------------------------------------------------------------


def fail_once(ears: FakeEars, where: str) -> None:
    def hook(step: str, cancel: CancelToken) -> None:
        if step == where:
            ears.hook = FakeEars.hook
            raise RuntimeError("no ears")

    ears.hook = hook


@pytest.mark.parametrize("where", ["open", "feed", "finish"])
async def test_a_failure_fails_its_utterance_and_the_next_has_a_new_stream(
    ears: FakeEars, hearing: Hearing, where: str
) -> None:
    fail_once(ears, where)
    hearing.feed(1, sound(24_000))
    await asyncio.sleep(0.02)
    hearing.feed(1, sound(24_000))
    with pytest.raises(StageError, match="RuntimeError: no ears"):
        await finish(hearing, 1)
    hearing.feed(2, sound(12_000, 200))
    assert await finish(hearing, 2) == "8000 of 200"
    assert all(stream.closed for stream in ears.streams[:-1])
    assert "hypothesis" not in ears.streams[-1].calls


async def test_a_hypothesis_that_fails_shows_at_the_finish(ears: FakeEars, hearing: Hearing) -> None:
    fail_once(ears, "hypothesis")
    hearing.feed(1, sound())
    with pytest.raises(StageError):
        await hearing.answer(hearing.hypothesis(1))
    hearing.feed(1, sound())
    with pytest.raises(StageError):
        await finish(hearing, 1)


@pytest.mark.parametrize("where", ["feed", "discard"])
async def test_after_a_failure_nobody_asked_about_the_next_has_a_new_stream(
    ears: FakeEars, hearing: Hearing, where: str
) -> None:
    fail_once(ears, where)
    hearing.feed(1, sound())
    hearing.discard(1)
    await until(lambda: ears.streams and ears.streams[0].closed)
    hearing.feed(2, sound(12_000, 200))
    assert await finish(hearing, 2) == "8000 of 200"
    assert len(ears.streams) == 2


@pytest.mark.parametrize("where", ["feed", "hypothesis", "finish"])
async def test_a_hang_fails_its_utterance_and_the_next_has_a_new_stream(
    ears: FakeEars, stuck: threading.Event, where: str
) -> None:
    hearing = Hearing(ears, timeout=0.1, show=nobody)

    def hang(step: str, cancel: CancelToken) -> None:
        if step == where:
            ears.hook = FakeEars.hook
            stuck.wait(10)

    ears.hook = hang
    hearing.feed(1, sound())
    with contextlib.suppress(StageError):
        await hearing.answer(hearing.hypothesis(1))
    with pytest.raises(StageTimeoutError):
        await finish(hearing, 1)
    assert ears.streams[0].closed
    hearing.feed(2, sound(12_000, 200))
    assert await finish(hearing, 2) == "8000 of 200"
    hearing.close()
    stuck.set()
    await end_of_threads()


async def test_a_hang_in_an_old_stream_does_not_hold_up_the_new_one(ears: FakeEars, stuck: threading.Event) -> None:
    hearing = Hearing(ears, timeout=0.3, show=nobody)

    def hang(step: str, cancel: CancelToken) -> None:
        if step == "finish":
            ears.hook = FakeEars.hook
            stuck.wait(10)

    ears.hook = hang
    hearing.feed(1, sound())
    first = hearing.finish(1)
    hearing.configure("de", None, shows=False)
    await until(lambda: ears.hook is FakeEars.hook)
    hearing.feed(2, sound(12_000, 200))
    assert await finish(hearing, 2) == "8000 of 200"
    with pytest.raises(StageTimeoutError):
        await hearing.answer(first)
    hearing.close()
    stuck.set()
    await end_of_threads()


async def test_a_slow_transcriber_is_not_taken_for_hung(ears: FakeEars) -> None:
    hearing = Hearing(ears, timeout=0.15, show=nobody)
    ears.hook = lambda step, cancel: time.sleep(0.05)
    for _ in range(8):
        hearing.feed(1, sound())
    assert await finish(hearing, 1)
    hearing.close()


# --- ends and bounds -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["feed", "finish", "discard"])
async def test_closing_ends_what_is_under_way(ears: FakeEars, moment: str) -> None:
    hearing = Hearing(ears, timeout=5.0, show=nobody)
    reached = threading.Event()

    def block(step: str, cancel: CancelToken) -> None:
        if step == moment:
            released = threading.Event()
            cancel.on_cancel(released.set)
            reached.set()
            assert released.wait(10)

    ears.hook = block
    hearing.feed(1, sound(3 * WIRE_RATE))
    if moment == "discard":
        hearing.discard(1)
    else:
        asking = asyncio.create_task(hearing.answer(hearing.finish(1)))
    await until(reached.is_set)
    hearing.close()
    if moment != "discard":
        with pytest.raises(StageError):
            async with asyncio.timeout(1):
                await asking
    assert ears.open_streams == 0
    await end_of_threads(within=1)


async def test_a_stream_that_is_being_opened_at_the_close_is_closed_as_well(ears: FakeEars) -> None:
    hearing = Hearing(ears, timeout=5.0, show=nobody)
    opening, go = threading.Event(), threading.Event()

    def hook(step: str, cancel: CancelToken) -> None:
        if step == "open":
            opening.set()
            assert go.wait(5)

    ears.hook = hook
    hearing.feed(1, sound())
    await until(opening.is_set)
    hearing.close()
    go.set()
    await end_of_threads()
    assert len(ears.streams) == 1
    assert ears.open_streams == 0


async def test_who_sends_faster_than_the_transcriber_hears_has_to_wait(
    ears: FakeEars, hearing: Hearing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hearing_module, "_FAR_BEHIND", 2 * WIRE_RATE)
    go = threading.Event()
    ears.hook = lambda step, cancel: go.wait(5)
    hearing.feed(1, sound(2 * WIRE_RATE))
    async with asyncio.timeout(1):
        await hearing.caught_up()
    hearing.feed(1, sound(480))
    waiting = asyncio.create_task(hearing.caught_up())
    await asyncio.sleep(0.02)
    assert not waiting.done()
    go.set()
    async with asyncio.timeout(1):
        await waiting
        await hearing.caught_up()


async def test_nobody_waits_for_a_transcriber_that_hangs(
    ears: FakeEars, stuck: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hearing_module, "_FAR_BEHIND", 2 * WIRE_RATE)
    hearing = Hearing(ears, timeout=0.1, show=nobody)
    ears.hook = lambda step, cancel: stuck.wait(10)
    hearing.feed(1, sound(3 * WIRE_RATE))
    async with asyncio.timeout(1):
        await hearing.caught_up()
    ears.hook = FakeEars.hook
    with pytest.raises(StageTimeoutError):
        await finish(hearing, 1)
    assert await finish(hearing, 2) is not None
    hearing.close()
    stuck.set()
    await end_of_threads()


# --- words while they are spoken ----------------------------------------------------------------------------------


class Shown:
    """A hearing that shows words, and what it has shown. The ears understand a word a second, and the last in part."""

    WORDS = ("what", "is", "the", "capital", "of", "France")

    def __init__(self, partial_s: float | None = 0.5) -> None:
        self.ears = FakeEars(hear=self._understand)
        self.ears.capabilities = dataclasses.replace(self.ears.capabilities, partial_s=partial_s)
        self.shown: list[tuple[int, str]] = []
        self.hearing = Hearing(self.ears, timeout=5.0, show=lambda turn, text, _: self.shown.append((turn, text)))
        self.hearing.configure(None, None, shows=True)

    def _understand(self, heard: Pcm16) -> str:
        count = len(heard) / LISTENING_RATE
        partly = "" if count == int(count) else f" {self.WORDS[int(count)][:2]}"
        return " ".join(self.WORDS[: int(count)]) + partly

    async def say(self, seconds: float, turn: int = 1) -> None:
        """Feeds in frames of 20 ms and lets the ears keep up."""
        for _ in range(round(seconds * 50)):
            self.hearing.feed(turn, sound(WIRE_RATE // 50))
            await until(lambda: self.hearing._behind == 0)
            await asyncio.sleep(0)
        await self.hearing.answer(self.hearing.hypothesis(turn))


async def test_words_are_shown_while_they_are_spoken_as_far_as_hypotheses_agree() -> None:
    scene = Shown()
    await scene.say(4.2)
    assert len(scene.shown) > 2, "not only at the end"
    texts = [text for _, text in scene.shown]
    assert all(later.startswith(earlier) for earlier, later in pairwise(texts)), "nothing is taken back"
    assert texts[-1] == "what is the capital"[: len(texts[-1])]
    assert "capital" not in texts[1], "two hypotheses have to agree"
    scene.hearing.close()
    await end_of_threads()


@pytest.mark.parametrize("why", ["nobody wants to see them", "the engine has none that are worth their cost"])
async def test_no_hypothesis_is_asked_for_that_nobody_looks_at(why: str) -> None:
    scene = Shown(partial_s=None if why.startswith("the engine") else 0.5)
    if why.startswith("nobody"):
        scene.hearing.configure(None, None, shows=False)
    for _ in range(20):
        scene.hearing.feed(1, sound(WIRE_RATE // 10))
    await finish(scene.hearing, 1)
    assert "hypothesis" not in scene.ears.streams[0].calls
    assert not scene.shown
    scene.hearing.close()
    await end_of_threads()


async def test_a_slow_engine_is_asked_for_one_hypothesis_at_a_time(stuck: threading.Event) -> None:
    scene = Shown()
    scene.ears.hook = lambda step, cancel: stuck.wait(10) if step == "hypothesis" else None
    for _ in range(100):
        scene.hearing.feed(1, sound(WIRE_RATE // 10))
    await until(lambda: scene.ears.streams and "hypothesis" in scene.ears.streams[0].calls)
    stuck.set()
    scene.ears.hear = lambda heard: "yes"
    await finish(scene.hearing, 1)
    assert scene.ears.streams[0].calls.count("hypothesis") == 1
    scene.hearing.close()
    await end_of_threads()


async def test_a_hypothesis_of_a_pause_has_heard_all_so_that_nothing_is_fed_at_the_end(
    ears: FakeEars, hearing: Hearing
) -> None:
    hearing.feed(1, sound(7_777), pauses=True)
    await hearing.answer(hearing.hypothesis(1))
    fed = ears.streams[0].calls.count("feed")
    await finish(hearing, 1)
    assert ears.streams[0].calls.count("feed") == fed


async def test_what_the_end_would_be_is_asked_in_a_pause_and_not_while_somebody_speaks() -> None:
    class Pausing(FakeEarsStream):
        def pause(self) -> Transcript:
            self._step("pause")
            return Transcript("yes")

    class PausingEars(FakeEars):
        def open(self, language: str | None = None, prompt: str | None = None) -> FakeEarsStream:
            self.streams.append(Pausing(self))
            return self.streams[-1]

    ears = PausingEars()
    ears.capabilities = dataclasses.replace(ears.capabilities, partial_s=0.3)
    hearing = Hearing(ears, timeout=5.0, show=nobody)
    hearing.configure(None, None, shows=True)
    hearing.feed(1, sound(WIRE_RATE // 2))
    await hearing.answer(hearing.hypothesis(1))
    asked = [call for call in ears.streams[0].calls if call != "feed"]
    assert asked == ["hypothesis", "pause"]
    hearing.close()
    await end_of_threads()


async def test_the_same_is_heard_whether_or_not_anything_is_asked_in_a_pause(ears: FakeEars, hearing: Hearing) -> None:
    """Decoders take a sample more or less, or another one, for other words."""
    heard: list[Pcm16] = []
    ears.hear = lambda sound: heard.append(sound) or "yes"
    parts = [noise(7_777), noise(5_001)]
    for turn in (1, 2):
        hearing.feed(turn, parts[0], pauses=True)
        if turn == 1:
            await hearing.answer(hearing.hypothesis(turn))
        hearing.feed(turn, parts[1], pauses=True)
        await finish(hearing, turn)
    assert np.array_equal(heard[-2], heard[-1])


async def test_speech_that_goes_on_after_a_pause_is_heard_without_a_gap(ears: FakeEars, hearing: Hearing) -> None:
    heard: list[Pcm16] = []
    ears.hear = lambda sound: heard.append(sound) or "yes"
    quiet, speech = sound(WIRE_RATE // 5), noise(WIRE_RATE)
    hearing.feed(1, speech)
    hearing.feed(1, quiet, pauses=True)
    await hearing.answer(hearing.hypothesis(1))
    for part in (quiet, speech):
        hearing.feed(1, part)
    await finish(hearing, 1)
    resampler = StreamResampler(WIRE_RATE, LISTENING_RATE)
    whole = np.concatenate([resampler.process(np.concatenate([speech, quiet, quiet, speech])), resampler.flush()])
    assert len(heard[-1]) == len(whole)
    assert np.abs(heard[-1].astype(int) - whole).max() <= 2


async def test_words_can_be_hidden_and_shown_again_in_the_middle_of_an_utterance() -> None:
    scene = Shown()
    scene.ears.hear = lambda heard: " ".join(scene.WORDS[: len(heard) // LISTENING_RATE])
    await scene.say(2.2)
    seen = scene.shown[-1][1]
    scene.hearing.configure(None, None, shows=False)
    await scene.say(1.6)
    assert scene.shown[-1][1] == seen
    scene.hearing.configure(None, None, shows=True)
    await scene.say(1.4)
    texts = [text for _, text in scene.shown]
    assert texts[-1].startswith(seen)
    assert len(texts[-1]) > len(seen)
    assert len(scene.ears.streams) == 1, "the utterance has been heard in one go"
    scene.hearing.close()
    await end_of_threads()


async def test_a_hypothesis_that_nobody_waited_for_fails_its_utterance_only() -> None:
    scene = Shown()
    fail_once(scene.ears, "hypothesis")
    for _ in range(10):
        scene.hearing.feed(1, sound(WIRE_RATE // 10))
    with pytest.raises(StageError):
        await finish(scene.hearing, 1)
    assert not scene.shown
    await scene.say(2.2, turn=2)
    assert {turn for turn, _ in scene.shown} == {2}
    scene.hearing.close()
    await end_of_threads()


async def test_words_of_an_utterance_are_still_shown_while_it_is_being_finished(stuck: threading.Event) -> None:
    scene = Shown()
    await scene.say(1.2)
    scene.ears.hook = lambda step, cancel: stuck.wait(10) if step == "hypothesis" else None
    scene.hearing.feed(1, sound(WIRE_RATE))
    question = scene.hearing.finish(1)
    scene.hearing.feed(2, sound(WIRE_RATE // 10))
    stuck.set()
    assert (await scene.hearing.answer(question)).text.startswith("what is")
    assert {turn for turn, _ in scene.shown} == {1}
    await finish(scene.hearing, 2)
    scene.hearing.close()
    await end_of_threads()


# --- recordings ------------------------------------------------------------------------------------------------


async def test_recordings_are_heard_one_after_the_other_beside_what_is_being_said(
    ears: FakeEars, hearing: Hearing
) -> None:
    hearing.feed(1, sound(value=100))
    second, third = (hearing.transcribe(sound(value=value)) for value in (200, 300))
    hearing.feed(1, sound(value=100))
    assert (await hearing.answer(third)).text == "3200 of 300"
    assert (await hearing.answer(second)).text == "3200 of 200"
    assert await finish(hearing, 1) == "6400 of 100"
    assert len(ears.streams) == 2, "one for the user, one for recordings, however many there are"


async def test_the_ear_of_recordings_goes_when_none_is_left(ears: FakeEars, hearing: Hearing) -> None:
    await hearing.answer(hearing.transcribe(sound()))
    await until(lambda: ears.open_streams == 0)
    assert (await hearing.answer(hearing.transcribe(sound()))).text == "3200 of 0"
    assert len(ears.streams) == 2


async def test_a_recording_that_is_not_understood_costs_no_other_its_words(ears: FakeEars, hearing: Hearing) -> None:
    def fail(step: object, _: CancelToken) -> None:
        if step == "finish" and len(ears.streams) == 2:
            raise RuntimeError("broken")

    ears.hook = fail
    hearing.feed(1, sound(value=100))
    await until(lambda: len(ears.streams) == 1)
    with pytest.raises(StageError):
        await hearing.answer(hearing.transcribe(sound()))
    assert (await hearing.answer(hearing.transcribe(sound(value=300)))).text == "3200 of 300"
    assert await finish(hearing, 1) == "3200 of 100"


async def test_a_recording_that_hangs_is_given_up_and_the_user_is_still_heard(
    ears: FakeEars, stuck: threading.Event
) -> None:
    def hang(step: object, cancel: CancelToken) -> None:
        if step == "finish" and len(ears.streams) == 2:
            stuck.wait(10)

    hearing = Hearing(ears, timeout=0.2, show=nobody)
    hearing.feed(1, sound(value=100))
    await until(lambda: len(ears.streams) == 1)
    ears.hook = hang
    with pytest.raises(StageTimeoutError):
        await hearing.answer(hearing.transcribe(sound()))
    stuck.set()
    assert await finish(hearing, 1) == "3200 of 100"
    assert (await hearing.answer(hearing.transcribe(sound(value=300)))).text == "3200 of 300"
    hearing.close()
    await end_of_threads()


async def test_recordings_hold_their_sender_back_as_well(
    ears: FakeEars, hearing: Hearing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hearing_module, "_FAR_BEHIND", WIRE_RATE)
    gate = threading.Event()
    ears.hook = lambda step, cancel: gate.wait(10) and None
    question = hearing.transcribe(sound(2 * WIRE_RATE))
    waiting = asyncio.create_task(hearing.caught_up())
    await asyncio.sleep(0)
    assert not waiting.done()
    gate.set()
    await waiting
    await hearing.answer(question)
