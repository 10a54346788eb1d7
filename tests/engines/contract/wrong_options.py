"""Makes blocks that models.yaml must not have, from the types of an engine's options."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import inspect as types


@dataclass(frozen=True)
class Wrong:
    """A value that the option `key` must not have."""

    key: str
    value: Any

    def __str__(self) -> str:
        return f"{self.key}: {msgspec.json.encode(self.value).decode()}"


def wrong_options(options: type[msgspec.Struct]) -> list[Wrong]:
    """Returns for each option what is of another type, beside its choices, or just out of its range."""
    fields = types.type_info(options).fields  # type: ignore[attr-defined]
    return [Wrong(field.encode_name, value) for field in fields for value in _wrong_values(field.type)]


def _wrong_values(kind: types.Type) -> Iterator[Any]:
    each = list(_alternatives(kind))
    if any(isinstance(one, types.AnyType) for one in each):
        return
    yield from _of_another_type(each)
    for one in each:
        if isinstance(one, types.LiteralType):
            yield "no such choice"
        elif isinstance(one, types.IntType | types.FloatType) and not _takes_text(each):
            yield from _out_of_range(one)
        elif isinstance(one, types.ListType | types.VarTupleType | types.SetType) and not _takes_text(each):
            yield from ([value] for value in _of_another_type(list(_alternatives(one.item_type))))


def _alternatives(kind: types.Type) -> Iterator[types.Type]:
    if isinstance(kind, types.Metadata):
        yield from _alternatives(kind.type)
    elif isinstance(kind, types.UnionType):
        for each in kind.types:
            yield from _alternatives(each)
    else:
        yield kind


def _of_another_type(each: list[types.Type]) -> Iterator[Any]:
    mappings = (types.DictType, types.StructType)
    if not any(isinstance(one, mappings) for one in each):
        yield {"a": "block"}
    elif not _takes_text(each):
        yield "text"
    # YAML's own on and off are true and false, so an option with these choices takes them.
    switch = any(isinstance(one, types.LiteralType) and {"on", "off"} <= set(one.values) for one in each)
    if not switch and not any(isinstance(one, types.BoolType) for one in each):
        yield True
    if not any(isinstance(one, types.NoneType) for one in each):
        yield None


def _takes_text(each: list[types.Type]) -> bool:
    return any(isinstance(one, types.StrType) for one in each)


def _out_of_range(kind: types.IntType | types.FloatType) -> Iterator[float]:
    step = 1 if isinstance(kind, types.IntType) else 0.001
    if kind.ge is not None:
        yield kind.ge - step
    if kind.gt is not None:
        yield kind.gt
    if kind.le is not None:
        yield kind.le + step
    if kind.lt is not None:
        yield kind.lt
