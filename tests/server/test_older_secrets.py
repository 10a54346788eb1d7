"""Ephemeral keys of clients written before GA: `POST /v1/realtime/sessions`, by the `openai` package."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from tests.pipeline.packages import Packages, packages
from tests.server.test_doors import OWN, Doors, doors, guarded, open_

__all__ = ["guarded", "open_", "packages"]

SESSIONS = "/v1/realtime/sessions"


def package(those: Doors, key: str = OWN) -> AsyncOpenAI:
    base = those.client.make_url("/v1")
    return AsyncOpenAI(api_key=key, base_url=str(base), websocket_base_url=str(base.with_scheme("ws")), max_retries=0)


@pytest.fixture(params=[OWN, None])
async def those(tmp_path: Path, packages: Packages, request: pytest.FixtureRequest) -> AsyncIterator[Doors]:
    async with doors(tmp_path, packages, request.param) as those:
        yield those


async def test_a_key_opens_the_session_that_was_asked_for_with_it(those: Doors) -> None:
    async with package(those) as client:
        made = await client.beta.realtime.sessions.create(
            client_secret={"expires_after": {"anchor": "created_at", "seconds": 60}},
            model="two",  # type: ignore[arg-type]
            modalities=["text"],
            instructions="Sing.",
            input_audio_format="g711_ulaw",
            temperature=0.9,
        )
    assert made.client_secret.value.startswith("ek_")
    assert made.client_secret.expires_at == those.clock.now + 60
    assert (made.modalities, made.instructions, made.input_audio_format) == (["text"], "Sing.", "g711_ulaw")
    assert made.temperature == 0.9
    async with package(those, made.client_secret.value) as client:
        async with client.beta.realtime.connect(model="two") as connection:
            session = (await connection.recv()).session  # type: ignore[union-attr]
            assert (session.modalities, session.instructions, session.temperature) == (["text"], "Sing.", 0.9)
            assert (session.model, session.input_audio_format) == ("two", "g711_ulaw")
        those.clock.now += 61
        status, error = await those.refused(headers={"Authorization": f"Bearer {made.client_secret.value}"})
        assert (status, error["code"]) == (401, "invalid_api_key")


async def test_the_key_of_a_session_in_beta_makes_no_keys(guarded: Doors) -> None:
    async with package(guarded) as client:
        made = await client.beta.realtime.sessions.create()
    async with package(guarded, made.client_secret.value) as client:
        with pytest.raises(openai.AuthenticationError):
            await client.beta.realtime.sessions.create()


async def test_the_answer_is_the_flat_session_and_the_key(open_: Doors) -> None:
    async with open_.client.post(SESSIONS) as answer:
        assert answer.status == 200
        assert answer.headers["Cache-Control"] == "no-store"
        whole = await answer.json()
    assert set(whole.pop("client_secret")) == {"value", "expires_at"}
    begun = await open_.begin(headers={"OpenAI-Beta": "realtime=v1"})
    own = ("id", "expires_at")
    assert {**whole, **dict.fromkeys(own)} == {**begun, **dict.fromkeys(own)}


BAD = [
    ({"client_secret": {"expires_after": {"seconds": 9}}}, "invalid_value", "client_secret.expires_after.seconds"),
    ({"client_secret": {"colour": 1}}, "unknown_parameter", "client_secret.colour"),
    ({"client_secret": 5}, "invalid_type", "client_secret"),
    ([], "invalid_type", None),
    ({"colour": 1}, "unknown_parameter", "colour"),
    ({"audio": {}}, "unknown_parameter", "audio"),
    ({"temperature": 2}, "invalid_value", "temperature"),
    ({"input_audio_format": "audio/pcm"}, "invalid_value", "input_audio_format"),
    ({"voice": "nobody"}, "invalid_value", "voice"),
    ({"max_response_output_tokens": "many"}, "invalid_value", "max_response_output_tokens"),
    ({"model": 5}, "invalid_type", "model"),
    ({"model": "none"}, "model_not_found", "model"),
]


@pytest.mark.parametrize(("body", "code", "param"), BAD)
async def test_what_cannot_be_honoured_is_refused_by_the_clients_own_names(
    open_: Doors, body: Any, code: str, param: str | None
) -> None:
    async with open_.client.post(SESSIONS, json=body) as answer:
        error = (await answer.json())["error"]
    assert answer.status == (404 if code == "model_not_found" else 400)
    assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", code, param)
    assert "session." not in error["message"]
    if body == {"input_audio_format": "audio/pcm"}:
        assert "'audio/pcm'" in error["message"], "what the client said, as it said it"


async def test_what_is_no_json_is_refused(open_: Doors) -> None:
    async with open_.client.post(SESSIONS, data=b"nonsense") as answer:
        assert (answer.status, (await answer.json())["error"]["code"]) == (400, "invalid_json")
