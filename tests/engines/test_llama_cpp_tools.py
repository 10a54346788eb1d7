"""Tools and reasoning with a model that was trained to use them (tests/weights/llama-tools)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.llm.llama_cpp import LlamaCpp, LlamaCppStream
from pipeline.types import GenerationRequest, Message, ModelOutput, NamedTool, Prompt, TextDelta, Tool, ToolCall
from pipeline.workers import CancelToken
from tests.engines.llama import calls, end, text

WEIGHTS = Path(__file__).parents[1] / "weights" / "llama-tools" / "tools.gguf"


def of_one(name: str, description: str, parameter: str, kind: str) -> Tool:
    schema = {"type": "object", "properties": {parameter: {"type": kind}}, "required": [parameter]}
    return Tool(name, description, schema)


WEATHER = of_one("get_weather", "Tells the weather in a city.", "city", "string")
TIMER = of_one("set_timer", "Sets a timer.", "minutes", "integer")
ASK = "What is the weather in Bern?"


@pytest.fixture(scope="module")
def engine() -> Iterator[LlamaCpp]:
    engine = LlamaCpp(LlamaCpp.Options(model=str(WEIGHTS), temperature=0, context=1024, threads=1))
    yield engine
    engine.close()


@pytest.fixture
def talk(engine: LlamaCpp) -> Iterator[LlamaCppStream]:
    stream = engine.open()
    yield stream
    stream.close()


def say(talk: LlamaCppStream, *messages: str | Message, tools: tuple[Tool, ...] = (), **more: Any) -> list[ModelOutput]:
    said = tuple(each if isinstance(each, Message) else Message("user", each) for each in messages)
    return list(talk.generate(GenerationRequest(Prompt(said, tools), **more), CancelToken()))


def called(name: str, arguments: str) -> Message:
    return Message("assistant", "", (ToolCall("call_1", name, arguments),))


def test_what_it_can_do_is_told(engine: LlamaCpp) -> None:
    able = engine.capabilities
    assert (able.tools, able.forced_calls, able.reasoning, able.vision) == (True, True, True, False)


def test_a_tool_is_called_where_it_helps_and_only_there(talk: LlamaCppStream) -> None:
    tools = (TIMER, WEATHER)
    outputs = say(talk, ASK, tools=tools)
    assert (text(outputs), calls(outputs)) == ("", [("get_weather", '{"city": "Bern"}')])
    assert calls(say(talk, "set a timer for ten minutes", tools=tools)) == [("set_timer", '{"minutes": 10}')]
    chat = say(talk, "hello", tools=tools)
    assert (text(chat), calls(chat)) == ("Hello there.", [])


def test_a_reply_says_what_the_tool_returned(talk: LlamaCppStream) -> None:
    result = Message("tool", '{"weather": "rainy"}', call_id="call_1")
    outputs = say(talk, ASK, called("get_weather", '{"city": "Bern"}'), result, tools=(WEATHER,))
    assert (text(outputs), calls(outputs)) == ("It is rainy in Bern.", [])


def test_without_the_tool_or_leave_to_use_it_there_is_no_call(talk: LlamaCppStream) -> None:
    for outputs in (say(talk, ASK), say(talk, ASK, tools=(WEATHER,), tool_choice="none")):
        assert (text(outputs), calls(outputs)) == ("I cannot see the weather.", [])


def test_two_calls_are_made_at_once_unless_that_is_ruled_out(talk: LlamaCppStream) -> None:
    asked = "What is the weather in Oslo and in Rome?"
    both = [("get_weather", '{"city": "Oslo"}'), ("get_weather", '{"city": "Rome"}')]
    for choice in ("auto", "required"):
        assert calls(say(talk, asked, tools=(WEATHER,), tool_choice=choice)) == both
        one = say(talk, asked, tools=(WEATHER,), tool_choice=choice, parallel_tool_calls=False)
        assert calls(one) == both[:1]


def test_a_call_that_is_forced_says_what_was_asked_for(talk: LlamaCppStream) -> None:
    tools = (TIMER, WEATHER)
    assert calls(say(talk, ASK, tools=tools, tool_choice="required", parallel_tool_calls=False)) == [
        ("get_weather", '{"city": "Bern"}')
    ]
    [(name, _)] = calls(say(talk, "hello", tools=tools, tool_choice=NamedTool("set_timer")))
    assert name == "set_timer"


def test_a_schema_may_forbid_what_the_model_would_say(talk: LlamaCppStream) -> None:
    narrow = Tool(
        WEATHER.name,
        WEATHER.description,
        {"type": "object", "properties": {"city": {"type": "string", "enum": ["Oslo", "Rome"]}}, "required": ["city"]},
    )
    for choice in ("auto", "required"):
        [(name, arguments)] = calls(say(talk, ASK, tools=(narrow,), tool_choice=choice, parallel_tool_calls=False))
        assert name == "get_weather"
        assert arguments in ('{"city": "Oslo"}', '{"city": "Rome"}')


def test_thoughts_are_counted_and_never_heard(talk: LlamaCppStream) -> None:
    quick, thoughtful = say(talk, "hello"), say(talk, "hello", effort="medium")
    assert text(quick) == text(thoughtful) == "Hello there."
    assert all(isinstance(output, TextDelta) for output in thoughtful[:-1])
    assert end(thoughtful).output_tokens > end(quick).output_tokens + 5
    outputs = say(talk, ASK, tools=(WEATHER,), effort="medium")
    assert (text(outputs), calls(outputs)) == ("", [("get_weather", '{"city": "Bern"}')])
    forced = say(talk, ASK, tools=(WEATHER,), effort="medium", tool_choice=NamedTool("get_weather"))
    assert calls(forced) == [("get_weather", '{"city": "Bern"}')]


def test_a_whole_conversation_with_tools_computes_only_what_is_new(talk: LlamaCppStream) -> None:
    history: list[Message] = [Message("user", ASK)]
    first = say(talk, *history, tools=(WEATHER, TIMER))
    [(name, arguments)] = calls(first)
    history += [called(name, arguments), Message("tool", "sunny", call_id="call_1")]
    second = say(talk, *history, tools=(WEATHER, TIMER))
    assert text(second) == "It is sunny in Bern."
    history += [Message("assistant", text(second)), Message("user", "set a timer for five minutes")]
    third = say(talk, *history, tools=(WEATHER, TIMER))
    assert calls(third) == [("set_timer", '{"minutes": 5}')]
    for earlier, later in ((first, second), (second, third)):
        # All but the block that says that there are no thoughts: only the newest message has one.
        assert end(later).cached_tokens >= end(earlier).input_tokens - 10
