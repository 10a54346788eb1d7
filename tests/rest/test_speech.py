import asyncio
import base64
import io
import json
from typing import Any

import aiohttp
import av
import numpy as np
import openai
import pytest

from pipeline.errors import StageError
from tests.fakes import FakeVoice, Gate
from tests.rest.conftest import Api, Serve
from tests.threads import until

TEXT = "Hello there, how are you? I am fine."


def voice_of(api: Api) -> FakeVoice:
    voice = api.line.tts
    assert isinstance(voice, FakeVoice)
    return voice


def decoded_s(file: bytes) -> float:
    """Returns the seconds of sound in a file."""
    with av.open(io.BytesIO(file)) as container:
        return sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))


async def refusal(api: Api, **fields: Any) -> openai.APIStatusError:
    with pytest.raises(openai.APIStatusError) as refused:
        await api.client.audio.speech.create(**{"model": "mini", "voice": "alloy", "input": TEXT, **fields})
    return refused.value


@pytest.mark.parametrize(
    ("format", "content_type", "magic"),
    [
        ("mp3", "audio/mpeg", b"\xff"),
        ("opus", "audio/ogg", b"OggS"),
        ("aac", "audio/aac", b"\xff\xf1"),
        ("flac", "audio/flac", b"fLaC"),
        ("wav", "audio/wav", b"RIFF"),
    ],
)
async def test_sound_comes_in_the_format_asked_for(api: Api, format: Any, content_type: str, magic: bytes) -> None:
    answer = await api.client.audio.speech.create(model="mini", voice="alloy", input=TEXT, response_format=format)
    assert answer.response.headers["content-type"] == content_type
    assert answer.content.startswith(magic)
    said = 0.2 * len(voice_of(api).requests)
    assert said
    assert decoded_s(answer.content) == pytest.approx(said, abs=0.15)


async def test_pcm_is_24_khz_without_a_header(api: Api) -> None:
    answer = await api.client.audio.speech.create(model="mini", voice="alloy", input="Hello.", response_format="pcm")
    samples = np.frombuffer(answer.content, "<i2")
    assert samples.tolist() == [1000] * 2400 + [1001] * 2400


async def test_another_rate_of_the_engine_is_resampled(serve: Serve) -> None:
    async with serve(tts=FakeVoice(rate=48_000)) as api:
        answer = await api.client.audio.speech.create(
            model="mini", voice="alloy", input="Hello.", response_format="pcm"
        )
        assert len(answer.content) // 2 == 2400


async def test_mp3_is_what_comes_where_nothing_is_said(api: Api) -> None:
    answer = await api.client.audio.speech.create(model="mini", voice="alloy", input=TEXT)
    assert answer.response.headers["content-type"] == "audio/mpeg"


@pytest.mark.parametrize("format", ["mp3", "opus", "aac", "wav", "pcm"])
async def test_sound_is_sent_while_it_is_made(serve: Serve, format: Any) -> None:
    gate = Gate()
    voice = FakeVoice(hook=lambda step, cancel: gate.wait(cancel) if step[1] == 1 else None)
    async with serve(tts=voice) as api:
        asked = api.client.audio.speech.with_streaming_response.create(
            model="mini", voice="alloy", input="Hello.", response_format=format
        )
        async with asked as answer:
            came = 0
            async for piece in answer.iter_bytes():
                came += len(piece)
                gate.open()  # the second half is not made before some of the first is here
        assert came


async def test_events_carry_the_same_sound(api: Api) -> None:
    async with aiohttp.ClientSession() as client:
        body = {"input": "Hello.", "response_format": "pcm", "stream_format": "sse"}
        async with client.post(f"{api.url}/audio/speech", json=body) as response:
            assert response.content_type == "text/event-stream"
            events = [json.loads(line[6:]) for line in (await response.text()).splitlines() if line]
    assert [event["type"] for event in events] == ["speech.audio.delta"] * (len(events) - 1) + ["speech.audio.done"]
    sound = b"".join(base64.b64decode(event["audio"]) for event in events[:-1])
    assert len(sound) == 9600
    assert events[-1]["usage"] == {"input_tokens": 1, "output_tokens": 4, "total_tokens": 5}


async def test_voice_and_speed_reach_the_engine(api: Api) -> None:
    for name, own in (("nova", "two"), ("alloy", "one"), ("two", "two")):
        await api.client.audio.speech.create(model="mini", voice=name, input="Hello.", speed=1.5)
        assert (voice_of(api).requests[-1].voice, voice_of(api).requests[-1].speed) == (own, 1.5)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"voice": "nobody"}, "voice"),
        ({"speed": 4.0}, "speed"),
        ({"instructions": "Whisper."}, "instructions"),
        ({"response_format": "midi"}, "response_format"),
        ({"input": ""}, "input"),
        ({"input": "… !"}, "input"),
        ({"input": "x" * 70_000}, "input"),
        ({"extra_body": {"pitch": 2}}, "pitch"),
    ],
)
async def test_what_the_engine_cannot_do_is_refused_by_name(api: Api, fields: dict[str, Any], param: str) -> None:
    error = await refusal(api, **fields)
    assert (error.status_code, error.param, error.type) == (400, param, "invalid_request_error"), error.body
    assert not voice_of(api).requests


async def test_a_voice_that_fails_before_there_is_sound_is_an_error_with_a_status(serve: Serve) -> None:
    def fail(_: object, __: object) -> None:
        raise StageError("tts", "It broke.")

    async with serve(tts=FakeVoice(hook=fail)) as api:
        error = await refusal(api)
        assert (error.status_code, error.code, error.type) == (500, "tts_failed", "server_error")


async def test_a_voice_that_fails_later_does_not_look_like_the_end(serve: Serve) -> None:
    def fail(step: Any, _: object) -> None:
        if step[1] == 1:
            raise StageError("tts", "It broke.")

    async with serve(tts=FakeVoice(hook=fail)) as api:
        with pytest.raises(openai.APIConnectionError):
            await api.client.audio.speech.create(model="mini", voice="alloy", input="Hello.", response_format="pcm")


async def test_a_client_that_goes_ends_the_making(serve: Serve) -> None:
    gate = Gate()
    voice = FakeVoice(hook=lambda step, cancel: gate.wait(cancel))
    async with serve(tts=voice) as api:
        async with aiohttp.ClientSession() as client:
            asking = asyncio.create_task(client.post(f"{api.url}/audio/speech", json={"input": TEXT}))
            await until(gate.reached.is_set)
            asking.cancel()
            await until(lambda: voice.tokens[0].cancelled and not voice.running)
        assert len(voice.requests) == 1


async def test_a_live_session_waits_for_one_clause_of_all_requests_at_most(serve: Serve) -> None:
    gate = Gate()
    voice = FakeVoice(concurrency=1, hook=lambda step, cancel: gate.wait(cancel))
    async with serve(tts=voice) as api:
        asking = [
            asyncio.create_task(api.client.audio.speech.create(model="mini", voice="alloy", input=TEXT))
            for _ in range(3)
        ]
        await until(gate.reached.is_set)
        await api.client.models.list()
        session = asyncio.create_task(api.line.tts_slots.take())
        await asyncio.sleep(0)
        gate.open()
        await session
        assert len(voice.requests) == 1, "the session came behind more than the clause that was being said"
        session.result()()
        await asyncio.gather(*asking)
