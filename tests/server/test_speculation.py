"""Replies that are held, in sessions that share their engines: begun where there is room, and in nobody's way."""

from dataclasses import replace
from typing import Any

from pipeline.line import Line
from tests.fakes import FakeEars, FakeModel, FakeVoice, Gate, fake_line, pause_judge
from tests.server.test_session import Client, connect, silence, voice
from tests.threads import until


def single(**settings: Any) -> FakeModel:
    """A model that makes one reply at a time."""
    model = FakeModel(**settings)
    model.capabilities = replace(model.capabilities, concurrency=1)
    return model


def say_and_pause(client: Client) -> None:
    client.say(silence(300), voice(300), silence(200))


def go_on_being_silent(client: Client) -> None:
    client.say(silence(500))


def committed(line: Line, stage: str) -> Gate:
    """Has the engine of a stage wait in the middle of what it does."""
    gate = Gate()
    engine: Any = getattr(line, stage)
    engine.hook = lambda step, cancel: gate.wait(cancel)
    return gate


def stop_waiting(line: Line, stage: str) -> None:
    engine: Any = getattr(line, stage)
    engine.hook = lambda step, cancel: None


async def test_no_reply_is_held_while_the_model_is_busy_with_replies_that_are_waited_for() -> None:
    model = single()
    line = fake_line(llm=model)
    async with connect(line) as busy, connect(line) as client:
        gate = committed(line, "llm")
        busy.ask("first")
        await until(gate.reached.is_set)
        say_and_pause(client)
        await until(lambda: len(line.llm_slots._waiting) == 1 and line.llm_slots._waiting[0].holder.is_held)
        assert len(model.requests) == 1
        stop_waiting(line, "llm")
        gate.open()
        await until(lambda: len(model.requests) == 2)  # there is room, and the pause goes on
        assert not client.of("response.created")
        go_on_being_silent(client)
        await client.wait_for("response.done")
        await busy.wait_for("response.done")
        assert len(model.requests) == 2


async def test_a_reply_that_never_got_to_be_held_is_made_when_the_turn_is_over() -> None:
    model = single()
    line = fake_line(llm=model)
    async with connect(line) as busy, connect(line) as client:
        gate = committed(line, "llm")
        busy.ask("first")
        await until(gate.reached.is_set)
        say_and_pause(client)
        go_on_being_silent(client)
        await client.wait_for("response.created")
        stop_waiting(line, "llm")
        gate.open()
        done = await client.wait_for("response.done")
        assert done["response"]["status"] == "completed"
        assert [request.prompt.messages[-1].text for request in model.requests] == ["first", "hello there"]


async def test_a_reply_that_never_got_to_be_held_is_forgotten_when_the_user_goes_on() -> None:
    model = single()
    line = fake_line(llm=model)
    async with connect(line) as busy, connect(line) as client:
        gate = committed(line, "llm")
        busy.ask("first")
        await until(gate.reached.is_set)
        say_and_pause(client)
        await until(lambda: line.llm_slots._waiting)
        client.say(voice(300))
        await until(lambda: not line.llm_slots._waiting)
        gate.open()
        await busy.wait_for("response.done")
        assert len(model.requests) == 1


async def test_a_held_reply_gives_its_place_with_the_model_to_one_that_is_waited_for() -> None:
    model = single()
    line = fake_line(llm=model)
    async with connect(line) as client, connect(line) as other:
        gate = committed(line, "llm")
        say_and_pause(client)
        await until(gate.reached.is_set)
        stop_waiting(line, "llm")
        other.ask("mine")
        done = await other.wait_for("response.done")
        assert done["response"]["status"] == "completed"
        assert model.tokens[0].cancelled
        assert not client.of("response.created")
        go_on_being_silent(client)
        done = await client.wait_for("response.done")
        assert done["response"]["status"] == "completed"
        asked = [request.prompt.messages[-1].text for request in model.requests]
        assert asked == ["hello there", "mine", "hello there"]


async def test_a_held_reply_gives_way_within_its_own_session_too() -> None:
    model = single()
    line = fake_line(llm=model)
    async with connect(line) as client:
        gate = committed(line, "llm")
        say_and_pause(client)
        await until(gate.reached.is_set)
        stop_waiting(line, "llm")
        client.send(type="response.create", response={"conversation": "none"})
        await client.wait_for("response.done")
        go_on_being_silent(client)
        await client.wait_for("response.done", 2)


async def test_a_held_reply_gives_its_place_with_the_synthesizer_to_one_that_is_waited_for() -> None:
    line = fake_line(tts=FakeVoice(concurrency=1))
    async with connect(line) as client, connect(line) as other:
        gate = committed(line, "tts")
        say_and_pause(client)
        await until(gate.reached.is_set)
        stop_waiting(line, "tts")
        other.ask("mine")
        await other.wait_for("response.done")
        assert not client.of("response.created")
        go_on_being_silent(client)
        done = await client.wait_for("response.done")
        assert done["response"]["status"] == "completed"


async def test_no_reply_is_held_while_the_synthesizer_is_busy() -> None:
    model = FakeModel()
    line = fake_line(llm=model, tts=FakeVoice(concurrency=1))
    async with connect(line) as busy, connect(line) as client:
        gate = committed(line, "tts")
        busy.ask("first")
        await until(gate.reached.is_set)
        say_and_pause(client)
        await until(lambda: line.tts_slots._waiting)
        assert len(model.requests) == 1
        stop_waiting(line, "tts")
        gate.open()
        go_on_being_silent(client)
        await client.wait_for("response.done")


async def test_a_busy_transcriber_is_not_asked_for_what_only_a_held_reply_needs() -> None:
    ears, model = FakeEars(), FakeModel()
    ears.capabilities = replace(ears.capabilities, concurrency=1)
    line = fake_line(transcription=ears, llm=model)
    async with connect(line) as busy, connect(line) as client:
        gate = committed(line, "transcription")
        ears.hook = lambda step, cancel: gate.wait(cancel) if step == "finish" else None
        busy.configure(audio={"input": {"turn_detection": None}})
        busy.say(voice(300))
        busy.send(type="input_audio_buffer.commit")
        await until(gate.reached.is_set)
        say_and_pause(client)
        await client.wait_for("input_audio_buffer.speech_started")
        ears.hook = lambda step, cancel: None
        go_on_being_silent(client)
        await client.wait_for("response.done")
        assert not any("hypothesis" in stream.calls for stream in ears.streams)
        assert len(model.requests) == 1
        gate.open()


async def test_a_detector_that_reads_is_told_the_words_however_busy_the_transcriber_is() -> None:
    ears = FakeEars()
    ears.capabilities = replace(ears.capabilities, concurrency=1)
    line = fake_line(transcription=ears, endpointing=pause_judge(reads=frozenset({"words"})))
    async with connect(line) as client:
        give_back = line.transcription_slots.count()
        say_and_pause(client)
        await until(lambda: any("hypothesis" in stream.calls for stream in ears.streams))
        go_on_being_silent(client)
        await client.wait_for("response.done")
        give_back()


async def test_the_model_is_told_what_the_prompt_begins_with_while_the_user_speaks() -> None:
    ears, model = FakeEars(), FakeModel()
    ears.capabilities = replace(ears.capabilities, partial_s=0.3)
    async with connect(fake_line(llm=model, transcription=ears)) as client:
        client.configure(instructions="Be kind.")
        client.say(silence(300))
        client.say(voice(500))
        await until(lambda: ears.streams and "hypothesis" in ears.streams[0].calls)
        client.say(voice(500))
        await until(lambda: model.told[-1].prompt.messages[-1].text == "hello")  # hypotheses agree, but for the last
        client.say(silence(700))
        await client.wait_for("response.done")
    texts = [[message.text for message in request.prompt.messages] for request in model.told]
    assert texts[1:] == [["Be kind."], ["Be kind."], ["Be kind.", "hello"]], "set, spoken to, understood"
    (request,) = model.requests
    assert replace(model.told[-1], prompt=request.prompt) == request


async def test_nothing_a_reply_needs_is_left_when_the_session_ends_while_it_waits_for_room() -> None:
    line = fake_line(llm=single())
    async with connect(line) as busy:
        gate = committed(line, "llm")
        busy.ask("first")
        await until(gate.reached.is_set)
        async with connect(line) as client:
            say_and_pause(client)
            await until(lambda: line.llm_slots._waiting)
        assert not line.llm_slots._waiting
        gate.open()
        await busy.wait_for("response.done")
    assert not line.llm_slots.is_full
