"""Types of msgspec, in words."""

from msgspec import inspect as types


def in_words(kind: types.Type) -> str:  # noqa: PLR0911, PLR0912 - one answer a type
    """Returns what values a type allows, as a document says it."""
    match kind:
        case types.Metadata(type=inner):
            return in_words(inner)
        case types.LiteralType(values=values):
            return ", ".join(f"`{value}`" for value in values)
        case types.IntType() | types.FloatType():
            return ("whole number" if isinstance(kind, types.IntType) else "number") + _range(kind)
        case types.BoolType():
            return "true or false"
        case types.StrType():
            return "text"
        case types.BytesType():
            return "base64"
        case types.UnionType(types=inner):
            known = (each for each in inner if not isinstance(each, types.NoneType))
            return " or ".join(dict.fromkeys(in_words(each) for each in known))
        case types.ListType(item_type=item) | types.VarTupleType(item_type=item):
            return f"list of {in_words(item)}"
        case types.DictType():
            return "keys with values"
        case types.StructType(tag=str(tag)):
            return f"`{tag}`"
        case types.StructType():
            return "object"
        case types.NoneType():
            return "null"
        case _:
            return type(kind).__name__.removesuffix("Type").lower()


def _range(kind: types.IntType | types.FloatType) -> str:
    least = f"≥ {_number(kind.ge)}" if kind.ge is not None else f"> {_number(kind.gt)}" if kind.gt is not None else ""
    most = f"≤ {_number(kind.le)}" if kind.le is not None else f"< {_number(kind.lt)}" if kind.lt is not None else ""
    limits = ", ".join(limit for limit in (least, most) if limit)
    return f" {limits}" if limits else ""


def _number(value: float | None) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"


def cell(text: str) -> str:
    """Returns a text as a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")
