"""`/v1/models`: the loaded pipelines and their aliases, and what each can do, as its engines and models.yaml say."""

import time
from collections.abc import Iterator
from typing import Any

import msgspec
from aiohttp import web
from msgspec import inspect as types

from pipeline.line import Line
from server.profile import profile_of
from server.realtime.schema import AudioInput, AudioOutput
from server.rest.service import Service
from server.rest.sound_in import FILE_TYPES
from server.rest.sound_out import FORMATS

_STARTED = int(time.time())


async def list_models(request: web.Request, service: Service) -> web.Response:
    """`GET /v1/models`."""
    names = [*service.lines, *_plain_aliases(service)]
    return web.json_response({"object": "list", "data": [_model(name, service) for name in names]})


async def retrieve_model(request: web.Request, service: Service) -> web.Response:
    """`GET /v1/models/{id}`: a pipeline's name, or any name that leads to one.

    Raises:
        ApiError: there is none.
    """
    return web.json_response(_model(request.match_info["id"], service))


def _plain_aliases(service: Service) -> Iterator[str]:
    """The aliases that are names, and lead to a loaded pipeline: a pattern names nothing that could be listed."""
    for pattern in service.config.aliases:
        if not set(pattern) & set("*?[") and _leads_to(pattern, service) in service.lines:
            yield pattern


def _leads_to(pattern: str, service: Service) -> str:
    target = service.config.aliases[pattern]
    return service.config.default if target == "default" else target


def _model(name: str, service: Service) -> dict[str, Any]:
    line = service.line(name)
    return {
        "id": name,
        "object": "model",
        "created": _STARTED,
        "owned_by": "parley",
        "pipeline": line.name,
        "default": line.name == service.config.default,
        "aliases": [pattern for pattern in service.config.aliases if _leads_to(pattern, service) == line.name],
        "capabilities": _capabilities(line, service),
    }


def _capabilities(line: Line, service: Service) -> dict[str, Any]:
    ears, model, voice = line.transcription.capabilities, line.llm.capabilities, line.tts.capabilities
    profile = profile_of(line, service.config)
    return {
        "realtime": {
            "input_formats": _formats(AudioInput),
            "output_formats": _formats(AudioOutput),
            "turn_detection": ["server_vad", "semantic_vad"],
            "speculation": profile.speculation,
            "prefill": profile.prefills,
        },
        "transcription": {
            "engine": line.config.transcription.engine,
            "languages": sorted(ears.languages),
            "partials": ears.partial_s is not None,
            "word_times": ears.word_times,
            "logprobs": ears.log_probabilities,
            "prompt": ears.prompt,
            "file_types": list(FILE_TYPES),
        },
        "llm": {
            "engine": line.config.llm.engine,
            "context": model.context,
            "tools": model.tools,
            "forced_calls": model.forced_calls,
            "vision": model.vision,
            "reasoning": model.reasoning,
            "truncation": "truncation" in model.heeds,
            "settings": sorted({"temperature", *model.heeds} - {"truncation"}),
        },
        "speech": {
            "engine": line.config.tts.engine,
            "voices": list(profile.voices),
            "default_voice": profile.voice,
            "languages": sorted(voice.languages),
            "speeds": list(voice.speeds),
            "formats": list(FORMATS),
        },
    }


def _formats(direction: type[msgspec.Struct]) -> list[dict[str, Any]]:
    """What sessions speak in one direction, read from the schema."""
    (kind,) = (field.type for field in msgspec.structs.fields(direction) if field.name == "format")
    info = types.type_info(kind)
    found = []
    for each in info.types if isinstance(info, types.UnionType) else (info,):
        if isinstance(each, types.StructType):
            rates = [field.default for field in each.fields if field.name == "rate"]
            found.append({"type": each.tag, **({"rate": rates[0]} if rates else {})})
    return found
