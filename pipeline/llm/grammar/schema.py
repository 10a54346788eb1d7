"""JSON schemas → rules in GBNF, llama.cpp's notation of grammars."""

import json
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any
from urllib.parse import unquote

from pipeline.llm.grammar.numbers import MAX_DIGITS, EmptyRangeError, bounded
from pipeline.llm.grammar.regex import MAX_REPEAT, PatternError, pattern_grammar

JSON_RULES = {
    "value": "object | array | string | number | boolean | null",
    "object": '"{" (member (comma member)*)? "}"',
    "member": "string colon value",
    "array": '"[" (value (comma value)*)? "]"',
    "string": r'"\"" char* "\""',
    # No escapes of surrogates (\ud800 to \udfff): by themselves they are no character.
    "char": r'[^"\\\x00-\x1F] | "\\" (["\\/bfnrt] | "u" ([0-9a-cA-CefEF] hex hex hex | [dD] [0-7] hex hex))',
    "hex": "[0-9a-fA-F]",
    "number": f'integer ("." [0-9]{{1,{MAX_DIGITS}}})? ([eE] [+-]? [0-9]{{1,2}})?',
    "integer": f'"-"? ("0" | [1-9] [0-9]{{0,{MAX_DIGITS - 1}}})',
    "boolean": '"true" | "false"',
    "null": '"null"',
    "colon": '":" " "?',
    "comma": '"," " "?',
}
"""JSON with no white space but a space behind colons and commas."""

_TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")

_HINTS = {
    "object": ("properties", "required", "additionalProperties"),
    "array": ("items", "prefixItems", "minItems", "maxItems"),
    "string": ("minLength", "maxLength", "pattern", "format"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
}
"""The keywords by which a schema without a `type` tells what it means."""

_BEYOND = (
    "not if dependentRequired dependentSchemas dependencies patternProperties propertyNames minProperties "
    "maxProperties uniqueItems contains multipleOf unevaluatedProperties unevaluatedItems $dynamicRef"
).split()
"""Keywords that no grammar holds."""

_NOTES = frozenset("$defs definitions $schema $id $comment title description default examples deprecated".split())
"""Keywords that ask for nothing."""

_DAY = r"((0[1-9]|1[0-2])-(0[1-9]|1\d|2[0-8])|(0[13-9]|1[0-2])-(29|30)|(0[13578]|1[02])-31)"
_CLOCK = r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,3})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)"
_FORMATS = {
    "date": rf"^\d{{4}}-{_DAY}$",
    "time": f"^{_CLOCK}$",
    "date-time": rf"^\d{{4}}-{_DAY}T{_CLOCK}$",
    "uuid": "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
}
"""Formats as patterns (RFC 3339, RFC 9562); of 29 February only the schema knows the year."""


class SchemaError(ValueError):
    """A schema that cannot be converted, or that nothing satisfies."""


def quoted(text: str) -> str:
    """Returns a literal in GBNF."""
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    return '"' + "".join(escapes.get(character, character) for character in text) + '"'


class Rules:
    """The rules of a grammar that is being written."""

    def __init__(self, rules: Mapping[str, str]) -> None:
        self._rules = dict(rules)
        self._names: dict[str, str] = {}

    def reserve(self) -> str:
        """Returns a name to be defined later."""
        name = f"r{len(self._rules)}"
        self._rules[name] = '""'
        return name

    def define(self, name: str, body: str) -> None:
        self._rules[name] = body

    def add(self, body: str) -> str:
        """Returns the name of a rule with this body."""
        if body in self._rules:
            return body  # a name already
        if body not in self._names:
            self._names[body] = self.reserve()
            self.define(self._names[body], body)
        return self._names[body]

    def text(self, root: str) -> str:
        """Returns the grammar."""
        return "\n".join(f"{name} ::= {body}" for name, body in ({"root": root} | self._rules).items())


class SchemaConverter:
    """Converts the parts of one schema. `notes` says what of it the grammar does not hold."""

    def __init__(self, root: Mapping[str, Any], rules: Rules) -> None:
        """`root` is what references begin at."""
        self._root = root
        self._rules = rules
        self._references: dict[str, str] = {}
        self.notes: list[str] = []

    def rule(self, schema: Any) -> str:
        """Returns the name of a rule for the values of a schema.

        Raises:
            SchemaError: nothing satisfies it, or it is no schema.
        """
        return self._rules.add(self._body(schema))

    def _body(self, schema: Any) -> str:
        if schema is True or schema == {}:
            return "value"
        if not isinstance(schema, Mapping):
            raise SchemaError(f"{json.dumps(schema, default=str)[:40]} lets nothing through")
        self.notes += [f"`{word}` of its schema is not enforced" for word in _BEYOND if word in schema]
        for word in ("$ref", "allOf", "anyOf", "oneOf"):
            if word in schema:
                return self._combined(word, schema[word], _without(schema, word))
        if "const" in schema:
            return _literal(schema["const"])
        types = _types_of(schema)
        if "enum" in schema:
            fitting = [value for value in schema["enum"] if not types or any(_is(value, each) for each in types)]
            if not fitting:
                raise SchemaError("an empty `enum` lets nothing through")
            return " | ".join(_literal(value) for value in fitting)
        if len(types) > 1:
            return self._any_of([dict(schema) | {"type": each} for each in types], {})
        return self._of_type(types[0], schema) if types else "value"

    def _combined(self, word: str, parts: Any, rest: dict[str, Any]) -> str:
        """A schema that is made of others, and of the `rest` of its keywords."""
        if word == "$ref":
            return self._body(_merged(rest, self._resolve(parts))) if rest else self._refer(parts)
        if word != "allOf":
            return self._any_of(parts, rest)
        merged: Any = rest
        for part in parts:
            merged = _merged(merged, self._dereferenced(part))
        return self._body(merged)

    def _of_type(self, kind: str, schema: Mapping[str, Any]) -> str:
        match kind:
            case "object":
                return self._object(schema)
            case "array":
                return self._array(schema)
            case "string":
                return self._string(schema)
            case "number" | "integer":
                return _number(kind, schema)
        return kind

    def _any_of(self, options: Sequence[Any], rest: dict[str, Any]) -> str:
        """Any of the options that can be had; each has to fit the `rest` too."""
        found, reason = [], "it leaves no choice"
        for option in options:
            try:
                found.append(self.rule(_merged(rest, self._dereferenced(option)) if rest else option))
            except SchemaError as error:
                reason = str(error)
        if not found:
            raise SchemaError(reason)
        return " | ".join(dict.fromkeys(found))

    def _resolve(self, pointer: object) -> Any:
        """What a reference within the schema (RFC 6901) points at."""
        found: Any = self._root
        if not isinstance(pointer, str) or not pointer.startswith("#"):
            raise SchemaError(f"the reference {pointer} leads out of it")
        try:
            for step in pointer[1:].split("/")[1:]:
                key = unquote(step).replace("~1", "/").replace("~0", "~")
                found = found[int(key)] if isinstance(found, list) else found[key]
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise SchemaError(f"the reference {pointer} leads nowhere") from error
        return found

    def _dereferenced(self, schema: Any) -> Any:
        for _ in range(8):
            if not isinstance(schema, Mapping) or "$ref" not in schema:
                return schema
            schema = _merged(_without(schema, "$ref"), self._resolve(schema["$ref"]))
        raise SchemaError("its references lead in a circle")

    def _refer(self, pointer: str) -> str:
        """A reference has a rule of its own, so that a schema may contain itself."""
        if pointer not in self._references:
            name = self._references[pointer] = self._rules.reserve()
            try:
                self._rules.define(name, self._body(self._resolve(pointer)))
            except SchemaError:
                del self._references[pointer]
                raise
        return self._references[pointer]

    def _object(self, schema: Mapping[str, Any]) -> str:
        others = schema.get("additionalProperties", True)
        required = schema.get("required", ())
        properties = dict(schema.get("properties", {}))
        properties |= {name: others for name in required if name not in properties}
        members: list[tuple[str, bool]] = []
        for name, inner in properties.items():
            try:
                members.append((f"{_literal(name)} colon {self.rule(inner)}", name in required))
            except SchemaError:
                if name in required:
                    raise
        if not members:
            if others is False or schema.get("properties"):
                return '"{}"'
            member = self._rules.add(f"string colon {self.rule(others)}")
            return f'"{{" ({member} (comma {member})*)? "}}"'
        return f'"{{" {self._members(members)} "}}"'

    def _members(self, members: Sequence[tuple[str, bool]]) -> str:
        """The members in order; those that may be missing, with the right commas between what is there."""
        first = behind = '""'  # what may follow where nothing has been written yet, and where something has
        for member, is_required in reversed(members):
            alone, next_one = f"{member} {behind}", f"comma {member} {behind}"
            if is_required:
                first, behind = self._rules.add(alone), self._rules.add(next_one)
            else:
                first = self._rules.add(f"{alone} | {first}")
                behind = self._rules.add(f"({next_one}) | {behind}")
        return first

    def _array(self, schema: Mapping[str, Any]) -> str:
        items = schema.get("items", True)
        prefix = schema.get("prefixItems", ())
        if isinstance(items, list):  # as tuples were written before 2020
            prefix, items = items, schema.get("additionalItems", True)
        least, most = int(schema.get("minItems", 0)), schema.get("maxItems")
        most = None if most is None else int(most)
        if least > MAX_REPEAT or (most is not None and most < least):
            raise SchemaError(f"an array of {least} items or more, but not more than {most}, cannot be made")
        fixed = [self.rule(each) for each in prefix[: most if most is not None else len(prefix)]]
        least, most = max(least - len(fixed), 0), None if most is None else min(most, MAX_REPEAT) - len(fixed)
        if items is False or most == 0 or (fixed and not least):
            if items is False and least:
                raise SchemaError("its array has too few kinds of items")
            return f'"[" {" comma ".join(fixed)} "]"'
        item = self.rule(items)
        if fixed:
            return f'"[" {" comma ".join(fixed)} (comma {item}){{{least},{"" if most is None else most}}} "]"'
        more = f"(comma {item}){{{max(least - 1, 0)},{'' if most is None else most - 1}}}"
        return f'"[" {item} {more} "]"' if least else f'"[" ({item} {more})? "]"'

    def _string(self, schema: Mapping[str, Any]) -> str:
        least, most = int(schema.get("minLength", 0)), schema.get("maxLength")
        pattern = schema.get("pattern", _FORMATS.get(schema.get("format", "")))
        if pattern is not None:
            try:
                body = pattern_grammar(pattern)
            except PatternError:
                self.notes.append(f"the pattern `{pattern}` is not enforced")
            else:
                if least or most is not None:
                    self.notes.append("besides a pattern the length of a string is not enforced")
                return rf'"\"" ({body}) "\""'
        if least > MAX_REPEAT or (most is not None and int(most) < least):
            raise SchemaError(f"a string of {least} characters or more, but not more than {most}, cannot be made")
        if not least and most is None:
            return "string"
        return rf'"\"" char{{{least},{"" if most is None else min(int(most), MAX_REPEAT)}}} "\""'


def _number(kind: str, schema: Mapping[str, Any]) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    # Until 2019 these two were true or false.
    strictly_above, strictly_below = above is True, below is True
    if _is(above, "number") and (low is None or above >= low):
        low, strictly_above = above, True
    if _is(below, "number") and (high is None or below <= high):
        high, strictly_below = below, True
    if low is None and high is None:
        return kind
    try:
        return bounded(
            None if low is None else Decimal(repr(low)),
            None if high is None else Decimal(repr(high)),
            above=strictly_above,
            below=strictly_below,
            whole=kind == "integer",
        )
    except EmptyRangeError as error:
        raise SchemaError(f"no {kind} lies between {low} and {high}") from error


def _types_of(schema: Mapping[str, Any]) -> list[str]:
    given = schema.get("type")
    types = [given] if isinstance(given, str) else list(given or [])
    if unknown := [each for each in types if each not in _TYPES]:
        raise SchemaError(f"{unknown[0]} is no type")
    if not types:
        types = [kind for kind, words in _HINTS.items() if any(word in schema for word in words)][:1]
    return types


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool) or value is None:
        return kind == ("null" if value is None else "boolean")
    if isinstance(value, int | float):
        return kind == "number" or (kind == "integer" and int(value) == value)
    return isinstance(value, {"string": str, "array": list, "object": dict}.get(kind, ()))


def _literal(value: Any) -> str:
    """A value as JSON; characters that are none (lone surrogates) are escaped."""
    text = json.dumps(value, ensure_ascii=False)
    return quoted(text if text.isprintable() and text.encode("utf-8", "ignore").decode() == text else json.dumps(value))


def _without(schema: Mapping[str, Any], word: str) -> dict[str, Any]:
    """The rest of a schema, as far as it asks for something."""
    return {key: value for key, value in schema.items() if key != word and key not in _NOTES}


_TIGHTER: Mapping[str, Callable[[Any, Any], Any]] = dict.fromkeys(
    ("minimum", "minLength", "minItems", "exclusiveMinimum"), max
) | dict.fromkeys(("maximum", "maxLength", "maxItems", "exclusiveMaximum"), min)


def _merged(one: Any, other: Any) -> Any:
    """A schema that asks for what both ask for.

    Raises:
        SchemaError: they cannot be put together here.
    """
    if not isinstance(one, Mapping) or not isinstance(other, Mapping):
        if other is True:
            return one
        return other if one is True or other is False else False
    merged = dict(one)
    for word, value in other.items():
        both = word in merged and merged[word] != value and word not in _NOTES
        merged[word] = _both(word, merged[word], value) if both else value
    return merged


def _both(word: str, one: Any, other: Any) -> Any:
    """What a keyword comes to that has two values."""
    match word:
        case "required":
            return list(dict.fromkeys([*one, *other]))
        case "properties":
            return one | {name: _merged(one.get(name, True), inner) for name, inner in other.items()}
        case "additionalProperties":
            return _merged(one, other)
        case "enum":
            return [each for each in one if each in other]
        case "type":
            return _common(_types_of({"type": one}), _types_of({"type": other}))
        case _ if word in _TIGHTER:
            return _TIGHTER[word](one, other)
    raise SchemaError(f"two of `{word}` at once")


def _common(types: list[str], others: list[str]) -> list[str]:
    both = [each for each in types if each in others or (each == "integer" and "number" in others)]
    both += [each for each in others if each == "integer" and "number" in types and each not in both]
    if not both:
        raise SchemaError("two types at once")
    return both
