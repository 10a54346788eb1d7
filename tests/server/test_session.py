"""A session in-process, without a network: what it starts ends with it, and what goes wrong does not end it."""

import asyncio
import base64
import contextlib
import dataclasses
import json
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from pipeline import workers
from pipeline.line import Line
from pipeline.types import WIRE_RATE, Pcm16
from pipeline.workers import CancelToken
from server import outbound as outbound_limits
from server.outbound import SlowClient
from server.profile import endpointing_reads
from server.realtime.machine import Machine
from server.runs import HELD_SAMPLES
from server.session import Session
from server.voice import VoiceHub
from server.wire import ga
from tests.fakes import FakeDetector, FakeEars, FakeModel, FakePauseJudge, FakeVoice, Gate, fake_line, pause_judge
from tests.machine.world import PROFILE
from tests.threads import end_of_threads, parley_threads, until
from tests.wire_checker import WireChecker

FRAME = 480
"""Samples in 20 ms."""

SENTENCES = [f"This is sentence number {number}. " for number in range(200)]


def voice(ms: int) -> Pcm16:
    return np.full(24 * ms, 10_000, np.int16)


def silence(ms: int) -> Pcm16:
    return np.zeros(24 * ms, np.int16)


class Client:
    """A client and its session. `reads` can be cleared: then nothing more is read of what the session sends."""

    def __init__(self, line: Line, *, timings: bool = False) -> None:
        self.line = line
        self.hub = VoiceHub(line.vad, 10.0)
        profile = dataclasses.replace(
            PROFILE,
            endpointing_reads=endpointing_reads(line),
            semantic_by_default=bool(line.endpointing.reads),
            prefills=line.llm.capabilities.prefills,
        )
        self.session = Session(line, self.hub, profile, ga, "fake", timings=timings)
        self.wire = WireChecker()
        self.reads = asyncio.Event()
        self.reads.set()
        self._frames: asyncio.Queue[str | bytes | None] = asyncio.Queue()
        self.reader = asyncio.create_task(self._read())
        self.running = asyncio.create_task(self.session.run(self._to_session()))

    async def _to_session(self) -> AsyncIterator[str | bytes]:
        while (frame := await self._frames.get()) is not None:
            yield frame

    async def _read(self) -> None:
        while True:
            frame = await self.session.outbound.get()
            await self.reads.wait()
            event = json.loads(frame)
            self.wire.see(event)
            self.session.outbound.sent(frame)

    def send(self, **event: Any) -> None:
        self._frames.put_nowait(json.dumps(event))

    def send_frame(self, frame: str | bytes) -> None:
        self._frames.put_nowait(frame)

    def say(self, *sounds: Pcm16, frame: int = FRAME) -> None:
        """Sends sound in frames of 20 ms, as fast as it goes."""
        sound = np.concatenate(sounds)
        for start in range(0, len(sound), frame):
            audio = base64.b64encode(sound[start : start + frame].tobytes()).decode()
            self.send(type="input_audio_buffer.append", audio=audio)

    def ask(self, text: str = "hello") -> None:
        """Asks in writing."""
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
        self.send(type="conversation.item.create", item=item)
        self.send(type="response.create")

    def configure(self, **session: Any) -> None:
        self.send(type="session.update", session={"type": "realtime", **session})

    def of(self, kind: str) -> list[dict[str, Any]]:
        return self.wire.of_type(kind)

    async def wait_for(self, kind: str, count: int = 1) -> dict[str, Any]:
        """Returns the `count`th event of a kind, waiting for it to come."""
        with contextlib.suppress(AssertionError):
            await until(lambda: len(self.of(kind)) >= count or self.reader.done())
        if self.reader.done():
            self.reader.result()
        came = [event["type"] for event in self.wire.events]
        assert len(self.of(kind)) >= count, f"no {kind} #{count}; came: {came[-20:]}"
        return self.of(kind)[count - 1]

    def hang_up(self) -> None:
        self._frames.put_nowait(None)

    async def end(self) -> None:
        """Hangs up, and waits until the session is over."""
        self.hang_up()
        await self.over()

    async def over(self) -> None:
        async with asyncio.timeout(5):
            await asyncio.wait((self.running,))

    async def close(self) -> None:
        if not self.running.done():
            await self.end()
        self.reader.cancel()
        await asyncio.wait((self.reader,))
        self.hub.close()
        if not self.reader.cancelled():
            self.reader.result()
        self.running.result()


@contextlib.asynccontextmanager
async def connect(line: Line, *, timings: bool = False) -> AsyncIterator[Client]:
    client = Client(line, timings=timings)
    try:
        await client.wait_for("session.created")
        yield client
    except BaseException:
        client.running.cancel()
        client.reader.cancel()
        client.hub.close()
        raise
    await client.close()


def slow(step: object, cancel: CancelToken) -> None:
    time.sleep(0.002)


# --- a turn ----------------------------------------------------------------------------------------------------


async def test_a_spoken_question_is_answered() -> None:
    ears = FakeEars(hear=lambda sound: f"{len(sound) // 1600} tenths")
    model = FakeModel(["Good morning. ", "How are you?"])
    async with connect(fake_line(llm=model, transcription=ears)) as client:
        client.say(silence(1_000), voice(500), silence(700))
        done = await client.wait_for("response.done")
        assert done["response"]["status"] == "completed"
        (transcribed,) = client.of("conversation.item.input_audio_transcription.completed")
        tenths = int(transcribed["transcript"].split()[0])
        assert 8 <= tenths <= 9, "300 ms of padding, 500 of voice, 64 of silence"
        assert model.requests[-1].prompt.messages[-1].text == transcribed["transcript"]
        (spoken,) = client.of("response.output_audio_transcript.done")
        assert spoken["transcript"] == "Good morning. How are you?"
        sound = b"".join(base64.b64decode(event["delta"]) for event in client.of("response.output_audio.delta"))
        assert len(sound) == 2 * 4 * 2_400


async def test_a_reply_is_made_once_when_the_hypothesis_was_right() -> None:
    model = FakeModel()
    async with connect(fake_line(llm=model)) as client:
        client.say(silence(500), voice(500), silence(700))
        await client.wait_for("response.done")
        assert len(model.requests) == 1


async def test_speaking_over_a_reply_ends_it_at_once() -> None:
    model, mouth = FakeModel(SENTENCES, hook=slow), FakeVoice(hook=slow)
    async with connect(fake_line(llm=model, tts=mouth)) as client:
        client.ask()
        await client.wait_for("response.output_audio.delta", 3)
        client.say(voice(300))
        done = await client.wait_for("response.done")
        assert done["response"]["status_details"]["reason"] == "turn_detected"
        await until(lambda: model.running == mouth.running == 0)


# --- sound of items --------------------------------------------------------------------------------------------


def retrieved_sound(event: dict[str, Any]) -> Pcm16:
    return np.frombuffer(base64.b64decode(event["item"]["content"][0]["audio"]), "<i2")


async def test_the_sound_of_what_was_said_can_be_had_back() -> None:
    async with connect(fake_line()) as client:
        client.say(silence(1_000), voice(500), silence(700))
        await client.wait_for("response.done")
        (committed,) = client.of("input_audio_buffer.committed")
        (started,) = client.of("input_audio_buffer.speech_started")
        (stopped,) = client.of("input_audio_buffer.speech_stopped")
        client.send(type="conversation.item.retrieve", item_id=committed["item_id"])
        sound = retrieved_sound(await client.wait_for("conversation.item.retrieved"))
        assert len(sound) == 24 * (stopped["audio_end_ms"] - started["audio_start_ms"])
        assert np.count_nonzero(sound == 10_000) == 24 * 500
        client.send(type="conversation.item.delete", item_id=committed["item_id"])
        await client.wait_for("conversation.item.deleted")
        assert client.session._keepsakes.kept == 0


async def test_sound_in_an_item_is_understood_answered_and_had_back() -> None:
    ears = FakeEars(hear=lambda sound: f"{len(sound) // 1600} tenths")
    model = FakeModel()
    async with connect(fake_line(llm=model, transcription=ears)) as client:
        audio = base64.b64encode(voice(700).tobytes()).decode()
        content = [{"type": "input_audio", "audio": audio}]
        client.send(type="conversation.item.create", item={"type": "message", "role": "user", "content": content})
        client.send(type="response.create")
        await client.wait_for("response.done")
        (completed,) = client.of("conversation.item.input_audio_transcription.completed")
        assert completed["transcript"] == "7 tenths"
        assert model.requests[-1].prompt.messages[-1].text == "7 tenths"
        client.send(type="conversation.item.retrieve", item_id=completed["item_id"])
        sound = retrieved_sound(await client.wait_for("conversation.item.retrieved"))
        assert np.array_equal(sound, voice(700))


# --- the end: nothing is left (invariant 10) -------------------------------------------------------------------


class Setup:
    """The engines of a session that is to end in the middle of something, and the gate where one of them waits."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.model = FakeModel(SENTENCES, hook=slow)
        self.mouth = FakeVoice(hook=slow)
        self.ears = FakeEars()
        self.detector = FakeDetector()
        self.pauses = pause_judge()

    def line(self) -> Line:
        return fake_line(
            llm=self.model, tts=self.mouth, transcription=self.ears, vad=self.detector, endpointing=self.pauses
        )

    def block(self, engine: Any, where: Callable[[Any], bool] = lambda step: True) -> None:
        """Lets an engine wait at a step until it is told to stop."""
        engine.hook = lambda step, cancel: self.gate.wait(cancel) if where(step) else None

    async def blocked(self) -> None:
        await until(self.gate.reached.is_set)


Moment = Callable[[Setup, Client], Awaitable[None]]


async def idle(setup: Setup, client: Client) -> None:
    client.say(silence(200))


async def speaking(setup: Setup, client: Client) -> None:
    client.say(voice(500))
    await client.wait_for("input_audio_buffer.speech_started")


async def held_reply(setup: Setup, client: Client) -> None:
    client.say(voice(500), silence(200))
    await until(lambda: setup.mouth.running)


async def being_fed(setup: Setup, client: Client) -> None:
    setup.block(setup.ears, lambda step: step == "feed")
    client.say(voice(1_000))
    await setup.blocked()


async def hypothesis(setup: Setup, client: Client) -> None:
    setup.block(setup.ears, lambda step: step == "hypothesis")
    client.say(voice(500), silence(200))
    await setup.blocked()


async def transcript(setup: Setup, client: Client) -> None:
    setup.block(setup.ears, lambda step: step == "finish")
    client.say(voice(500), silence(800))
    await setup.blocked()


async def discard(setup: Setup, client: Client) -> None:
    setup.block(setup.ears, lambda step: step == "discard")
    client.say(voice(500))
    await client.wait_for("input_audio_buffer.speech_started")
    client.send(type="input_audio_buffer.clear")
    await setup.blocked()


async def pause_assessment(setup: Setup, client: Client) -> None:
    setup.block(setup.pauses)
    client.say(voice(500), silence(200))
    await setup.blocked()


async def first_token(setup: Setup, client: Client) -> None:
    setup.block(setup.model)
    client.ask()
    await setup.blocked()


async def first_sound(setup: Setup, client: Client) -> None:
    setup.block(setup.mouth)
    client.ask()
    await setup.blocked()


async def playing(setup: Setup, client: Client) -> None:
    client.ask()
    await client.wait_for("response.output_audio.delta", 5)


async def in_writing(setup: Setup, client: Client) -> None:
    client.configure(output_modalities=["text"])
    client.ask()
    await client.wait_for("response.output_text.delta", 5)


async def several_responses(setup: Setup, client: Client) -> None:
    for _ in range(5):
        client.send(type="response.create", response={"conversation": "none"})
    client.ask()
    await client.wait_for("response.output_audio.delta", 5)


async def interrupting(setup: Setup, client: Client) -> None:
    await playing(setup, client)
    client.say(voice(200))
    await client.wait_for("response.done")


async def cancelling(setup: Setup, client: Client) -> None:
    await playing(setup, client)
    client.send(type="response.cancel")
    await client.wait_for("response.done")


async def not_reading(setup: Setup, client: Client) -> None:
    setup.mouth.hook = FakeVoice.hook
    client.ask()
    await client.wait_for("response.output_audio.delta")
    client.reads.clear()
    await until(lambda: not client.session.outbound._room.is_set())


async def far_behind(setup: Setup, client: Client) -> None:
    setup.block(setup.detector)
    client.say(voice(15_000), frame=WIRE_RATE)
    await setup.blocked()
    await asyncio.sleep(0.05)
    setup.gate.open()


MOMENTS: list[Moment] = [
    idle,
    speaking,
    held_reply,
    being_fed,
    hypothesis,
    transcript,
    discard,
    pause_assessment,
    first_token,
    first_sound,
    playing,
    in_writing,
    several_responses,
    interrupting,
    cancelling,
    not_reading,
    far_behind,
]


async def nothing_is_left(setup: Setup, client: Client, tasks: set["asyncio.Task[Any]"]) -> None:
    assert setup.model.running == setup.mouth.running == 0
    assert setup.ears.open_streams == 0
    assert setup.model.open_streams == 0
    client.hub.close()
    await end_of_threads(within=1.0)
    assert asyncio.all_tasks() - {client.reader} == tasks


@pytest.mark.parametrize("how", ["hangs up", "server stops", "both"])
@pytest.mark.parametrize("moment", MOMENTS)
async def test_when_the_connection_ends_in_the_middle_nothing_is_left(moment: Moment, how: str) -> None:
    tasks = asyncio.all_tasks()
    setup = Setup()
    client = Client(setup.line())
    await client.wait_for("session.created")
    await moment(setup, client)
    if how != "server stops":
        client.hang_up()
    if how == "both":
        await asyncio.sleep(0.003)
    if how != "hangs up":
        client.running.cancel()
    await client.over()
    await nothing_is_left(setup, client, tasks)
    client.reader.cancel()
    await asyncio.wait((client.reader,))


@pytest.mark.parametrize("ms", [0, 1, 2, 4, 7, 11, 16, 22, 30, 45, 65, 90, 130])
async def test_at_whatever_moment_the_connection_ends_nothing_is_left(ms: int) -> None:
    tasks = asyncio.all_tasks()
    setup = Setup()
    setup.ears.hook = slow
    client = Client(setup.line())
    client.say(voice(300), silence(700), voice(300), silence(700))
    client.ask()
    await asyncio.sleep(ms / 1000)
    await client.end()
    await nothing_is_left(setup, client, tasks)
    client.reader.cancel()
    await asyncio.wait((client.reader,))
    if not client.reader.cancelled():
        client.reader.result()


async def test_an_engine_that_hangs_does_not_keep_the_session_nor_the_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "JOIN_S", 0.2)
    stuck = threading.Event()
    line = fake_line(tts=FakeVoice(concurrency=1, hook=lambda step, cancel: stuck.wait(10)))
    tasks = asyncio.all_tasks()
    client = Client(line)
    client.ask()
    await until(lambda: parley_threads("tts"))
    await client.end()
    assert asyncio.all_tasks() - {client.reader} == tasks
    async with asyncio.timeout(1):
        (await line.tts_slots.take())()
    stuck.set()
    await client.close()
    await end_of_threads()


async def test_a_hundred_sessions_leave_no_memory_of_themselves() -> None:
    import gc
    import weakref

    line = fake_line()
    hub = VoiceHub(line.vad, 10.0)
    gone: list[weakref.ref[Session]] = []
    for _ in range(100):
        session = Session(line, hub, PROFILE, ga, "fake")
        gone.append(weakref.ref(session))
        audio = base64.b64encode(voice(200).tobytes()).decode()

        async def frames(audio: str = audio) -> AsyncIterator[str]:
            yield json.dumps({"type": "input_audio_buffer.append", "audio": audio})
            await asyncio.sleep(0.001)

        await session.run(frames())
    del session
    hub.close()
    await asyncio.sleep(0.05)
    gc.collect()
    assert sum(ref() is not None for ref in gone) <= 1


# --- what goes wrong does not end the session -------------------------------------------------------------------


async def test_a_fault_of_the_machine_is_told_and_the_session_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    handle = Machine.handle

    def broken(self: Machine, event: Any, now: int) -> Any:
        if getattr(event, "event_id", None) == "poison":
            raise ZeroDivisionError
        return handle(self, event, now)

    monkeypatch.setattr(Machine, "handle", broken)
    async with connect(fake_line()) as client:
        client.send(type="response.cancel", event_id="poison")
        error = (await client.wait_for("error"))["error"]
        assert (error["type"], error["code"], error["event_id"]) == ("server_error", "internal_error", "poison")
        client.ask()
        assert (await client.wait_for("response.done"))["response"]["status"] == "completed"


async def test_a_command_that_cannot_be_carried_out_does_not_end_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    async with connect(fake_line()) as client:
        monkeypatch.setattr(client.session._store, "forget", lambda before: 1 / 0)
        client.send(type="input_audio_buffer.clear")
        assert (await client.wait_for("error"))["error"]["code"] == "internal_error"
        monkeypatch.undo()
        client.ask()
        assert (await client.wait_for("response.done"))["response"]["status"] == "completed"


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "{",
        "[]",
        '{"type": []}',
        '{"type": {}}',
        "\ud800",
        "[" * 100_000,
        b"\x00",
        '{"type": 5, "x": ' + "[" * 100_000,
    ],
    ids=range(9),
)
async def test_whatever_a_client_sends_the_session_goes_on(frame: str | bytes) -> None:
    async with connect(fake_line()) as client:
        client.send_frame(frame)
        await client.wait_for("error")
        client.ask()
        assert (await client.wait_for("response.done"))["response"]["status"] == "completed"


@pytest.mark.parametrize("where", ["open", "feed", "hypothesis", "finish"])
async def test_a_transcriber_that_raises_fails_the_turn_and_the_next_works(where: str) -> None:
    ears = FakeEars()

    def hook(step: str, cancel: CancelToken) -> None:
        if step == where:
            ears.hook = FakeEars.hook
            raise RuntimeError("no ears")

    ears.hook = hook
    async with connect(fake_line(transcription=ears)) as client:
        client.say(voice(500), silence(800))
        done = await client.wait_for("response.done")
        assert done["response"]["status"] == "failed"
        assert done["response"]["status_details"]["error"]["code"] == "transcription_failed"
        client.say(voice(500), silence(800))
        assert (await client.wait_for("response.done", 2))["response"]["status"] == "completed"


@pytest.mark.parametrize("stage", ["transcription", "llm", "tts"])
async def test_a_stage_that_hangs_fails_the_turn_and_the_next_works(
    stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "JOIN_S", 0.1)
    stuck = threading.Event()
    engines: dict[str, Any] = {"transcription": FakeEars(), "llm": FakeModel(), "tts": FakeVoice()}

    def hang(step: Any, cancel: CancelToken) -> None:
        if step != "open":
            stuck.wait(10)

    engines[stage].hook = hang
    async with connect(fake_line(**engines, timeout=0.2)) as client:
        client.say(voice(500), silence(800))
        done = await client.wait_for("response.done")
        assert done["response"]["status"] == "failed"
        assert done["response"]["status_details"]["error"]["code"] == f"{stage}_timeout"
        engines[stage].hook = type(engines[stage]).hook
        client.say(silence(500), voice(500), silence(800))
        assert (await client.wait_for("response.done", 2))["response"]["status"] == "completed"
        stuck.set()
    await end_of_threads()


async def test_a_detector_that_raises_is_told_and_the_next_turn_works() -> None:
    detector = FakeDetector()

    def hook(frames: int, cancel: CancelToken) -> None:
        detector.hook = FakeDetector.hook
        raise RuntimeError("no ears")

    detector.hook = hook
    async with connect(fake_line(vad=detector)) as client:
        client.say(silence(200))
        assert (await client.wait_for("error"))["error"]["code"] == "vad_failed"
        client.say(voice(500), silence(800))
        assert (await client.wait_for("response.done"))["response"]["status"] == "completed"


async def test_a_pause_detector_that_hangs_is_given_up_and_silence_counts() -> None:
    stuck = threading.Event()
    pauses = pause_judge(hook=lambda step, cancel: stuck.wait(10))
    async with connect(fake_line(endpointing=pauses, timeout=0.2)) as client:
        for count in (1, 2):
            client.say(voice(500), silence(200))
            await until(lambda count=count: len(pauses.pauses) == count)
            client.say(silence(600))
            assert (await client.wait_for("response.done", count))["response"]["status"] == "completed"
            await asyncio.sleep(0.3)
            pauses.hook = FakePauseJudge.hook
        stuck.set()
    await end_of_threads()


async def test_a_pause_detector_hears_all_up_to_the_frame_that_began_the_pause() -> None:
    pauses = pause_judge()
    async with connect(fake_line(endpointing=pauses)) as client:
        client.say(voice(511), silence(201))  # the detector hears it 0.5 ms late
        await until(lambda: pauses.pauses)
    assert len(pauses.pauses[0].audio) == (512 + 64) * 16


async def test_a_pause_detector_is_told_when_nobody_waits_for_it_any_more() -> None:
    told: list[CancelToken] = []
    pauses = pause_judge(hook=lambda step, cancel: told.append(cancel))
    async with connect(fake_line(endpointing=pauses)) as client:
        client.say(voice(500), silence(200))
        await until(lambda: told)
    assert told[0].cancelled


# --- bounds ----------------------------------------------------------------------------------------------------


async def test_a_long_reply_is_made_only_as_fast_as_the_client_reads() -> None:
    mouth = FakeVoice(chunks=1, samples=WIRE_RATE)
    async with connect(fake_line(llm=FakeModel(SENTENCES), tts=mouth)) as client:
        client.reads.clear()
        client.ask()
        await until(lambda: not client.session.outbound._room.is_set())
        await asyncio.sleep(0.2)
        made = len(mouth.requests)
        assert made <= 16, "256 KiB are 4 seconds of sound in base64; a few more are on their way on a busy machine"
        assert client.session.outbound._waiting < outbound_limits.LOW_WATER + 600_000
        await asyncio.sleep(0.1)
        assert len(mouth.requests) == made
        client.reads.set()
        done = await client.wait_for("response.done")
        assert done["response"]["status"] == "completed"
        assert len(mouth.requests) == len(SENTENCES)


async def test_a_slow_reader_can_still_interrupt() -> None:
    async with connect(fake_line(llm=FakeModel(SENTENCES))) as client:
        client.reads.clear()
        client.ask()
        await until(lambda: not client.session.outbound._room.is_set())
        client.send(type="response.cancel")
        await until(lambda: not client.session._runs._runs)
        client.reads.set()
        assert (await client.wait_for("response.done"))["response"]["status"] == "cancelled"


async def test_a_client_that_floods_and_does_not_read_is_read_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbound_limits, "FLOOD", 10_000)
    async with connect(fake_line()) as client:
        client.reads.clear()
        for _ in range(2_000):
            client.send(type="response.cancel")
        await asyncio.sleep(0.3)
        assert client.session.outbound._waiting < 100_000
        client.reads.set()
        await client.wait_for("error", 2_000)


async def test_a_client_that_floods_and_goes_does_not_keep_its_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits until the client has read must see that it never will."""
    monkeypatch.setattr(outbound_limits, "FLOOD", 10_000)
    client = Client(fake_line())
    client.reads.clear()
    for _ in range(2_000):
        client.send(type="response.cancel")
    await until(lambda: not client.session.outbound._calm.is_set())
    client.hang_up()
    client.session.outbound.close()  # what the transport's writer does when the connection has broken
    await client.over()
    await client.close()


async def test_a_client_that_is_sent_far_more_than_it_reads_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbound_limits, "HIGH_WATER", 20_000)
    tasks = asyncio.all_tasks()
    setup = Setup()
    setup.model.hook = FakeModel.hook
    client = Client(setup.line())
    client.configure(output_modalities=["text"])
    await client.wait_for("session.updated")
    client.reads.clear()
    client.ask()
    await client.over()
    with pytest.raises(SlowClient):
        client.running.result()
    await nothing_is_left(setup, client, tasks)
    client.reader.cancel()


async def test_a_held_reply_runs_ahead_by_ten_seconds_of_sound_at_most() -> None:
    mouth = FakeVoice(chunks=1, samples=WIRE_RATE)
    async with connect(fake_line(llm=FakeModel(SENTENCES), tts=mouth)) as client:
        client.say(voice(500), silence(200))
        await until(lambda: len(mouth.requests) >= HELD_SAMPLES // WIRE_RATE)
        await asyncio.sleep(0.2)
        assert len(mouth.requests) <= HELD_SAMPLES // WIRE_RATE + 1
        assert not client.of("response.created")
        client.say(silence(600))
        done = await client.wait_for("response.done")
        assert done["response"]["status"] == "completed"
        assert len(mouth.requests) == len(SENTENCES), "it was released, not made again"


async def longest_stall(work: "asyncio.Task[Any]") -> float:
    """The longest time for which the event loop did nothing else until `work` was done, in seconds."""
    longest, last = 0.0, time.perf_counter()
    while not work.done():
        await asyncio.sleep(0.001)
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    return longest


@pytest.mark.parametrize("detection", [None, {"type": "server_vad"}], ids=["manual", "server_vad"])
async def test_fifteen_mebibytes_in_one_event_do_not_block_the_loop(detection: dict[str, str] | None) -> None:
    audio = base64.b64encode(bytes(15 * 1024 * 1024)).decode()
    frame = json.dumps({"type": "input_audio_buffer.append", "audio": audio})
    async with connect(fake_line()) as client:
        client.configure(audio={"input": {"turn_detection": detection}})
        await client.wait_for("session.updated")
        client.send_frame(frame)
        client.send(type="input_audio_buffer.commit")
        stall = await longest_stall(asyncio.create_task(client.wait_for("input_audio_buffer.committed")))
        assert stall < 0.25, "decoding takes some 30 ms; a second of work would be heard by everybody"
        await client.wait_for("conversation.item.input_audio_transcription.completed")
        client.ask()
        assert (await client.wait_for("response.done"))["response"]["status"] == "completed"


async def test_a_whole_file_in_one_event_and_a_commit_do_not_stop_the_session() -> None:
    """The commit renews the detector's epoch while the detector is far behind."""
    async with connect(fake_line(vad=FakeDetector(hook=lambda frames, cancel: time.sleep(0.0005)))) as client:
        for count in (1, 2, 3):
            client.say(voice(20_000), frame=20 * WIRE_RATE)
            client.send(type="input_audio_buffer.commit")
            await client.wait_for("input_audio_buffer.committed", count)
        client.ask()
        await client.wait_for("response.created")
