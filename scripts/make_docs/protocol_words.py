"""What the code says of the protocol's fields: the docstrings beside the fields of its structs, and their types."""

import ast
import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args

import msgspec
from msgspec import inspect as types

from scripts.make_docs.words import in_words
from server.realtime import schema
from server.realtime.client_events import CLIENT_EVENTS
from server.realtime.server_events import ServerEvent
from server.wire.beta_events import EVENTS
from server.wire.beta_requests import NAMES

Struct = type[msgspec.Struct]

_AS_OBJECTS: Mapping[str, Sequence[Struct]] = {
    "session": (schema.Session,),
    "audio": (schema.ResponseAudio, schema.Audio),
}
"""Objects that the code takes as they come, or makes by hand, and what they are."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the code says of a field."""

    values: str
    meaning: str


def tag_of(kind: Struct) -> str:
    return str(kind.__struct_config__.tag)


def client_structs() -> dict[str, Struct]:
    return {tag_of(kind): kind for kind in CLIENT_EVENTS}


def server_structs() -> dict[str, Struct]:
    """Returns the server events by type: those that have a type of their own, which bases do not."""
    return {tag: kind for kind in _below(ServerEvent) if "." in (tag := tag_of(kind)) or tag == "error"}


def _below(kind: Struct) -> Iterator[Struct]:
    for direct in kind.__subclasses__():
        yield direct
        yield from _below(direct)


def meaning_of(kind: Struct) -> str:
    """Returns the first paragraph of what the code says of an event, or of an object."""
    about = inspect.cleandoc(kind.__doc__) if kind.__doc__ else ""
    return about.split("\n\n")[0]


def known(root: Struct, path: str, of: str = "") -> Known | None:
    """Returns what the code says of a field; None: it does not know it.

    Args:
        root: the event's struct.
        path: the field's path in the event, in GA's words.
        of: the type of the object that it is in, where there are several.
    """
    names = path.replace("[]", "").split(".")
    structs: list[Struct] = [root]
    found: list[tuple[Struct, StructField]] = []
    for name in names:
        found = [(kind, each) for kind in structs for each in fields_of(kind) if each.encode_name == name]
        structs = [inner for _, each in found for inner in _structs(each.type, name)]
    if not found:
        return None
    kind, each = next(((kind, each) for kind, each in found if tag_of(kind) == of), found[0])
    return Known(in_words(each.type), _docstrings(kind).get(each.name, "") or _of_type(each.type))


def in_ga(path: str) -> str:
    """Returns what GA calls a field of the beta dialect."""
    theirs = {older: newer for newer, older in NAMES.items()}
    for older in sorted(theirs, key=len, reverse=True):
        if path == older or path.startswith((f"{older}.", f"{older}[")):
            return theirs[older] + path.removeprefix(older)
    return path


OLDER_EVENTS: Mapping[str, str] = {
    **{name: tag for tag, (name, _) in EVENTS.items()},
    "transcription_session.updated": "session.updated",
}
"""The beta dialect's name of a server event → GA's."""


@dataclass(frozen=True, slots=True)
class StructField:
    """A field of a struct."""

    name: str
    encode_name: str
    alternatives: tuple[Any, ...]
    """Annotations. Structs without a tag, which msgspec could not tell apart on the way in, stand for themselves."""

    @property
    def type(self) -> types.Type:
        found = tuple(types.type_info(each) for each in self.alternatives)
        return found[0] if len(found) == 1 else types.UnionType(found)


@cache
def fields_of(kind: Struct) -> Sequence[StructField]:
    return [StructField(each.name, each.encode_name, _alternatives(each.type)) for each in msgspec.structs.fields(kind)]


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    inner = get_args(annotation)
    structs = [each for each in inner if isinstance(each, type) and issubclass(each, msgspec.Struct)]
    untagged = len(structs) > 1 and any(each.__struct_config__.tag is None for each in structs)
    return inner if untagged else (annotation,)


def _structs(kind: types.Type, name: str) -> Iterator[Struct]:
    match kind:
        case types.Metadata(type=inner) | types.ListType(item_type=inner):
            yield from _structs(inner, name)
        case types.UnionType(types=inner):
            for each in inner:
                yield from _structs(each, name)
        case types.StructType(cls=struct):
            yield struct
        case types.DictType():
            yield from _AS_OBJECTS.get(name, ())


def _of_type(kind: types.Type) -> str:
    """Returns what is said of the type of a field: of an object, what its class says."""
    match kind:
        case types.Metadata(type=inner, extra_json_schema=extra):
            return str((extra or {}).get("description", "")) or _of_type(inner)
        case types.ListType(item_type=inner):
            return _of_type(inner)
        case types.UnionType(types=inner):
            told = [text for each in inner if (text := _of_type(each))]
            return told[0] if len(told) == 1 else ""
        case types.StructType(cls=struct):
            return meaning_of(struct)
        case _:
            return ""


@cache
def _docstrings(kind: Struct) -> dict[str, str]:
    """Returns the docstrings beside the fields of a struct and of what it inherits from."""
    found: dict[str, str] = {}
    for each in reversed(kind.__mro__):
        if each is not msgspec.Struct and issubclass(each, msgspec.Struct):
            found |= _class_docstrings(each)
    return found


def _class_docstrings(kind: type) -> dict[str, str]:
    module = inspect.getmodule(kind)
    assert module is not None
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.ClassDef) and node.name == kind.__name__:
            pairs = zip(node.body, node.body[1:], strict=False)
            return {name: text for field, note in pairs if (name := _name(field)) and (text := _text(note))}
    return {}


@cache
def _tree(module: Any) -> ast.Module:
    return ast.parse(inspect.getsource(module))


def _name(node: ast.stmt) -> str:
    return node.target.id if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) else ""


def _text(node: ast.stmt) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return re.sub(r"\s+", " ", node.value.value).strip()
    return ""
