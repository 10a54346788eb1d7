"""Checks a stage's block against the `Options` struct of its engine, and says what is wrong in plain words."""

import datetime
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec

from pipeline.config_file import Document, KeyPath
from pipeline.errors import ConfigError
from pipeline.registry import EngineClass, did_you_mean, listed

_TYPES = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "null": "nothing",
    "array": "a list",
    "object": "keys with values",
}
_EXPECTED = re.compile(r"Expected `(?P<types>[^`]+)`(?:, got `\w+`)?(?P<limit>.*)")


def convert_options(
    document: Document,
    engine: EngineClass,
    given: Mapping[str, object],
    path: KeyPath,
    *,
    reserved: tuple[str, ...] = (),
    keys_only: bool = False,
) -> Any:
    """Returns the engine's `Options` made from the keys of its block.

    Args:
        document: the file, for errors.
        engine: whose options they are.
        given: the keys of the block that belong to the engine.
        path: where the block stands.
        reserved: keys of the block that belong to the pipeline; an engine cannot have options of these names.
        keys_only: only look for keys that the engine does not have; returns None.

    Raises:
        ConfigError: a key that the engine does not have, one that is missing, or a value that does not fit.
    """
    fields = {field.encode_name: field for field in msgspec.structs.fields(engine.options)}
    if taken := [key for key in reserved if key in fields]:
        raise document.error(
            (*path, "engine"),
            f"The engine `{engine.name}` has an option called `{taken[0]}`, which belongs to the pipeline.",
            f"Choose another engine, or tell the authors of {engine.package}.",
        )
    for key in given:
        if key not in fields:
            raise document.error(
                (*path, key),
                f"The engine `{engine.name}` has no option `{key}`.",
                f"{did_you_mean(key, [*fields, *reserved])}Its options: {listed(fields)}.",
            )
    if keys_only:
        return None
    for key, field in fields.items():
        if field.required and key not in given:
            meaning = _meaning(field.type)
            mend = f"Add `{key}: …`{f', which is: {meaning}' if meaning else ''}."
            raise document.error(path, f"The engine `{engine.name}` needs the option `{key}`.", mend)
    # YAML takes a bare on or off for true or false.
    given = {
        key: ("on" if value else "off") if isinstance(value, bool) and _is_switch(fields[key].type) else value
        for key, value in given.items()
    }
    try:
        return msgspec.convert(dict(given), engine.options)
    except msgspec.ValidationError as error:
        raise _refused(document, fields, path, error) from error


def in_plain_words(value: object) -> str:
    """Returns what kind of value stands in the file, as its author would call it."""
    kinds = {str: "text", bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "a block"}
    kinds |= {type(None): "nothing", datetime.date: "a date", datetime.datetime: "a date"}
    return kinds.get(type(value), "that")


def _refused(
    document: Document, fields: Mapping[str, msgspec.structs.FieldInfo], path: KeyPath, error: msgspec.ValidationError
) -> ConfigError:
    message, _, place = str(error).partition(" - at `$")
    keys = _keys(place.rstrip("`"))
    field = fields[str(keys[0])] if keys else None
    choices = _choices(field.type) if field is not None else ()
    written = _at(document.value, (*path, *keys))
    expected = _EXPECTED.fullmatch(message)
    if message.startswith("Invalid enum value") or (choices and expected):
        problem = f"`{written}` is not a choice."
        mend = f"{did_you_mean(str(written), choices)}Choose one of: {listed(choices)}."
    elif expected:
        wanted = " or ".join(_TYPES.get(each, each) for each in expected["types"].split(" | "))
        limit = expected["limit"].replace(">=", "of at least").replace("<=", "of at most")
        limit = limit.replace("of length of at least", "with a length of at least")
        limit = limit.replace(">", "above").replace("<", "below")
        problem = f"This has to be {wanted}{limit}, not `{written}`."
        quotes = "str" in expected["types"] and not isinstance(written, str | list | dict | None)
        mend = f'Put it in quotes if it is meant as text: "{written}".' if quotes else f"Write {wanted}{limit}."
    else:
        problem, mend = f"{message}.", "Correct it."
    meaning = _meaning(field.type) if field is not None else None
    return document.error((*path, *keys), problem, f"{mend} It is: {meaning}." if meaning else mend)


def _keys(place: str) -> KeyPath:
    """`.stop[0]` → `("stop", 0)`; ends where msgspec does not tell the key (`[...]`)."""
    keys: list[str | int] = []
    for name, index in re.findall(r"\.([^.\[]+)|\[([^\]]*)\]", place):
        if index == "...":
            break
        keys.append(int(index) if index else name)
    return tuple(keys)


def _at(value: Any, path: KeyPath) -> object:
    """What the file says at `path`: unlike what was converted, it has no secrets of the environment in it."""
    for key in path:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            break
    return value


def _meaning(kind: Any) -> str | None:
    """The description that the option's `msgspec.Meta` carries, without its full stop."""
    if get_origin(kind) is Annotated:
        for note in get_args(kind)[1:]:
            if isinstance(note, msgspec.Meta) and note.description:
                return note.description.rstrip(".")
    return None


def _is_switch(kind: Any) -> bool:
    return {"on", "off"} <= set(_choices(kind))


def _choices(kind: Any) -> tuple[str, ...]:
    """The values of a `Literal`, also inside `Annotated` and unions."""
    if get_origin(kind) is Literal:
        return tuple(str(value) for value in get_args(kind))
    return tuple(
        choice for inner in get_args(kind) if not isinstance(inner, msgspec.Meta) for choice in _choices(inner)
    )
