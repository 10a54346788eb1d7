"""What a synthesizer has to do."""

import asyncio
import contextlib

import numpy as np

from pipeline.stages import Synthesizer
from pipeline.types import Pcm16, SpeechRequest
from pipeline.workers import CancelToken
from tests.engines.contract import driving
from tests.engines.contract.belongings import PATIENCE_S, as_before, memory, settled
from tests.engines.contract.case import SynthesisCase
from tests.engines.contract.conftest import Load
from tests.engines.contract.driving import Mouth
from tests.threads import end_of_threads

STAGE = "tts"

MEGABYTE = 1 << 20
AUDIBLE = 100


def long_text(seconds: float) -> str:
    """Returns what takes about so long to say."""
    return "The sea is wide and deep, and nobody has seen the end of it. " * round(seconds / 4)


def is_audible(sound: Pcm16) -> bool:
    return bool(len(sound)) and int(np.abs(sound.astype(np.int32)).max()) > AUDIBLE


def alike(case: SynthesisCase, sound: Pcm16, other: Pcm16) -> bool:
    """Whether two sounds are the same clause said twice."""
    if case.repeatable:
        return np.array_equal(sound, other)
    return abs(len(sound) - len(other)) <= 0.02 * len(other)


async def test_it_says_what_it_can_do(case: SynthesisCase, engine: Synthesizer) -> None:
    assert 8_000 <= engine.rate <= 48_000
    assert engine.concurrency >= 1
    slowest, fastest = engine.capabilities.speeds
    assert 0 < slowest <= 1 <= fastest
    voices = engine.capabilities.voices
    assert len(set(voices)) == len(voices) >= 1


async def test_a_clause_is_spoken_in_chunks_that_can_be_heard(case: SynthesisCase, engine: Synthesizer) -> None:
    for text in case.texts:
        chunks = [chunk async for chunk in Mouth(engine).chunks(SpeechRequest(text))]
        assert all(len(chunk) for chunk in chunks)
        assert is_audible(np.concatenate(chunks))
        assert 0.2 < sum(map(len, chunks)) / engine.rate < 30


async def test_the_first_voice_is_the_one_that_speaks_when_none_is_named(
    case: SynthesisCase, engine: Synthesizer
) -> None:
    mouth, text = Mouth(engine), case.texts[0]
    assert alike(case, await mouth.say(text), await mouth.say(text, engine.capabilities.voices[0]))


async def test_every_voice_speaks(case: SynthesisCase, engine: Synthesizer) -> None:
    for voice in engine.capabilities.voices[: case.voices]:
        assert is_audible(await Mouth(engine).say(case.texts[0], voice)), voice


async def test_an_unknown_voice_fails_its_clause_only(case: SynthesisCase, engine: Synthesizer) -> None:
    mouth, text = Mouth(engine), case.texts[0]
    for voice in ("no such voice", "", "../../etc/passwd"):
        with driving.failing_if_at_all() if case.any_voice else driving.failing():
            await mouth.say(text, voice)
    assert is_audible(await mouth.say(text))


async def test_it_speaks_at_the_slowest_and_the_fastest_speed_and_beyond(
    case: SynthesisCase, engine: Synthesizer
) -> None:
    slowest, fastest = engine.capabilities.speeds
    mouth, text = Mouth(engine), case.texts[1]
    slow, normal, fast = [await mouth.say(text, speed=speed) for speed in (slowest, 1.0, fastest)]
    assert all(map(is_audible, (slow, normal, fast)))
    if case.heeds_speed:
        assert slowest == 1 or len(slow) > 1.05 * len(normal)
        assert fastest == 1 or len(fast) < 0.95 * len(normal)
    for speed in (slowest / 10, fastest * 10):
        with driving.failing_if_at_all():
            assert is_audible(await mouth.say(text, speed=speed))


async def test_text_without_words_is_no_error(case: SynthesisCase, engine: Synthesizer) -> None:
    for text in ("", " ", "\n\n", "...", "?!", "—", "()", "\u200b", "\x00", "\ud800"):
        with driving.failing_if_at_all():
            sound = await Mouth(engine).say(text)
            assert len(sound) < 10 * engine.rate, repr(text)
    assert is_audible(await Mouth(engine).say(case.texts[0]))


async def test_any_script_and_any_character_can_be_said(case: SynthesisCase, engine: Synthesizer) -> None:
    texts = (
        "👋🏽 Hello 🎉!",
        "Привет, мир.",
        "你好，世界。",
        "مرحبا بالعالم",
        "Grüße aus Zürich, señor!",
        "<speak>no <break time='9s'/> markup</speak>",
        "[[h@'loU]] and {braces}",
        "1234567890 3.14 € 12:30 a@b.example",
        "so\x00it\x1bis\x7f",
        "half of a pair \ud83d",
        "a" * 200,
    )
    for text in texts:
        with driving.failing_if_at_all():
            assert len(await Mouth(engine).say(text)) < 200 * engine.rate, text
    assert is_audible(await Mouth(engine).say(case.texts[0]))


async def test_clauses_said_at_once_are_what_each_is_alone(case: SynthesisCase, engine: Synthesizer) -> None:
    mouth = Mouth(engine)
    alone = [await mouth.say(text) for text in case.texts]
    together = await asyncio.gather(*(mouth.say(text) for text in case.texts))
    assert all(alike(case, one, other) for one, other in zip(together, alone, strict=True))
    voices = engine.capabilities.voices[:2]
    alone = [await mouth.say(case.texts[0], voice) for voice in voices]
    together = await asyncio.gather(*(mouth.say(case.texts[0], voice) for voice in voices))
    assert all(alike(case, one, other) for one, other in zip(together, alone, strict=True))


async def test_an_hour_of_speech_can_be_left_after_its_first_seconds(case: SynthesisCase, engine: Synthesizer) -> None:
    mouth = Mouth(engine)
    await mouth.say(case.texts[0])
    before, heard = memory(), 0
    cancel = CancelToken()
    with driving.failing_if_at_all():
        async with contextlib.aclosing(mouth.chunks(SpeechRequest(long_text(case.long_s)), cancel)) as chunks:
            async for chunk in chunks:
                heard += len(chunk)
                if heard > 3 * engine.rate:
                    break
    assert cancel.cancelled
    await end_of_threads("tts", PATIENCE_S)
    assert memory() - before < 300 * MEGABYTE
    assert is_audible(await mouth.say(case.texts[0]))


async def test_a_cancelled_clause_ends_at_any_moment(case: SynthesisCase, engine: Synthesizer) -> None:
    mouth, loop = Mouth(engine), asyncio.get_running_loop()
    text, whole = long_text(case.long_s), await mouth.say(case.texts[1])
    for moment_s in (0.0, 0.001, 0.005, 0.02, 0.1):
        cancel = CancelToken()
        loop.call_later(moment_s, cancel.cancel)
        with driving.failing_if_at_all():
            async with asyncio.timeout(PATIENCE_S):
                async for _ in mouth.chunks(SpeechRequest(text), cancel):
                    pass
        await end_of_threads("tts", PATIENCE_S)
        assert alike(case, await mouth.say(case.texts[1]), whole), "the next clause is whole"


async def test_hardly_anything_is_said_after_the_cancel(case: SynthesisCase, engine: Synthesizer) -> None:
    for after in (0, 1, 2):
        rest = await driving.run_out(engine.synthesize, SpeechRequest(" ".join(case.texts * 3)), after)
        assert len(rest) <= (after > 0), "a chunk that was under way, at most"


async def test_clauses_leave_nothing_behind(case: SynthesisCase, engine: Synthesizer) -> None:
    async def speak() -> None:  # one clause at a time: of several, each may keep a connection
        mouth = Mouth(engine)
        await mouth.say(case.texts[0])
        async with contextlib.aclosing(mouth.chunks(SpeechRequest(case.texts[0]))) as chunks:
            async for _ in chunks:
                break
        await mouth.say(case.texts[0])

    await speak()
    before = await settled(STAGE)
    await speak()
    await as_before(before)


async def test_a_closed_engine_says_so(case: SynthesisCase, load: Load) -> None:
    engine = load()
    await Mouth(engine).say(case.texts[0])
    engine.close()
    with driving.failing():
        await Mouth(engine).say(case.texts[0])
