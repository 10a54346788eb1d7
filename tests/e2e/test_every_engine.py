"""Each engine in a pipeline of its own: a question by voice, an answer by voice, over the wire."""

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from server.cli import main
from tests.e2e.client import RATE, Client, connect, spoken, understood
from tests.e2e.conftest import Server, serving
from tests.openai_endpoint import Answer, Endpoint, Gate, error_answer, said, sse
from tests.piper_voice import make_voice, read_back
from tests.smart_turn_model import smart_turn_file

WEIGHTS = Path(__file__).parents[1] / "weights"
QUESTION = "what is your name"

MINI: dict[str, dict[str, Any]] = {
    "vad": {"engine": "silero"},
    "transcription": {"engine": "pocketsphinx"},
    "llm": {"engine": "llama-cpp", "model": "builtin", "temperature": 0.0},
    "tts": {"engine": "espeak-ng", "voice": "en-us+klatt4"},
}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    with Endpoint() as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory, endpoint: Endpoint) -> Iterator[Server]:
    """A server with a pipeline for each engine: `mini` with that one engine in it."""
    folder = tmp_path_factory.mktemp("every")
    voice = make_voice(folder)
    tools = WEIGHTS / "llama-tools" / "tools.gguf"
    service = {"engine": "openai", "base_url": endpoint.base_url, "model": "test", "api_key": "${TEST_KEY}"}
    pipelines = {
        "whisper": {"transcription": {"engine": "faster-whisper", "model": str(WEIGHTS / "whisper-tiny")}},
        "piper": {"tts": {"engine": "piper", "voice": str(voice)}},
        "tools": {"llm": {"engine": "llama-cpp", "model": str(tools), "temperature": 0}},
        "remote": {"transcription": service, "llm": service, "tts": service},
    }
    if (smart_turn := smart_turn_file()) is not None:
        pipelines["patient"] = {"endpointing": {"engine": "smart-turn", "model": str(smart_turn)}}
    models = {name: MINI | changed for name, changed in pipelines.items()}
    config = folder / "models.yaml"
    config.write_text(yaml.safe_dump({"default": "piper", "models": models}))
    with serving(config, list(models), folder, TEST_KEY="sesame") as server:
        yield server


async def ask(client: Client, question: str = QUESTION) -> dict[str, Any]:
    """Asks by voice; returns the response."""
    client.open_microphone()
    client.say(spoken(question))
    response: dict[str, Any] = (await client.wait_for("response.done"))["response"]
    return response


def plain(transcript: str) -> str:
    """Returns the words, without the signs between them."""
    return " ".join(re.sub(r"[^a-z ]", "", transcript.lower()).split())


async def test_faster_whisper_hears_word_for_word_and_shows_words_while_they_are_spoken(every: Server) -> None:
    async with connect(every.port, model="whisper") as client:
        response = await ask(client)
        assert response["status"] == "completed"
        (transcript,) = client.transcripts()
        assert plain(transcript) == QUESTION
        assert response["output"][0]["content"][0]["transcript"]


async def test_faster_whisper_shows_words_before_the_user_has_stopped(every: Server) -> None:
    second = "what is the capital of france"
    async with connect(every.port, model="whisper") as client:
        await client.configure(output_modalities=["text"])
        client.open_microphone()
        client.say(spoken(QUESTION, second, pause_s=0.3))
        completed = await client.wait_for("conversation.item.input_audio_transcription.completed")
        kinds = client.kinds
        while_spoken = kinds[: kinds.index("input_audio_buffer.speech_stopped")]
        assert "conversation.item.input_audio_transcription.delta" in while_spoken
        assert plain(completed["transcript"]) == f"{QUESTION} {second}"


async def test_piper_says_what_the_transcript_says(every: Server) -> None:
    async with connect(every.port, model="piper") as client:
        response = await ask(client)
        assert response["status"] == "completed"
        sentences = read_back(client.answer_sound(response["id"]), RATE)
        said = "".join(sentence.phonemes for sentence in sentences)
        assert "p\u0251\u02d0\u0279l" in said.replace("\u02c8", ""), f"Parley in {said}, of {client.answers()}"


async def test_smart_turn_ends_the_turn(every: Server) -> None:
    if smart_turn_file() is None:
        pytest.skip("NOT TESTED: the weights of smart-turn could not be downloaded from PyPI")
    async with connect(every.port, model="patient") as client:
        created = await client.wait_for("session.created")
        assert created["session"]["audio"]["input"]["turn_detection"]["type"] == "semantic_vad"
        response = await ask(client)
        assert response["status"] == "completed"
        assert understood(QUESTION, client.transcripts()[0])


async def test_llama_cpp_calls_a_function_and_answers_from_its_result(every: Server) -> None:
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    tool = {"type": "function", "name": "get_weather", "description": "Tells the weather in a city."}
    async with connect(every.port, model="tools") as client:
        await client.configure(tools=[{**tool, "parameters": parameters}], output_modalities=["text"])
        content = [{"type": "input_text", "text": "what is the weather in Paris"}]
        await client.send(type="conversation.item.create", item={"type": "message", "role": "user", "content": content})
        await client.send(type="response.create", response={"tool_choice": "required"})
        (call,) = (await client.wait_for("response.done"))["response"]["output"]
        assert (call["type"], call["name"], call["status"]) == ("function_call", "get_weather", "completed")
        assert json.loads(call["arguments"]) == {"city": "Paris"}
        output = {"type": "function_call_output", "call_id": call["call_id"], "output": '{"weather": "sunny"}'}
        await client.send(type="conversation.item.create", item=output)
        await client.send(type="response.create")
        second = (await client.wait_for("response.done", 2))["response"]
        assert "sunny" in second["output"][0]["content"][0]["text"]


async def test_a_spoken_request_becomes_a_call_and_its_result_is_spoken(every: Server) -> None:
    parameters = {"type": "object", "properties": {"minutes": {"type": "integer"}}, "required": ["minutes"]}
    tool = {"type": "function", "name": "set_timer", "description": "Sets a timer.", "parameters": parameters}
    async with connect(every.port, model="tools") as client:
        await client.configure(tools=[tool])
        response = await ask(client, "set a timer for five minutes")
        (call,) = response["output"]
        assert (call["type"], call["name"], call["status"]) == ("function_call", "set_timer", "completed")
        assert json.loads(call["arguments"]) == {"minutes": 5}
        output = {"type": "function_call_output", "call_id": call["call_id"], "output": "ok"}
        await client.send(type="conversation.item.create", item=output)
        await client.send(type="response.create")
        second = (await client.wait_for("response.done", 2))["response"]
        assert [item["type"] for item in second["output"]] == ["message"]
        assert np.abs(client.answer_sound(second["id"])).max() > 1_000


async def test_services_hear_think_and_speak(every: Server, endpoint: Endpoint) -> None:
    endpoint.heard, endpoint.reply = "good morning", "Good morning to you. How did you sleep?"
    async with connect(every.port, model="remote") as client:
        response = await ask(client)
        assert response["status"] == "completed"
        assert client.transcripts() == ["good morning"]
        assert client.answers() == [endpoint.reply]
        assert np.abs(client.answer_sound(response["id"])).max() > 1_000
    asked = endpoint.asked("chat")[-1]
    assert asked.json["messages"][-1] == {"role": "user", "content": "good morning"}
    assert asked.headers["authorization"] == "Bearer sesame"
    assert len(endpoint.asked("transcription")[-1].samples) > 16_000


@pytest.mark.parametrize("stage", ["transcription", "chat", "speech"])
async def test_the_error_of_a_service_is_told_and_the_session_goes_on(
    every: Server, endpoint: Endpoint, stage: Any
) -> None:
    async with connect(every.port, model="remote") as client:
        endpoint.always(stage, error_answer(429, "Too many requests today", "rate_limit_exceeded", "rate_limit"))
        try:
            response = await ask(client)
        finally:
            endpoint.always(stage, None)
        assert response["status"] == "failed"
        error = response["status_details"]["error"]
        assert (error["code"], error["type"]) == ("rate_limit_exceeded", "rate_limit")
        assert "Too many requests today" in error["message"]
        client.say(spoken(QUESTION))
        assert (await client.wait_for("response.done", 2))["response"]["status"] == "completed"


async def test_an_interruption_closes_the_request_to_a_service(every: Server, endpoint: Endpoint) -> None:
    never = Gate()
    words = said("This is the beginning of a reply. It has more than one sentence. And then it goes on.")
    endpoint.tell("chat", Answer([*sse(*words[:-1], done=False), never], content_type="text/event-stream"))
    async with connect(every.port, model="remote") as client:
        client.open_microphone()
        client.say(spoken(QUESTION))
        await client.wait_for("response.output_audio.delta")
        request = endpoint.asked("chat")[-1]
        assert not request.gone.is_set()
        client.say(spoken(QUESTION))
        response = (await client.wait_for("response.done"))["response"]
        assert response["status_details"]["reason"] == "turn_detected"
        assert await asyncio.to_thread(request.gone.wait, 5), "the service saw the connection close"


# --- what cannot work stops the start -----------------------------------------------------------------------------

NO_START: list[tuple[str, dict[str, Any], str, str]] = [
    ("vad", {"engine": "silero", "model": "other.onnx"}, "vad.model", "no option"),
    ("endpointing", {"engine": "smart-turn"}, "endpointing", "Add `model: "),
    ("endpointing", {"engine": "smart-turn", "model": "{junk}"}, "endpointing.model", "ONNX"),
    ("endpointing", {"engine": "silence", "device": "cuda"}, "endpointing.device", "CPU"),
    ("transcription", {"engine": "pocketsphinx", "decoders": 0}, "transcription.decoders", "at least 1"),
    ("transcription", {"engine": "faster-whisper", "model": "{missing}"}, "transcription.model", "Correct the path"),
    ("transcription", {"engine": "faster-whisper", "model": "{empty}"}, "transcription.model", "model.bin"),
    ("transcription", {"engine": "faster-whisper", "compute_type": "int3"}, "transcription.compute_type", "`int8`"),
    ("llm", {"engine": "llama-cpp", "model": "{missing}"}, "llm.model", "GGUF"),
    ("llm", {"engine": "llama-cpp", "model": "{cut}"}, "llm.model", "Download it again"),
    ("llm", {"engine": "llama-cpp", "contxt": 4096}, "llm.contxt", "`context`"),
    ("llm", {"engine": "openai", "model": "qwen3", "base_url": "localhost:11434"}, "llm.base_url", "http://"),
    ("tts", {"engine": "openai", "model": "tts-1"}, "tts", "Add `base_url: "),
    ("tts", {"engine": "espeak-ng", "voice": "en-usa"}, "tts.voice", "en-us"),
    ("tts", {"engine": "piper", "voice": "{missing}"}, "tts.voice", ".onnx"),
    ("tts", {"engine": "piper", "voice": "{junk}"}, "tts.voice", ".onnx"),
]
"""A stage and its block, the key that the error names, and something of what it says."""


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """Paths of files that are not what an engine needs."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "junk.onnx").write_bytes(b"junk" * 999)
    (tmp_path / "cut.gguf").write_bytes((WEIGHTS / "llama-tools" / "tools.gguf").read_bytes()[:9_999])
    names = {"missing": "missing.onnx", "empty": "empty", "junk": "junk.onnx", "cut": "cut.gguf"}
    return {name: str(tmp_path / file) for name, file in names.items()}


@pytest.mark.parametrize("wrong", NO_START, ids=lambda wrong: f"{wrong[1]['engine']}-{wrong[2]}")
def test_what_cannot_work_stops_the_start_and_says_where_and_what_to_do(
    wrong: tuple[str, dict[str, Any], str, str],
    files: dict[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stage, options, key, said = wrong
    block = {name: value.format(**files) if isinstance(value, str) else value for name, value in options.items()}
    config = tmp_path / "models.yaml"
    config.write_text(yaml.safe_dump({"default": "one", "models": {"one": MINI | {stage: block}}}))
    assert main(["serve", "--port", "0", "--config", str(config)]) == 2
    told = capsys.readouterr()
    (line,) = told.err.strip().splitlines()
    assert re.match(rf"parley: {re.escape(str(config))}, line \d+, models\.one\.{re.escape(key)}: ", line), line
    assert said in line
    assert "listens" not in told.out
