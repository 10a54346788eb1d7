"""The doors of the server, in-process and without engines: who may come in, by which path, and to what."""

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from openai.types.realtime import ClientSecretCreateResponse
from openai.types.realtime.realtime_session_create_response import RealtimeSessionCreateResponse

from pipeline.config import load_config
from server import auth, client_secrets
from server.app import Server
from server.auth import Keys
from server.traces import Traces
from server.websocket import MAX_FRAME
from tests.fakes import fake_line
from tests.pipeline.packages import Packages, packages
from tests.threads import parley_threads, until
from tests.wire_checker import next_on

__all__ = ["packages"]

CONFIG = """
default: one
models:
  one: &one
    vad: {engine: fake}
    transcription: {engine: fake}
    llm: {engine: fake}
    tts: {engine: fake}
  two: *one
aliases: {"gpt-realtime*": default}
"""
OWN = "own-key-1234"
SECRETS = "/v1/realtime/client_secrets"


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class Doors:
    """A server, the client that knocks, and the clock by which keys expire."""

    def __init__(self, client: "TestClient[web.Request, web.Application]", clock: Clock) -> None:
        self.client = client
        self.clock = clock

    async def secret(self, body: Any = None, **headers: str) -> tuple[int, Any]:
        async with self.client.post(SECRETS, json=body or {}, headers=headers) as answer:
            return answer.status, await answer.json()

    async def key(self, seconds: int = 600, **session: Any) -> str:
        body = {"expires_after": {"anchor": "created_at", "seconds": seconds}}
        if session:
            body["session"] = {"type": "realtime", **session}
        status, answer = await self.secret(body, Authorization=f"Bearer {OWN}")
        assert status == 200, answer
        return str(answer["value"])

    async def begin(self, path: str = "/v1/realtime", **options: Any) -> dict[str, Any]:
        """Connects, and returns the session that begins."""
        async with self.client.ws_connect(path, **options) as websocket:
            event = next_on(websocket, await websocket.receive_json(timeout=10))
            assert event["type"] == "session.created"
            return dict(event["session"])

    async def refused(self, path: str = "/v1/realtime", **options: Any) -> tuple[int, Any]:
        """Returns status and error of a handshake that is refused."""
        headers = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
            **options.get("headers", {}),
        }
        async with self.client.get(path, headers=headers) as answer:
            assert answer.status != 101
            return answer.status, (await answer.json())["error"]


@contextlib.asynccontextmanager
async def doors(
    tmp_path: Path, packages: Packages, own: str | None = None, traces: Traces | None = None
) -> AsyncIterator[Doors]:
    packages.install_fakes()
    file = tmp_path / "models.yaml"
    file.write_text(CONFIG)
    config = load_config(file)
    line = fake_line()
    lines = {name: dataclasses.replace(line, name=name, config=config.pipeline(name)) for name in ("one", "two")}
    clock = Clock()
    server = Server(config, lines, Keys(own, clock), traces)
    async with TestClient(TestServer(server.app())) as client:
        yield Doors(client, clock)
    server.close()


@pytest.fixture
async def guarded(tmp_path: Path, packages: Packages) -> AsyncIterator[Doors]:
    async with doors(tmp_path, packages, OWN) as those:
        yield those


@pytest.fixture
async def open_(tmp_path: Path, packages: Packages) -> AsyncIterator[Doors]:
    async with doors(tmp_path, packages) as those:
        yield those


# --- the server's key ---


@pytest.mark.parametrize(
    "options",
    [
        {"headers": {"Authorization": f"Bearer {OWN}"}},
        {"headers": {"authorization": f"bearer  {OWN} "}},
        {"headers": {"api-key": OWN}},
        {"protocols": ("realtime", f"openai-insecure-api-key.{OWN}")},
        {"headers": {"Authorization": "Bearer another", "api-key": OWN}},
    ],
)
async def test_the_key_opens_in_every_place_where_clients_put_it(guarded: Doors, options: Any) -> None:
    assert (await guarded.begin(**options))["model"] == "one"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": f"Basic {OWN}"},
        {"Authorization": f"Bearer {OWN}5"},
        {"Authorization": f"Bearer {OWN[:-1]}"},
        {"Authorization": "Bearer "},
        {"api-key": "nope"},
        {"api-key": "ü"},
        {"Sec-WebSocket-Protocol": f"realtime, {OWN}"},
        {"Sec-WebSocket-Protocol": "realtime, openai-insecure-api-key.nope"},
        {"Authorization": "Bearer ek_0123"},
    ],
)
@pytest.mark.parametrize("path", ["/v1/realtime", "/openai/v1/realtime?model=one", "/openai/realtime?deployment=one"])
async def test_without_the_key_a_handshake_is_refused_in_the_shape_of_the_protocol(
    guarded: Doors, headers: Any, path: str
) -> None:
    status, error = await guarded.refused(path, headers=headers)
    assert (status, error["type"], error["code"]) == (401, "invalid_request_error", "invalid_api_key")
    assert set(error) == {"type", "code", "message", "param"}
    assert OWN not in error["message"]
    assert "nope" not in error["message"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("POST", SECRETS),
        ("POST", "/v1/realtime/sessions"),
        ("GET", "/v1/models"),
        ("POST", "/v1/audio/transcriptions"),
        ("POST", "/v1/audio/speech"),
        ("POST", "/v1/chat/completions"),
        ("GET", "/parley/load?seconds=0.01"),
        ("GET", "/not/there"),
        ("POST", "/not/there"),
    ],
)
async def test_every_other_door_asks_for_the_key_too(guarded: Doors, method: str, path: str) -> None:
    for key in ("nope", await guarded.key() if path == SECRETS else "nope"):  # nor does an ephemeral key make keys
        async with guarded.client.request(method, path, headers={"Authorization": f"Bearer {key}"}) as answer:
            assert answer.status == 401
            assert (await answer.json())["error"]["code"] == "invalid_api_key"
    async with guarded.client.request(method, path, headers={"Authorization": f"Bearer {OWN}"}) as answer:
        assert answer.status != 401


async def test_without_a_key_of_its_own_a_server_takes_any(open_: Doors) -> None:
    await open_.begin()
    await open_.begin(headers={"Authorization": "Bearer sk-whatever"})
    await open_.begin(headers={"api-key": "local"})


# --- ephemeral keys ---


async def test_an_ephemeral_key_opens_sessions_that_begin_as_was_asked_for(guarded: Doors) -> None:
    key = await guarded.key(instructions="Speak of the sea.", output_modalities=["text"], model="two")
    for options in (
        {"headers": {"Authorization": f"Bearer {key}"}},
        {"headers": {"api-key": key}},
        {"protocols": ("realtime", f"openai-insecure-api-key.{key}")},
    ):
        session = await guarded.begin(**options)
        assert session["instructions"] == "Speak of the sea."
        assert session["output_modalities"] == ["text"]
        assert session["model"] == "two"
        assert session["audio"]["output"]["voice"] == "one"


@pytest.mark.parametrize("own", [OWN, None])
async def test_an_ephemeral_key_expires_and_a_session_goes_on(
    tmp_path: Path, packages: Packages, own: str | None
) -> None:
    async with doors(tmp_path, packages, own) as those:
        key = await those.key(seconds=10)
        headers = {"Authorization": f"Bearer {key}"}
        async with those.client.ws_connect("/v1/realtime", headers=headers) as websocket:
            assert next_on(websocket, await websocket.receive_json(timeout=10))["type"] == "session.created"
            those.clock.now += 9.9
            await those.begin(headers=headers)
            those.clock.now += 0.2
            status, error = await those.refused(headers=headers)
            assert (status, error["code"]) == (401, "invalid_api_key")
            assert "client_secrets" in error["message"]
            assert key not in error["message"]
            await websocket.send_json({"type": "response.cancel"})
            assert (
                next_on(websocket, await websocket.receive_json(timeout=10))["error"]["code"]
                == "response_cancel_not_active"
            )


async def test_a_secret_is_what_the_schema_says(open_: Doors) -> None:
    session = {"type": "realtime", "audio": {"output": {"speed": 1.25}}, "tool_choice": "none"}
    status, answer = await open_.secret({"session": session})
    assert status == 200
    secret = ClientSecretCreateResponse.model_validate(answer)
    assert secret.value.startswith("ek_")
    assert secret.expires_at == open_.clock.now + 600
    assert isinstance(secret.session, RealtimeSessionCreateResponse)
    assert secret.session.id.startswith("sess_")
    assert answer["session"]["audio"]["output"] == {
        "format": {"type": "audio/pcm", "rate": 24000},
        "voice": "one",
        "speed": 1.25,
    }
    assert answer["session"]["audio"]["input"]["turn_detection"]["silence_duration_ms"] == 500
    assert answer["session"]["tool_choice"] == "none"
    assert "temperature" not in answer["session"]


async def test_an_empty_body_asks_for_the_defaults(open_: Doors) -> None:
    async with open_.client.post(SECRETS) as answer:
        assert answer.status == 200
        assert (await answer.json())["session"]["model"] == "one"
        assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("seconds", [10, 7200])
async def test_the_time_of_a_key_is_the_clients_choice(open_: Doors, seconds: int) -> None:
    _, answer = await open_.secret({"expires_after": {"anchor": "created_at", "seconds": seconds}})
    assert answer["expires_at"] == open_.clock.now + seconds


BAD = [
    ({"expires_after": {"seconds": 9}}, "invalid_value", "expires_after.seconds"),
    ({"expires_after": {"seconds": 7201}}, "invalid_value", "expires_after.seconds"),
    ({"expires_after": {"seconds": "60"}}, "invalid_type", "expires_after.seconds"),
    ({"expires_after": {"anchor": "now"}}, "invalid_value", "expires_after.anchor"),
    ({"expires_after": {"colour": 1}}, "unknown_parameter", "expires_after.colour"),
    ({"colour": 1}, "unknown_parameter", "colour"),
    ([], "invalid_type", None),
    ({"session": {}}, "invalid_value", "session.type"),
    ({"session": 5}, "invalid_type", "session"),
    ({"session": {"type": "song"}}, "invalid_value", "session.type"),
    ({"session": {"type": ["realtime"]}}, "invalid_value", "session.type"),
    ({"session": {"type": "realtime", "colour": 1}}, "unknown_parameter", "session.colour"),
    ({"session": {"type": "realtime", "id": "sess_1"}}, "unknown_parameter", "session.id"),
    ({"session": {"type": "realtime", "temperature": 0.8}}, "unknown_parameter", "session.temperature"),
    ({"session": {"type": "realtime", "model": 5}}, "invalid_type", "session.model"),
    ({"session": {"type": "realtime", "model": "none"}}, "model_not_found", "session.model"),
    ({"session": {"type": "realtime", "tracing": "on"}}, "invalid_value", "session.tracing"),
    (
        {"session": {"type": "realtime", "audio": {"output": {"voice": "nobody"}}}},
        "invalid_value",
        "session.audio.output.voice",
    ),
]


@pytest.mark.parametrize(("body", "code", "param"), BAD)
async def test_what_cannot_be_honoured_is_refused_by_name(open_: Doors, body: Any, code: str, param: str) -> None:
    async with open_.client.post(SECRETS, json=body) as answer:
        error = (await answer.json())["error"]
    assert answer.status == (404 if code == "model_not_found" else 400)
    assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", code, param)


@pytest.mark.parametrize("body", [b"{", b"\xff", b"nonsense"])
async def test_what_is_no_json_is_refused(open_: Doors, body: bytes) -> None:
    async with open_.client.post(SECRETS, data=body) as answer:
        assert (answer.status, (await answer.json())["error"]["code"]) == (400, "invalid_json")


async def test_a_body_without_end_is_refused(open_: Doors) -> None:
    async with open_.client.post(SECRETS, data=b" " * (client_secrets.MAX_BODY + 1)) as answer:
        assert (answer.status, (await answer.json())["error"]["code"]) == (413, "request_too_large")


async def test_the_model_of_the_key_holds_and_another_one_is_refused(guarded: Doors) -> None:
    headers = {"Authorization": f"Bearer {await guarded.key(model='gpt-realtime')}"}
    assert (await guarded.begin("/v1/realtime?model=gpt-realtime-mini", headers=headers))["model"] == "one"
    status, error = await guarded.refused("/v1/realtime?model=two", headers=headers)
    assert (status, error["code"], error["param"]) == (400, "model_mismatch", "model")
    anything = {"Authorization": f"Bearer {await guarded.key()}"}
    assert (await guarded.begin("/v1/realtime?model=two", headers=anything))["model"] == "two"


async def test_keys_are_given_out_only_while_there_is_room_and_expired_ones_make_some(
    open_: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth, "MAX_HELD_BYTES", 3000)
    assert [(await open_.secret())[0] for _ in range(3)] == [200, 200, 429]
    open_.clock.now += 601
    assert (await open_.secret())[0] == 200


# --- pages of other sites ---


PAGE = {"Origin": "https://elsewhere.example"}


async def test_a_page_of_another_site_may_not_come_without_a_key(open_: Doors) -> None:
    assert (await open_.refused(headers=PAGE))[1]["code"] == "origin_not_allowed"
    assert (await open_.refused(headers={**PAGE, "Authorization": "Bearer guessed"}))[0] == 403
    async with open_.client.post(SECRETS, headers=PAGE) as answer:
        assert answer.status == 403


@pytest.mark.parametrize("own", [OWN, None])
async def test_a_page_of_another_site_may_come_with_an_ephemeral_key(
    tmp_path: Path, packages: Packages, own: str | None
) -> None:
    async with doors(tmp_path, packages, own) as those:
        key = await those.key()
        await those.begin(headers=PAGE, protocols=("realtime", f"openai-insecure-api-key.{key}"))


# --- paths and subprotocols ---


@pytest.mark.parametrize(
    "path",
    [
        "/v1/realtime?model=two",
        "/openai/v1/realtime?model=two",
        "/openai/v1/realtime?api-version=2025-08-28&deployment=two",
    ],
)
async def test_each_path_leads_to_the_pipeline_that_is_named(open_: Doors, path: str) -> None:
    assert (await open_.begin(path))["model"] == "two"


@pytest.mark.parametrize(
    ("offered", "echoed"),
    [
        ((), None),
        (("realtime",), "realtime"),
        (("openai-insecure-api-key.sk-1", "realtime"), "realtime"),
        (("openai-insecure-api-key.sk-1",), None),
    ],
)
async def test_only_the_subprotocol_realtime_is_echoed_and_only_where_it_is_offered(
    open_: Doors, offered: tuple[str, ...], echoed: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with open_.client.ws_connect("/v1/realtime", protocols=offered) as websocket:
        assert websocket.protocol == echoed
        assert websocket._response.headers.get("Sec-WebSocket-Protocol") == echoed
    assert "sk-1" not in caplog.text


async def test_nothing_is_deflated_even_where_it_is_offered(open_: Doors) -> None:
    async with open_.client.ws_connect("/v1/realtime", compress=15) as websocket:
        assert "Sec-WebSocket-Extensions" not in websocket._response.headers


async def test_a_key_that_no_header_may_carry_is_not_logged(guarded: Doors, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    reader, writer = await asyncio.open_connection("127.0.0.1", guarded.client.port)
    writer.write(b"GET /v1/realtime HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sec\x01ret-one\r\n\r\n")
    await asyncio.wait_for(reader.read(), 10)
    writer.close()
    assert "ret-one" not in caplog.text


async def test_a_binary_frame_is_an_error_and_too_long_a_frame_ends_the_connection(open_: Doors) -> None:
    async with open_.client.ws_connect("/v1/realtime") as websocket:
        next_on(websocket, await websocket.receive_json(timeout=10))
        await websocket.send_bytes(b"\0")
        assert next_on(websocket, await websocket.receive_json(timeout=10))["error"]["code"] == "invalid_event"
        with contextlib.suppress(ConnectionError):  # the server hangs up before it has read all of it
            await websocket.send_str(" " * (MAX_FRAME + 1))
        assert (await websocket.receive(timeout=20)).type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)


async def test_a_frame_of_21_mib_is_taken(open_: Doors) -> None:
    async with open_.client.ws_connect("/v1/realtime") as websocket:
        next_on(websocket, await websocket.receive_json(timeout=10))
        await websocket.send_json({"type": "input_audio_buffer.append", "audio": "A" * 20 * 1024 * 1024})
        await websocket.send_str('{"type": "response.cancel"}' + " " * (21 * 1024 * 1024 - 27))
        assert (
            next_on(websocket, await websocket.receive_json(timeout=30))["error"]["code"]
            == "response_cancel_not_active"
        )


@pytest.mark.parametrize(
    ("event", "param"),
    [
        ({"type": "session.update", "session": {"type": "realtime", "instructions": "x" * 2**20}}, "session"),
        ({"type": "session.update", "session": {"type": "realtime", "instructions": "\x01" * 2**18}}, "session"),
        (
            {
                "type": "conversation.item.create",
                "item": {"type": "function_call_output", "call_id": "1", "output": "x" * 2**20},
            },
            "item",
        ),
        ({"type": "conversation.item.delete", "item_id": "x" * 2**21}, "item_id"),
        (
            {"type": "session.update", "session": {"type": "realtime", "tool_choice": "x" * 2**21}},
            "session.tool_choice",
        ),
        ({"type": "session.update", "session": {"type": "realtime", "x" * 2**21: 1}}, "session.xxx"),
        ({"type": "x" * 2**21}, "type"),
    ],
)
async def test_whatever_comes_in_no_frame_out_is_longer_than_1_mib(open_: Doors, event: Any, param: str) -> None:
    async with open_.client.ws_connect("/v1/realtime", max_msg_size=2**20) as websocket:
        next_on(websocket, await websocket.receive_json(timeout=10))
        await websocket.send_json(event)
        answer = next_on(websocket, await websocket.receive_json(timeout=10))
        assert answer["error"]["param"].startswith(param)


async def test_what_is_nearly_1_mib_goes_in_and_out(open_: Doors) -> None:
    async with open_.client.ws_connect("/v1/realtime", max_msg_size=2**20) as websocket:
        next_on(websocket, await websocket.receive_json(timeout=10))
        await websocket.send_json(
            {"type": "session.update", "session": {"type": "realtime", "instructions": "x" * 1_000_000}}
        )
        assert next_on(websocket, await websocket.receive_json(timeout=10))["type"] == "session.updated"


async def test_pipelines_that_share_a_detector_share_its_thread_and_it_ends_with_the_server(
    tmp_path: Path, packages: Packages
) -> None:
    before = len(parley_threads("vad"))
    async with doors(tmp_path, packages):
        assert len(parley_threads("vad")) == before + 1
    await until(lambda: len(parley_threads("vad")) == before)
