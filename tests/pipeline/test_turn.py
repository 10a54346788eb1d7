"""A turn: what the model says comes out as clauses and their sound, and ends at once when it is cancelled."""

import asyncio
import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import workers
from pipeline.audio import StreamResampler
from pipeline.line import Line
from pipeline.turn import MAX_CHUNK, run_turn
from pipeline.types import (
    Generated,
    Message,
    NamedTool,
    Prompt,
    RunId,
    SpeechRequest,
    Tool,
    ToolCallDelta,
    TurnAudio,
    TurnCall,
    TurnClause,
    TurnEvent,
    TurnFailed,
    TurnFinished,
    TurnRequest,
    TurnText,
)
from pipeline.workers import CancelToken
from tests.fakes import FakeModel, FakeVoice, Gate, fake_line
from tests.threads import end_of_threads, parley_threads, until

RUN = RunId(7, 2)
PROMPT = Prompt((Message("system", "Be brief."), Message("user", "hello")))
SPEAK = TurnRequest(RUN, PROMPT, "audio", voice="two", speed=1.25, max_tokens=99)
WRITE = TurnRequest(RUN, PROMPT, "text")

REPLY = ["Good ", "morning. How did you", " sleep?", " I hope you slept ", "well."]


async def run(line: Line, request: TurnRequest = SPEAK) -> list[TurnEvent]:
    """Runs a turn to its end; every event must carry its run."""
    async with asyncio.timeout(20):
        events = [event async for event in run_turn(line, line.llm.open(), request)]
    assert all(event.run == RUN for event in events)
    return events


def of(kind: type, events: list[TurnEvent]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def words(events: list[TurnEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TurnClause | TurnText))


# --- what comes out --------------------------------------------------------------------------------------------


async def test_a_spoken_reply_is_clauses_in_order_each_followed_by_its_sound() -> None:
    voice = FakeVoice(chunks=2)
    events = await run(fake_line(llm=FakeModel(REPLY), tts=voice))
    assert words(events) == "".join(REPLY)
    clauses = of(TurnClause, events)
    assert len(clauses) == 3
    assert [request.text for request in voice.requests] == [clause.text.strip() for clause in clauses]
    assert [type(event) for event in events] == [TurnClause, TurnAudio, TurnAudio] * 3 + [TurnFinished]


async def test_without_clause_streaming_a_reply_is_said_in_one_go_when_it_is_whole() -> None:
    voice = FakeVoice(chunks=2)
    events = await run(fake_line(llm=FakeModel(REPLY), tts=voice, clause_streaming=False))
    assert [request.text for request in voice.requests] == ["".join(REPLY)]
    assert [type(event) for event in events] == [TurnClause, TurnAudio, TurnAudio, TurnFinished]
    assert words(events) == "".join(REPLY)


async def test_without_clause_streaming_what_comes_before_a_call_is_said_before_it() -> None:
    reply = ["I look. ", "One moment. ", ToolCallDelta(0, "look", "{}"), "Done. ", "Bye."]
    voice = FakeVoice(chunks=1)
    request = replace(SPEAK, prompt=replace(PROMPT, tools=(Tool("look", ""),)))
    events = await run(fake_line(llm=FakeModel(reply), tts=voice, clause_streaming=False), request)
    assert [request.text for request in voice.requests] == ["I look. One moment.", "Done. Bye."]
    assert [type(event) for event in events if not isinstance(event, TurnAudio)] == [
        TurnClause,
        TurnCall,
        TurnClause,
        TurnFinished,
    ]


async def test_the_end_says_why_and_what_it_cost() -> None:
    generated = Generated("max_tokens", input_tokens=3, output_tokens=4, cached_tokens=1)
    for request in (SPEAK, WRITE):
        events = await run(fake_line(llm=FakeModel(["Hello. "], generated=generated)), request)
        assert events[-1] == TurnFinished(RUN, generated)
        assert len(of(TurnFinished, events)) == 1


async def test_engines_are_asked_for_what_the_request_says() -> None:
    model, voice = FakeModel(["Hello. "]), FakeVoice()
    await run(fake_line(llm=model, tts=voice))
    assert (model.requests[0].prompt, model.requests[0].max_tokens) == (PROMPT, 99)
    assert voice.requests == [SpeechRequest("Hello.", voice="two", speed=1.25)]


@given(text=st.text(alphabet="ab .,!?\n*🙂(1", max_size=120), cuts=st.lists(st.integers(0, 120), max_size=10))
@settings(max_examples=25, deadline=None)
def test_clauses_joined_are_the_reply_to_the_character(text: str, cuts: list[int]) -> None:
    marks = [0, *sorted(cuts), len(text)]
    deltas = [text[start:end] for start, end in itertools.pairwise(marks)]
    line = fake_line(llm=FakeModel(deltas), tts=FakeVoice(chunks=1, samples=10))
    events = asyncio.run(run(line))
    assert words(events) == (text if text.strip() else "")
    assert isinstance(events[-1], TurnFinished)


async def test_what_cannot_be_said_is_shown_without_sound() -> None:
    voice = FakeVoice(chunks=1)
    events = await run(fake_line(llm=FakeModel(["Well done!\n", "🙂🙂\n", "Next."]), tts=voice))
    assert words(events) == "Well done!\n🙂🙂\nNext."
    assert [request.text for request in voice.requests] == ["Well done!", "Next."]


async def test_a_reply_in_writing_is_passed_on_as_it_comes_and_never_spoken() -> None:
    voice = FakeVoice()
    events = await run(fake_line(llm=FakeModel(REPLY), tts=voice), WRITE)
    assert [event.text for event in of(TurnText, events)] == REPLY
    assert isinstance(events[-1], TurnFinished)
    assert len(events) == len(REPLY) + 1
    assert not voice.requests


DOOR = Prompt(PROMPT.messages, tools=(Tool("open_door"),))
CALL = [ToolCallDelta(0, "open_door", '{"door":'), ToolCallDelta(0, "", "1}")]


@pytest.mark.parametrize("request_", [SPEAK, WRITE], ids=["audio", "text"])
async def test_a_call_of_a_tool_that_the_model_was_not_given_is_neither_made_nor_spoken(request_: TurnRequest) -> None:
    voice = FakeVoice()
    events = await run(fake_line(llm=FakeModel(["Let me see. ", *CALL, "Done."]), tts=voice), request_)
    assert words(events) == "Let me see. Done."
    assert not of(TurnCall, events)
    assert not any("door" in request.text for request in voice.requests)


@pytest.mark.parametrize("request_", [SPEAK, WRITE], ids=["audio", "text"])
async def test_a_call_comes_between_the_words_before_and_after_it(request_: TurnRequest) -> None:
    voice = FakeVoice(rate=22_050)
    outputs = ["Let me see", ToolCallDelta(0, "close_door", "{}"), ToolCallDelta(1, "open_door", "{"), "Done."]
    outputs.insert(3, ToolCallDelta(1, "", "}"))
    events = await run(fake_line(llm=FakeModel(outputs), tts=voice), replace(request_, prompt=DOOR))
    assert of(TurnCall, events) == [TurnCall(RUN, 0, "open_door", "{"), TurnCall(RUN, 0, "", "}")]
    kinds = [type(event) for event in events]
    first = kinds.index(TurnCall)
    assert words(events[:first]) == "Let me see"
    assert words(events[first:]) == "Done."
    if request_ is SPEAK:
        before = sum(len(event.samples) for event in of(TurnAudio, events[:first]))
        after = sum(len(event.samples) for event in of(TurnAudio, events[first:]))
        assert abs(before - after) <= 1, "each has the whole of its own sound"


async def test_the_model_is_told_how_to_choose_among_its_tools() -> None:
    model = FakeModel(CALL)
    choice = NamedTool("open_door")
    await run(fake_line(llm=model), replace(WRITE, prompt=DOOR, tool_choice=choice, parallel_tool_calls=False))
    (request,) = model.requests
    assert (request.prompt, request.tool_choice, request.parallel_tool_calls) == (DOOR, choice, False)


async def test_an_empty_reply_is_finished_without_sound() -> None:
    events = await run(fake_line(llm=FakeModel([]), tts=FakeVoice(rate=22_050)))
    assert [type(event) for event in events] == [TurnFinished]


async def test_pieces_of_sound_are_short() -> None:
    events = await run(fake_line(llm=FakeModel(["Hello. "]), tts=FakeVoice(chunks=1, samples=3 * MAX_CHUNK + 1)))
    lengths = [len(event.samples) for event in of(TurnAudio, events)]
    assert lengths == [MAX_CHUNK] * 3 + [1]


async def test_clauses_join_without_a_seam() -> None:
    """A tone that goes on through chunks and clauses comes out as if it had been resampled in one go."""
    tone = (10_000 * np.sin(np.arange(44_100) * 2 * np.pi * 300 / 22_050)).astype(np.int16)
    parts = iter(np.split(tone, [5_000, 12_345, 20_000, 33_333, 40_000]))

    class Singer(FakeVoice):
        def synthesize(self, request: SpeechRequest, cancel: CancelToken) -> Iterator[Any]:
            yield next(parts)
            yield next(parts)

    events = await run(fake_line(llm=FakeModel(REPLY), tts=Singer(rate=22_050)))
    sound = np.concatenate([event.samples for event in of(TurnAudio, events)])
    resampler = StreamResampler(22_050, 24_000)
    expected = np.concatenate([resampler.process(tone), resampler.flush()])
    assert np.array_equal(sound, expected)


# --- when it comes out -----------------------------------------------------------------------------------------


async def test_the_first_clause_is_heard_before_the_reply_is_finished() -> None:
    gate = Gate()
    model = FakeModel(["Good morning. ", "How are", " you?"], hook=lambda i, c: gate.wait(c) if i == 2 else None)
    line = fake_line(llm=model)
    async with asyncio.timeout(10), contextlib.aclosing(run_turn(line, line.llm.open(), SPEAK)) as events:
        seen = [await anext(events) for _ in range(3)]
        assert [type(event) for event in seen] == [TurnClause, TurnAudio, TurnAudio]
        assert model.running == 1
        gate.open()
        rest = [event async for event in events]
    assert words([*seen, *rest]) == "Good morning. How are you?"


async def test_the_first_sound_of_a_clause_is_heard_before_the_clause_is_finished() -> None:
    gate = Gate()
    voice = FakeVoice(chunks=3, hook=lambda step, c: gate.wait(c) if step[1] == 1 else None)
    line = fake_line(llm=FakeModel(["Good morning. "]), tts=voice)
    async with asyncio.timeout(10), contextlib.aclosing(run_turn(line, line.llm.open(), SPEAK)) as events:
        assert isinstance(await anext(events), TurnClause)
        assert isinstance(await anext(events), TurnAudio)
        gate.open()


async def test_only_one_clause_is_made_ahead_of_the_reader() -> None:
    voice = FakeVoice()
    line = fake_line(llm=FakeModel([f"Sentence number {n} is here. " for n in range(20)]), tts=voice)
    async with contextlib.aclosing(run_turn(line, line.llm.open(), SPEAK)) as events:
        await anext(events)
        await anext(events)
        await asyncio.sleep(0.05)
        assert len(voice.requests) == 1


# --- cancelling ------------------------------------------------------------------------------------------------


def slow(step: object, cancel: CancelToken) -> None:
    time.sleep(0.002)


async def nothing_is_left(model: FakeModel, voice: FakeVoice, tasks: set["asyncio.Task[Any]"]) -> None:
    assert model.running == voice.running == 0
    assert all(token.cancelled for token in [*model.tokens, *voice.tokens])
    await end_of_threads(within=0.2)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == tasks


@pytest.mark.parametrize("modality", ["audio", "text"])
@pytest.mark.parametrize("after", [1, 2, 3, 5, 8, 12])
async def test_closing_after_any_event_ends_every_stage(after: int, modality: str) -> None:
    tasks = asyncio.all_tasks()
    model = FakeModel(["Yes, I do know that. "] * 40, hook=slow)
    voice = FakeVoice(chunks=4, hook=slow)
    line = fake_line(llm=model, tts=voice)
    events = run_turn(line, line.llm.open(), SPEAK if modality == "audio" else WRITE)
    for _ in range(after):
        await anext(events)
    async with asyncio.timeout(2):
        await events.aclose()
    assert model.running == voice.running == 0, "every stage has let go when aclose returns"
    await nothing_is_left(model, voice, tasks)


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("ms", [0, 1, 3, 7, 15, 40])
async def test_cancelling_at_any_moment_ends_every_stage(ms: int, times: int) -> None:
    tasks = asyncio.all_tasks()
    model = FakeModel(["Yes, I do know that. "] * 200, hook=slow)
    voice = FakeVoice(chunks=4, hook=slow)
    line = fake_line(llm=model, tts=voice)

    async def make() -> None:
        async with contextlib.aclosing(run_turn(line, line.llm.open(), SPEAK)) as events:
            async for _ in events:
                pass

    making = asyncio.create_task(make())
    await asyncio.sleep(ms / 1000)
    for _ in range(times):
        making.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(2):
            await making
    await nothing_is_left(model, voice, tasks)


async def test_cancelling_while_engines_block_ends_them_through_their_tokens() -> None:
    tasks = asyncio.all_tasks()
    in_llm, in_tts = Gate(), Gate()
    model = FakeModel(["Good morning. ", "How are you?"], hook=lambda i, c: in_llm.wait(c) if i == 1 else None)
    voice = FakeVoice(hook=lambda step, c: in_tts.wait(c))
    line = fake_line(llm=model, tts=voice)
    events = run_turn(line, line.llm.open(), SPEAK)
    assert isinstance(await anext(events), TurnClause)
    reading = asyncio.ensure_future(anext(events))
    await until(lambda: in_llm.reached.is_set() and in_tts.reached.is_set())
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(2):
            await reading
    await events.aclose()
    await nothing_is_left(model, voice, tasks)


# --- failures --------------------------------------------------------------------------------------------------


def raise_at(where: object) -> Callable[[Any, CancelToken], None]:
    def hook(step: Any, cancel: CancelToken) -> None:
        if step == where:
            raise RuntimeError("as it was told to")

    return hook


@pytest.mark.parametrize("modality", ["audio", "text"])
@pytest.mark.parametrize("where", [0, 1, 4])
async def test_a_model_that_raises_fails_the_turn(where: int, modality: str) -> None:
    line = fake_line(llm=FakeModel(REPLY, hook=raise_at(where)))
    events = await run(line, SPEAK if modality == "audio" else WRITE)
    assert isinstance(events[-1], TurnFailed)
    assert events[-1].code == "llm_failed"
    assert "as it was told to" in events[-1].problem
    assert not of(TurnFinished, events)
    assert "".join(REPLY).startswith(words(events))


async def test_a_voice_that_raises_fails_the_turn() -> None:
    line = fake_line(llm=FakeModel(REPLY), tts=FakeVoice(hook=raise_at(("How did you sleep?", 1))))
    events = await run(line)
    assert isinstance(events[-1], TurnFailed)
    assert events[-1].code == "tts_failed"
    assert words(events) == "Good morning. How did you sleep? "
    await end_of_threads(within=0.5)


@pytest.mark.parametrize("stage", ["llm", "tts"])
async def test_a_stage_that_hangs_fails_the_turn(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "JOIN_S", 0.1)
    stuck = threading.Event()

    def hang(step: Any, cancel: CancelToken) -> None:
        stuck.wait(10)

    model = FakeModel(REPLY, hook=hang) if stage == "llm" else FakeModel(REPLY)
    line = fake_line(llm=model, tts=FakeVoice(hook=hang), timeout=0.1)
    events = await run(line)
    assert isinstance(events[-1], TurnFailed)
    assert events[-1].code == f"{stage}_timeout"
    assert parley_threads(stage)
    stuck.set()
    await end_of_threads()


@pytest.mark.parametrize("request_", [SPEAK, WRITE], ids=["audio", "text"])
async def test_a_model_that_ends_without_saying_why_fails_the_turn(request_: TurnRequest) -> None:
    events = await run(fake_line(llm=FakeModel(["Hello. "], generated=None)), request_)
    assert isinstance(events[-1], TurnFailed)
    assert events[-1].code == "llm_failed"


@pytest.mark.parametrize("request_", [SPEAK, WRITE], ids=["audio", "text"])
async def test_a_fault_of_the_pipeline_itself_fails_the_turn_too(
    request_: TurnRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr("pipeline.turn.ClauseSplitter.feed", broken)
    monkeypatch.setattr("pipeline.turn.TurnText", broken)
    began = time.monotonic()
    events = await run(fake_line(llm=FakeModel(REPLY)), request_)
    assert isinstance(events[-1], TurnFailed)
    assert events[-1].code == "internal_error"
    assert time.monotonic() - began < 1, "it must not wait for what never comes"
    await end_of_threads(within=0.5)
