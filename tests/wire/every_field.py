"""Every field of every client event with values that are wrong, made from the package's types.

A value is wrong for a field when the package's types do not allow it.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from scripts.make_docs.protocol_types import Field, Object, client_events, fields

WRONG: list[Any] = [
    True,
    5,
    -1,
    1.5,
    10**19,
    1e300,
    "",
    "nonsense",
    "x" * 600,
    [],
    [5],
    [None],
    ["nonsense"],
    {},
    {"type": "nonsense"},
    {"colour": 1},
    [{"type": "nonsense"}],
]


@cache
def every_field(is_beta: bool) -> list[Field]:
    return [field for event, model in client_events(is_beta).items() for field in fields(event, model)]


def wrong_events(field: Field) -> Iterator[Object]:
    """Yields an event with each value in this field that its type does not allow."""
    adapter: TypeAdapter[Any] = TypeAdapter(field.annotation)
    for value in WRONG:
        if not _is_allowed(adapter, value):
            yield next(field.events(value))


def _is_allowed(adapter: "TypeAdapter[Any]", value: Any) -> bool:
    try:
        adapter.validate_python(value, strict=True)
    except ValidationError:
        return False
    return True
