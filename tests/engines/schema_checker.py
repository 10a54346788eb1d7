"""Whether a value satisfies a JSON schema: as much of JSON Schema as tools use."""

import json
import re
from typing import Any

_KINDS: dict[str, Any] = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}


def satisfies(value: Any, schema: Any, root: Any = None) -> bool:
    """Whether `value` satisfies `schema`; references begin at `root`, which by default is the schema."""
    root = schema if root is None else root
    if isinstance(schema, bool):
        return schema
    if "$ref" in schema:
        found = root
        for step in schema["$ref"].split("/")[1:]:
            found = found[step]
        if not satisfies(value, found, root):
            return False
    return all(satisfies(value, each, root) for each in schema.get("allOf", ())) and (
        ("anyOf" not in schema or any(satisfies(value, each, root) for each in schema["anyOf"]))
        and ("oneOf" not in schema or sum(satisfies(value, each, root) for each in schema["oneOf"]) == 1)
        and ("const" not in schema or _same(value, schema["const"]))
        and ("enum" not in schema or any(_same(value, each) for each in schema["enum"]))
        and ("type" not in schema or _is_one_of(value, schema["type"]))
        and _holds(value, schema, root)
    )


def _same(one: Any, other: Any) -> bool:
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _is_one_of(value: Any, kinds: str | list[str]) -> bool:
    return any(_is(value, kind) for kind in ([kinds] if isinstance(kinds, str) else kinds))


def _is(value: Any, kind: str) -> bool:
    if kind in ("number", "integer"):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and (kind == "number" or int(value) == value)
    return isinstance(value, _KINDS[kind])


def _holds(value: Any, schema: Any, root: Any) -> bool:
    match value:
        case bool() | None:
            return True
        case int() | float():
            within = schema.get("minimum", value) <= value <= schema.get("maximum", value)
            above = "exclusiveMinimum" not in schema or value > schema["exclusiveMinimum"]
            return within and above and ("exclusiveMaximum" not in schema or value < schema["exclusiveMaximum"])
        case str():
            return schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)) and bool(
                re.search(schema.get("pattern", ""), value)
            )
        case list():
            prefix = schema.get("prefixItems", [])
            kinds = prefix[: len(value)] + [schema.get("items", True)] * (len(value) - len(prefix))
            fitting = all(satisfies(item, kind, root) for item, kind in zip(value, kinds, strict=True))
            return fitting and schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value))
        case dict():
            properties, others = schema.get("properties", {}), schema.get("additionalProperties", True)
            return all(name in value for name in schema.get("required", ())) and all(
                satisfies(inner, properties.get(name, others), root) for name, inner in value.items()
            )
    raise TypeError(type(value))
