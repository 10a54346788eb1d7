import asyncio
import contextlib
import json
from dataclasses import replace
from typing import Any

import aiohttp
import httpx
import openai
import pytest

from pipeline.errors import PromptTooLongError, StageError
from pipeline.stages import LanguageModelCapabilities
from pipeline.types import Generated, Message, NamedTool, Tool, ToolCall, ToolCallDelta
from server.rest import chat
from tests.fakes import FakeModel, Gate
from tests.images import jpeg, png, url
from tests.rest.conftest import Api, Serve
from tests.threads import until

USER: Any = {"role": "user", "content": "hello"}
IMAGE: Any = {"type": "image_url", "image_url": {"url": url(png())}}
ABLE = LanguageModelCapabilities(
    context=4096,
    tools=True,
    forced_calls=True,
    heeds=frozenset({"stop", "top_p", "seed", "presence_penalty", "frequency_penalty"}),
)
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Tells the weather.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


class AbleModel(FakeModel):
    capabilities = ABLE


def model_of(api: Api) -> FakeModel:
    model = api.line.llm
    assert isinstance(model, FakeModel)
    return model


async def refusal(api: Api, **fields: Any) -> openai.APIStatusError:
    with pytest.raises(openai.APIStatusError) as refused:
        await api.client.chat.completions.create(**{"model": "mini", "messages": [USER], **fields})
    return refused.value


async def test_a_reply_comes_whole_with_its_usage(api: Api) -> None:
    completion = await api.client.chat.completions.create(model="mini", messages=[USER])
    (choice,) = completion.choices
    assert (choice.message.content, choice.finish_reason) == ("Hello there. How are you?", "stop")
    assert completion.usage is not None
    assert completion.usage.prompt_tokens_details is not None
    usage = completion.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (7, 5, 12)
    assert usage.prompt_tokens_details
    assert usage.prompt_tokens_details.cached_tokens == 2
    assert completion.model == "mini"
    assert model_of(api).open_streams == 0


async def test_a_reply_is_streamed_while_it_is_made(serve: Serve) -> None:
    gate = Gate()
    model = FakeModel(hook=lambda index, cancel: gate.wait(cancel) if index == 1 else None)
    async with serve(llm=model) as api:
        options: Any = {"include_usage": True}
        stream = await api.client.chat.completions.create(
            model="mini", messages=[USER], stream=True, stream_options=options
        )
        deltas, last = [], None
        async for chunk in stream:
            last = chunk
            deltas += [choice.delta.content for choice in chunk.choices if choice.delta.content]
            if deltas == ["Hello there. "]:
                gate.open()  # the rest is not made before the first is here
        assert deltas == ["Hello there. ", "How are you?"]
        assert last
        assert last.choices == []
        assert last.usage
        assert last.usage.total_tokens == 12


async def test_without_being_asked_a_stream_says_no_usage_and_ends_with_the_reason(api: Api) -> None:
    stream = await api.client.chat.completions.create(model="mini", messages=[USER], stream=True)
    chunks = [chunk async for chunk in stream]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert not any(chunk.usage for chunk in chunks)
    assert len({chunk.id for chunk in chunks}) == 1


async def test_all_that_is_said_reaches_the_model(serve: Serve) -> None:
    async with serve(llm=AbleModel()) as api:
        call: Any = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
        await api.client.chat.completions.create(
            model="gpt-4o",
            messages=[
                {"role": "developer", "content": "Be brief."},
                {"role": "user", "content": [{"type": "text", "text": "hel"}, {"type": "text", "text": "lo"}]},
                {"role": "assistant", "content": None, "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
            ],
            tools=[WEATHER],
            tool_choice={"type": "function", "function": {"name": "get_weather"}},
            parallel_tool_calls=False,
            temperature=0.5,
            top_p=0.25,
            seed=7,
            presence_penalty=1,
            frequency_penalty=-1,
            stop=["a", "b"],
            max_completion_tokens=9,
        )
        (request,) = model_of(api).requests
        parameters = {"type": "object", "properties": {"city": {"type": "string"}}}
        assert request.prompt.tools == (Tool("get_weather", "Tells the weather.", parameters),)
        assert request.prompt.messages == (
            Message("system", "Be brief."),
            Message("user", "hello"),
            Message("assistant", "", (ToolCall("c1", "get_weather", "{}"),)),
            Message("tool", "sunny", call_id="c1"),
        )
        assert (request.tool_choice, request.parallel_tool_calls) == (NamedTool("get_weather"), False)
        assert (request.temperature, request.top_p, request.seed, request.max_tokens) == (0.5, 0.25, 7, 9)
        assert (request.presence_penalty, request.frequency_penalty, request.stop) == (1, -1, ("a", "b"))


CALLS = (
    "Let me see. ",
    ToolCallDelta(0, "get_weather", '{"city": ', "call_own"),
    ToolCallDelta(0, "", '"Paris"}'),
    ToolCallDelta(1, "get_weather", "{}"),
)


async def from_chunks(stream: Any) -> tuple[dict[str, Any], str | None]:
    """Puts a message together from its chunks, as clients do. Returns it, and why it ended."""
    message: dict[str, Any] = {"role": "assistant", "content": "", "tool_calls": []}
    reason = None
    async for chunk in stream:
        (choice,) = chunk.choices
        reason = choice.finish_reason
        message["content"] += choice.delta.content or ""
        for piece in choice.delta.tool_calls or ():
            if piece.index == len(message["tool_calls"]):
                message["tool_calls"].append(piece.model_dump())
            else:
                message["tool_calls"][piece.index]["function"]["arguments"] += piece.function.arguments
    return message, reason


@pytest.mark.parametrize("streamed", [False, True])
async def test_calls_and_text_come_in_one_reply(serve: Serve, streamed: bool) -> None:
    async with serve(llm=AbleModel(CALLS)) as api:
        asked: Any = {"model": "mini", "messages": [USER], "tools": [WEATHER]}
        if streamed:
            message, reason = await from_chunks(await api.client.chat.completions.create(**asked, stream=True))
        else:
            completion = await api.client.chat.completions.create(**asked)
            message, reason = completion.choices[0].message.model_dump(), completion.choices[0].finish_reason
        assert (message["content"], reason) == ("Let me see. ", "tool_calls")
        first, second = message["tool_calls"]
        assert (first["id"], first["type"], first["function"]["name"]) == ("call_own", "function", "get_weather")
        assert json.loads(first["function"]["arguments"]) == {"city": "Paris"}
        assert second["id"].startswith("call_")
        assert second["function"]["arguments"] == "{}"

        results = [{"role": "tool", "tool_call_id": call["id"], "content": "sunny"} for call in message["tool_calls"]]
        history = [USER, message, *results]
        await api.client.chat.completions.create(**{**asked, "messages": history})
        assert [message.role for message in model_of(api).requests[-1].prompt.messages][1:] == [
            "assistant",
            "tool",
            "tool",
        ]


STRICT: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
"""As LiveKit's plugin and the Agents SDKs send it with chat completions."""


@pytest.mark.parametrize("streamed", [False, True])
async def test_calls_of_a_strict_tool_keep_to_its_schema(serve: Serve, streamed: bool) -> None:
    asked: Any = {"model": "mini", "messages": [USER], "tools": [STRICT]}
    async with serve(llm=AbleModel(CALLS[1:3])) as api:
        if streamed:
            message, _ = await from_chunks(await api.client.chat.completions.create(**asked, stream=True))
        else:
            message = (await api.client.chat.completions.create(**asked)).choices[0].message.model_dump()
        assert json.loads(message["tool_calls"][0]["function"]["arguments"]) == {"city": "Paris"}


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("arguments", ["{}", '{"city": 3}', '{"city": "Bonn", "in": "Germany"}', '{"city": "Bo'])
async def test_a_reply_with_a_call_that_a_strict_tool_does_not_allow_fails(
    serve: Serve, streamed: bool, arguments: str
) -> None:
    async def reply(api: Api) -> None:
        asked: Any = {"model": "mini", "messages": [USER], "tools": [STRICT], "stream": streamed}
        completion = await api.client.chat.completions.create(**asked)
        _ = [chunk async for chunk in completion]

    async with serve(llm=AbleModel(("Let me see. ", ToolCallDelta(0, "get_weather", arguments)))) as api:
        with pytest.raises(openai.APIError, match="`get_weather` with arguments that its schema does not allow"):
            await reply(api)


async def test_a_call_of_a_strict_tool_that_its_limit_cut_is_no_fault(serve: Serve) -> None:
    model = AbleModel((ToolCallDelta(0, "get_weather", '{"city'),), generated=Generated("max_tokens", 1, 2))
    async with serve(llm=model) as api:
        completion = await api.client.chat.completions.create(model="mini", messages=[USER], tools=[STRICT])
        assert completion.choices[0].finish_reason == "length"


async def test_a_reply_that_its_limit_cut_says_so(serve: Serve) -> None:
    async with serve(llm=FakeModel(generated=Generated("max_tokens", 1, 2))) as api:
        completion = await api.client.chat.completions.create(model="mini", messages=[USER], max_tokens=2)
        assert completion.choices[0].finish_reason == "length"


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_client_that_goes_cancels_the_reply(serve: Serve, streamed: bool) -> None:
    gate = Gate()
    model = FakeModel(hook=lambda index, cancel: gate.wait(cancel) if index == 1 else None)
    async with serve(llm=model) as api, aiohttp.ClientSession() as client:
        body = {"messages": [USER], "stream": streamed}
        asking = asyncio.create_task(client.post(f"{api.url}/chat/completions", json=body))
        await until(gate.reached.is_set)
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            (await asking).close()
        await until(lambda: model.tokens[0].cancelled)
        await until(lambda: not model.running and not model.open_streams)


HARMLESS: Any = {
    "n": 1,
    "logprobs": False,
    "response_format": {"type": "text"},
    "store": False,
    "metadata": {},
    "logit_bias": None,
    "modalities": ["text"],
    "service_tier": "auto",
    "reasoning_effort": "none",
    "stop": None,
    "tools": None,
    "user": None,
}


async def test_fields_that_ask_for_nothing_special_are_taken(api: Api) -> None:
    async with aiohttp.ClientSession() as client:
        body = {"messages": [USER], **HARMLESS}
        async with client.post(f"{api.url}/chat/completions", json=body) as response:
            assert response.status == 200, await response.text()


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"store": True}, "store"),
        ({"user": "me"}, "user"),
        ({"metadata": {"a": "b"}}, "metadata"),
        ({"top_p": 0.5}, "top_p"),
        ({"seed": 1}, "seed"),
        ({"stop": "x"}, "stop"),
        ({"stop": ["1", "2", "3", "4", "5"]}, "stop"),
        ({"presence_penalty": 1}, "presence_penalty"),
        ({"reasoning_effort": "high"}, "reasoning_effort"),
        ({"tools": [WEATHER]}, "tools"),
        ({"temperature": 3}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1, "max_completion_tokens": 2}, "max_tokens"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"stream": True, "stream_options": {"include_obfuscation": True}}, "stream_options.include_obfuscation"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{**USER, "name": "Ann"}]}, "messages[0].name"),
        ({"messages": [{"role": "tool", "tool_call_id": "c1", "content": "x"}]}, "messages[0].tool_call_id"),
        (
            {"messages": [{"role": "user", "content": [IMAGE]}]},
            "messages[0].content[0].type",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "messages[0].content[0].image_url",
        ),
        ({"extra_body": {"top_k": 20}}, "top_k"),
    ],
)
async def test_what_cannot_be_honoured_is_refused_by_name(api: Api, fields: dict[str, Any], param: str) -> None:
    error = await refusal(api, **fields)
    assert (error.status_code, error.param, error.type) == (400, param, "invalid_request_error"), error.body
    assert not model_of(api).requests


@pytest.mark.parametrize(
    ("tool", "choice", "param"),
    [
        (
            {"name": "f", "parameters": {"properties": {"x": {"pattern": "a"}}}, "strict": True},
            "auto",
            "tools[0].function.parameters",
        ),
        (WEATHER["function"], {"type": "function", "function": {"name": "other"}}, "tool_choice.function.name"),
        ({**WEATHER["function"], "name": "two words"}, "auto", "tools[0].function.name"),
    ],
)
async def test_tools_that_cannot_be_had_are_refused(serve: Serve, tool: Any, choice: Any, param: str) -> None:
    async with serve(llm=AbleModel()) as api:
        error = await refusal(api, tools=[{"type": "function", "function": tool}], tool_choice=choice)
        assert (error.status_code, error.param) == (400, param)


class SeeingModel(FakeModel):
    capabilities = LanguageModelCapabilities(context=4096, vision=True, reasoning=True)


async def test_images_are_shown_to_a_model_that_sees(serve: Serve) -> None:
    picture, photo = url(png()), url(jpeg(), "image/jpeg")
    content: Any = [
        {"type": "text", "text": "Is this "},
        {"type": "image_url", "image_url": {"url": picture, "detail": "low"}},
        {"type": "text", "text": " or this"},
        {"type": "image_url", "image_url": {"url": photo}},
    ]
    async with serve(llm=SeeingModel()) as api:
        await api.client.chat.completions.create(model="mini", messages=[{"role": "user", "content": content}])
        (message,) = model_of(api).requests[0].prompt.messages
        assert message.text == "Is this  or this"
        assert [(image.data, image.detail, image.at) for image in message.images] == [
            (png(), "low", 8),
            (jpeg(), "auto", 16),
        ]


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"role": "user", "content": [IMAGE]}, None),
        (
            {"role": "user", "content": [{**IMAGE, "image_url": {"url": "https://example.com/cat.png"}}]},
            "image_url.url",
        ),
        ({"role": "user", "content": [{**IMAGE, "image_url": {"url": "x", "detail": "all"}}]}, "image_url.detail"),
        ({"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}, "type"),
        ({"role": "system", "content": [IMAGE]}, "type"),
    ],
)
async def test_an_image_that_cannot_be_shown_is_refused(serve: Serve, message: Any, param: str | None) -> None:
    async with serve(llm=SeeingModel()) as api:
        if param is None:
            assert await api.client.chat.completions.create(model="mini", messages=[message])
            return
        error = await refusal(api, messages=[message])
        assert (error.status_code, error.param) == (400, f"messages[0].content[0].{param}")


@pytest.mark.parametrize("effort", ["none", "minimal", "low", "high"])
async def test_a_model_that_reasons_is_told_how_much(serve: Serve, effort: Any) -> None:
    async with serve(llm=SeeingModel()) as api:
        await api.client.chat.completions.create(model="mini", messages=[USER], reasoning_effort=effort)
        assert model_of(api).requests[0].effort == effort


async def test_a_call_without_its_result_is_refused(serve: Serve) -> None:
    async with serve(llm=AbleModel()) as api:
        call = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
        error = await refusal(api, messages=[USER, {"role": "assistant", "tool_calls": [call]}, USER])
        assert (error.status_code, error.param) == (400, "messages[2]")


async def test_a_model_that_there_is_not_is_not_found(api: Api) -> None:
    for name in ("nothing", "other"):
        error = await refusal(api, model=name)
        assert (error.status_code, error.code, error.param) == (404, "model_not_found", "model")


def failing(error: Exception, at: int) -> FakeModel:
    def fail(index: int, _: object) -> None:
        if index == at:
            raise error

    return FakeModel(hook=fail)


@pytest.mark.parametrize(
    ("problem", "status", "code"),
    [
        (StageError("llm", "It broke."), 500, "llm_failed"),
        (PromptTooLongError("llm", "Too long."), 400, "context_length_exceeded"),
        (StageError("llm", "Slow down.", code="rate_limit_exceeded"), 429, "rate_limit_exceeded"),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_model_that_fails_before_it_speaks_is_an_error_with_a_status(
    serve: Serve, streamed: bool, problem: StageError, status: int, code: str
) -> None:
    async with serve(llm=failing(problem, 0)) as api:
        error = await refusal(api, stream=streamed)
        assert (error.status_code, error.code) == (status, code)
        assert problem.problem in error.message


async def test_a_model_that_fails_while_it_speaks_is_an_error_in_the_stream(serve: Serve) -> None:
    async with serve(llm=failing(StageError("llm", "It broke."), 1)) as api:
        stream = await api.client.chat.completions.create(model="mini", messages=[USER], stream=True)
        with pytest.raises(openai.APIError, match=r"It broke\."):
            _ = [chunk async for chunk in stream]


async def test_a_fault_of_parley_s_own_does_not_look_like_the_end(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def break_down(*_: object) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr(chat._Completion, "reason", break_down)
    async with serve() as api:
        error = await refusal(api)
        assert (error.status_code, error.code) == (500, "internal_error")
        stream = await api.client.chat.completions.create(model="mini", messages=[USER], stream=True)
        with pytest.raises(httpx.RemoteProtocolError):
            _ = [chunk async for chunk in stream]
    assert "a fault" in caplog.text


async def test_requests_get_half_of_the_replies_that_a_model_makes_at_a_time(serve: Serve) -> None:
    gate = Gate()
    model = FakeModel(hook=lambda index, cancel: gate.wait(cancel))
    model.capabilities = replace(ABLE, concurrency=4)
    async with serve(llm=model) as api:
        asking = [
            asyncio.create_task(api.client.chat.completions.create(model="mini", messages=[USER])) for _ in range(3)
        ]
        await until(lambda: len(model.requests) == 2)
        await api.client.models.list()  # the third has come as well by now, and waits
        assert len(model.requests) == 2
        gate.open()
        await asyncio.gather(*asking)
        assert len(model.requests) == 3


async def test_a_body_that_is_no_json_object_is_refused(api: Api) -> None:
    async with aiohttp.ClientSession() as client:
        for body in (b"", b"{", b"[]", b'"x"'):
            async with client.post(f"{api.url}/chat/completions", data=body) as response:
                assert response.status == 400
                assert (await response.json())["error"]["code"] == "invalid_json"


async def test_pages_of_other_sites_may_not_ask(api: Api) -> None:
    async with aiohttp.ClientSession(headers={"Origin": "https://elsewhere.example"}) as client:
        for method, path in (("POST", "chat/completions"), ("GET", "models"), ("POST", "audio/speech")):
            async with client.request(method, f"{api.url}/{path}", json={"messages": [USER]}) as response:
                assert response.status == 403
    assert not model_of(api).requests
