"""Where foreign clients are installed: each in an environment of its own, in a folder that outlives the tests.

The folder is `$PARLEY_CLIENTS`, or `parley/clients` in the user's cache. What it lacks is fetched from PyPI and npm, as
those are configured. An environment is made anew when its requirements here change.
"""

import asyncio
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

EVERY = "PARLEY_CONFORMANCE"
"""The environment variable with which every client is tried (`make conformance`), and none may be skipped."""

_FETCH_S = 60.0
"""How long a test waits for packages, where it may be skipped."""
_FETCH_ALL_S = 600.0


@dataclass(frozen=True)
class Environment:
    """A client's packages. `large` ones are installed by `make conformance` only."""

    name: str
    requirements: tuple[str, ...]
    kind: str
    large: bool = False

    @property
    def folder(self) -> Path:
        home = os.environ.get("PARLEY_CLIENTS") or Path(
            os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "parley", "clients"
        )
        return Path(home) / self.name

    @property
    def command(self) -> list[str]:
        """What runs a driver."""
        return ["node"] if self.kind == "node" else [str(self.folder / "bin" / "python")]

    async def ready(self) -> "Environment":
        """Returns the environment, installed; skips the test where that cannot be, and need not be, had."""
        if self.kind == "node" and not (shutil.which("node") and shutil.which("npm")):
            self._give_up("Node and npm are not here")
        stamp = self.folder / ".installed"
        if stamp.is_file() and stamp.read_text() == self._wanted:
            return self
        if self.large and not os.environ.get(EVERY):
            self._give_up(f"{self.name} is large: `make conformance` installs and tries it")
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        for command in self._commands():
            await self._run(command)
        stamp.write_text(self._wanted)
        return self

    @property
    def _wanted(self) -> str:
        return "\n".join((sys.version.split()[0], *self.requirements))

    def _commands(self) -> list[list[str]]:
        if self.kind == "node":
            (self.folder / "package.json").write_text('{"private": true}')
            return [["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", *self.requirements]]
        uv = str(Path(sys.executable).with_name("uv"))
        python = self.command[0]
        return [
            [uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(self.folder)],
            [uv, "pip", "install", "--quiet", "--python", python, *self.requirements],
        ]

    async def _run(self, command: Sequence[str]) -> None:
        try:
            process = await asyncio.create_subprocess_exec(
                *command, cwd=self.folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
            )
        except FileNotFoundError:
            self._give_up(f"there is no {command[0]}")
        limit = _FETCH_ALL_S if os.environ.get(EVERY) else _FETCH_S
        try:
            said, _ = await asyncio.wait_for(process.communicate(), limit)
        except TimeoutError:
            process.kill()
            await process.wait()
            self._give_up(f"{self.name} could not be fetched in {limit:.0f} s")
        if process.returncode:
            self._give_up(f"{self.name} could not be installed: {said.decode(errors='replace')[-1000:]}")

    def _give_up(self, reason: str) -> None:
        (pytest.fail if os.environ.get(EVERY) else pytest.skip)(reason)


OPENAI_NODE = Environment("openai-node", ("openai@>=7.0 <8", "ws@^8.18"), "node")
AGENTS_NODE = Environment("agents-node", ("@openai/agents-realtime@>=0.3 <1", "zod@^4"), "node")
AGENTS = Environment("agents", ("openai-agents>=0.4,<1", "websockets>=15"), "python", large=True)
LIVEKIT = Environment("livekit", ("livekit-agents>=1.3,<2", "livekit-plugins-openai>=1.3,<2"), "python", large=True)
LIVEKIT_OLD = Environment(
    "livekit-old",
    ("livekit-agents>=0.12,<0.13", "livekit-plugins-openai>=0.11,<0.12", "openai<2"),
    "python",
    large=True,
)
PIPECAT = Environment("pipecat", ("pipecat-ai[openai]>=1.0,<2",), "python", large=True)
OPENAI_PYTHON = Environment("openai-python", ("openai[realtime]>=3,<4",), "python", large=True)
