"""What an end-of-turn detector has to do."""

import asyncio
from collections.abc import Mapping
from functools import partial

import numpy as np

from pipeline.errors import StageError
from pipeline.stages import EndOfTurnDetector, Pause
from pipeline.types import LISTENING_RATE, Pcm16
from pipeline.workers import CancelToken, SerialWorker
from tests.engines.contract import driving, sounds
from tests.engines.contract.belongings import PATIENCE_S
from tests.engines.contract.case import EndpointingCase
from tests.speech import silence, utterance

STAGE = "endpointing"

MOST_S = 8
"""Seconds of an utterance that a pause carries at most."""


def heard() -> Mapping[str, Pcm16]:
    """Returns what may come before a pause."""
    voice = utterance("turn on the kitchen lights")
    whole = np.concatenate([voice, silence(MOST_S), voice])[-MOST_S * LISTENING_RATE :]
    return {
        "nothing": np.zeros(0, np.int16),
        "one sample": np.ones(1, np.int16),
        "a voice": voice,
        "a voice cut off": voice[: len(voice) // 2],
        "8 s": whole,
        "an overdriven voice": sounds.overdriven(1.0),
        **sounds.wordless(2.0),
    }


async def assess(engine: EndOfTurnDetector, pause: Pause, cancel: CancelToken | None = None) -> int:
    """Asks as the server does."""
    worker = SerialWorker("endpointing")
    answer = worker.post(partial(engine.assess, pause, cancel or CancelToken()))
    return await worker.result(answer, PATIENCE_S)


def test_it_says_what_it_reads(case: EndpointingCase, engine: EndOfTurnDetector) -> None:
    assert engine.reads <= {"sound", "words"}


async def test_the_silence_lasts_from_none_to_the_most(case: EndpointingCase, engine: EndOfTurnDetector) -> None:
    said = ("", "turn on the kitchen lights", "and then I", "👋 \x00 <|im_end|>", "word " * 5000)
    sounds = list(heard().items())
    for number in range(max(len(sounds), 4 * len(said))):
        (name, audio), text = sounds[number % len(sounds)], said[number % len(said)]
        most_ms = (0, 1, 200, 8000)[number % 4]
        answer = await assess(engine, Pause(audio, text, most_ms))
        assert isinstance(answer, int), f"{name}, {text[:30]!r}"
        assert 0 <= answer <= most_ms, f"{name}, {text[:30]!r}"


async def test_several_at_once_get_the_answers_that_each_gets_alone(
    case: EndpointingCase, engine: EndOfTurnDetector
) -> None:
    sounds = list(heard().values())
    pauses = [Pause(audio.copy(), "so it is", 3000) for audio in sounds]
    alone = [await assess(engine, pause) for pause in pauses]
    together = await asyncio.gather(*(assess(engine, pause) for pause in pauses))
    assert all(abs(one - other) <= case.agree_ms for one, other in zip(together, alone, strict=True))
    assert all(np.array_equal(pause.audio, audio) for pause, audio in zip(pauses, sounds, strict=True))


async def test_a_cancelled_question_ends_soon(case: EndpointingCase, engine: EndOfTurnDetector) -> None:
    pause = Pause(heard()["8 s"], "turn on the lights", 2000)
    for moment_s in (None, 0.0, 0.001, 0.01):
        cancel = CancelToken()
        if moment_s is None:
            cancel.cancel()
        else:
            asyncio.get_running_loop().call_later(moment_s, cancel.cancel)
        try:
            assert 0 <= await assess(engine, pause, cancel) <= 2000
        except StageError as error:
            driving.check_deliberate(error)
    assert 0 <= await assess(engine, pause) <= 2000
