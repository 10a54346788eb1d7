"""What is measured: which servers are started, and what is asked of them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from yarl import URL

from pipeline.config import shipped_config
from pipeline.errors import ParleyError
from server.bench.bench import Plan, Result, Server, measure
from server.bench.questions import BUILT_IN, INTERRUPTIONS, LONG_REPLY, spoken
from server.cli.address import Address

from .processes import serving, stubs

Pipeline = dict[str, Any]
"""A block under `models:` in models.yaml."""

SEQUENTIAL: Final = {"speculation": False, "clause_streaming": False}
"""What makes a pipeline do one stage after the other."""

LOADS: Final = (1, 4, 16)


@dataclass(frozen=True, slots=True)
class Setting:
    """Where servers write, how often each question is asked, and where models of true shape are."""

    folder: Path
    rounds: int
    models: Path | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """A table of the report. `kind` is what it is about; `notes` are lines below it."""

    name: str
    title: str
    plan: Plan
    results: Sequence[Result]
    kind: Literal["turns", "interruptions", "load"] = "turns"
    notes: Sequence[str] = ()


def mini(setting: Setting) -> Iterator[Measured]:
    """The pipeline that comes with Parley, at windows of 500 and 200 ms."""
    with ExitStack() as stack:
        servers = _side_by_side(stack, setting, "mini", _mini())
        for silence_ms in (500, 200):
            plan = Plan(spoken(BUILT_IN), setting.rounds, silence_ms=silence_ms, warm_up=1)
            yield _measured(f"mini-{silence_ms}", f"`mini`, {silence_ms} ms of silence end a turn", servers, plan)


def stub_stages(setting: Setting) -> Iterator[Measured]:
    """Stages of fixed delay over HTTP, at a window of 500 ms."""
    exactness: list[str] = []
    with ExitStack() as stack:
        port = stack.enter_context(stubs(setting.folder, said=exactness.extend))
        servers = _side_by_side(stack, setting, "stubs", _remote(port))
        plan = Plan(spoken(BUILT_IN), setting.rounds, warm_up=1)
        measured = _measured("stubs", "Stages of fixed delay, 500 ms of silence end a turn", servers, plan)
    yield replace(measured, notes=["The stubs kept their delays:", *exactness])


def true_shape(setting: Setting) -> Iterator[Measured]:
    """Models that cost what real ones cost."""
    for name, pipeline in _of_true_shape(setting.models):
        with ExitStack() as stack:
            servers = _side_by_side(stack, setting, name, pipeline)
            plan = Plan(spoken(BUILT_IN), setting.rounds, warm_up=1)
            yield _measured(name, f"{name}, 500 ms of silence end a turn", servers, plan)


def interruptions(setting: Setting) -> Iterator[Measured]:
    """Long replies whose sound comes in real time, and somebody who speaks over them."""
    with ExitStack() as stack:
        port = stack.enter_context(stubs(setting.folder, "--pace", "1", "--repeat", "20"))
        servers = [_server(stack, setting, "interruptions", "Parley", _remote(port))]
        rounds = setting.rounds * len(BUILT_IN)
        plan = Plan(spoken((LONG_REPLY,)), rounds, interruptions=spoken(INTERRUPTIONS), warm_up=1)
        title = "Interruptions of replies whose sound comes in real time"
        yield replace(_measured("interruptions", title, servers, plan), kind="interruptions")


def load(setting: Setting) -> Iterator[Measured]:
    """1, 4 and 16 sessions that ask the same at the same time: of `mini`, and of a server with its stages elsewhere."""
    for sessions in LOADS:
        yield _under_load(setting, "mini", "`mini`", _mini(), sessions)
    with ExitStack() as stack:
        port = stack.enter_context(stubs(setting.folder))
        for sessions in LOADS:
            yield _under_load(setting, "stubs", "Stages of fixed delay", _remote(port), sessions)


CASES: Final[dict[str, Callable[[Setting], Iterator[Measured]]]] = {
    "mini": mini,
    "stubs": stub_stages,
    "true-shape": true_shape,
    "interruptions": interruptions,
    "load": load,
}


def _under_load(setting: Setting, name: str, title: str, pipeline: Pipeline, sessions: int) -> Measured:
    name = f"load-{name}-{sessions}"
    with ExitStack() as stack:  # a fresh server each time, for its memory
        servers = [_server(stack, setting, name, "Parley", pipeline)]
        plan = Plan(spoken(BUILT_IN), max(1, setting.rounds // 2), sessions)
        return replace(_measured(name, f"{title}, {sessions} at once", servers, plan), kind="load")


def _measured(name: str, title: str, servers: Sequence[Server], plan: Plan) -> Measured:
    results = asyncio.run(measure(servers, plan, lambda line: print(line, file=sys.stderr, flush=True)))
    return Measured(name, title, plan, results)


def _side_by_side(stack: ExitStack, setting: Setting, name: str, pipeline: Pipeline) -> list[Server]:
    """Starts the pipeline as it is, and as one that does a stage after the other."""
    return [
        _server(stack, setting, f"{name}-as-usual", "Parley", pipeline),
        _server(stack, setting, f"{name}-sequential", "sequential", pipeline | SEQUENTIAL),
    ]


def _server(stack: ExitStack, setting: Setting, name: str, label: str, pipeline: Pipeline) -> Server:
    port = stack.enter_context(serving(setting.folder, name, pipeline))
    return Server(label, Address(URL(f"ws://127.0.0.1:{port}/v1/realtime")))


def _mini() -> Pipeline:
    pipeline: Pipeline = msgspec.yaml.decode(shipped_config().read_bytes())["models"]["mini"]
    return pipeline


def _remote(port: int) -> Pipeline:
    service = {"engine": "openai", "base_url": f"http://127.0.0.1:{port}/v1"}
    return {
        "vad": {"engine": "silero"},
        "transcription": {**service, "model": "stub-transcription"},
        "llm": {**service, "model": "stub-llm"},
        "tts": {**service, "model": "stub-speech", "concurrency": 64},
    }


def _of_true_shape(folder: Path | None) -> Iterator[tuple[str, Pipeline]]:
    """Returns a pipeline for each language model in the folder, with its transcriber and its voice.

    Raises:
        ParleyError: there is no folder, or nothing in it.
    """
    if folder is None:
        raise ParleyError("Say where the models are: --models FOLDER. scripts.make_bench_models makes them.")
    models = sorted(folder.glob("*.gguf"))
    if not models:
        raise ParleyError(f"There is no language model (*.gguf) in {folder}. scripts.make_bench_models makes one.")
    whispers = sorted(each.parent for each in folder.glob("whisper*/model.bin"))
    voices = sorted(each for each in folder.glob("**/*.onnx") if each.with_suffix(".onnx.json").is_file())
    for model in models:
        pipeline = _mini() | {
            "llm": {"engine": "llama-cpp", "model": str(model.resolve()), "context": 4096, "sequences": 4}
        }
        name = model.stem
        if whispers:
            whisper = next((each for each in whispers if "base" in each.name), whispers[0])
            pipeline["transcription"] = {
                "engine": "faster-whisper",
                "model": str(whisper.resolve()),
                "compute_type": "int8",
            }
            name = f"{whisper.name} + {name}"
        if voices:
            pipeline["tts"] = {"engine": "piper", "voice": str(voices[0].resolve())}
            name = f"{name} + {voices[0].stem}"
        yield name, pipeline
