"""The stages over HTTP: real engines in a real server, the `openai` package as client, and another Parley as client."""

import io
import json
import wave
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import yaml
from openai import AsyncOpenAI

from tests.e2e.client import connect, spoken, understood
from tests.e2e.conftest import Server, serving
from tests.speech import utterance

QUESTION = "what is your name"
# On a machine with other work the engines' own time limits are too short.
PATIENT = {"timeout": 60}
MINI: dict[str, dict[str, Any]] = {
    "vad": {"engine": "silero", **PATIENT},
    "transcription": {"engine": "pocketsphinx", **PATIENT},
    "llm": {"engine": "llama-cpp", "model": "builtin", "temperature": 0.0, **PATIENT},
    "tts": {"engine": "espeak-ng", "voice": "en-us+klatt4", **PATIENT},
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("service")
    config = folder / "models.yaml"
    config.write_text(yaml.safe_dump({"default": "mini", "models": {"mini": MINI}, "aliases": {"gpt-*": "default"}}))
    with serving(config, [], folder) as server:
        yield server


@pytest.fixture(scope="module")
def client_of_service(service: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Parley whose every stage is another Parley."""
    folder = tmp_path_factory.mktemp("client")
    stage = {"engine": "openai", "base_url": f"http://127.0.0.1:{service.port}/v1", "model": "mini", **PATIENT}
    remote = {"vad": MINI["vad"], "transcription": {**stage, "upload": "live"}, "llm": stage, "tts": stage}
    config = folder / "models.yaml"
    config.write_text(yaml.safe_dump({"default": "remote", "models": {"remote": remote}}))
    with serving(config, [], folder) as server:
        yield server


def api(server: Server) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"http://127.0.0.1:{server.port}/v1", api_key="local", max_retries=0, timeout=100)


async def test_a_file_is_transcribed(service: Server) -> None:
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(utterance(QUESTION).tobytes())
    async with api(service) as client:
        asked: Any = {"file": ("question.wav", content.getvalue()), "model": "gpt-4o-transcribe", "language": "en"}
        assert understood(QUESTION, (await client.audio.transcriptions.create(**asked)).text)
        events = [event async for event in await client.audio.transcriptions.create(**asked, stream=True)]
        assert understood(QUESTION, events[-1].text)


async def test_text_is_spoken(service: Server) -> None:
    asked: Any = {"model": "gpt-4o-mini-tts", "voice": "alloy", "input": "Good morning.", "response_format": "pcm"}
    async with api(service) as client, client.audio.speech.with_streaming_response.create(**asked) as answer:
        samples = np.frombuffer(b"".join([piece async for piece in answer.iter_bytes()]), "<i2")
    assert 0.5 < len(samples) / 24_000 < 3
    assert np.abs(samples.astype(int)).max() > 1000


async def test_a_conversation_is_answered_and_a_tool_called(service: Server) -> None:
    async with api(service) as client:
        messages: Any = [{"role": "user", "content": "what is the capital of france"}]
        whole = await client.chat.completions.create(model="gpt-4o", messages=messages)
        said = whole.choices[0].message.content
        assert said
        assert whole.usage
        assert whole.usage.completion_tokens > 0
        stream = await client.chat.completions.create(model="mini", messages=messages, stream=True)
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == said
        last = said.split()[-1]
        cut = await client.chat.completions.create(model="mini", messages=messages, stop=[last])
        assert cut.choices[0].message.content == said[: said.index(last)]
        assert cut.choices[0].finish_reason == "stop"

        parameters = {"type": "object", "properties": {"minutes": {"type": "integer"}}, "required": ["minutes"]}
        function: Any = {"name": "set_timer", "description": "Sets a timer.", "parameters": parameters}
        tools: Any = [{"type": "function", "function": function}]
        messages = [{"role": "user", "content": "set a timer for five minutes"}]
        stream = await client.chat.completions.create(
            model="mini", messages=messages, tools=tools, tool_choice="required", stream=True
        )
        arguments = ""
        async for chunk in stream:
            for piece in chunk.choices[0].delta.tool_calls or ():
                arguments += (piece.function and piece.function.arguments) or ""
        assert isinstance(json.loads(arguments)["minutes"], int)


async def test_the_pipelines_are_listed(service: Server) -> None:
    async with api(service) as client:
        (model,) = [model async for model in client.models.list()]
        assert (model.id, model.model_dump()["capabilities"]["llm"]["tools"]) == ("mini", True)


async def test_another_parley_uses_it_as_a_service_for_every_stage(client_of_service: Server) -> None:
    async with connect(client_of_service.port, model="remote") as client:
        client.open_microphone()
        client.say(spoken(QUESTION))
        response = (await client.wait_for("response.done", timeout=60))["response"]
        assert response["status"] == "completed", response["status_details"]
        assert understood(QUESTION, client.transcripts()[0])
        assert client.answers()[0]
        assert len(client.answer_sound(response["id"])) > 12_000
    log = client_of_service.log.read_text()
    assert "sent again as a whole" not in log
