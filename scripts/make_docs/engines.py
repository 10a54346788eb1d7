"""docs/engines.md: every built-in engine, and each of its options with type, default and meaning."""

import importlib
import inspect
from typing import Annotated, Any, get_args, get_origin

import msgspec
from msgspec import inspect as types

from pipeline.config import DEFAULT_TIMEOUTS
from pipeline.registry import STAGES, EngineClass, StageName, engine_names, find_engine
from scripts.make_docs.words import cell, in_words

_TITLES: dict[StageName, str] = {
    "vad": "Voice activity detection (`vad`)",
    "endpointing": "End of turn (`endpointing`)",
    "transcription": "Transcription (`transcription`)",
    "llm": "Language model (`llm`)",
    "tts": "Speech synthesis (`tts`)",
}

_INTRODUCTION = """\
# The engines

<!-- Made from the code by `make docs`; a test fails when it is out of date. Do not edit. -->

A pipeline in `models.yaml` has one block a stage: `stage: {engine: name, option: value, …}`. These are the engines
that come with Parley, and their options. An option that is left out has its default. `models.yaml` itself has an
example of each engine; [add-an-engine.md](add-an-engine.md) tells how to add one.

Two keys belong to the pipeline and go with every engine:

| key | default | meaning |
|---|---|---|
| `engine` | | The engine's name. |
| `timeout` | TIMEOUTS | Seconds without a sign of life after which the stage has failed. |
"""


def document() -> str:
    """Returns the document."""
    seconds = ", ".join(f"{DEFAULT_TIMEOUTS[stage]:g} ({stage})" for stage in STAGES)
    parts = [_INTRODUCTION.replace("TIMEOUTS", seconds)]
    for stage in STAGES:
        parts.append(f"\n## {_TITLES[stage]}\n")
        parts += [_section(engine) for engine in _engines(stage)]
    return "".join(parts)


def _engines(stage: StageName) -> list[EngineClass]:
    found = [find_engine(stage, name) for name in engine_names(stage)]
    return [engine for engine in found if engine.package == "parley"]


def _section(engine: EngineClass) -> str:
    about = inspect.getdoc(importlib.import_module(engine.made.__module__)) or ""
    rows = [_row(field) for field in msgspec.structs.fields(engine.options) if field.name != "device"]
    rows += _device_row(engine)
    table = "".join(["\n| option | type | default | meaning |\n|---|---|---|---|\n", *rows]) if rows else ""
    return f"\n### `{engine.name}`\n\n{about.split(chr(10) * 2)[0]}\n{table}"


def _row(field: msgspec.structs.FieldInfo) -> str:
    default = "**required**" if field.required else _written(_default(field))
    kind = cell(in_words(types.type_info(field.type)))
    return f"| `{field.encode_name}` | {kind} | {default} | {_meaning(field.type)} |\n"


def _device_row(engine: EngineClass) -> list[str]:
    """The row of `device`, which every engine has: with the choices that this engine takes."""
    able = getattr(engine.made, "devices", ("cpu",))
    if not able:
        return []  # it computes elsewhere
    field = next(field for field in msgspec.structs.fields(engine.options) if field.name == "device")
    choices = ", ".join(f"`{place}`" for place in ("auto", *able))
    meaning = _meaning(field.type) if "cuda" in able else "Where it computes: on the CPU only."
    return [f"| `device` | {choices} | `auto` | {meaning} |\n"]


def _default(field: msgspec.structs.FieldInfo) -> object:
    return field.default if field.default is not msgspec.NODEFAULT else field.default_factory()


def _written(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return f"`{value}`" if value else '`""`'
    return f"`{msgspec.json.encode(value).decode()}`"


def _meaning(kind: Any) -> str:
    if get_origin(kind) is Annotated:
        for note in get_args(kind)[1:]:
            if isinstance(note, msgspec.Meta) and note.description:
                return cell(note.description)
    raise ValueError(f"an option of type {kind} says nothing of its meaning: give it a Meta(description=…)")
