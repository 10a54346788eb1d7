"""What a session keeps: the size of every container that is reached from it, by the path that leads there."""

import gc
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from pipeline.line import Line
from server.session import Session

_CONTAINERS = (dict, list, tuple, set, frozenset, deque)
_DATA = (bytes, bytearray, memoryview, str)
_NOT_ITS_OWN = (Line,)
"""What sessions share: the engines."""


def sizes(root: object) -> Counter[str]:
    """Returns entries of containers and, under paths that end in `#`, bytes of sound and text; `[]` is any entry."""
    found: Counter[str] = Counter()
    seen: set[int] = set()
    stack: list[tuple[str, Any]] = [(type(root).__name__, root)]
    while stack:
        path, value = stack.pop()
        if id(value) in seen:
            continue
        if isinstance(value, _DATA):
            found[f"{path}#"] += len(value)
        elif isinstance(value, np.ndarray):
            found[f"{path}#"] += value.nbytes
        else:
            seen.add(id(value))
            if isinstance(value, _CONTAINERS):
                found[path] += len(value)
            stack.extend(_parts(path, value))
    return found


def _parts(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, entry in value.items():
            yield f"{path}[]", key
            yield f"{path}[]", entry
    elif isinstance(value, _CONTAINERS):
        for entry in list(value):
            yield f"{path}[]", entry
    elif _is_ours(type(value)) and not isinstance(value, _NOT_ITS_OWN):
        for name in _names(value):
            yield f"{path}.{name}", getattr(value, name, None)


def _is_ours(kind: type) -> bool:
    return kind.__module__.partition(".")[0] in {"server", "pipeline"} or kind.__module__ == "asyncio.queues"


def _names(value: Any) -> Iterable[str]:
    names = list(getattr(value, "__dict__", ()))
    for kind in type(value).__mro__:
        slots = getattr(kind, "__slots__", ())
        names += [slots] if isinstance(slots, str) else list(slots)
    return names


def grown(before: Counter[str], after: Counter[str], slack: float = 0.0) -> dict[str, tuple[int, int]]:
    """Returns what is larger after than before, by more than a share of `slack`, with both sizes."""
    paths = before.keys() | after.keys()
    return {path: (before[path], after[path]) for path in sorted(paths) if after[path] > before[path] * (1 + slack)}


def open_sessions() -> list[Session]:
    """Returns the sessions that anybody still holds on to."""
    gc.collect()
    return [each for each in gc.get_objects() if isinstance(each, Session)]
