"""The parts of a reply come one after the other, however an engine mixes them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.reply_parts import ReplyParts
from pipeline.types import Generated, ModelOutput, TextDelta, ToolCallDelta

END = Generated("stop", 1, 1)
KNOWN = frozenset({"look", "ring"})


def parts(*outputs: ModelOutput) -> list[ModelOutput]:
    reader = ReplyParts(KNOWN)
    return [part for output in (*outputs, END) for part in reader.feed(output)]


def piece(index: int, arguments: str, name: str = "") -> ToolCallDelta:
    return ToolCallDelta(index, name, arguments)


def test_calls_whose_pieces_come_in_turns_are_told_one_after_the_other() -> None:
    came = [piece(0, '{"a"', "look"), piece(1, '{"b"', "ring"), piece(0, ": 1}"), piece(1, ": 2}")]
    assert parts(*came) == [came[0], came[2], came[1], came[3], END]


def test_words_between_the_pieces_of_a_call_come_behind_it() -> None:
    assert parts(piece(0, "{", "look"), TextDelta("Wait."), piece(0, "}")) == [
        piece(0, "{", "look"),
        piece(0, "}"),
        TextDelta("Wait."),
        END,
    ]


def test_what_waits_for_a_call_that_is_never_whole_comes_at_the_end() -> None:
    came = [piece(0, '{"a"', "look"), TextDelta("Well."), piece(1, "{}", "ring")]
    assert parts(*came) == [*came, END]


def test_a_piece_behind_the_end_of_its_call_is_dropped() -> None:
    assert parts(piece(0, "{}", "look"), TextDelta("Well."), piece(0, "\n")) == [
        piece(0, "{}", "look"),
        TextDelta("Well."),
        END,
    ]


def test_pieces_are_passed_on_as_they_come() -> None:
    reader = ReplyParts(KNOWN)
    for output in (TextDelta("Hm. "), piece(0, "", "look"), piece(0, "{"), piece(0, "}"), piece(1, "{}", "ring")):
        assert list(reader.feed(output)) == [output]


@pytest.mark.parametrize("space", ["\n", "  \n\n"])
def test_space_around_calls_is_no_text(space: str) -> None:
    first, second = piece(0, "{}", "look"), piece(1, "{}", "ring")
    blank = TextDelta(space)
    assert parts(blank, first, blank, second, blank) == [first, second, END]
    assert parts(blank, TextDelta("Hello."), blank, first) == [TextDelta(f"{space}Hello."), blank, first, END]


def test_a_call_of_no_tool_is_left_out_and_the_others_are_counted_without_it() -> None:
    assert parts(piece(0, '{"a"', "fly"), piece(0, ": 1}"), piece(1, "{}", "look")) == [piece(0, "{}", "look"), END]


_PIECES = st.lists(st.sampled_from(["text", "space", 0, 1, 2]), max_size=14)


@given(_PIECES)
def test_however_they_are_mixed_nothing_is_lost_and_no_part_comes_twice(order: list[str | int]) -> None:
    waiting = {index: ["{", f'"n": {index}', "}"] for index in range(3)}
    outputs: list[ModelOutput] = []
    for what in [*order, *(index for index in range(3) for _ in range(3))]:
        if isinstance(what, str):
            outputs.append(TextDelta("word " if what == "text" else " "))
        elif waiting[what]:
            outputs.append(piece(what, waiting[what].pop(0), "look" if len(waiting[what]) == 2 else ""))
    came = parts(*outputs)
    numbers = [part.index for part in came if isinstance(part, ToolCallDelta)]
    assert numbers == sorted(numbers)
    calls = [
        "".join(part.arguments for part in came if isinstance(part, ToolCallDelta) and part.index == index)
        for index in range(3)
    ]
    assert sorted(json.loads(call)["n"] for call in calls) == [0, 1, 2]
    assert sum(isinstance(part, TextDelta) and "word" in part.text for part in came) == order.count("text")
