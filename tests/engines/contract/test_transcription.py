"""What a transcriber has to do."""

import asyncio
from functools import partial

import numpy as np
import pytest

from pipeline.errors import StageError
from pipeline.stages import Transcriber
from pipeline.types import LISTENING_RATE, Pcm16, Transcript
from pipeline.workers import SerialWorker
from tests.engines.contract import driving, sounds
from tests.engines.contract.belongings import PATIENCE_S, as_before, memory, settled
from tests.engines.contract.case import Place, TranscriptionCase
from tests.engines.contract.conftest import Load
from tests.engines.contract.driving import Ear, listening
from tests.speech import silence, word_errors

STAGE = "transcription"

MEGABYTE = 1 << 20


@pytest.fixture
def spoken(case: TranscriptionCase, place: Place) -> list[tuple[str, Pcm16]]:
    """The sentences that the engine understands, with their sound."""
    return list(case.understands(place).items())


def words(text: str) -> str:
    """Returns a text without punctuation and capitals."""
    plain = "".join(each if each.isalnum() or each == "'" else " " for each in text.lower())
    return " ".join(plain.split())


def check(case: TranscriptionCase, sentence: str, heard: Transcript) -> None:
    assert word_errors(words(sentence), words(heard.text)) <= case.errors, heard.text


def check_times(transcript: Transcript, seconds: float) -> None:
    """Segments, and words in them, follow each other within the utterance."""
    last = 0.0
    for segment in transcript.segments:
        assert last <= segment.start <= segment.end <= seconds + 0.1, segment
        last = segment.end
        moment = segment.start
        for word in segment.words:
            assert moment - 0.05 <= word.start <= word.end <= segment.end + 0.05, segment
            assert word.log_probability is None or word.log_probability <= 0
            moment = word.end
        assert segment.log_probability is None or segment.log_probability <= 0
    assert all(token.log_probability <= 0 for token in transcript.token_log_probabilities)


# --- what is understood ---------------------------------------------------------------------------------------


async def test_sentences_are_understood(
    case: TranscriptionCase, engine: Transcriber, spoken: list[tuple[str, Pcm16]]
) -> None:
    for sentence, sound in spoken:
        with listening(engine) as ear:
            heard = await ear.hear(sound)
        check(case, sentence, heard)
        assert heard.tokens >= 0
        check_times(heard, len(sound) / LISTENING_RATE)


async def test_one_stream_hears_utterance_after_utterance(
    case: TranscriptionCase, engine: Transcriber, spoken: list[tuple[str, Pcm16]]
) -> None:
    with listening(engine) as ear:
        for sentence, sound in [*spoken[:2], spoken[0]]:
            check(case, sentence, await ear.hear(sound))


async def test_no_sound_is_an_empty_transcript(case: TranscriptionCase, engine: Transcriber) -> None:
    with listening(engine) as ear:
        assert (await ear.hypothesis()).text == ""
        assert (await ear.finish()).text == ""
        assert (await ear.finish()).text == ""
        await ear.discard()


async def test_sound_without_words_is_an_empty_transcript(case: TranscriptionCase, engine: Transcriber) -> None:
    for name, sound in sounds.wordless(1.5).items():
        with listening(engine) as ear:
            heard = await ear.hear(sound)
        assert case.deaf or name in case.mishears or heard.text == "", name
        check_times(heard, 1.5)


async def test_very_short_and_overdriven_sound_is_no_error(case: TranscriptionCase, engine: Transcriber) -> None:
    for sound in (np.ones(1, np.int16), silence(0.005), silence(0.05), sounds.overdriven(0.5)):
        with listening(engine) as ear:
            check_times(await ear.hear(sound), max(0.1, len(sound) / LISTENING_RATE))


async def test_the_cutting_of_the_sound_does_not_matter(
    case: TranscriptionCase, engine: Transcriber, spoken: list[tuple[str, Pcm16]]
) -> None:
    sentence, sound = spoken[0]
    with listening(engine) as ear:
        whole = await ear.hear(sound, chunk=len(sound))
        for chunk in (7, 16_000):
            assert words((await ear.hear(sound, chunk)).text) == words(whole.text), f"chunks of {chunk}"
        ear.feed(sound[:50], chunk=1)
        ear.feed(np.zeros(0, np.int16), chunk=1)
        check(case, sentence, await ear.hear(sound[50:]))


async def test_the_callers_sound_may_change_after_the_call(
    case: TranscriptionCase, engine: Transcriber, spoken: list[tuple[str, Pcm16]]
) -> None:
    sentence, sound = spoken[0]
    with listening(engine) as ear:

        def feed(chunk: Pcm16) -> None:
            buffer = chunk.copy()
            ear.stream.feed(buffer)
            buffer[:] = 0

        for start in range(0, len(sound), 3200):
            await asyncio.to_thread(feed, sound[start : start + 3200])
        check(case, sentence, await ear.finish())


async def test_streams_take_what_the_capabilities_name(
    case: TranscriptionCase, engine: Transcriber, spoken: list[tuple[str, Pcm16]]
) -> None:
    sentence, sound = spoken[0]
    able = engine.capabilities
    for language in {*sorted(able.languages)[:1], *({"en"} & able.languages), "xx-unknown"}:
        with driving.failing_if_at_all(), listening(engine, language=language) as ear:
            await ear.hear(sound[:LISTENING_RATE])
    if able.prompt:
        with listening(engine, prompt=sentence) as ear:
            check(case, sentence, await ear.hear(sound))
    if able.word_times:
        with listening(engine, word_times=True) as ear:
            heard = await ear.hear(sound)
        check(case, sentence, heard)
        check_times(heard, len(sound) / LISTENING_RATE)
        assert [word for segment in heard.segments for word in segment.words]
    if able.log_probabilities:
        with listening(engine) as ear:
            heard = await ear.hear(sound)
        assert heard.token_log_probabilities or any(s.log_probability is not None for s in heard.segments)


# --- hypotheses -----------------------------------------------------------------------------------------------


async def test_what_is_understood_in_a_pause_is_the_transcript_when_nothing_follows(
    case: TranscriptionCase, engine: Transcriber, spoken: list[tuple[str, Pcm16]]
) -> None:
    for sentence, sound in spoken:
        with listening(engine) as ear:
            ear.feed(sound)
            understood = await ear.pause()
            assert (await ear.pause()).text == understood.text
            assert (await ear.finish()).text == understood.text
        check(case, sentence, understood)


async def test_speech_goes_on_after_a_hypothesis(
    case: TranscriptionCase, engine: Transcriber, spoken: list[tuple[str, Pcm16]]
) -> None:
    sentence, sound = spoken[0]
    with listening(engine) as ear:
        for start in range(0, len(sound), len(sound) // 4):
            ear.feed(sound[start : start + len(sound) // 4])
            await ear.hypothesis()
        check(case, sentence, await ear.finish())
        check(case, spoken[1][0], await ear.hear(spoken[1][1]))


async def test_what_is_discarded_is_not_in_the_next_utterance(
    case: TranscriptionCase, engine: Transcriber, spoken: list[tuple[str, Pcm16]]
) -> None:
    (_, dropped), (sentence, sound) = spoken[:2]
    with listening(engine) as ear:
        await ear.discard()
        ear.feed(dropped)
        await ear.discard()
        assert (await ear.hypothesis()).text == ""
        ear.feed(dropped)
        await ear.hypothesis()
        await ear.discard()
        check(case, sentence, await ear.hear(sound))


# --- several sessions -----------------------------------------------------------------------------------------


async def test_two_sessions_at_once_hear_what_each_hears_alone(
    case: TranscriptionCase, engine: Transcriber, spoken: list[tuple[str, Pcm16]]
) -> None:
    async def hear(sound: Pcm16) -> list[str]:
        with listening(engine) as ear:
            for start in range(0, len(sound), 4800):
                ear.feed(sound[start : start + 4800])
                await ear.catch_up()
            return [(await ear.hypothesis()).text, (await ear.finish()).text]

    (_, one), (_, other) = spoken[:2]
    alone = [await hear(one), await hear(other)]
    assert [*await asyncio.gather(hear(one), hear(other))] == alone


# --- an hour --------------------------------------------------------------------------------------------------


async def test_an_hour_of_sound_is_heard_to_its_end(
    case: TranscriptionCase, engine: Transcriber, spoken: list[tuple[str, Pcm16]]
) -> None:
    room, sound = silence(10.0), spoken[0][1]
    with listening(engine) as ear:
        check(case, spoken[0][0], await ear.hear(sound))
        ear.feed(room[:LISTENING_RATE])
        await ear.hypothesis()
        before = memory()
        for _ in range(round(case.long_s / 20)):
            ear.feed(room, chunk=len(room))
            await ear.catch_up()
        ear.feed(sound)
        for _ in range(round(case.long_s / 20)):
            ear.feed(room, chunk=len(room))
            await ear.catch_up()
        heard = await ear.finish()
        # The samples themselves may be kept, as floats too.
        assert memory() - before < 100 * MEGABYTE + case.long_s * LISTENING_RATE * 6
        check_times(heard, 1 + case.long_s + len(sound) / LISTENING_RATE)
        assert case.forgets or spoken[0][0].split()[0] in words(heard.text)
        check(case, spoken[1][0], await ear.hear(spoken[1][1]))


# --- closing --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["feed", "hypothesis", "finish", "discard"])
async def test_closing_ends_a_call_at_any_moment(
    case: TranscriptionCase, engine: Transcriber, spoken: list[tuple[str, Pcm16]], call: str
) -> None:
    sentence, sound = spoken[0]
    before = await settled(STAGE)
    for moment_s in (0.0, 0.003, 0.03):
        stream, worker = engine.open(), SerialWorker("transcription")
        calls = [worker.post(partial(stream.feed, sound))]
        if call != "feed":
            calls.append(worker.post(getattr(stream, call)))
        await asyncio.sleep(moment_s)  # the moment that is tried
        stream.close()
        for outcome in await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), PATIENCE_S):
            if isinstance(outcome, BaseException):
                assert isinstance(outcome, StageError)
                driving.check_deliberate(outcome)
        worker.abandon()
        stream.close()
    await as_before(before)
    with listening(engine) as ear:
        check(case, sentence, await ear.hear(sound))


async def test_a_closed_stream_refuses_everything(
    case: TranscriptionCase, engine: Transcriber, spoken: list[tuple[str, Pcm16]]
) -> None:
    for used in (False, True):
        stream = engine.open()
        if used:
            await asyncio.to_thread(stream.feed, spoken[0][1])
        stream.close()
        for call in (partial(stream.feed, spoken[0][1]), stream.hypothesis, stream.finish):
            with driving.failing():
                await asyncio.to_thread(call)
        with driving.failing_if_at_all():
            stream.discard()
        stream.close()


async def test_utterances_leave_nothing_behind(
    case: TranscriptionCase, engine: Transcriber, spoken: list[tuple[str, Pcm16]]
) -> None:
    with listening(engine) as ear:
        await ear.hear(spoken[0][1])
    before = await settled(STAGE)
    for ending in (Ear.finish, Ear.discard, Ear.hypothesis):
        with listening(engine) as ear:
            ear.feed(spoken[0][1])
            await ending(ear)
    await as_before(before)


async def test_a_closed_engine_says_so(case: TranscriptionCase, load: Load, spoken: list[tuple[str, Pcm16]]) -> None:
    engine = load()
    ear = Ear(engine)
    check(case, spoken[0][0], await ear.hear(spoken[0][1]))
    engine.close()
    with driving.failing():
        await ear.hear(spoken[0][1])
    with driving.failing(), listening(engine) as late:
        await late.hear(spoken[0][1])
    ear.close()
