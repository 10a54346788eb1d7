"""Transcription sessions against a real server, by the `openai` package's own client in both dialects."""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
import pytest
import yaml
from openai import AsyncOpenAI

from tests.e2e.client import RATE, Client, spoken, understood
from tests.e2e.conftest import Server, python_path, serving
from tests.e2e.test_beta import BetaClient, package
from tests.e2e.test_every_engine import WEIGHTS, plain
from tests.openai_endpoint import Endpoint, json_answer
from tests.speech import silence

QUESTION = "what is your name"
SECOND = "who made you"
LOGPROBS = "item.input_audio_transcription.logprobs"
TOLD = "conversation.item.input_audio_transcription"
INTENT = {"intent": "transcription"}

PATIENCE_S = 60.0
"""Decoders stand back on a busy machine."""


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    with Endpoint() as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, endpoint: Endpoint) -> Iterator[Server]:
    """A server with three transcribers: PocketSphinx, and two that tell log probabilities: Whisper, and a service."""
    folder = tmp_path_factory.mktemp("ears")
    around = {"vad": {"engine": "silero"}, "llm": {"engine": "echo"}, "tts": {"engine": "beeper"}}
    service = {"engine": "openai", "base_url": endpoint.base_url, "model": "test", "log_probabilities": True}
    models = {
        "mini": {**around, "transcription": {"engine": "pocketsphinx", "timeout": PATIENCE_S}},
        "whisper": {**around, "transcription": {"engine": "faster-whisper", "model": str(WEIGHTS / "whisper-tiny")}},
        "remote": {**around, "transcription": service},
    }
    config = folder / "models.yaml"
    config.write_text(yaml.safe_dump({"default": "mini", "models": models}))
    with serving(config, list(models), folder, PYTHONPATH=python_path()) as server:
        yield server


@contextlib.asynccontextmanager
async def listening(port: int, key: str = "local", **options: Any) -> AsyncIterator[Client]:
    """A session in GA. `options` are those of the package's `connect`."""
    api = AsyncOpenAI(
        api_key=key, base_url=f"http://127.0.0.1:{port}/v1", websocket_base_url=f"ws://127.0.0.1:{port}/v1"
    )
    async with api.realtime.connect(**options) as connection:
        client = Client(connection)
        try:
            created = await client.wait_for("session.created")
            assert created["session"]["type"] == "transcription"
            yield client
        finally:
            await client.close()


async def configure(client: Client, count: int = 1, **session: Any) -> dict[str, Any]:
    await client.send(type="session.update", session={"type": "transcription", **session})
    updated: dict[str, Any] = (await client.wait_for("session.updated", count))["session"]
    return updated


async def said(client: Client, text: str, count: int = 1) -> dict[str, Any]:
    """Sends a text as sound, all at once, and commits it; returns what was understood."""
    await client.append(spoken(text))
    await client.send(type="input_audio_buffer.commit")
    completed: dict[str, Any] = await client.wait_for(f"{TOLD}.completed", count, PATIENCE_S)
    return completed


def in_base64(samples: Any) -> str:
    return base64.b64encode(samples.astype("<i2").tobytes()).decode()


def nothing_was_answered(client: Client) -> bool:
    return not any(kind.startswith("response.") for kind in client.kinds)


async def test_the_packages_own_client_transcribes(server: Server) -> None:
    """As its users write it: typed events, and the methods of the connection."""
    transcript = None
    api = package(server.port)
    async with api.realtime.connect(extra_query=INTENT) as connection, asyncio.timeout(PATIENCE_S):
        await connection.session.update(
            session={
                "type": "transcription",
                "audio": {"input": {"transcription": {"model": "gpt-4o-transcribe"}, "turn_detection": None}},
            }
        )
        await connection.input_audio_buffer.append(audio=in_base64(spoken(QUESTION)))
        await connection.input_audio_buffer.commit()
        async for event in connection:
            if event.type == "session.updated":
                assert event.session.type == "transcription"
                assert event.session.audio is not None
            elif event.type == "conversation.item.input_audio_transcription.completed":
                transcript = event.transcript
                break
            elif event.type == "error":
                raise AssertionError(event.error)
    assert transcript is not None
    assert understood(QUESTION, transcript)


async def test_what_is_said_comes_in_words_turn_by_turn_and_nothing_is_answered(server: Server) -> None:
    async with listening(server.port, extra_query=INTENT) as client:
        client.open_microphone()
        client.say(spoken(QUESTION))
        first = await client.wait_for(f"{TOLD}.completed", 1, PATIENCE_S)
        client.say(spoken(SECOND))
        second = await client.wait_for(f"{TOLD}.completed", 2, PATIENCE_S)
        assert understood(QUESTION, first["transcript"])
        assert understood(SECOND, second["transcript"])
        assert client.kinds[:2] == ["session.created", "input_audio_buffer.speech_started"]
        one, other = client.wire.of_type("input_audio_buffer.committed")
        assert (one["item_id"], other["item_id"]) == (first["item_id"], second["item_id"])
        assert other["previous_item_id"] == one["item_id"]
        assert client.wire.of_type(f"{TOLD}.delta")
        assert nothing_was_answered(client)


async def test_the_client_commits_and_is_told_of_what_it_cannot_have(server: Server) -> None:
    async with listening(server.port, extra_query=INTENT) as client:
        updated = await configure(client, audio={"input": {"turn_detection": None}})
        assert updated["audio"]["input"]["turn_detection"] is None
        assert understood(QUESTION, (await said(client, QUESTION))["transcript"])
        for count, (event, code, param) in enumerate(BAD, start=1):
            await client.send(**event, event_id=f"e{count}")
            error = (await client.wait_for("error", count))["error"]
            assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", code, param)
            assert error["event_id"] == f"e{count}"
        assert understood(SECOND, (await said(client, SECOND, 2))["transcript"]), "the session goes on"
        assert nothing_was_answered(client)


BAD: list[tuple[dict[str, Any], str, str | None]] = [
    ({"type": "response.create"}, "invalid_value", "type"),
    ({"type": "session.update", "session": {"type": "realtime"}}, "invalid_value", "session.type"),
    (
        {"type": "session.update", "session": {"type": "transcription", "instructions": "Be kind."}},
        "unknown_parameter",
        "session.instructions",
    ),
    (
        {"type": "session.update", "session": {"type": "transcription", "include": [LOGPROBS]}},
        "invalid_value",
        "session.include",
    ),
    ({"type": "input_audio_buffer.commit"}, "input_audio_buffer_commit_empty", None),
]


async def test_an_ephemeral_key_opens_the_session_that_it_was_made_for(server: Server) -> None:
    made = await package(server.port).realtime.client_secrets.create(
        session={"type": "transcription", "audio": {"input": {"turn_detection": None}}}
    )
    async with listening(server.port, made.value) as client:
        assert client.wire.events[0]["session"]["audio"]["input"]["turn_detection"] is None
        assert understood(QUESTION, (await said(client, QUESTION))["transcript"])


async def test_whisper_tells_segments_and_the_probability_of_each_token(server: Server) -> None:
    manual = {"input": {"turn_detection": None}}
    async with listening(server.port, extra_query=INTENT, model="whisper") as client:
        await configure(client, audio=manual, include=[LOGPROBS])
        completed = await said(client, QUESTION)
        assert plain(completed["transcript"]) == QUESTION
        tokens = completed["logprobs"]
        assert "".join(token["token"] for token in tokens).strip() == completed["transcript"]
        assert all(token["logprob"] <= 0 and bytes(token["bytes"]).decode() == token["token"] for token in tokens)
        segments = client.wire.of_type(f"{TOLD}.segment")
        assert " ".join(segment["text"] for segment in segments) == completed["transcript"]
        seconds = len(spoken(QUESTION)) / RATE
        assert all(0 <= segment["start"] < segment["end"] <= seconds + 0.1 for segment in segments)
        assert all(segment["item_id"] == completed["item_id"] for segment in segments)
        await configure(client, 2, include=None)
        assert "logprobs" not in await said(client, QUESTION, 2)


async def test_a_service_is_told_language_and_prompt_and_asked_for_probabilities(
    server: Server, endpoint: Endpoint
) -> None:
    told = {"text": "good morning", "logprobs": [{"token": "good", "logprob": -0.5, "bytes": list(b"good")}]}
    endpoint.tell("transcription", json_answer(told))
    transcription = {"model": "whisper-1", "language": "de-CH", "prompt": "Namen.", "keywords": ["Parley"]}
    async with listening(server.port, extra_query=INTENT, model="remote") as client:
        await configure(
            client, audio={"input": {"turn_detection": None, "transcription": transcription}}, include=[LOGPROBS]
        )
        completed = await said(client, QUESTION)
        assert completed["transcript"] == "good morning"
        assert completed["logprobs"] == told["logprobs"]
    fields = dict(endpoint.asked("transcription")[-1].fields)
    assert (fields["language"], fields["prompt"], fields["include[]"]) == ("de", "Namen. Parley", "logprobs")


# --- beta ---


@contextlib.asynccontextmanager
async def older(port: int, model: str = "mini") -> AsyncIterator[BetaClient]:
    async with package(port).beta.realtime.connect(model=model, extra_query=INTENT) as connection:
        client = BetaClient(connection)  # type: ignore[arg-type]
        try:
            await client.wait_for("transcription_session.created")
            yield client
        finally:
            await client.close()


async def test_the_packages_own_beta_client_transcribes(server: Server) -> None:
    api = package(server.port)
    transcript = None
    async with api.beta.realtime.connect(model="gpt-4o-transcribe", extra_query=INTENT) as connection:
        await connection.transcription_session.update(
            session={"input_audio_transcription": {"model": "gpt-4o-transcribe", "language": "en"}}
        )
        sound = np.concatenate((silence(0.3, RATE), spoken(QUESTION), silence(1.0, RATE)))
        await connection.input_audio_buffer.append(audio=in_base64(sound))
        async with asyncio.timeout(PATIENCE_S):
            async for event in connection:
                if event.type == "transcription_session.updated":
                    assert event.session.input_audio_transcription is not None
                    assert event.session.input_audio_transcription.model == "gpt-4o-transcribe"
                elif event.type == "conversation.item.input_audio_transcription.completed":
                    transcript = event.transcript
                    break
                elif event.type == "error":
                    raise AssertionError(event.error)
    assert transcript is not None
    assert understood(QUESTION, transcript)


async def test_in_beta_the_client_commits_and_is_told_of_what_it_cannot_have(server: Server) -> None:
    async with older(server.port) as client:
        await client.send(type="transcription_session.update", session={"turn_detection": None})
        assert (await client.wait_for("transcription_session.updated"))["session"]["turn_detection"] is None
        assert understood(QUESTION, (await said(client, QUESTION))["transcript"])
        bad = [
            ({"type": "response.create"}, "type"),
            ({"type": "session.update", "session": {"voice": "alloy"}}, "type"),
            ({"type": "transcription_session.update", "session": {"include": [LOGPROBS]}}, "session.include"),
        ]
        for count, (event, param) in enumerate(bad, start=1):
            await client.send(**event, event_id=f"e{count}")
            error = (await client.wait_for("error", count))["error"]
            assert (error["code"], error["param"], error["event_id"]) == ("invalid_value", param, f"e{count}")
        assert understood(SECOND, (await said(client, SECOND, 2))["transcript"])
        assert nothing_was_answered(client)


async def test_in_beta_whisper_tells_the_probability_of_each_token(server: Server) -> None:
    async with older(server.port, "whisper") as client:
        await client.send(type="transcription_session.update", session={"turn_detection": None, "include": [LOGPROBS]})
        assert (await client.wait_for("transcription_session.updated"))["session"]["include"] == [LOGPROBS]
        completed = await said(client, QUESTION)
        assert "".join(token["token"] for token in completed["logprobs"]).strip() == completed["transcript"]


async def test_an_ephemeral_key_in_beta_opens_the_session_that_it_was_made_for(server: Server) -> None:
    made = await package(server.port).beta.realtime.transcription_sessions.create(
        turn_detection={"type": "server_vad", "silence_duration_ms": 300}
    )
    api = package(server.port).with_options(api_key=made.client_secret.value)
    async with api.beta.realtime.connect(model="mini") as connection:
        client = BetaClient(connection)  # type: ignore[arg-type]
        created = await client.wait_for("transcription_session.created")
        assert created["session"]["turn_detection"]["silence_duration_ms"] == 300
        await client.close()
