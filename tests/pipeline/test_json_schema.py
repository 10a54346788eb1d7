"""JSON schemas: what satisfies them, and which are not known through and through."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.json_schema import JsonSchema, UncheckedSchemaError
from tests.engines.schema_checker import satisfies

TREE = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "parts": {"type": "array", "items": {"$ref": "#"}}},
    "required": ["name"],
    "additionalProperties": False,
}

CASES: list[tuple[Any, list[Any], list[Any]]] = [
    (True, [1, None], []),
    ({"type": "integer"}, [1, 2.0, -3], [1.5, True, "1", None]),
    ({"type": ["string", "null"]}, ["", None], [0, False]),
    ({"enum": ["a", 1, None]}, ["a", 1, 1.0, None], ["b", True, False]),
    ({"const": {"a": [True]}}, [{"a": [True]}], [{"a": [1]}, {}]),
    ({"minimum": 1, "exclusiveMaximum": 3}, [1, 2.9, "x"], [0.9, 3]),
    ({"minLength": 1, "maxLength": 2}, ["a", "ab", 7], ["", "abc"]),
    ({"type": "array", "items": {"type": "number"}, "minItems": 1, "maxItems": 2}, [[1]], [[], [1, 2, 3], ["a"], 1]),
    ({"prefixItems": [{"type": "string"}], "items": False}, [["a"], []], [["a", 1], [1]]),
    ({"anyOf": [{"type": "string"}, {"minimum": 3}]}, ["a", 3], [2]),
    ({"oneOf": [{"type": "number"}, {"minimum": 3}]}, [2], [3]),
    ({"allOf": [{"type": "number"}, {"minimum": 3}]}, [3], [2]),
    (TREE, [{"name": "a"}, {"name": "a", "parts": [{"name": "b"}]}], [{}, {"name": 1}, {"name": "a", "x": 1}]),
    (TREE, [], [{"name": "a", "parts": [{}]}]),
    ({"$defs": {"a/b": {"type": "null"}}, "properties": {"x": {"$ref": "#/$defs/a~1b"}}}, [{"x": None}], [{"x": 0}]),
]


@pytest.mark.parametrize(("schema", "right", "wrong"), CASES)
def test_what_satisfies_a_schema_is_allowed_and_nothing_else(schema: Any, right: list[Any], wrong: list[Any]) -> None:
    known = JsonSchema(schema)
    assert [value for value in right if not known.allows(value)] == []
    assert [value for value in wrong if known.allows(value)] == []


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "ab", "name"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "parts", "x"]), inner),
)


@given(VALUES, st.sampled_from([schema for schema, _, _ in CASES]))
def test_another_checker_says_the_same(value: Any, schema: Any) -> None:
    if "$defs" not in json.dumps(schema):
        assert JsonSchema(schema).allows(value) == satisfies(value, schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"pattern": "^a*$"},
        {"properties": {"x": {"not": {}}}},
        {"type": "file"},
        {"type": 3},
        {"items": 3},
        {"anyOf": {}},
        {"required": [1]},
        {"minimum": "1"},
        {"$ref": "#/$defs/none"},
        {"$ref": "https://example.com"},
        [],
    ],
)
def test_what_is_not_checked_is_no_schema_to_promise_by(schema: Any) -> None:
    with pytest.raises(UncheckedSchemaError):
        JsonSchema(schema)


def test_a_reference_to_itself_allows_nothing_and_ends() -> None:
    assert not JsonSchema({"$ref": "#"}).allows(1)
