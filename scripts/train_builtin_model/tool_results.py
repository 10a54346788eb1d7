"""What functions return, in many shapes, and what the assistant says when one failed."""

from __future__ import annotations

import json
import random
from typing import Any

from .tool_library import Function, reply
from .tool_shapes import Tool, plain
from .tool_values import Value, invented

DONE: list[Any] = [
    "ok",
    "OK",
    "done",
    "success",
    "true",
    "",
    {"status": "ok"},
    {"status": "success"},
    {"status": "done"},
    {"success": True},
    {"ok": True},
    {"result": "ok"},
    {"result": "success"},
    {"done": True},
    {},
    None,
    {"code": 0},
    {"status": 200},
    {"error": None},
]
PLAIN = 0.12
"""How many results are told by the name of their field, as those of an unknown function will be."""

VAGUE = {"value", "result", "text", "value_out", "by", "from", "to", "at", "up", "down", "who", "when", "in_minutes"}
EXTRAS = ["id", "updated", "source", "unit", "version", "ref", "code", "ms", "provider", "cached"]
ERRORS = """
not found; no connection; timeout; the server does not answer; permission denied; not available; no such entry;
the service is down; too many requests; invalid value; the device is offline; the battery is empty; already taken;
fully booked; out of stock; no signal; access denied; the door is blocked; the account is locked; no results;
the line is busy; unknown name; the limit is reached; not allowed; closed today; no free places; the disk is full;
the network is unreachable; wrong password; payment refused; no such user; the file is missing; it is too late;
the printer is jammed; nothing planned; the sensor does not respond; maintenance until tomorrow; card declined;
the queue is full; login required; the number is wrong; the robot is stuck; the key has expired; no data
""".replace("\n", " ").split(";")


def failure(rng: random.Random) -> tuple[str, str]:
    """What a function returns that failed, and what the assistant says then."""
    what = rng.choice(ERRORS).strip()
    if rng.random() < 0.15:
        what = f"{invented(rng)} {rng.choice(['is offline', 'does not answer', 'is missing', 'was not found'])}"
    shown = what if rng.random() < 0.5 else what[:1].upper() + what[1:]
    text = rng.choice(
        [
            json.dumps({"error": shown}),
            json.dumps({"status": "error", "message": shown}),
            json.dumps({"success": False, "reason": shown}),
            json.dumps({"ok": False, "error": shown}),
            json.dumps({"status": "failed", "detail": shown}),
            json.dumps({"error": {"code": rng.choice([400, 403, 404, 500, 503]), "message": shown}}),
            f"Error: {shown}",
            f"error: {shown}",
            f"failed: {shown}",
        ]
    )
    return text, rng.choice(["I'm sorry, that didn't work: {}.", "That didn't work, I'm afraid: {}."]).format(what)


def success(tool: Tool, values: dict[str, Value], tag: str, rng: random.Random) -> tuple[str, str]:
    """What a function returns, and what the assistant says; `values` are the user's and the result's."""
    function = tool.function
    named = [template for template in function.replies[tag] if all_known(template, values)]
    template = rng.choice(named) if named else "That's done."
    said = reply(template, values)
    if not function.fields:
        return acknowledged(tool, values, rng), said
    if rng.random() < 0.14 and "[[" not in template:
        return reply(template, values, typed=True), said
    names = {field.slot: rng.choice(field.names) for field in function.fields}
    asked = [slot for slot in names if f"{{{slot}}}" in template]
    if len(asked) == 1 and "[[" not in template and rng.random() < PLAIN and names[asked[0]] not in VAGUE:
        said = reply(f"The {plain(names[asked[0]])} is {{{asked[0]}}}.", values)
    return shown({name: values[slot].given for slot, name in names.items()}, rng), said


def all_known(template: str, values: dict[str, Value]) -> bool:
    """Whether a reply's values are all there."""
    try:
        reply(template, values)
    except KeyError:
        return False
    return True


def acknowledged(tool: Tool, values: dict[str, Value], rng: random.Random) -> str:
    """The result of a function that only does something."""
    kind = rng.random()
    if kind < 0.7:
        result = rng.choice(DONE)
    else:
        echoed = {name.name: name.argument(values[slot]) for slot, name in tool.params.items() if slot in values}
        heads: list[dict[str, Any]] = [{"status": "ok"}, {"success": True}, {"id": rng.randint(1, 9999)}, {}]
        result = rng.choice(heads) | echoed
    if isinstance(result, str):
        return result
    return json.dumps(result, ensure_ascii=False)


def shown(fields: dict[str, Any], rng: random.Random) -> str:
    """A result's fields as JSON of some shape, or as lines of text."""
    if len(fields) == 1 and rng.random() < 0.2:
        value = next(iter(fields.values()))
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if rng.random() < 0.2:
        extra = rng.choice(EXTRAS)
        if extra not in fields:
            fields[extra] = rng.choice([rng.randint(1, 9999), invented(rng), True])
    items = list(fields.items())
    if rng.random() < 0.4:
        rng.shuffle(items)
    body: Any = dict(items)
    kind = rng.random()
    if kind < 0.1:
        return ", ".join(f"{name}: {plain_value(value)}" for name, value in items)
    if kind < 0.22:
        body = {rng.choice(["result", "data", "response", "value"]): body}
    elif kind < 0.26:
        body = [body]
    elif kind < 0.32:
        body = {"status": "ok", **body}
    if rng.random() < 0.2:
        return json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return json.dumps(body, ensure_ascii=False)


def plain_value(value: Any) -> str:
    """A value in a line of text."""
    if isinstance(value, list):
        return ", ".join(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def drawn_fields(function: Function, draw: Any, rng: random.Random) -> dict[str, Value]:
    """The values of a result's fields."""
    return {field.slot: draw(field.values, rng) for field in function.fields}
