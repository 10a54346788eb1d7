"""A server on loopback whose engines do what a test tells them, and the `openai` package as its client."""

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from openai import AsyncOpenAI

from pipeline.config import load_config
from pipeline.line import Line
from server.app import Server
from tests.fakes import fake_line

CONFIG = """
default: mini
models:
  mini:
    vad: {engine: silero}
    transcription: {engine: pocketsphinx}
    llm: {engine: llama-cpp, model: builtin}
    tts: {engine: espeak-ng, voice: en-us}
    voices: {nova: two}
  unloaded:
    vad: {engine: silero}
    transcription: {engine: pocketsphinx}
    llm: {engine: llama-cpp, model: builtin}
    tts: {engine: espeak-ng, voice: en-us}
aliases: {"gpt-4*": default, whisper-1: mini, other: unloaded}
"""


@dataclass
class Api:
    client: AsyncOpenAI
    line: Line
    url: str


Serve = Callable[..., contextlib.AbstractAsyncContextManager[Api]]


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    @contextlib.asynccontextmanager
    async def serve(**engines: Any) -> AsyncIterator[Api]:
        file = tmp_path / "models.yaml"
        file.write_text(CONFIG)
        config = load_config(file)
        line = fake_line(**engines)
        line.name, line.config = "mini", config.pipeline("mini")
        server = Server(config, {"mini": line})
        runner = web.AppRunner(server.app(), handler_cancellation=True)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        try:
            base = f"http://{host}:{port}/v1"
            async with AsyncOpenAI(base_url=base, api_key="local", max_retries=0) as client:
                yield Api(client, line, base)
        finally:
            await runner.cleanup()
            server.close()

    return serve


@pytest.fixture
async def api(serve: Serve) -> AsyncIterator[Api]:
    async with serve() as api:
        yield api
