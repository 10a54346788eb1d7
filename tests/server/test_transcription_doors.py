"""The ways into a transcription session: the URL, and ephemeral keys in either dialect, by the `openai` package."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from openai.types.beta.realtime import TranscriptionSession
from openai.types.realtime import ClientSecretCreateResponse
from openai.types.realtime.realtime_transcription_session_create_response import (
    RealtimeTranscriptionSessionCreateResponse,
)

from tests.pipeline.packages import packages
from tests.server.test_doors import Doors, guarded, open_
from tests.server.test_older_secrets import package

__all__ = ["guarded", "open_", "packages"]

SESSIONS = "/v1/realtime/transcription_sessions"
LOGPROBS = "item.input_audio_transcription.logprobs"
BETA = {"OpenAI-Beta": "realtime=v1"}


@contextlib.asynccontextmanager
async def begun(those: Doors, path: str, **options: Any) -> AsyncIterator[tuple[Any, dict[str, Any]]]:
    """Connects; yields the WebSocket and the first event."""
    async with those.client.ws_connect(path, **options) as websocket:
        yield websocket, await websocket.receive_json(timeout=10)


# --- the URL ---


@pytest.mark.parametrize(
    ("path", "headers", "kind"),
    [
        ("/v1/realtime?intent=transcription", {}, "session.created"),
        ("/openai/v1/realtime?intent=transcription", {}, "session.created"),
        ("/v1/realtime?intent=transcription&model=two", {}, "session.created"),
        ("/v1/realtime?model=gpt-4o-transcribe&intent=transcription", {}, "session.created"),
        ("/v1/realtime?intent=transcription", BETA, "transcription_session.created"),
        ("/openai/realtime?deployment=whisper-1&intent=transcription", {}, "transcription_session.created"),
    ],
)
async def test_the_url_asks_for_one(open_: Doors, path: str, headers: Any, kind: str) -> None:
    async with begun(open_, path, headers=headers) as (websocket, event):
        assert event["type"] == kind
        assert event["session"]["object"] == "realtime.transcription_session"
        await websocket.send_json({"type": "response.create", "event_id": "mine"})
        error = (await websocket.receive_json(timeout=10))["error"]
        assert (error["code"], error["event_id"]) == ("invalid_value", "mine")


async def test_a_conversation_may_be_named_as_well(open_: Doors) -> None:
    assert (await open_.begin("/v1/realtime?intent=conversation"))["type"] == "realtime"


@pytest.mark.parametrize(
    ("path", "status", "code", "param"),
    [
        ("/v1/realtime?intent=telepathy", 400, "invalid_value", "intent"),
        ("/v1/realtime?intent=", 400, "invalid_value", "intent"),
        ("/v1/realtime?call_id=rtc_1", 400, "unsupported_parameter", "call_id"),
        ("/v1/realtime?intent=transcription&model=nobody", 404, "model_not_found", "model"),
        ("/v1/realtime?model=gpt-4o-transcribe", 404, "model_not_found", "model"),
    ],
)
async def test_what_leads_nowhere_is_refused(open_: Doors, path: str, status: int, code: str, param: str) -> None:
    refused, error = await open_.refused(path)
    assert (refused, error["code"], error["param"]) == (status, code, param)


# --- keys ---


async def test_a_key_opens_the_session_that_was_asked_for_with_it(guarded: Doors) -> None:
    session = {
        "type": "transcription",
        "audio": {
            "input": {
                "format": {"type": "audio/pcmu"},
                "transcription": {"model": "gpt-4o-transcribe", "language": "en"},
                "turn_detection": {"type": "server_vad", "silence_duration_ms": 200},
            }
        },
    }
    async with package(guarded) as client:
        made = await client.realtime.client_secrets.create(session=session)  # type: ignore[arg-type]
    assert isinstance(made.session, RealtimeTranscriptionSessionCreateResponse)
    assert made.session.object == "realtime.transcription_session"
    heard = made.session.audio and made.session.audio.input
    assert heard is not None
    assert heard.turn_detection is not None
    assert (heard.turn_detection.silence_duration_ms, heard.turn_detection.threshold) == (200, 0.5)
    for path in ("/v1/realtime", "/v1/realtime?intent=transcription", "/v1/realtime?model=two"):
        async with begun(guarded, path, headers={"Authorization": f"Bearer {made.value}"}) as (_, event):
            assert event["session"]["type"] == "transcription"
            own = ("id", "expires_at")
            shown = made.session.to_dict(exclude_unset=True)
            assert {**event["session"], **dict.fromkeys(own)} == {**shown, **dict.fromkeys(own)}


async def test_the_answer_is_what_the_schema_says_and_no_more(open_: Doors) -> None:
    status, answer = await open_.secret({"session": {"type": "transcription"}})
    assert status == 200
    session = ClientSecretCreateResponse.model_validate(answer).session
    assert isinstance(session, RealtimeTranscriptionSessionCreateResponse)
    assert not session.model_extra
    assert not session.audio.input.turn_detection.model_extra  # type: ignore[union-attr]


async def test_a_key_opens_no_session_of_another_kind(guarded: Doors) -> None:
    for kind, intent in (("transcription", "conversation"), ("realtime", "transcription")):
        async with package(guarded) as client:
            made = await client.realtime.client_secrets.create(session={"type": kind})  # type: ignore[misc, arg-type]
        headers = {"Authorization": f"Bearer {made.value}"}
        status, error = await guarded.refused(f"/v1/realtime?intent={intent}", headers=headers)
        assert (status, error["code"], error["param"]) == (400, "intent_mismatch", "intent")


async def test_a_key_in_beta_opens_the_session_that_was_asked_for_with_it(guarded: Doors) -> None:
    async with package(guarded) as client:
        made = await client.beta.realtime.transcription_sessions.create(
            client_secret={"expires_at": {"anchor": "created_at", "seconds": 60}},
            input_audio_format="g711_alaw",
            input_audio_transcription={"model": "gpt-4o-transcribe", "language": "en"},
            turn_detection={"type": "server_vad", "silence_duration_ms": 200},
        )
    assert made.client_secret.value.startswith("ek_")
    assert made.client_secret.expires_at == guarded.clock.now + 60
    assert made.input_audio_format == "g711_alaw"
    assert made.turn_detection is not None
    assert (made.turn_detection.silence_duration_ms, made.turn_detection.prefix_padding_ms) == (200, 300)
    headers = {"Authorization": f"Bearer {made.client_secret.value}"}
    async with begun(guarded, "/v1/realtime", headers={**headers, **BETA}) as (_, event):
        assert event["type"] == "transcription_session.created"
        assert event["session"]["input_audio_transcription"] == {"model": "gpt-4o-transcribe", "language": "en"}
        assert event["session"]["turn_detection"]["silence_duration_ms"] == 200
    async with begun(guarded, "/v1/realtime", headers=headers) as (_, event):
        assert event["session"]["audio"]["input"]["format"] == {"type": "audio/pcma"}, "in GA it is the same session"
    guarded.clock.now += 61
    status, error = await guarded.refused(headers=headers)
    assert (status, error["code"]) == (401, "invalid_api_key")


async def test_the_answer_in_beta_is_the_flat_session_and_the_key(open_: Doors) -> None:
    async with open_.client.post(SESSIONS) as answer:
        assert answer.status == 200
        assert answer.headers["Cache-Control"] == "no-store"
        whole = await answer.json()
    TranscriptionSession.model_validate(
        {**whole, "input_audio_transcription": None}  # the package knows OpenAI's models alone
    )
    assert set(whole.pop("client_secret")) == {"value", "expires_at"}
    async with begun(open_, "/v1/realtime?intent=transcription", headers=BETA) as (_, event):
        own = ("id", "expires_at")
        assert {**whole, **dict.fromkeys(own)} == {**event["session"], **dict.fromkeys(own)}


async def test_a_session_may_come_to_a_page_of_another_site_by_its_key(guarded: Doors) -> None:
    _, answer = await guarded.secret({"session": {"type": "transcription"}}, Authorization="Bearer own-key-1234")
    offered = ("realtime", f"openai-insecure-api-key.{answer['value']}")
    page = {"Origin": "https://elsewhere.example"}
    async with begun(guarded, "/v1/realtime", headers=page, protocols=offered) as (_, event):
        assert event["session"]["type"] == "transcription"


BAD = [
    ({"model": "one"}, "unknown_parameter", "session.model"),
    ({"instructions": "Be kind."}, "unknown_parameter", "session.instructions"),
    ({"include": [LOGPROBS]}, "invalid_value", "session.include"),
    ({"audio": {"output": {}}}, "unknown_parameter", "session.audio.output"),
    (
        {"audio": {"input": {"turn_detection": {"type": "server_vad", "create_response": True}}}},
        "invalid_value",
        "session.audio.input.turn_detection.create_response",
    ),
]


@pytest.mark.parametrize(("session", "code", "param"), BAD)
async def test_what_a_key_cannot_be_for_is_refused_by_name(
    open_: Doors, session: dict[str, Any], code: str, param: str
) -> None:
    status, answer = await open_.secret({"session": {"type": "transcription", **session}})
    assert (status, answer["error"]["code"], answer["error"]["param"]) == (400, code, param)


BAD_IN_BETA: list[tuple[dict[str, Any], str, str]] = [
    ({"client_secret": {"expires_at": {"seconds": 9}}}, "invalid_value", "client_secret.expires_at.seconds"),
    ({"client_secret": {"expires_after": {"seconds": 60}}}, "unknown_parameter", "client_secret.expires_after"),
    ({"modalities": ["text"]}, "unknown_parameter", "modalities"),
    ({"model": "one"}, "unknown_parameter", "model"),
    ({"input_audio_format": "mp3"}, "invalid_value", "input_audio_format"),
    ({"include": [LOGPROBS]}, "invalid_value", "include"),
    (
        {"turn_detection": {"type": "server_vad", "interrupt_response": True}},
        "invalid_value",
        "turn_detection.interrupt_response",
    ),
]


@pytest.mark.parametrize(("body", "code", "param"), BAD_IN_BETA)
async def test_what_a_key_in_beta_cannot_be_for_is_refused_by_name(
    open_: Doors, body: dict[str, Any], code: str, param: str
) -> None:
    async with open_.client.post(SESSIONS, json=body) as answer:
        error = (await answer.json())["error"]
    assert (answer.status, error["code"], error["param"]) == (400, code, param)
    assert "session." not in error["message"].replace("transcription_session.", "")
