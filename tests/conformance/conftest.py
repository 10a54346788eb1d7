"""One real server for foreign clients, a relay that watches each of them, and the sounds that they send."""

import asyncio
import json
import os
import ssl
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.brain import SPOKEN, Brain
from tests.conformance.relay import Relay
from tests.e2e.conftest import Server, python_path, serving
from tests.speech import say, silence

HERE = Path(__file__).parent
DRIVERS = HERE / "drivers"
SECONDS = 240
"""How long a driver may take, also on a busy machine; each bounds itself to less."""


@dataclass
class Parley:
    """A server with TLS, and what its language model is."""

    server: Server
    certificate: Path
    brain: Brain

    @property
    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.certificate))

    @property
    def identity(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.certificate.with_name("key-and-certificate.pem"))
        return context

    def relay(self, *, tls: bool) -> Relay:
        upstream = f"https://127.0.0.1:{self.server.port}"
        return Relay(upstream, self.trust, self.identity if tls else None)


@pytest.fixture(scope="session")
def parley(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parley]:
    folder = tmp_path_factory.mktemp("parley")
    with Brain() as brain:
        environment = {
            "XDG_STATE_HOME": str(folder),
            "PYTHONPATH": python_path(),
            "PARLEY_TEST_BRAIN": brain.base_url,
        }
        with serving(HERE / "models.yaml", ["slow"], folder, "--tls", **environment) as server:
            yield Parley(server, folder / "parley" / "tls" / "certificate.pem", brain)


@pytest.fixture
async def relay(parley: Parley) -> AsyncIterator[Relay]:
    """For clients that take `http://` and `ws://`."""
    async with parley.relay(tls=False).running() as relay:
        yield relay


@pytest.fixture
async def tls_relay(parley: Parley) -> AsyncIterator[Relay]:
    """For clients that insist on `wss://`; its certificate is the server's own."""
    async with parley.relay(tls=True).running() as relay:
        yield relay


@pytest.fixture(scope="session")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what is said, 16-bit mono at 24 kHz."""
    folder = tmp_path_factory.mktemp("sounds")
    for name, text in SPOKEN.items():
        (folder / f"{name}.pcm").write_bytes(say(text, 24_000).astype("<i2").tobytes())
    (folder / "room.pcm").write_bytes(silence(1.0, 24_000).astype("<i2").tobytes())
    return folder


class Report:
    """What a driver saw, step by step."""

    def __init__(self, lines: Sequence[dict[str, Any]], log: str) -> None:
        self.lines = lines
        self.log = log

    def has(self, step: str) -> bool:
        return any(line["step"] == step for line in self.lines)

    def __getitem__(self, step: str) -> dict[str, Any]:
        found = [line for line in self.lines if line["step"] == step]
        assert found, f"the driver did not report {step!r}, but {self.lines}\n{self.log[-4000:]}"
        return found[-1]


async def drive(command: Sequence[str | Path], driver: str, relay: Relay, sounds: Path, **environment: str) -> Report:
    """Runs a driver with its client to the end. Raises AssertionError when it fails."""
    own = {
        "PARLEY_URL": relay.url("http"),
        "PARLEY_WEBSOCKET_URL": relay.url("ws"),
        "PARLEY_SOUNDS": str(sounds),
        "OPENAI_API_KEY": "local",
        "PYTHONPATH": "",
    }
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = await asyncio.create_subprocess_exec(
            *command, DRIVERS / driver, env=os.environ | own | environment, stdout=out, stderr=err
        )
        try:
            await asyncio.wait_for(process.wait(), SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()
        out.seek(0)
        err.seek(0)
        log = err.read().decode(errors="replace")
        lines = [json.loads(line) for line in out.read().decode().splitlines() if line.startswith('{"step"')]
    report = Report(lines, log)
    assert process.returncode == 0, f"{lines[-3:]}\n{log[-4000:]}"
    return report
