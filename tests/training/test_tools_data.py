"""The functions of the training dialogues are well-formed, and every call is what was asked for."""

import random
from typing import Any

import pytest

from scripts.train_builtin_model.chat import Chat
from scripts.train_builtin_model.dialogue import Dialogue
from scripts.train_builtin_model.tool_library import Library
from scripts.train_builtin_model.tool_shapes import shape
from scripts.train_builtin_model.tool_values import clock_words, number_words
from scripts.train_builtin_model.tools import ToolTalk

KINDS = {"string": str, "integer": int, "boolean": bool, "array": list, "object": dict, "number": (int, float)}

LITTLE = {"the", "a", "an", "of", "to", "in", "on"}
"""Words of a value that a transcriber may swallow."""


@pytest.fixture(scope="module")
def dialogues() -> list[Dialogue]:
    """Some dialogues with functions."""
    talk, rng = ToolTalk(Chat()), random.Random(1)
    return [talk.dialogue(rng) for _ in range(600)]


def fits(value: Any, schema: dict[str, Any]) -> bool:
    """Whether a value satisfies the part of JSON schema that the functions use."""
    kind = schema["type"]
    if not isinstance(value, KINDS[kind]) or (isinstance(value, bool) and kind != "boolean"):
        return False
    if kind == "object":
        known = schema.get("properties", {})
        whole = set(schema.get("required", [])) <= set(value) <= set(known)
        return whole and all(fits(item, known[name]) for name, item in value.items())
    if kind == "array":
        return all(fits(item, schema["items"]) for item in value)
    return value in schema.get("enum", [value])


def strings(value: Any) -> list[str]:
    """All strings in some arguments."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [text for item in value for text in strings(item)]
    return [value] if isinstance(value, str) else []


def test_the_library_is_large_and_its_names_differ() -> None:
    library = Library()
    names = [function.name for function in library.functions]
    assert len(names) >= 300
    assert len(set(names)) == len(names)
    assert len(library.domains) >= 40
    assert all(len(function.asks) >= 3 for function in library.functions)


def test_every_call_names_a_function_and_satisfies_its_schema(dialogues: list[Dialogue]) -> None:
    for dialogue in dialogues:
        schemas = {tool["name"]: tool["parameters"] for tool in dialogue.tools}
        assert len(schemas) == len(dialogue.tools)
        for message in dialogue.messages:
            for call in message.calls:
                assert fits(call.arguments, schemas[call.name]), (call, schemas[call.name])


def test_strings_are_copied_from_what_was_said(dialogues: list[Dialogue]) -> None:
    for dialogue in dialogues:
        said = ""
        for message in dialogue.messages:
            if message.role in ("user", "tool"):
                said += " " + message.text.lower()
            choices = [part for tool in dialogue.tools for part in _enums(tool["parameters"])]
            for text in [text for call in message.calls for text in strings(call.arguments)]:
                plain = text.lower()
                formed = plain in choices or plain.replace(":", "").isdigit()
                words = [word for word in plain.split() if word not in LITTLE]
                assert formed or all(word in said for word in words), (text, said)


def test_every_call_gets_a_result_and_a_reply(dialogues: list[Dialogue]) -> None:
    for dialogue in dialogues:
        roles = [message.role for message in dialogue.messages]
        assert roles[0] == "user"
        assert roles[-1] == "assistant"
        for at, message in enumerate(dialogue.messages):
            if message.calls:
                after = roles[at + 1 : at + 1 + len(message.calls)]
                assert after == ["tool"] * len(message.calls)
                assert roles[at + 1 + len(message.calls)] == "assistant"


def test_a_tool_has_its_own_words_each_time() -> None:
    function = next(function for function in Library().functions if function.name == "get_weather")
    rng = random.Random(2)
    assert len({shape(function, rng, set()).name for _ in range(200)}) > 30


@pytest.mark.parametrize(
    ("value", "text"), [(3.5, "three point five"), (2400, "two thousand four hundred"), (-4, "minus four")]
)
def test_numbers_are_told_in_words(value: float, text: str) -> None:
    assert number_words(value) == text


@pytest.mark.parametrize(
    ("clock", "text"), [("14:30", "fourteen thirty"), ("08:00", "eight o'clock"), ("16:05", "sixteen oh five")]
)
def test_times_are_told_in_words(clock: str, text: str) -> None:
    assert clock_words(clock) == text


def _enums(schema: dict[str, Any]) -> list[str]:
    found = [value for value in schema.get("enum", []) if isinstance(value, str)]
    return found + [value for inner in schema.get("properties", {}).values() for value in _enums(inner)]
