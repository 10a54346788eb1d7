"""One real server process for most end-to-end tests, started and ended by its process id."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@dataclass
class Server:
    process: "subprocess.Popen[bytes]"
    port: int
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid


@contextlib.contextmanager
def serving(config: Path, models: Sequence[str], folder: Path, *options: str, **environment: str) -> Iterator[Server]:
    """Starts `parley serve` on a free port and ends it. `folder` is where its log goes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = folder / "server.log"
    parley = Path(sys.executable).with_name("parley")
    command = [str(parley), "serve", "--port", str(port), "--config", str(config)]
    for model in models:
        command += ["--model", model]
    command += options
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=os.environ | environment)
    try:
        _wait_until_listening(process, log)
        yield Server(process, port, log)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def python_path() -> str:
    """Returns where a server finds the engines of these tests, and this tree before an installed one."""
    return os.pathsep.join([str(HERE / "engines"), str(HERE.parent.parent)])


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    with serving(HERE / "models.yaml", ["patient", "echo", "slow"], folder, PYTHONPATH=python_path()) as server:
        yield server


def _wait_until_listening(process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 60
    while "listens on" not in log.read_text():
        if process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"the server did not start:\n{log.read_text()}")
        time.sleep(0.05)
