"""Server events with every field filled: what of the protocol's fields can leave the server, in either dialect."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import inspect as types

from scripts.make_docs.protocol_words import Struct, fields_of, server_structs
from server.realtime.schema import AudioInput, Transcription
from server.realtime.server_events import ServerEvent
from server.wire import Dialect

_BY_NAME: Mapping[str, Any] = {
    "audio": {
        "input": msgspec.to_builtins(AudioInput(transcription=Transcription("ears", "en", "words"))),
        "output": {"format": {"type": "audio/pcm", "rate": 24_000}, "voice": "one"},
    },
    "output_modalities": ["audio"],
}
"""What is made by hand where the type does not say what is in it."""


def sent_paths(dialect: Dialect) -> dict[str, set[str]]:
    """Returns the fields of each server event of a dialect, at any depth; `[]` stands for each of a list."""
    found: dict[str, set[str]] = {}
    for kind in server_structs().values():
        for event in _filled(kind):
            frame = dialect.encode(event)
            if frame is not None:
                body = msgspec.json.decode(frame)
                found.setdefault(body["type"], set()).update(_paths(body, ""))
    return found


def _paths(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield (here := f"{path}.{name}" if path else name)
            yield from _paths(inner, here)
    elif isinstance(value, list):
        for inner in value:
            yield from _paths(inner, f"{path}[]")


def _filled(kind: Struct) -> Iterator[ServerEvent]:
    """Yields the event with every field: the first of each field's values, then each other value in its turn."""
    choices = {
        field.name: [
            msgspec.convert(value, kind)
            for kind in field.alternatives
            for value in _values(types.type_info(kind), field.encode_name)
        ]
        for field in fields_of(kind)
    }
    for filled in _in_turn(choices):
        event = kind(**filled)
        assert isinstance(event, ServerEvent)
        yield event


def _of_struct(kind: Struct) -> Iterator[dict[str, Any]]:
    """Yields the like of an object."""
    config = kind.__struct_config__
    tag = {} if config.tag_field is None else {config.tag_field: [config.tag]}
    yield from _in_turn(
        {field.encode_name: list(_values(field.type, field.encode_name)) for field in fields_of(kind)} | tag
    )


def _in_turn(choices: Mapping[str, list[Any]]) -> Iterator[dict[str, Any]]:
    usual = {name: found[0] for name, found in choices.items() if found}
    yield usual
    for name, found in choices.items():
        for value in found[1:]:
            yield {**usual, name: value}


def _values(kind: types.Type, name: str) -> Iterator[Any]:  # noqa: PLR0912 - one branch a type
    if name in _BY_NAME and isinstance(kind, types.DictType | types.ListType):
        yield _BY_NAME[name]
        return
    match kind:
        case types.Metadata(type=inner):
            yield from _values(inner, name)
        case types.UnionType(types=inner):
            for each in inner:
                if not isinstance(each, types.NoneType):
                    yield from _values(each, name)
        case types.StructType(cls=struct):
            yield from _of_struct(struct)
        case types.ListType(item_type=item):
            for value in _values(item, name):
                yield [value]
        case types.LiteralType(values=values):
            yield from values[:1]
        case types.IntType():
            yield kind.ge or 1
        case types.FloatType():
            yield 1.0
        case types.BoolType():
            yield True
        case types.BytesType():
            yield "AAAA"
        case types.StrType():
            yield "message" if name == "type" else "text"
        case types.DictType():
            yield {"key": "value"}
        case types.NoneType() | types.AnyType():
            yield None
