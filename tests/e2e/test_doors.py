"""A server with TLS, a key and traces, as clients meet it: the `openai` package, `parley talk`, and Node."""

import asyncio
import base64
import json
import os
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import openai
import pytest
import websockets
from openai import AsyncAzureOpenAI, AsyncOpenAI, DefaultAsyncHttpxClient

from server.cli import main
from server.cli.wav import read_wav, write_wav
from tests.e2e.conftest import HERE, Server, python_path, serving
from tests.speech import say, silence
from tests.wire_checker import next_on

OWN = "own-key-of-the-tests"


@dataclass
class Locked:
    """A server with TLS, a key, and a folder for traces."""

    server: Server
    state: Path
    traces: Path

    @property
    def certificate(self) -> Path:
        return self.state / "parley" / "tls" / "certificate.pem"

    @property
    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.certificate))

    def url(self, scheme: str, path: str = "/v1") -> str:
        return f"{scheme}://127.0.0.1:{self.server.port}{path}"

    def api(self, key: str = OWN) -> AsyncOpenAI:
        return AsyncOpenAI(
            api_key=key,
            base_url=self.url("https"),
            http_client=DefaultAsyncHttpxClient(verify=self.trust),
            max_retries=0,
        )

    def log(self) -> str:
        return self.server.log.read_text()


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Locked]:
    folder = tmp_path_factory.mktemp("locked")
    (folder / "key").write_text(f"{OWN}\n")
    options = [
        "--tls",
        "--api-key-file",
        str(folder / "key"),
        "--traces",
        str(folder / "traces"),
        "--log-level",
        "debug",
    ]
    environment = {"XDG_STATE_HOME": str(folder), "PYTHONPATH": python_path()}
    with serving(HERE / "models.yaml", ["echo"], folder, *options, **environment) as server:
        yield Locked(server, folder, folder / "traces")


@pytest.fixture
async def api(locked: Locked) -> AsyncIterator[AsyncOpenAI]:
    async with locked.api() as api:
        yield api


async def next_event(connection: Any, kind: str) -> Any:
    async with asyncio.timeout(20):
        while True:
            event = next_on(connection, json.loads(await connection.recv_bytes()))
            assert event["type"] != "error", event
            if event["type"] == kind:
                return event


def test_the_start_tells_what_clients_need_and_not_the_key(locked: Locked) -> None:
    said = locked.log()
    assert f"parley talk --url wss://127.0.0.1:{locked.server.port}/v1/realtime" in said
    assert f"NODE_EXTRA_CA_CERTS={locked.certificate}" in said
    assert OWN not in said


async def test_the_package_talks_by_tls_with_the_key(locked: Locked, api: AsyncOpenAI) -> None:
    connecting = api.realtime.connect(model="echo", websocket_connection_options={"ssl": locked.trust})
    async with connecting as connection:
        assert connection._connection.response.headers.get("Sec-WebSocket-Extensions") is None
        await connection.session.update(session={"type": "realtime", "output_modalities": ["text"], "tracing": "auto"})
        session = (await next_event(connection, "session.updated"))["session"]
        assert session["tracing"] == "auto"
        content = [{"type": "input_text", "text": "hello"}]
        await connection.conversation.item.create(item={"type": "message", "role": "user", "content": content})
        await connection.response.create()
        assert (await next_event(connection, "response.done"))["response"]["status"] == "completed"
    (trace,) = locked.traces.glob(f"*{session['id']}.jsonl")
    kinds = [line["server"]["type"] for line in map(json.loads, trace.read_text().splitlines()) if "server" in line]
    assert (kinds[0], kinds[-1]) == ("session.updated", "response.done")
    assert OWN not in trace.read_text()


async def test_a_client_secret_begins_the_session_that_it_was_made_for(locked: Locked, api: AsyncOpenAI) -> None:
    secret = await api.realtime.client_secrets.create(
        expires_after={"anchor": "created_at", "seconds": 60},
        session={"type": "realtime", "model": "echo", "instructions": "Sing.", "output_modalities": ["text"]},
    )
    assert secret.value.startswith("ek_")
    assert secret.session.type == "realtime"
    assert secret.session.instructions == "Sing."
    async with locked.api(secret.value) as client:
        options = {"ssl": locked.trust}
        async with client.realtime.connect(model="echo", websocket_connection_options=options) as connection:
            session = (await next_event(connection, "session.created"))["session"]
            assert (session["instructions"], session["output_modalities"]) == ("Sing.", ["text"])
        with pytest.raises(openai.AuthenticationError):
            await client.realtime.client_secrets.create()
    assert secret.value not in locked.log()


async def test_a_wrong_key_is_an_authentication_error(locked: Locked) -> None:
    async with locked.api("wrong-key") as client:
        with pytest.raises(openai.AuthenticationError) as refused:
            await client.realtime.client_secrets.create()
        assert refused.value.code == "invalid_api_key"
        with pytest.raises(websockets.exceptions.InvalidStatus) as turned_away:
            await client.realtime.connect(model="echo", websocket_connection_options={"ssl": locked.trust}).enter()
        assert turned_away.value.response.status_code == 401
    assert "wrong-key" not in locked.log()


async def test_azures_client_reaches_the_server(locked: Locked) -> None:
    azure = AsyncAzureOpenAI(
        azure_endpoint=locked.url("https", ""),
        api_version="2025-08-28",
        api_key=OWN,
        websocket_base_url=locked.url("wss", "/openai/v1"),
    )
    options = {"ssl": locked.trust}
    async with azure.realtime.connect(model="echo", websocket_connection_options=options) as connection:
        assert (await next_event(connection, "session.created"))["session"]["model"] == "echo"
    older = AsyncAzureOpenAI(azure_endpoint=locked.url("https", ""), api_version="2024-10-01-preview", api_key=OWN)
    async with older.beta.realtime.connect(model="echo", websocket_connection_options=options) as connection:
        session = (await next_event(connection, "session.created"))["session"]
        assert (session["model"], session["modalities"]) == ("echo", ["text", "audio"])


async def test_another_websocket_base_url_reaches_the_server(server: Server) -> None:
    base = f"ws://127.0.0.1:{server.port}/openai/v1"
    async with AsyncOpenAI(api_key="local", websocket_base_url=base).realtime.connect(model="echo") as connection:
        assert (await next_event(connection, "session.created"))["session"]["model"] == "echo"


async def test_a_frame_of_15_mib_of_sound_is_taken(server: Server) -> None:
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(f"http://127.0.0.1:{server.port}/v1/realtime?model=echo") as websocket,
    ):
        assert next_on(websocket, await websocket.receive_json())["type"] == "session.created"
        session = {"type": "realtime", "audio": {"input": {"turn_detection": None}}}
        await websocket.send_json({"type": "session.update", "session": session})
        assert next_on(websocket, await websocket.receive_json())["type"] == "session.updated"
        audio = base64.b64encode(bytes(15 * 1024 * 1024)).decode()
        await websocket.send_json({"type": "input_audio_buffer.append", "audio": audio})
        await websocket.send_json({"type": "input_audio_buffer.clear"})
        assert next_on(websocket, await websocket.receive_json(timeout=30))["type"] == "input_audio_buffer.cleared"


# --- parley talk ---


@pytest.fixture
def question(tmp_path: Path) -> Path:
    file = tmp_path / "question.wav"
    write_wav(file, np.concatenate([say("who made you", 24_000), silence(0.3, 24_000)]), 24_000)
    return file


def fingerprint(locked: Locked) -> str:
    (line,) = [line for line in locked.log().splitlines() if line.strip().startswith("fingerprint")]
    return line.split()[1]


@pytest.mark.parametrize("trust", ["own", "fingerprint", "insecure"])
def test_parley_talk_talks_by_tls(
    locked: Locked, question: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trust: str
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(locked.state if trust == "own" else tmp_path))
    monkeypatch.setenv("PARLEY_API_KEY", OWN)
    options = {"own": [], "fingerprint": ["--fingerprint", fingerprint(locked)], "insecure": ["--insecure"]}[trust]
    answer = tmp_path / "answer.wav"
    files = ["--in", str(question), "--out", str(answer)]
    assert main(["talk", "--url", locked.url("wss", ""), "--model", "echo", *files, *options]) == 0
    assert len(read_wav(answer)[0]) > 12_000


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has neither the certificate nor the key."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


TURNED_AWAY = [
    ("wss", [], "not trusted"),
    ("wss", ["--fingerprint", "00" * 32], "another fingerprint"),
    ("ws", [], "wss://"),
    ("wss", ["--insecure", "--api-key", "wrong"], "Incorrect API key"),
    ("wss", ["--insecure"], "didn't provide an API key"),
]


@pytest.mark.usefixtures("stranger")
@pytest.mark.parametrize("case", TURNED_AWAY, ids=[case[2] for case in TURNED_AWAY])
def test_parley_talk_says_why_it_is_not_let_in(
    locked: Locked, question: Path, capsys: pytest.CaptureFixture[str], case: tuple[str, list[str], str]
) -> None:
    scheme, options, said = case
    assert main(["talk", "--url", locked.url(scheme, ""), "--in", str(question), *options]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_parley_talk_says_that_a_server_does_without_tls(
    server: Server, question: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["talk", "--url", f"wss://127.0.0.1:{server.port}", "--in", str(question)]) == 1
    assert "begins with ws://" in capsys.readouterr().err


# --- others ---


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node")
def test_node_trusts_the_certificate_by_its_file(locked: Locked) -> None:
    script = (
        f"fetch('{locked.url('https', '/')}', {{headers: {{'api-key': '{OWN}'}}}})"
        ".then(answer => console.log(answer.status), error => console.log(String(error.cause)))"
    )
    environment = os.environ | {"NODE_EXTRA_CA_CERTS": str(locked.certificate)}
    ran = subprocess.run(["node", "-e", script], env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "200"


def test_the_locked_server_runs_this_tree(locked: Locked) -> None:
    maps = Path(f"/proc/{locked.server.pid}/environ")
    if not maps.exists():
        pytest.skip("reads /proc")
    assert str(HERE.parent.parent) in maps.read_text()
