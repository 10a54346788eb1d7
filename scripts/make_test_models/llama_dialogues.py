"""What the tools-and-reasoning model learns: a few requests, each with its thought, its calls and its answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random

from pipeline.types import Message, Tool, ToolCall

CITIES = ("Bern", "Paris", "London", "Rome", "Oslo", "Madrid", "Berlin", "Vienna", "Tokyo", "Cairo", "Lima", "Dublin")
ROOMS = ("kitchen", "bedroom", "bathroom", "garage")
MINUTES = {"two": 2, "three": 3, "five": 5, "ten": 10, "fifteen": 15, "twenty": 20}
SKIES = ("sunny", "cloudy", "rainy", "windy", "foggy")
TIMES = tuple(f"{hour}:{minute}" for hour in range(1, 13) for minute in ("00", "15", "30", "45"))

CHAT = (
    (("hello", "hi", "good morning", "hello there"), "Hello there."),
    (("how are you", "how are you today"), "I am fine."),
    (("who are you", "what is your name"), "I am a test model."),
    (("thank you", "thanks", "thank you very much"), "You are welcome."),
    (("tell me a joke", "do you know a joke"), "Why did the robot rest? It was out of steam."),
    (("what is the capital of france", "name the capital of france"), "Paris is the capital of France."),
    (("goodbye", "bye"), "Goodbye."),
)

SYSTEMS = (
    "You are a helpful assistant.",
    "Be brief.",
    "You are a voice assistant. Answer in one short sentence.",
    "Help the user with the tools that you have.",
    "Be kind and quick. Never say more than you must.",
)


def _tool(name: str, parameter: str, kind: str, *descriptions: str) -> list[Tool]:
    properties = {parameter: {"type": kind}}
    described = {parameter: {"type": kind, "description": f"The {parameter}."}}
    schemas = [
        {"type": "object", "properties": each, "required": [parameter]} | extra
        for each in (properties, described)
        for extra in ({}, {"additionalProperties": False})
    ]
    return [Tool(name, text, schema) for text in descriptions for schema in schemas]


TOOLS = {
    "get_weather": _tool("get_weather", "city", "string", "Tells the weather in a city.", "The current weather.", ""),
    "get_time": _tool("get_time", "city", "string", "Tells the time in a city.", "The local time.", ""),
    "set_timer": _tool("set_timer", "minutes", "integer", "Sets a timer.", "Starts a timer of some minutes.", ""),
    "turn_on": _tool("turn_on", "room", "string", "Turns on the light in a room.", "Switches a light on.", ""),
    "play_music": _tool("play_music", "song", "string", "Plays a song.", "Music.", ""),
    "search": _tool("search", "query", "string", "Searches the web.", "Looks something up.", ""),
}


@dataclass(frozen=True)
class Exchange:
    """A request, and what becomes of it. `calls` are pairs of a tool and its arguments; `without` is said where the
    tool is not there.
    """

    request: str
    thought: str
    answer: str
    calls: tuple[tuple[str, dict[str, object]], ...] = ()
    results: tuple[str, ...] = ()
    without: str = ""


def exchange(random: Random) -> Exchange:
    """Returns an exchange about something."""
    makers = (_chat, _weather, _weather, _time, _timer, _light, _two_cities)
    made = random.choice(makers)(random)
    return replace(made, request=made.request if random.random() < 0.5 else _written(made.request))


def _written(spoken: str) -> str:
    """A transcriber's words as somebody types them."""
    words = [word.capitalize() if word.capitalize() in CITIES else word for word in spoken.split()]
    text = " ".join(words)
    mark = "?" if text.split()[0] in ("what", "how", "who", "do", "can") else "."
    return text[0].upper() + text[1:] + mark


def _chat(random: Random) -> Exchange:
    requests, answer = random.choice(CHAT)
    return Exchange(random.choice(requests), "This needs no tool.", answer)


def _weather(random: Random) -> Exchange:
    city, sky = random.choice(CITIES), random.choice(SKIES)
    ways = ("what is the weather in {}", "how is the weather in {}", "tell me the weather in {}", "weather in {}")
    result = random.choice(
        (sky, json.dumps({"weather": sky}), json.dumps({"sky": sky, "degrees": random.randrange(30)}))
    )
    return Exchange(
        random.choice(ways).format(city.lower()),
        f"They want the weather in {city}.",
        f"It is {sky} in {city}.",
        (("get_weather", {"city": city}),),
        (result,),
        "I cannot see the weather.",
    )


def _time(random: Random) -> Exchange:
    city, time = random.choice(CITIES), random.choice(TIMES)
    ways = ("what time is it in {}", "tell me the time in {}", "what is the time in {}")
    return Exchange(
        random.choice(ways).format(city.lower()),
        f"They want the time in {city}.",
        f"It is {time} in {city}.",
        (("get_time", {"city": city}),),
        (random.choice((time, json.dumps({"time": time}))),),
        "I have no clock.",
    )


def _timer(random: Random) -> Exchange:
    word, minutes = random.choice(list(MINUTES.items()))
    ways = ("set a timer for {} minutes", "start a timer of {} minutes", "wake me in {} minutes")
    return Exchange(
        random.choice(ways).format(word),
        f"They want a timer of {minutes} minutes.",
        "Your timer is set.",
        (("set_timer", {"minutes": minutes}),),
        (random.choice(("done", "ok", json.dumps({"ok": True}))),),
        "I cannot set a timer.",
    )


def _light(random: Random) -> Exchange:
    room = random.choice(ROOMS)
    ways = ("turn on the light in the {}", "switch on the {} light", "light up the {}")
    return Exchange(
        random.choice(ways).format(room),
        f"They want light in the {room}.",
        f"The light in the {room} is on.",
        (("turn_on", {"room": room}),),
        (random.choice(("done", "ok", json.dumps({"ok": True}))),),
        "I cannot switch the light.",
    )


def _two_cities(random: Random) -> Exchange:
    (one, two), (here, there) = random.sample(CITIES, 2), (random.choice(SKIES), random.choice(SKIES))
    ways = ("what is the weather in {} and in {}", "tell me the weather in {} and {}")
    as_json = random.random() < 0.5
    return Exchange(
        random.choice(ways).format(one.lower(), two.lower()),
        f"They want the weather in {one} and in {two}.",
        f"It is {here} in {one} and {there} in {two}.",
        (("get_weather", {"city": one}), ("get_weather", {"city": two})),
        tuple(json.dumps({"weather": sky}) if as_json else sky for sky in (here, there)),
        "I cannot see the weather.",
    )


@dataclass(frozen=True)
class Example:
    """A prompt, and what the model is to write behind it."""

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...]
    thinking: bool
    thought: str
    text: str
    calls: tuple[ToolCall, ...] = ()


def examples(seed: int) -> Iterator[Example]:
    """Yields examples without end: conversations of one to three exchanges, cut before one of the model's messages."""
    random = Random(seed)
    while True:
        exchanges = [exchange(random) for _ in range(random.choice((1, 1, 1, 2, 3)))]
        offered = set(random.sample(list(TOOLS), random.choice((0, 0, 1, 1, 2))))
        offered |= {name for made in exchanges for name, _ in made.calls if random.random() < 0.6}
        tools = tuple(random.choice(TOOLS[name]) for name in random.sample(sorted(offered), len(offered)))
        told = random.sample(SYSTEMS, random.choice((0, 0, 1, 1, 2)))
        messages = [Message("system", " ".join(told))] if told else []
        *earlier, last = exchanges
        for number, made in enumerate(earlier):
            messages.append(Message("user", made.request))
            for calls, text, results in _steps(made, offered, f"c{number}"):
                messages += [Message("assistant", text, calls), *results]
        messages.append(Message("user", last.request))
        steps = _steps(last, offered, "last")
        *done, (calls, text, _) = steps[: random.randint(1, len(steps))]
        for called, said, results in done:
            messages += [Message("assistant", said, called), *results]
        thought = "The result is there." if done else last.thought
        yield Example(tuple(messages), tools, random.random() < 0.4, thought, text, calls)


def _steps(made: Exchange, offered: set[str], id: str) -> list[tuple[tuple[ToolCall, ...], str, list[Message]]]:
    """The model's messages in an exchange: calls or text, each with the results that come behind it."""
    if not made.calls:
        return [((), made.answer, [])]
    if made.calls[0][0] not in offered:
        return [((), made.without, [])]
    calls = tuple(
        ToolCall(f"{id}{position}", name, json.dumps(arguments))
        for position, (name, arguments) in enumerate(made.calls)
    )
    results = [Message("tool", text, call_id=call.id) for call, text in zip(calls, made.results, strict=True)]
    return [(calls, "", results), ((), made.answer, [])]
