"""What a session does with the settings of turn detection and of noise reduction."""

import asyncio
import base64

import numpy as np
import pytest

from pipeline.noise import NoiseReducer
from pipeline.stages import TranscriberCapabilities
from pipeline.types import LISTENING_RATE, WIRE_RATE, Pcm16
from server import session as session_module
from server.filtering import SoundFilter
from server.realtime import commands as do
from tests.fakes import FakeDetector, FakeEars, FakeModel, fake_line
from tests.server.test_session import Client, connect, silence, voice
from tests.threads import until

FAR = {"type": "far_field"}


def noise(ms: int, level: float = 6_000) -> Pcm16:
    drawn = np.random.default_rng(0).standard_normal(24 * ms) * level
    return np.clip(drawn, -32_768, 32_767).astype(np.int16)


# --- semantic_vad ----------------------------------------------------------------------------------------------


async def ends_after(client: Client) -> int:
    """Returns how many ms of silence ended the turn in which something was said."""
    client.say(silence(500), voice(500), silence(200))
    listening = client.session._machine.listening
    await until(lambda: listening.utterance is not None and listening.utterance.silence_ms is not None)
    client.say(silence(6_000))
    started = await client.wait_for("input_audio_buffer.speech_started")
    stopped = await client.wait_for("input_audio_buffer.speech_stopped")
    ms: int = stopped["audio_end_ms"] - started["audio_start_ms"] - 300 - 500
    return ms


@pytest.mark.parametrize(
    ("words", "eagerness", "least", "most"),
    [
        ("turn on the light", "auto", 300, 450),
        ("yes", "low", 300, 450),
        ("what's the weather in", "high", 2_000, 2_100),
        ("what's the weather in", "auto", 4_000, 4_100),
        ("", "auto", 1_000, 1_100),
    ],
)
async def test_a_pipeline_without_a_detector_of_its_own_goes_by_the_words(
    words: str, eagerness: str, least: int, most: int
) -> None:
    async with connect(fake_line(transcription=FakeEars(hear=lambda sound: words))) as client:
        created = client.of("session.created")[0]["session"]
        assert created["audio"]["input"]["turn_detection"]["type"] == "server_vad", "it is there to be asked for"
        client.configure(audio={"input": {"turn_detection": {"type": "semantic_vad", "eagerness": eagerness}}})
        assert least <= await ends_after(client) <= most


async def test_where_words_come_only_at_the_end_the_silence_decides() -> None:
    deaf = FakeEars(hear=lambda sound: "what's the weather in")
    deaf.capabilities = TranscriberCapabilities(languages=frozenset({"en"}), streaming=False)
    async with connect(fake_line(transcription=deaf)) as client:
        client.configure(audio={"input": {"turn_detection": {"type": "semantic_vad"}}})
        assert 1_000 <= await ends_after(client) <= 1_100


# --- idle_timeout_ms -------------------------------------------------------------------------------------------


async def test_a_session_whose_user_says_nothing_goes_on_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter(range(0, 1_000_000, 10))  # of a clock that is ten seconds on at each look
    monkeypatch.setattr(session_module.time, "monotonic_ns", lambda: next(seconds) * 1_000_000_000)
    loop = asyncio.get_running_loop()
    call_later = loop.call_later
    monkeypatch.setattr(loop, "call_later", lambda delay, *rest: call_later(min(delay, 0.05), *rest))
    model = FakeModel()
    async with connect(fake_line(llm=model)) as client:
        client.configure(audio={"input": {"turn_detection": {"type": "server_vad", "idle_timeout_ms": 5_000}}})
        client.ask()
        triggered = await client.wait_for("input_audio_buffer.timeout_triggered")
        assert triggered["item_id"] in [event["item_id"] for event in client.of("input_audio_buffer.committed")]
        await client.wait_for("response.done", 2)
        assert model.requests[1].prompt.messages[-1].text == "..."


# --- noise reduction -------------------------------------------------------------------------------------------


async def test_neither_the_detector_nor_the_transcriber_hears_the_noise() -> None:
    heard: list[Pcm16] = []
    ears = FakeEars(hear=lambda sound: heard.append(sound) or "hello there")
    async with connect(fake_line(transcription=ears, vad=FakeDetector())) as client:
        client.configure(audio={"input": {"noise_reduction": FAR}})
        client.say(noise(1_500, 3_000))
        client.configure(instructions="Listen.")
        await client.wait_for("session.updated", 2)
        client.say(noise(1_000, 3_000) // 4)
        client.send(type="input_audio_buffer.commit")
        await client.wait_for("conversation.item.input_audio_transcription.completed")
        started = client.of("input_audio_buffer.speech_started")
        assert all(event["audio_start_ms"] < 300 for event in started), "once it is known, noise is no voice"
        assert np.std(heard[-1][-LISTENING_RATE // 4 :]) < 150
    async with connect(fake_line()) as client:
        client.say(noise(500, 3_000), silence(200))
        await client.wait_for("input_audio_buffer.speech_started")


async def test_noise_reduction_counts_from_the_update_on_and_until_it_is_taken_back() -> None:
    sound = noise(500)
    sounds = SoundFilter()

    async def filtered(samples: Pcm16) -> Pcm16:
        (command,) = await sounds.apply([do.StoreAudio(samples.tobytes(), 3)])
        assert isinstance(command, do.StoreAudio)
        assert command.listen_epoch == 3
        return np.frombuffer(command.audio, "<i2")

    assert np.array_equal(await filtered(sound), sound)
    sounds.reduce_noise("near_field")
    expected = NoiseReducer("near_field").process(np.concatenate((sound, sound)))
    assert np.array_equal(np.concatenate((await filtered(sound), await filtered(sound))), expected)
    sounds.reduce_noise("far_field")
    assert not np.array_equal(await filtered(sound), sound)
    sounds.reduce_noise(None)
    assert np.array_equal(await filtered(sound), sound)


@pytest.mark.parametrize("kind", ["audio/pcm", "audio/pcmu"])
async def test_as_much_sound_is_kept_as_was_sent_whatever_its_format(kind: str) -> None:
    async with connect(fake_line()) as client:
        client.configure(audio={"input": {"noise_reduction": FAR, "format": {"type": kind}, "turn_detection": None}})
        for length in (2, 400, 962, 30_000):
            client.send(type="input_audio_buffer.append", audio=base64.b64encode(bytes(length)).decode())
        client.send(type="input_audio_buffer.commit")
        completed = await client.wait_for("conversation.item.input_audio_transcription.completed")
        assert completed["transcript"] == "hello there"


async def test_others_have_their_turn_while_a_long_append_is_filtered() -> None:
    sounds = SoundFilter()
    sounds.reduce_noise("far_field")
    filtering = asyncio.create_task(sounds.apply([do.StoreAudio(bytes(2 * WIRE_RATE * 60), None)]))
    turns = 0
    while not filtering.done():
        turns += 1
        await asyncio.sleep(0)
    assert turns >= 60, "at each second of sound"


async def test_a_session_that_ends_while_it_filters_leaves_nothing() -> None:
    async with connect(fake_line()) as client:
        client.configure(audio={"input": {"noise_reduction": FAR}})
        client.send(type="input_audio_buffer.append", audio=base64.b64encode(bytes(2 * WIRE_RATE * 30)).decode())
        await client.end()
