"""What the engine `openai` promises as a language model, against a real HTTP endpoint on loopback."""

import asyncio
import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import pytest

from pipeline.errors import EngineError, PromptTooLongError, StageError
from pipeline.images import image_of
from pipeline.llm import openai_reply
from pipeline.llm.openai import OpenAIModel
from pipeline.llm.truncation import estimate
from pipeline.types import (
    Effort,
    Generated,
    GenerationRequest,
    Message,
    ModelOutput,
    NamedTool,
    Prompt,
    TextDelta,
    Tool,
    ToolCall,
    ToolCallDelta,
    Truncation,
)
from pipeline.workers import CancelToken, iterate
from tests.images import jpeg, png, url
from tests.openai_endpoint import (
    CUT,
    PATIENCE_S,
    RESET,
    Answer,
    Endpoint,
    Gate,
    chunk,
    error_answer,
    events_answer,
    json_answer,
    said,
    sse,
    usage_chunk,
)

WEATHER = Tool("weather", "Tells the weather.", {"type": "object", "properties": {"city": {"type": "string"}}})
HELLO = Prompt((Message("user", "Hello."),))
WITH_TOOLS = Prompt(HELLO.messages, (WEATHER, Tool("time")))


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with Endpoint() as endpoint:
        yield endpoint


@pytest.fixture
def engine(endpoint: Endpoint) -> Iterator[OpenAIModel]:
    engine = make(endpoint)
    yield engine
    engine.close()


def make(endpoint: Endpoint, **options: Any) -> OpenAIModel:
    return OpenAIModel(OpenAIModel.Options(base_url=endpoint.base_url, model="test", **options))


async def generate(engine: OpenAIModel, prompt: Prompt = HELLO, **asked: Any) -> list[ModelOutput]:
    return await read(engine, [], prompt, **asked)


async def read(
    engine: OpenAIModel, outputs: list[ModelOutput], prompt: Prompt = HELLO, **asked: Any
) -> list[ModelOutput]:
    """Reads a reply into `outputs`, which has what came before an error."""
    cancel = CancelToken()
    make_reply = partial(engine.open().generate, GenerationRequest(prompt, **asked), cancel)
    async for output in iterate("llm", make_reply, cancel, timeout=PATIENCE_S):
        outputs.append(output)
    return outputs


async def request_for(
    endpoint: Endpoint, prompt: Prompt = HELLO, *, options: dict[str, Any] | None = None, **asked: Any
) -> Any:
    """The JSON that a reply is asked for with."""
    engine = make(endpoint, **(options or {}))
    outputs: list[ModelOutput] = []
    try:
        await read(engine, outputs, prompt, **asked)
    except StageError:
        assert asked.get("tool_choice", "auto") != "auto"  # the endpoint calls no tools
    engine.close()
    return endpoint.asked("chat")[-1].json


def text(outputs: list[ModelOutput]) -> str:
    return "".join(output.text for output in outputs if isinstance(output, TextDelta))


def calls(outputs: list[ModelOutput]) -> list[tuple[str | None, str, Any]]:
    """The calls put together from their pieces, in order: id, name, arguments."""
    made: dict[int, list[Any]] = {}
    for output in outputs:
        if isinstance(output, ToolCallDelta):
            assert (output.index in made) != bool(output.name)
            call = made.setdefault(output.index, [output.id, output.name, ""])
            call[2] += output.arguments
    assert list(made) == list(range(len(made)))
    return [(identity, name, json.loads(arguments or "{}")) for identity, name, arguments in made.values()]


def call(
    index: int | None = None, name: str | None = None, arguments: Any = None, identity: str | None = None
) -> dict[str, Any]:
    """A piece of a tool call as endpoints send it, without what is None."""
    function = {key: value for key, value in {"name": name, "arguments": arguments}.items() if value is not None}
    piece = {"index": index, "id": identity, "type": "function", "function": function}
    return {key: value for key, value in piece.items() if value is not None}


# --- what is asked ------------------------------------------------------------------------------------------------


async def test_the_conversation_is_sent_as_it_is(endpoint: Endpoint) -> None:
    prompt = Prompt(
        (
            Message("system", "Be brief."),
            Message("user", "Wie wird das Wetter? ☀ \ud800"),
            Message("assistant", "I will look.", calls=(ToolCall("call_1", "weather", '{"city": "Bonn"}'),)),
            Message("tool", "Sunny.", call_id="call_1"),
            Message("assistant", "It is sunny."),
        )
    )
    asked = await request_for(endpoint, prompt)
    function = {"name": "weather", "arguments": '{"city": "Bonn"}'}
    assert asked["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Wie wird das Wetter? ☀ \ud800"},
        {
            "role": "assistant",
            "content": "I will look.",
            "tool_calls": [{"id": "call_1", "type": "function", "function": function}],
        },
        {"role": "tool", "content": "Sunny.", "tool_call_id": "call_1"},
        {"role": "assistant", "content": "It is sunny."},
    ]


@pytest.mark.filterwarnings("error")
async def test_a_conversation_of_megabytes_is_sent(endpoint: Endpoint) -> None:
    long = "x" * 2_000_000
    assert (await request_for(endpoint, Prompt((Message("user", long),))))["messages"][0]["content"] == long


async def test_nothing_is_sent_that_nobody_set(endpoint: Endpoint) -> None:
    asked = await request_for(endpoint)
    assert set(asked) == {"model", "messages", "stream", "stream_options"}
    assert (asked["model"], asked["stream"], asked["stream_options"]) == ("test", True, {"include_usage": True})


async def test_options_reach_the_endpoint_and_a_request_overrides_them(endpoint: Endpoint) -> None:
    options = {"temperature": 0.5, "top_p": 0.9, "seed": 7, "stop": ("END",), "max_tokens": 50, "extra": {"top_k": 3}}
    asked = await request_for(endpoint, options=options)
    wanted = {**options, "stop": ["END"], "top_k": 3}
    del wanted["extra"]
    assert {name: asked[name] for name in wanted} == wanted
    asked = await request_for(endpoint, options=options, temperature=0.0, max_tokens=9)
    assert (asked["temperature"], asked["max_tokens"]) == (0.0, 9)
    settings = {"top_p": 0.5, "seed": 8, "presence_penalty": 1.0, "frequency_penalty": -1.0}
    options["extra"] = {"presence_penalty": 0.1}
    asked = await request_for(endpoint, options=options, stop=("STOP",), **settings)
    assert {name: asked[name] for name in settings} == settings
    assert asked["stop"] == ["END", "STOP"]


async def test_the_limit_has_the_name_that_the_endpoint_knows(endpoint: Endpoint) -> None:
    asked = await request_for(endpoint, options={"max_tokens_field": "max_completion_tokens"}, max_tokens=9)
    assert asked["max_completion_tokens"] == 9
    assert "max_tokens" not in asked
    openai = OpenAIModel(OpenAIModel.Options(base_url="https://api.openai.com/v1", model="gpt-4.1", api_key="sk-x"))
    assert openai._body(GenerationRequest(HELLO, max_tokens=9), HELLO.messages)["max_completion_tokens"] == 9
    openai.close()


async def test_tools_and_how_they_are_to_be_used_are_sent(endpoint: Endpoint) -> None:
    asked = await request_for(endpoint, WITH_TOOLS)
    assert [tool["function"]["name"] for tool in asked["tools"]] == ["weather", "time"]
    assert asked["tools"][0]["function"]["parameters"] == WEATHER.parameters
    assert asked["tools"][1]["function"]["parameters"] == {"type": "object", "properties": {}}
    assert not {"tool_choice", "parallel_tool_calls"} & set(asked)
    assert "strict" not in asked["tools"][0]["function"]
    (tool,) = (await request_for(endpoint, Prompt((), (replace(WEATHER, strict=True),))))["tools"]
    assert tool["function"]["strict"] is True
    asked = await request_for(endpoint, WITH_TOOLS, tool_choice="none", parallel_tool_calls=False)
    assert (asked["tool_choice"], asked["parallel_tool_calls"]) == ("none", False)
    assert (await request_for(endpoint, WITH_TOOLS, tool_choice="required"))["tool_choice"] == "required"
    asked = await request_for(endpoint, WITH_TOOLS, tool_choice=NamedTool("time"))
    assert asked["tool_choice"] == {"type": "function", "function": {"name": "time"}}
    assert "tools" not in await request_for(endpoint, WITH_TOOLS, options={"tools": False})


@pytest.mark.parametrize(
    ("options", "effort", "sent"),
    [
        ({}, "high", {}),
        ({"tell_thinking": "reasoning_effort"}, None, {"reasoning_effort": "none"}),
        ({"tell_thinking": "reasoning_effort", "least_effort": "low"}, "none", {"reasoning_effort": "low"}),
        ({"tell_thinking": "reasoning_effort", "effort": "high"}, "low", {"reasoning_effort": "low"}),
        ({"tell_thinking": "reasoning_effort"}, "minimal", {"reasoning_effort": "minimal"}),
        ({"tell_thinking": "reasoning_effort", "thinking": True}, None, {"reasoning_effort": "medium"}),
        ({"tell_thinking": "chat_template_kwargs"}, None, {"chat_template_kwargs": {"enable_thinking": False}}),
        (
            {"tell_thinking": "chat_template_kwargs", "extra": {"chat_template_kwargs": {"lang": "en"}}},
            "high",
            {"chat_template_kwargs": {"enable_thinking": True, "lang": "en"}},
        ),
        (
            {"tell_thinking": "chat_template_kwargs", "thinking": True},
            "minimal",
            {"chat_template_kwargs": {"enable_thinking": False}},
        ),
    ],
)
async def test_the_endpoint_is_told_whether_to_think_in_the_field_that_it_knows(
    endpoint: Endpoint, options: dict[str, Any], effort: Effort | None, sent: dict[str, Any]
) -> None:
    asked = await request_for(endpoint, options=options, effort=effort)
    assert {name: asked[name] for name in ("reasoning_effort", "chat_template_kwargs") if name in asked} == sent


TALKERS: tuple[Literal["user", "assistant"], ...] = ("user", "assistant")


async def test_images_are_shown_where_they_stand_in_the_message(endpoint: Endpoint) -> None:
    picture, photo = png(), jpeg()
    images = (image_of(url(picture), "low", at=7), image_of(url(photo, "image/jpeg"), at=11))
    message = Message("user", "Is this\nor this the sea?", images=images)
    asked = await request_for(endpoint, Prompt((message, Message("user", "Well?"))), options={"vision": True})
    assert asked["messages"] == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Is this"},
                {"type": "image_url", "image_url": {"url": url(picture), "detail": "low"}},
                {"type": "text", "text": "or"},
                {"type": "image_url", "image_url": {"url": url(photo, "image/jpeg"), "detail": "auto"}},
                {"type": "text", "text": "this the sea?"},
            ],
        },
        {"role": "user", "content": "Well?"},
    ]
    with contextlib.closing(make(endpoint, vision=True)) as seeing, contextlib.closing(make(endpoint)) as blind:
        assert seeing.capabilities.vision
        assert not blind.capabilities.vision


async def test_a_conversation_that_is_too_long_loses_its_oldest_turns_where_the_context_is_known(
    endpoint: Endpoint,
) -> None:
    turns = [Message(role, f"{role} {turn}: {'so it went ' * 10}") for turn in range(40) for role in TALKERS]
    prompt = Prompt((Message("system", "Be brief."), *turns, Message("user", "And now?")))
    assert len((await request_for(endpoint, prompt))["messages"]) == len(prompt.messages)
    told = (await request_for(endpoint, prompt, options={"context": 1024}))["messages"]
    assert 2 < len(told) < 40
    assert (told[0]["content"], told[-1]["content"]) == ("Be brief.", "And now?")
    assert told[1]["role"] == "user"
    short = make(endpoint, context=1024)
    with pytest.raises(PromptTooLongError):
        await generate(short, prompt, truncation=Truncation("disabled"))
    short.close()


async def test_a_limit_of_the_clients_own_is_kept_without_knowing_the_context(
    endpoint: Endpoint, engine: OpenAIModel
) -> None:
    turns = [Message(role, f"{role} {turn}: {'so it went ' * 10}") for turn in range(9) for role in TALKERS]
    prompt = Prompt((Message("system", "Be brief."), *turns, Message("user", "And now?")))
    outputs = await generate(engine, prompt, truncation=Truncation("retention_ratio", 0.5, 200))
    told = [message["content"] for message in endpoint.asked("chat")[-1].json["messages"]]
    kept = [message for message in prompt.messages if message.text in told]
    assert 0 < estimate(kept[1:]) <= 200
    assert isinstance(outputs[-1], Generated)
    assert [message for at, message in enumerate(prompt.messages) if at not in outputs[-1].left_out] == kept


def test_capabilities_are_what_the_options_say(endpoint: Endpoint) -> None:
    plain, full = make(endpoint), make(endpoint, context=4096, tools=False, tell_thinking="reasoning_effort")
    capabilities = plain.capabilities
    assert (capabilities.context, capabilities.tools, capabilities.forced_calls, capabilities.reasoning) == (
        None, True, True, False,
    )  # fmt: skip
    capabilities = full.capabilities
    assert (capabilities.context, capabilities.tools, capabilities.forced_calls, capabilities.reasoning) == (
        4096, False, False, True,
    )  # fmt: skip
    plain.close()
    full.close()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("thinking", True),
        ("extra", {"messages": []}),
        ("extra", {"stream": False}),
        ("extra", {"temperature": 1}),
        ("extra", {"when": object()}),
    ],
)
def test_options_that_contradict_each_other_stop_the_start(endpoint: Endpoint, option: str, value: Any) -> None:
    with pytest.raises(EngineError) as caught:
        make(endpoint, **{option: value})
    assert caught.value.option == option


async def test_an_endpoint_that_knows_no_stream_options_is_asked_without_them_from_then_on(
    endpoint: Endpoint, engine: OpenAIModel
) -> None:
    endpoint.tell("chat", error_answer(400, "Unrecognized request argument supplied: stream_options"))
    for _ in range(2):
        outputs = await generate(engine)
        assert text(outputs) == endpoint.reply
        assert outputs[-1] == Generated("stop", input_tokens=0, output_tokens=5)  # its pieces are counted
    assert ["stream_options" in request.json for request in endpoint.asked("chat")] == [True, False, False]
    endpoint.tell("chat", error_answer(400, "Unrecognized request argument supplied: model"))
    with pytest.raises(StageError):
        await generate(engine)
    assert len(endpoint.asked("chat")) == 4


# --- what is read ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [0, 1, 3, 17])
async def test_the_reply_comes_in_pieces_and_ends_with_what_it_cost(
    endpoint: Endpoint, engine: OpenAIModel, cut: int
) -> None:
    endpoint.tell("chat", events_answer(*said("Grüße aus Köln 😀"), usage_chunk(30, 6, cached=20), cut=cut))
    *deltas, last = await generate(engine)
    assert deltas == [TextDelta("Grüße"), TextDelta(" aus"), TextDelta(" Köln"), TextDelta(" 😀")]
    assert last == Generated("stop", input_tokens=30, output_tokens=6, cached_tokens=20)


@pytest.mark.parametrize("end", [b"\r\n", b"\r"])
async def test_line_ends_comments_and_missing_spaces_do_not_matter(
    endpoint: Endpoint, engine: OpenAIModel, end: bytes
) -> None:
    body = b"".join(sse(*said("Hello there."))).replace(b"data: ", b": ping\n\ndata:").replace(b"\n", end)
    endpoint.tell("chat", Answer([body], content_type="text/event-stream", cut=1))
    assert text(await generate(engine)) == "Hello there."


async def test_words_come_before_the_reply_is_whole(endpoint: Endpoint, engine: OpenAIModel) -> None:
    gate = Gate()
    endpoint.tell(
        "chat", Answer([*sse(chunk("One"), done=False), gate, *sse(*said(" two"))], content_type="text/event-stream")
    )
    cancel = CancelToken()
    outputs = iterate("llm", partial(engine.generate, GenerationRequest(HELLO), cancel), cancel, timeout=PATIENCE_S)
    assert await anext(outputs) == TextDelta("One")
    gate.open()
    assert text([output async for output in outputs]) == " two"


async def test_a_character_that_is_cut_in_two_is_joined_and_half_of_one_is_replaced(
    endpoint: Endpoint, engine: OpenAIModel
) -> None:
    pieces = [chunk("Hi \ud83d"), chunk("\ude00 and \ude00"), chunk("."), chunk("\ud83d", finish="stop")]
    endpoint.tell("chat", events_answer(*pieces))
    assert text(await generate(engine)) == "Hi 😀 and �.�"


async def test_another_call_than_the_one_that_was_demanded_is_not_made(endpoint: Endpoint, engine: OpenAIModel) -> None:
    endpoint.tell("chat", events_answer(chunk(tool_calls=[call(0, "time", "{}", "a")]), chunk(finish="tool_calls")))
    outputs: list[ModelOutput] = []
    with pytest.raises(StageError, match="had to") as caught:
        await read(engine, outputs, WITH_TOOLS, tool_choice=NamedTool("weather"))
    assert caught.value.code == "tool_call_missing"
    assert not outputs


async def test_nothing_comes_after_the_cancel_however_much_has_arrived(endpoint: Endpoint, engine: OpenAIModel) -> None:
    endpoint.reply = "This reply is all there before anybody reads the second word of it."
    cancel = CancelToken()
    came = []
    async for output in engine.open().generate(GenerationRequest(HELLO), cancel):
        came.append(output)
        await asyncio.to_thread(endpoint.asked("chat")[-1].answered.wait, PATIENCE_S)
        cancel.cancel()
    assert len(came) == 1


async def test_a_reply_that_is_not_streamed_is_read_too(endpoint: Endpoint, engine: OpenAIModel) -> None:
    tool_calls = [
        call(name="weather", arguments={"city": "Bonn"}, identity="a"),
        call(name="time", arguments="{}", identity="b"),
    ]
    message = {
        "role": "assistant",
        "content": "<think>So.</think>I look.",
        "reasoning": "So.",
        "tool_calls": tool_calls,
    }
    usage = {"prompt_tokens": 3, "completion_tokens": 9}
    endpoint.tell(
        "chat", json_answer({"choices": [{"message": message, "finish_reason": "tool_calls"}], "usage": usage})
    )
    outputs = await generate(engine, WITH_TOOLS)
    assert text(outputs) == "I look."
    assert calls(outputs) == [("a", "weather", {"city": "Bonn"}), ("b", "time", {})]
    assert outputs[-1] == Generated("stop", 3, 9)
    endpoint.tell("chat", json_answer({"choices": [{"message": {"content": "Short."}}]}, cut=1))
    assert await generate(engine) == [TextDelta("Short."), Generated("stop", 0, 1)]


@pytest.mark.parametrize(("finish", "reason"), [("stop", "stop"), ("tool_calls", "stop"), ("length", "max_tokens")])
async def test_why_the_reply_ended_is_told(endpoint: Endpoint, engine: OpenAIModel, finish: str, reason: str) -> None:
    endpoint.tell("chat", events_answer(chunk("So"), chunk(finish=finish)))
    assert (await generate(engine))[-1] == Generated(reason, 0, 1)  # type: ignore[arg-type]


@pytest.mark.parametrize("done", [True, False])
async def test_a_reason_to_end_or_done_is_end_enough(endpoint: Endpoint, engine: OpenAIModel, done: bool) -> None:
    events = [chunk("So")] if done else [chunk("So"), chunk(finish="stop")]
    endpoint.tell("chat", events_answer(*events, done=done))
    assert await generate(engine) == [TextDelta("So"), Generated("stop", 0, 1)]


@pytest.mark.parametrize("after", ["reason", "done"])
async def test_an_endpoint_that_does_not_hang_up_does_not_hold_up_the_end(
    endpoint: Endpoint, engine: OpenAIModel, monkeypatch: pytest.MonkeyPatch, after: str
) -> None:
    monkeypatch.setattr("pipeline.llm.openai._LAST_WORD_S", 0.1)
    steps = sse(chunk("So"), chunk(finish="stop"), done=after == "done")
    endpoint.tell("chat", Answer([*steps, Gate()], content_type="text/event-stream"))
    assert await generate(engine) == [TextDelta("So"), Generated("stop", 0, 1)]
    assert endpoint.wait("chat").gone.wait(PATIENCE_S)


@pytest.mark.parametrize("end", [None, CUT, RESET])
async def test_a_reply_that_breaks_off_is_no_whole_one(endpoint: Endpoint, engine: OpenAIModel, end: Any) -> None:
    steps = sse(chunk("The answer"), chunk(" is"), done=False)
    endpoint.tell("chat", Answer([*steps, *([end] if end else [])], content_type="text/event-stream"))
    outputs: list[ModelOutput] = []
    with pytest.raises(StageError, match="broke"):
        await read(engine, outputs)
    # A reset may overtake the words before it.
    assert outputs == [TextDelta("The answer"), TextDelta(" is")] or end is RESET


async def test_an_error_in_mid_stream_comes_after_what_was_said(endpoint: Endpoint, engine: OpenAIModel) -> None:
    failed = {"error": {"message": "CUDA out of memory", "type": "overloaded_error", "code": "overloaded"}}
    by_name = f"event: error\ndata: {json.dumps(failed['error'])}\n\n"
    for event in (*sse(failed, done=False), by_name.encode(), json.dumps(failed).encode() + b"\n"):
        endpoint.tell("chat", Answer([*sse(chunk("Well,"), done=False), event], content_type="text/event-stream"))
        outputs: list[ModelOutput] = []
        with pytest.raises(StageError, match="CUDA out of memory") as caught:
            await read(engine, outputs)
        assert (caught.value.code, caught.value.kind) == ("overloaded", "overloaded_error")
        assert outputs == [TextDelta("Well,")]


async def test_an_error_with_status_200_is_an_error(endpoint: Endpoint, engine: OpenAIModel) -> None:
    endpoint.tell("chat", json_answer({"error": {"message": "no", "code": "model_not_found"}}))
    with pytest.raises(StageError) as caught:
        await generate(engine)
    assert caught.value.code == "model_not_found"


async def test_a_reply_cut_by_a_filter_is_a_failure(endpoint: Endpoint, engine: OpenAIModel) -> None:
    endpoint.tell("chat", events_answer(chunk("How to"), chunk(finish="content_filter")))
    with pytest.raises(StageError) as caught:
        await generate(engine)
    assert caught.value.code == "content_filter"


async def test_a_reply_without_end_is_cut_off(
    endpoint: Endpoint, engine: OpenAIModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openai_reply, "MAX_REPLY", 1_000)
    for delta in ({"content": "x" * 100}, {"reasoning": "x" * 100}, {"tool_calls": [call(0, "f", "x" * 100)]}):
        endpoint.tell("chat", events_answer(*[chunk(**delta)] * 20))
        with pytest.raises(StageError, match="more than 1000 characters"):
            await generate(engine)


async def test_an_event_or_a_json_of_any_size_is_not_swallowed(
    endpoint: Endpoint, engine: OpenAIModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.http.replies.MAX_EVENT_BYTES", 10_000)
    monkeypatch.setattr("pipeline.http.replies.MAX_JSON_BYTES", 10_000)
    endpoint.tell("chat", Answer([b"data: ", b"x" * 1_000_000], content_type="text/event-stream"))
    endpoint.tell("chat", Answer([b'{"choices": "', b"x" * 1_000_000]))
    for _ in range(2):
        with pytest.raises(StageError):
            await generate(engine)


# --- what must not be spoken ----------------------------------------------------------------------------------


async def test_reasoning_is_never_spoken(endpoint: Endpoint, engine: OpenAIModel) -> None:
    thoughts = [
        chunk(reasoning_content="Hm."),
        chunk(reasoning="Hm."),
        chunk("<thi"),
        chunk("nk>Hm.</th"),
        chunk("ink>"),
    ]
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}, {"type": "text", "text": "!"}]
    endpoint.tell(
        "chat",
        events_answer(*thoughts, chunk("Yes"), {"choices": [{"delta": {"content": parts}}]}, chunk(finish="stop")),
    )
    assert await generate(engine) == [TextDelta("Yes"), TextDelta("!"), Generated("stop", 0, 7)]


async def test_reasoning_that_the_template_has_opened_is_never_spoken(endpoint: Endpoint) -> None:
    engine = make(endpoint, begins_thinking=True)
    endpoint.tell("chat", events_answer(*said("Hm. Two and two.</think> Four.")))
    assert text(await generate(engine)) == "Four."
    engine.close()


async def test_other_choices_and_odd_fields_are_passed_over(endpoint: Endpoint, engine: OpenAIModel) -> None:
    other = {"choices": [{"index": 1, "delta": {"content": "No"}}]}
    odd: list[Any] = [
        {"choices": None},
        {"choices": [None]},
        {"object": "ping"},
        chunk(tool_calls="none"),
        chunk(role="assistant"),
    ]
    odd += [{"choices": [{"delta": None}]}, {"choices": [], "usage": "none"}, chunk(tool_calls=[{"function": "f"}])]
    endpoint.tell("chat", events_answer(other, *odd, chunk("Yes"), chunk(finish="stop")))
    assert text(await generate(engine)) == "Yes"


# --- tool calls -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pieces",
    [
        # OpenAI, vLLM, llama-server: the name first, then arguments in parts
        [call(0, "weather", "", "a"), call(0, None, '{"city":'), call(0, None, ' "Bonn"}'), call(1, "time", "{}", "b")],
        # the calls in turn
        [call(0, "weather", '{"city":', "a"), call(1, "time", "{", "b"), call(0, None, ' "Bonn"}'), call(1, None, "}")],
        # Ollama once: whole calls, each with the index 0
        [call(0, "weather", '{"city": "Bonn"}', "a"), call(0, "time", "{}", "b")],
        # Gemini: whole calls without an index
        [call(None, "weather", '{"city": "Bonn"}', "a"), call(None, "time", "{}", "b")],
        # arguments as an object, or none
        [call(0, "weather", {"city": "Bonn"}, "a"), call(1, "time", None, "b")],
        # the name, and the id, with every piece
        [call(0, "weather", '{"city": ', "a"), call(0, "weather", '"Bonn"}', "a"), call(1, "time", "{}", "b")],
        # arguments before the name, the id last
        [call(0, None, '{"city": "Bonn"}', "a"), call(0, "weather", "", "a"), call(1, "time", "{}", "b")],
    ],
)  # fmt: skip
async def test_tool_calls_are_put_together_whatever_the_endpoint_is(
    endpoint: Endpoint, engine: OpenAIModel, pieces: list[dict[str, Any]]
) -> None:
    endpoint.tell("chat", events_answer(*[chunk(tool_calls=[piece]) for piece in pieces], chunk(finish="tool_calls")))
    outputs = await generate(engine, WITH_TOOLS)
    assert calls(outputs) == [("a", "weather", {"city": "Bonn"}), ("b", "time", {})]
    assert isinstance(outputs[-1], Generated)


async def test_a_call_in_markup_is_a_call(endpoint: Endpoint, engine: OpenAIModel) -> None:
    markup = '<tool_call>{"name": "time", "arguments": {}}</tool_call>'
    endpoint.tell("chat", events_answer(chunk(tool_calls=[call(0, "weather", "{}", "a")]), *said(f"Well. {markup}")))
    outputs = await generate(engine, WITH_TOOLS)
    assert calls(outputs) == [("a", "weather", {}), (None, "time", {})]
    assert text(outputs).strip() == "Well."


async def test_a_call_that_was_not_allowed_is_dropped(endpoint: Endpoint, engine: OpenAIModel) -> None:
    two = [chunk(tool_calls=[call(0, "weather", "{}", "a")]), chunk(tool_calls=[call(1, "time", "{}", "b")])]
    endpoint.tell("chat", *[events_answer(*two, *said("Done."))] * 2)
    assert calls(await generate(engine, WITH_TOOLS, parallel_tool_calls=False)) == [("a", "weather", {})]
    assert calls(await generate(engine, WITH_TOOLS, tool_choice="none")) == []


async def test_a_call_that_had_to_be_made_and_was_not_is_a_failure(endpoint: Endpoint, engine: OpenAIModel) -> None:
    for choice in ("required", NamedTool("time")):
        with pytest.raises(StageError, match="called no tool") as caught:
            await generate(engine, WITH_TOOLS, tool_choice=choice)
        assert caught.value.code == "tool_call_missing"
        endpoint.tell("chat", events_answer(chunk(tool_calls=[call(0, "time", "{}", "a")]), chunk(finish="stop")))
        assert calls(await generate(engine, WITH_TOOLS, tool_choice=choice)) == [("a", "time", {})]
