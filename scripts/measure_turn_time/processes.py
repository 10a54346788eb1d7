"""Servers and stubs in processes of their own, each ended by its id."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from pipeline.errors import ParleyError

_START_S: Final = 120.0
"""How long a server may take to load its models."""
_END_S: Final = 10.0
_ROOT: Final = Path(__file__).parents[2]


@contextmanager
def serving(folder: Path, name: str, pipeline: dict[str, Any]) -> Iterator[int]:
    """Serves one pipeline, and yields the port.

    Raises:
        ParleyError: it does not start; says why.
    """
    config = folder / f"{name}.yaml"
    config.write_bytes(msgspec.yaml.encode({"default": name, "models": {name: pipeline}}))
    command = [str(Path(sys.executable).with_name("parley")), "serve", "--port", "0", "--config", str(config)]
    with _running(command, folder / f"{name}.log", r"Parley listens on 127\.0\.0\.1:(\d+)") as port:
        yield port


@contextmanager
def stubs(folder: Path, *options: str, said: Callable[[list[str]], object] = lambda lines: None) -> Iterator[int]:
    """Serves the stubs, and yields their port; `said` is told at the end how exact they were."""
    log = folder / "stubs.log"
    command = [
        sys.executable,
        "-m",
        "scripts.stub_services",
        "--port",
        "0",
        "--log",
        str(folder / "stubs.jsonl"),
        *options,
    ]
    with _running(command, log, r"Stubs listen on http://127\.0\.0\.1:(\d+)") as port:
        yield port
    said([line for line in log.read_text().splitlines() if "ms late" in line])


@contextmanager
def _running(command: list[str], log: Path, listens: str) -> Iterator[int]:
    environment = os.environ | {"PYTHONPATH": str(_ROOT)}
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment, cwd=log.parent)
    try:
        yield _port(process, log, listens)
    finally:
        process.terminate()
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _port(process: subprocess.Popen[bytes], log: Path, listens: str) -> int:
    deadline = time.monotonic() + _START_S
    while (found := re.search(listens, log.read_text())) is None:
        if process.poll() is not None or time.monotonic() > deadline:
            raise ParleyError(f"A server did not start:\n{log.read_text()}")
        time.sleep(0.1)
    return int(found[1])
