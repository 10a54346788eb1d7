"""What a voice activity detector has to do."""

import asyncio
from collections.abc import Sequence
from functools import partial

import numpy as np
import pytest

from pipeline.audio import to_float
from pipeline.stages import VoiceActivityDetector
from pipeline.types import LISTENING_RATE, Pcm16, Samples
from tests.engines.contract import sounds
from tests.engines.contract.belongings import memory
from tests.engines.contract.case import VadCase
from tests.speech import silence, utterance

STAGE = "vad"

MEGABYTE = 1 << 20


def frames(engine: VoiceActivityDetector, sound: Pcm16) -> list[Samples]:
    whole = len(sound) // engine.frame * engine.frame
    return list(to_float(sound[:whole]).reshape(-1, engine.frame))


def judge(engine: VoiceActivityDetector, sound: Pcm16, state: object | None = None) -> list[float]:
    """Returns the verdicts on a sound that is heard alone."""
    state = engine.open() if state is None else state
    return [engine.detect([(state, frame)])[0] for frame in frames(engine, sound)]


def judge_together(engine: VoiceActivityDetector, heard: Sequence[Pcm16]) -> list[list[float]]:
    """Returns the verdicts on sounds that are heard at once, in batches whose order changes from frame to frame."""
    states = [engine.open() for _ in heard]
    verdicts: list[list[float]] = [[] for _ in heard]
    random = np.random.default_rng(0)
    for step in zip(*(frames(engine, sound) for sound in heard), strict=False):
        order = random.permutation(len(heard))
        judged = engine.detect([(states[index], step[index]) for index in order])
        for index, probability in zip(order, judged, strict=True):
            verdicts[index].append(probability)
    return verdicts


VOICE = utterance("turn on the kitchen lights")


def test_verdicts_are_probabilities_whatever_is_heard(case: VadCase, engine: VoiceActivityDetector) -> None:
    heard = {**sounds.wordless(0.5), "a square wave": sounds.overdriven(0.5), "a voice": VOICE}
    for name, sound in heard.items():
        verdicts = judge(engine, sound)
        assert all(isinstance(probability, float) for probability in verdicts), name
        assert all(0 <= probability <= 1 for probability in verdicts), name


def test_a_voice_is_told_from_silence(case: VadCase, engine: VoiceActivityDetector) -> None:
    assert max(judge(engine, VOICE)) > 0.6
    for quiet in (silence(1.0), sounds.digital_silence(1.0)):
        assert max(judge(engine, quiet)) < 0.3


def test_sessions_in_one_batch_are_judged_as_alone_in_any_order(case: VadCase, engine: VoiceActivityDetector) -> None:
    heard = [VOICE, silence(2.0), sounds.noise(2.0), utterance("who made you"), VOICE[LISTENING_RATE // 2 :]]
    for together, sound in zip(judge_together(engine, heard), heard, strict=True):
        np.testing.assert_allclose(together, judge(engine, sound)[: len(together)], atol=1e-3)


def test_a_silent_session_does_not_hear_a_loud_neighbour(case: VadCase, engine: VoiceActivityDetector) -> None:
    quiet, loud = judge_together(engine, [silence(9.0), VOICE])
    assert max(loud) > 0.6
    assert max(quiet) < 0.3


def test_an_opened_state_has_heard_nothing_of_another(case: VadCase, engine: VoiceActivityDetector) -> None:
    fresh = judge(engine, VOICE)
    used = engine.open()
    judge(engine, sounds.noise(1.0), used)
    assert judge(engine, VOICE, engine.open()) == pytest.approx(fresh, abs=1e-3)


def test_the_callers_frame_may_change_after_the_call(case: VadCase, engine: VoiceActivityDetector) -> None:
    state, buffer, verdicts = engine.open(), np.empty(engine.frame, np.float32), []
    for frame in frames(engine, VOICE):
        buffer[:] = frame
        verdicts.append(engine.detect([(state, buffer)])[0])
        buffer[:] = 0.5
    assert verdicts == pytest.approx(judge(engine, VOICE), abs=1e-3)


def test_a_batch_of_nobody_is_no_error(case: VadCase, engine: VoiceActivityDetector) -> None:
    assert engine.detect([]) == []


async def test_batches_may_come_from_another_thread_than_the_engine(
    case: VadCase, engine: VoiceActivityDetector
) -> None:
    alone = judge(engine, VOICE)
    assert await asyncio.to_thread(partial(judge, engine, VOICE)) == pytest.approx(alone, abs=1e-3)


def test_an_hour_of_silence_stays_silent_and_takes_no_memory(case: VadCase, engine: VoiceActivityDetector) -> None:
    state, room = engine.open(), frames(engine, silence(10.0))
    count = round(case.long_s * LISTENING_RATE / engine.frame)
    for number in range(count):
        if number == count // 10:
            before = memory()
        [probability] = engine.detect([(state, room[number % len(room)])])
        assert probability < 0.5, f"frame {number}"
    assert memory() - before < 8 * MEGABYTE
    assert max(judge(engine, VOICE, state)) > 0.6  # and then a voice is heard
