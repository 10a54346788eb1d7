"""Whether values satisfy a JSON schema: as much of JSON Schema (2020-12) as the parameters of functions use."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_KINDS: Mapping[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "number": _is_number,
    "integer": lambda value: _is_number(value) and value == value // 1,
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
}

_NOTES = frozenset(
    "$defs definitions $schema $id $comment title description default examples deprecated format".split()
)
"""Keywords that ask for nothing. `format` is one of them unless a vocabulary says otherwise."""

_LIMITS: Mapping[str, tuple[Callable[[Any], bool], Callable[[Any, Any], bool]]] = {
    "minimum": (_is_number, lambda value, limit: value >= limit),
    "maximum": (_is_number, lambda value, limit: value <= limit),
    "exclusiveMinimum": (_is_number, lambda value, limit: value > limit),
    "exclusiveMaximum": (_is_number, lambda value, limit: value < limit),
    "minLength": (_KINDS["string"], lambda value, limit: len(value) >= limit),
    "maxLength": (_KINDS["string"], lambda value, limit: len(value) <= limit),
    "minItems": (_KINDS["array"], lambda value, limit: len(value) >= limit),
    "maxItems": (_KINDS["array"], lambda value, limit: len(value) <= limit),
}
"""Keyword → what it is about, and whether a value of that kind is within it."""


class UncheckedSchemaError(ValueError):
    """A schema that asks for what is not checked here, or that is none."""


class JsonSchema:
    """A schema that all of it is known of."""

    def __init__(self, schema: object) -> None:
        """Raises:
        UncheckedSchemaError: it has a keyword that is not checked (`pattern`, which takes for ever with some
            expressions, `not`, …), or makes no sense.
        """
        self._root = schema
        try:
            self._check(schema, set())
        except RecursionError:
            raise UncheckedSchemaError("it is too deep") from None

    def allows(self, value: object) -> bool:
        """Whether a value, as it comes from JSON, satisfies the schema."""
        try:
            return self._allows(value, self._root)
        except RecursionError:  # deeper than anything that is meant, or a reference that leads to itself
            return False

    # --- the schema itself ---

    def _check(self, schema: Any, followed: set[str]) -> None:
        if isinstance(schema, bool):
            return
        if not isinstance(schema, dict):
            raise UncheckedSchemaError(f"{json.dumps(schema)[:60]} is no schema")
        for keyword, what in schema.items():
            self._check_keyword(keyword, what, followed)

    def _check_keyword(self, keyword: str, what: Any, followed: set[str]) -> None:
        inner: Iterable[Any] = ()
        match keyword, what:
            case "type", str() | list() if all(isinstance(kind, str) and kind in _KINDS for kind in _listed(what)):
                pass
            case "$ref", str():
                if what not in followed:
                    self._check(self._found(what), followed | {what})
            case "properties", dict():
                inner = what.values()
            case (("anyOf" | "allOf" | "oneOf" | "prefixItems"), list()):
                inner = what
            case (("items" | "additionalProperties"), _):
                inner = (what,)
            case "required", list() if all(isinstance(name, str) for name in what):
                pass
            case ("enum", list()) | ("const", _):
                pass
            case _ if keyword in _NOTES or (keyword in _LIMITS and _is_number(what)):
                pass
            case _:
                raise UncheckedSchemaError(f"its `{keyword}` is not one that is checked here")
        for each in inner:
            self._check(each, followed)

    def _found(self, reference: str) -> Any:
        at: Any = self._root
        first, *steps = reference.split("/")
        try:
            if first != "#":
                raise KeyError(first)
            for step in steps:
                at = at[unquote(step).replace("~1", "/").replace("~0", "~")]
        except (KeyError, TypeError):
            raise UncheckedSchemaError(f"'{reference[:60]}' leads nowhere in it") from None
        return at

    # --- values ---

    def _allows(self, value: Any, schema: Any) -> bool:
        if isinstance(schema, bool):
            return schema
        return all(self._holds(value, schema, keyword, what) for keyword, what in schema.items())

    def _holds(self, value: Any, schema: Mapping[str, Any], keyword: str, what: Any) -> bool:
        holds = True
        match keyword:
            case "type":
                holds = any(_KINDS[kind](value) for kind in _listed(what))
            case "$ref":
                holds = self._allows(value, self._found(what))
            case "const" | "enum":
                holds = any(_same(value, each) for each in (what if keyword == "enum" else [what]))
            case "anyOf" | "allOf" | "oneOf":
                met = sum(self._allows(value, each) for each in what)
                holds = {"anyOf": met > 0, "allOf": met == len(what), "oneOf": met == 1}[keyword]
            case "required":
                holds = not isinstance(value, dict) or all(name in value for name in what)
            case "properties" | "additionalProperties" | "items" | "prefixItems":
                holds = all(self._allows(*each) for each in _inner(value, schema, keyword, what))
            case _ if keyword in _LIMITS:
                concerns, within = _LIMITS[keyword]
                holds = not concerns(value) or within(value, what)
        return holds


def _inner(value: Any, schema: Mapping[str, Any], keyword: str, what: Any) -> list[tuple[Any, Any]]:
    """Returns the values within a value that a keyword is about, each with its schema."""
    match value, keyword:
        case dict(), "properties":
            return [(value[name], each) for name, each in what.items() if name in value]
        case dict(), "additionalProperties":
            known = schema.get("properties", {})
            return [(inner, what) for name, inner in value.items() if name not in known]
        case list(), "prefixItems":
            return list(zip(value, what, strict=False))
        case list(), "items":
            return [(inner, what) for inner in value[len(schema.get("prefixItems", ())) :]]
        case _:
            return []


def _listed(kinds: str | Sequence[str]) -> Sequence[str]:
    return [kinds] if isinstance(kinds, str) else kinds


def _same(one: Any, other: Any) -> bool:
    if _is_number(one) and _is_number(other):
        return bool(one == other)
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
