"""What a listener must not hear: reasoning, and the markup of tool calls."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.llm.markup import _TOOLS, _TOOLS_TO_THE_END, MARKERS, REASONING, MarkupFilter, Visible
from pipeline.types import TextDelta, ToolCallDelta

WORDS = st.sampled_from(["Hello", " there", ". ", "\n", " ", "<", "<b>", "[1]", "a<|b", "é👋", "think", "</", "<thin"])
PLAIN = st.lists(WORDS, max_size=8).map("".join)
SECRET = "SECRET"
HIDDEN = st.sampled_from([*REASONING.items(), *_TOOLS.items()]).map(lambda pair: f"{pair[0]}{SECRET} x{pair[1]}")
HARMONY = st.sampled_from(["analysis", "commentary to=functions.x <|constrain|>json"]).map(
    lambda channel: f"<|channel|>{channel}<|message|>{SECRET}<|end|><|start|>assistant<|channel|>final<|message|>"
)
UNCLOSED = st.sampled_from([*REASONING, *_TOOLS, *_TOOLS_TO_THE_END]).map(lambda opening: f"{opening} {SECRET}")
REPLIES = st.tuples(st.lists(st.one_of(PLAIN, HIDDEN, HARMONY), max_size=6).map("".join), st.just("") | UNCLOSED).map(
    "".join
)


def run(*pieces: str, prompt_end: str = "") -> list[Visible]:
    markup = MarkupFilter(prompt_end)
    shown = [delta for piece in pieces for delta in markup.feed(piece)]
    return shown + markup.finish()


def text(shown: list[Visible]) -> str:
    return "".join(delta.text for delta in shown if isinstance(delta, TextDelta))


def calls(shown: list[Visible]) -> list[ToolCallDelta]:
    return [delta for delta in shown if isinstance(delta, ToolCallDelta)]


@given(REPLIES, st.lists(st.integers(1, 9), max_size=60))
def test_how_a_reply_is_cut_into_pieces_makes_no_difference(reply: str, sizes: list[int]) -> None:
    pieces, rest = [], reply
    for size in sizes:
        pieces.append(rest[:size])
        rest = rest[size:]
    whole, cut = run(reply), run(*pieces, rest)
    assert text(cut) == text(whole)
    assert calls(cut) == calls(whole)


@given(REPLIES)
def test_nothing_that_a_block_holds_is_ever_heard(reply: str) -> None:
    shown = text(run(*reply))
    assert SECRET not in shown
    assert not any(marker in shown for marker in MARKERS)


@given(st.text(st.characters(exclude_characters="<["), max_size=40))
def test_ordinary_text_passes_whole_and_at_once(words: str) -> None:
    markup = MarkupFilter()
    heard = ""
    for said, letter in enumerate(words, start=1):
        heard += text(markup.feed(letter))
        assert heard == words[:said].lstrip()
    assert markup.finish() == []


def test_only_what_may_begin_a_marker_waits() -> None:
    markup = MarkupFilter()
    assert text(markup.feed("if a <")) == "if a "
    assert text(markup.feed(" b then <th")) == "< b then "
    assert text(markup.feed("e end")) == "<the end"


@pytest.mark.parametrize(("opening", "closing"), REASONING.items())
def test_the_reply_starts_behind_the_reasoning_without_white_space(opening: str, closing: str) -> None:
    assert text(run(f"{opening}\nHm. <b> [x]\n{closing}\n\nFour.")) == "Four."


@pytest.mark.parametrize("opening", [*REASONING, *_TOOLS, *_TOOLS_TO_THE_END])
def test_a_block_that_is_never_closed_is_never_heard(opening: str) -> None:
    assert text(run(*f"Let me see. {opening}name SECRET")) == "Let me see. "


def test_a_block_amid_words_leaves_one_space() -> None:
    assert text(run("Well, <think>x</think> no.")) == "Well, no."
    assert text(run("Well,<think>x</think> no.")) == "Well, no."


def test_a_closing_tag_by_itself_is_not_heard() -> None:
    assert text(run("</think>\n\nFour.")) == "Four."


def test_a_block_that_the_prompt_opened_is_hidden() -> None:
    assert text(run("Hm.</think>\nFour.", prompt_end="<|im_end|>\n<|im_start|>assistant\n<think>\n")) == "Four."
    assert text(run("Four.", prompt_end="assistant\n<think>\n\n</think>\n\n")) == "Four."


def test_of_harmony_only_the_final_channel_is_heard() -> None:
    reply = "<|channel|>analysis<|message|>They ask.<|end|><|start|>assistant<|channel|>final<|message|>Four.<|return|>"
    assert text(run(*reply, prompt_end="<|end|><|start|>assistant")) == "Four."


WEATHER = {"city": "Bern", "days": 2}


@pytest.mark.parametrize(
    "reply",
    [
        '<tool_call>\n{"name": "weather", "arguments": {"city": "Bern", "days": 2}}\n</tool_call>',
        '[TOOL_CALLS][{"name": "weather", "arguments": {"city": "Bern", "days": 2}}]',
        '<|python_tag|>{"name": "weather", "parameters": {"city": "Bern", "days": 2}}',
        '<function=weather>{"city": "Bern", "days": 2}</function>',
        '[TOOL_CALLS]weather[ARGS]{"city": "Bern", "days": 2}',
        '[TOOL_CALLS]weather[CALL_ID]abc[ARGS]{"city": "Bern", "days": 2}',
        "<tool_call>\n<function=weather>\n<parameter=city>\nBern\n</parameter>\n<parameter=days>\n2\n</parameter>\n"
        "</function>\n</tool_call>",
        "<tool_call>weather\n<arg_key>city</arg_key>\n<arg_value>Bern</arg_value>\n<arg_key>days</arg_key>\n"
        "<arg_value>2</arg_value>\n</tool_call>",
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>weather\n```json\n"
        '{"city": "Bern", "days": 2}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
        '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>weather<｜tool▁sep｜>{"city": "Bern", "days": 2}<｜tool▁call▁end｜>'
        "<｜tool▁calls▁end｜>",
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.weather:0<|tool_call_argument_begin|>"
        '{"city": "Bern", "days": 2}<|tool_call_end|><|tool_calls_section_end|>',
        '<|channel|>commentary to=functions.weather <|constrain|>json<|message|>{"city": "Bern", "days": 2}<|call|>',
        '<tool_call>\n{"name": "weather", "arguments": {"city": "Bern", "days": 2}}',
    ],
)
def test_a_tool_call_becomes_one_delta_and_no_text(reply: str) -> None:
    shown = run(*f"I look. {reply}")
    assert text(shown) == "I look. "
    [call] = calls(shown)
    assert (call.index, call.name, json.loads(call.arguments)) == (0, "weather", WEATHER)


@pytest.mark.parametrize(
    "reply",
    [
        '<tool_call>{"name": "a", "arguments": {}}</tool_call>\n<tool_call>{"name": "b", "arguments": {}}</tool_call>',
        '<tool_call>{"name": "a", "arguments": {}}\n{"name": "b", "arguments": {}}</tool_call>',
        '[TOOL_CALLS] [{"name": "a", "arguments": {}}, {"name": "b", "arguments": {}}]',
        "[TOOL_CALLS]a[ARGS]{}[TOOL_CALLS]b[ARGS]{}",
        '<|python_tag|>{"name": "a", "parameters": {}}; {"name": "b", "parameters": {}}',
    ],
)
def test_several_tool_calls_are_numbered(reply: str) -> None:
    assert [(call.index, call.name) for call in calls(run(reply))] == [(0, "a"), (1, "b")]


@given(st.lists(st.integers(1, 9), max_size=60))
def test_a_closing_tag_in_an_argument_is_text(sizes: list[int]) -> None:
    arguments = {"text": 'say "</tool_call>" \\ and <think>'}
    rest = f"<tool_call>\n{json.dumps({'name': 'say', 'arguments': arguments})}\n</tool_call> Done."
    pieces = []
    for size in sizes:
        pieces.append(rest[:size])
        rest = rest[size:]
    shown = run(*pieces, rest)
    [call] = calls(shown)
    assert json.loads(call.arguments) == arguments
    assert text(shown).strip() == "Done."


def test_quotation_marks_without_an_end_do_not_swallow_the_next_line() -> None:
    assert text(run('<tool_call>\n{"name: 7}\n</tool_call>Done.')) == "Done."


@pytest.mark.parametrize(
    "body", ["", "{", "[" * 100_000, "7", '{"name": 7}', '{"name": "a", "arguments": [1]}', "[null]"]
)
def test_a_tool_call_that_cannot_be_read_is_dropped(body: str) -> None:
    assert run(f"<tool_call>{body}</tool_call>") == []


def test_no_marker_begins_within_another() -> None:
    # The filter takes the first marker that is complete; this is what makes it independent of the cuts.
    for one in MARKERS:
        for other in MARKERS - {one}:
            assert not any(other.startswith(one[start:]) or one[start:].startswith(other) for start in range(len(one)))
