"""How a function looks in one dialogue: its name, description, parameters and schema, all varied beyond recognition.

What the model learns is to read what is given, so no name may be relied on.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import Any

from .tool_library import Function, Param
from .tool_values import Value, choices, invented, split

VERBS = [
    group.split()
    for group in """
get fetch find lookup check query read show retrieve tell
set change adjust update put switch control configure
create add make new insert register
delete remove clear drop erase
send post deliver submit dispatch
start begin launch run activate trigger
stop end halt finish
book reserve arrange schedule
search find lookup query browse
open show display
order buy purchase request
list show get fetch
calculate compute work_out
""".strip().splitlines()
]
ODD_NAMES = ["fn", "tool", "func", "action", "cmd", "op", "skill", "do", "call", "api", "task", "service"]
LEADS = ["Use this to {}", "Call this to {}", "Function to {}", "Use it when the user wants to {}", "Lets the user {}"]
NAMES = {
    "city": "city location place town where q city_name",
    "person": "name person who contact user recipient",
    "day": "day date when on_day",
    "time": "time at when start_time hour",
    "room": "room location area where zone place",
    "product": "product item article product_name query name",
    "message": "message text body content msg",
    "topic": "topic query subject q search_term about",
    "song": "song title track name",
    "film": "film movie title name",
    "book": "book title name",
    "on": "on enabled active power",
    "minutes": "minutes duration mins duration_minutes",
    "amount": "amount value sum total",
    "count": "count number quantity amount how_many n",
    "level": "level value percent setting",
}
ABOUT = {
    "city": "Name of the city|City|The city|Place to look at",
    "person": "Name of the person|The person's name|Who",
    "day": "The day, as the user says it|Day|Which day",
    "room": "Name of the room|Room|Where in the house",
    "product": "Name of the product|Product|What to look for",
    "message": "The text|What to say|Text of the message",
    "topic": "What to look for|Topic|Search words",
    "onoff": "On or off|Whether it shall be on",
    "n": "a number|as a number|a whole number",
    "digits": "The number, digits only|Number",
    "price": "Amount in euros|Amount",
}
UNASKED: list[tuple[str, dict[str, Any]]] = [
    ("unit", {"type": "string", "enum": ["celsius", "fahrenheit"]}),
    ("units", {"type": "string", "enum": ["metric", "imperial"], "default": "metric"}),
    ("language", {"type": "string", "description": "Language of the answer"}),
    ("lang", {"type": "string", "default": "en"}),
    ("limit", {"type": "integer", "description": "Most results"}),
    ("max_results", {"type": "integer", "default": 5}),
    ("format", {"type": "string", "enum": ["short", "long"]}),
    ("verbose", {"type": "boolean"}),
    ("silent", {"type": "boolean", "default": False}),
    ("notify", {"type": "boolean"}),
    ("comment", {"type": "string"}),
    ("tags", {"type": "array", "items": {"type": "string"}}),
    ("sort", {"type": "string", "enum": ["asc", "desc"]}),
    ("page", {"type": "integer"}),
    ("dry_run", {"type": "boolean"}),
    ("user_id", {"type": "string"}),
    ("source", {"type": "string", "enum": ["local", "remote"]}),
]
BEHIND = [
    "Returns JSON.",
    "Returns the result.",
    "Fast.",
    "Ask first if unsure.",
    "Only for signed in users.",
    "Free to use.",
]
PLAIN_TYPES = {"onoff": "boolean", "yn": "boolean", "n": "integer", "f": "number", "price": "number", "list": "array"}
CLOCK = ["Time as HH:MM", "HH:MM", "Time in the form HH:MM", "24 hour time, HH:MM"]


@dataclass
class Shaped:
    """A parameter in one dialogue; `form` says which side of a value becomes the argument."""

    param: Param
    name: str
    schema: dict[str, Any]
    form: str

    def argument(self, value: Value, *, typed: bool = False) -> Any:
        """A value as this parameter wants it; words are copied as they were said or typed."""
        if self.form == "told":
            return value.typed if typed else value.told
        if self.form == "state":
            return "on" if value.given else "off"
        if self.form == "integer":
            return int(value.given)
        return value.given


@dataclass
class Tool:
    """A function as it is offered in one dialogue."""

    function: Function
    name: str
    schema: dict[str, Any]
    params: dict[str, Shaped]
    inside: str | None = None
    strict: bool = True

    def arguments(self, values: dict[str, Value], *, typed: bool) -> dict[str, Any]:
        """The arguments for the values that a user named, in the order of the schema."""
        flat = {
            shaped.name: shaped.argument(values[slot], typed=typed)
            for slot, shaped in self.params.items()
            if slot in values
        }
        if self.inside is None:
            return flat
        first = next(iter(self.params.values())).name
        inner = {name: value for name, value in flat.items() if name != first}
        outer = {name: value for name, value in flat.items() if name == first}
        return outer | ({self.inside: inner} if inner else {})


def shape(function: Function, rng: random.Random, taken: set[str]) -> Tool:
    """A function in new clothes."""
    name, named = tool_name(function, rng)
    while name in taken:
        name, named = tool_name(function, rng)
    taken.add(name)
    params: dict[str, Shaped] = {}
    used: set[str] = set()
    pressed = rng.random() < 0.5
    for param in function.params:
        shaped = shape_param(param, rng, pressed)
        while shaped.name in used:
            shaped.name += "_2" if rng.random() < 0.5 else "_name"
        used.add(shaped.name)
        params[param.slot] = shaped
    if rng.random() < 0.16:
        add_unasked(params, used, rng)
    tool: dict[str, Any] = {"type": "function", "name": name}
    if not named or rng.random() < 0.9:
        tool["description"] = description(function, rng)
    inside = None
    if len(params) >= 3 and rng.random() < 0.12:
        inside = rng.choice(["details", "options", "data", "settings", "info"])
        inside = None if inside in used else inside
    strict = rng.random() < 0.85
    tool["parameters"] = schema(list(params.values()), inside, strict, rng)
    return Tool(function, name, tool, params, inside, strict)


def add_unasked(params: dict[str, Shaped], used: set[str], rng: random.Random) -> None:
    """An optional parameter that nobody ever names, and that no call has therefore."""
    name, body = rng.choice(UNASKED)
    if name not in used:
        used.add(name)
        params[f"~{name}"] = Shaped(Param((f"~{name}",), "", False), name, dict(body), "given")


def tool_name(function: Function, rng: random.Random) -> tuple[str, bool]:
    """A name for a function, and whether it tells what the function does."""
    if rng.random() < 0.07:
        odd = (
            f"{rng.choice(ODD_NAMES)}_{rng.choice([str(rng.randint(1, 99)), rng.choice('abcdefghxyz'), invented(rng)])}"
        )
        last = function.name.split("_")[-1]
        return rng.choice([odd, f"{invented(rng)}_{last}", f"{invented(rng)}_{invented(rng)}", invented(rng)]), False
    words = rng.choice([function.name, *function.names]).split("_")
    if rng.random() < 0.55:
        groups = [group for group in VERBS if group[0] == words[0] or words[0] in group[:2]]
        if groups and len(words) > 1:
            words = [*rng.choice(rng.choice(groups)).split("_"), *words[1:]]
    if len(words) > 1 and rng.random() < 0.08:
        words = [*words[1:], words[0]]
    if rng.random() < 0.07 and not function.about:
        words = [function.domain, *words]
    kind = rng.random()
    if kind < 0.68:
        return "_".join(words), True
    if kind < 0.9:
        return words[0] + "".join(word.title() for word in words[1:]), True
    if kind < 0.94:
        return "".join(word.title() for word in words), True
    if kind < 0.97 or len(words) == 1:
        return "-".join(words), True
    return f"{words[0] if function.about else function.domain}.{'_'.join(words)}", True


def description(function: Function, rng: random.Random) -> str:
    """What a function does, in one of several forms."""
    does = rng.choice(function.does)
    kind = rng.random()
    if kind < 0.35:
        text = third_person(does)
    elif kind < 0.75:
        text = does
    elif kind < 0.88:
        text = rng.choice(LEADS).format(does)
    else:
        return does
    text = text[:1].upper() + text[1:]
    if rng.random() < 0.05:
        return f"{text}. {rng.choice(BEHIND)}"
    return text + ("." if rng.random() < 0.6 else "")


def third_person(does: str) -> str:
    """`tell the time` as `tells the time`."""
    verb, space, rest = does.partition(" ")
    if verb in ("do", "go") or verb.endswith(("ch", "sh", "ss", "x")):
        verb += "es"
    elif verb.endswith("y") and verb[-2] not in "aeiou":
        verb = verb[:-1] + "ies"
    elif verb == "have":
        verb = "has"
    else:
        verb += "s"
    return verb + space + rest


def shape_param(param: Param, rng: random.Random, pressed: bool) -> Shaped:
    """A parameter's name, type and description; `pressed` functions describe most of theirs."""
    kind, inner = split(param.values)
    others = list(param.names[1:]) or NAMES.get(param.slot, param.slot).split()
    name = param.slot if rng.random() < 0.35 else rng.choice([param.slot, *others])
    words = rng.choice([param.slot, *param.names]).replace("_", " ")
    told = rng.choice([f"the {words}", f"The {words}", words.capitalize(), words.capitalize()])
    about = ABOUT.get(param.slot, ABOUT.get(kind) if kind in ("n", "digits", "price", "onoff") else None)
    if about and rng.random() < 0.4:
        told = f"{told}, {rng.choice(about.split('|')).lower()}" if kind == "n" else rng.choice(about.split("|"))
    form, body = typed_schema(kind, inner, rng)
    if form == "state":
        name = name if name not in ("on", "enabled", "active") else rng.choice(["state", "status", "mode", "power"])
    if form == "clock":
        form, told, pressed = "given", rng.choice(CLOCK), True
    if body.get("type") == "string" and "enum" not in body and rng.random() < 0.06:
        name = rng.choice([invented(rng), "arg", "value", "input", "x"])
        pressed = True
    if rng.random() < (0.85 if pressed else 0.12):
        body["description"] = told
    if rng.random() < 0.12:
        parts = name.split("_")
        name = parts[0] + "".join(part.title() for part in parts[1:])
    return Shaped(param, name, body, form)


def typed_schema(kind: str, inner: str, rng: random.Random) -> tuple[str, dict[str, Any]]:
    """The form of the argument and the schema of a value's kind."""
    form: str = "given"
    body: dict[str, Any] = {"type": PLAIN_TYPES.get(kind, "string")}
    chance = rng.random()
    if kind == "onoff" and chance < 0.45:
        form, body = "state", {"type": "string", "enum": rng.choice([["on", "off"], ["off", "on"]])}
    elif kind == "enum":
        values = list(dict.fromkeys(value for value, _ in choices(inner)))
        rng.shuffle(values)
        body["enum"] = values
    elif kind == "n" and chance < 0.33:
        body["type"] = "number"
    elif kind == "list":
        body["items"] = {"type": "string"}
    elif kind == "time":
        form = "clock" if chance < 0.5 else "told"
    elif kind == "digits" and chance < 0.35:
        form, body = "integer", {"type": "integer"}
    return form, body


def schema(params: list[Shaped], inside: str | None, told: bool, rng: random.Random) -> dict[str, Any]:
    """The JSON schema of some parameters; `told` says which are required."""
    body = object_schema(params, told)
    if inside is not None:
        body = object_schema(params[:1], told)
        body["properties"][inside] = object_schema(params[1:], told)
        if any(item.param.required for item in params[1:]) and told:
            body.setdefault("required", []).append(inside)
    if rng.random() < 0.12:
        body["additionalProperties"] = False
    if rng.random() < 0.1:
        body = {key: body[key] for key in reversed(body)}
    if not params and rng.random() < 0.3:
        return {"type": "object"}
    return body


def object_schema(params: list[Shaped], told: bool) -> dict[str, Any]:
    """An object of some parameters; `told` says which are required."""
    body: dict[str, Any] = {"type": "object", "properties": {item.name: item.schema for item in params}}
    required = [item.name for item in params if item.param.required]
    if told and required:
        body["required"] = required
    return body


def plain(name: str) -> str:
    """A parameter's name as words: `start_time` is `start time`."""
    return re.sub(r"([a-z])([A-Z])", r"\1 \2", name).replace("_", " ").replace("-", " ").lower()
