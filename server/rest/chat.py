"""`POST /v1/chat/completions`: a conversation → the model's reply, whole or while it is made."""

import contextlib
import logging
import secrets
import time
from collections.abc import AsyncGenerator
from typing import Any

from aiohttp import web

from pipeline.errors import StageError
from pipeline.line import Line
from pipeline.slots import Slots
from pipeline.turn import generate
from pipeline.types import Generated, GenerationRequest, ModelOutput, TextDelta, ToolCallDelta
from server.rest.chat_body import ChatBody, generation_of, read_body
from server.rest.errors import of_stage
from server.rest.http import Stream, read_object
from server.rest.service import Service

log = logging.getLogger(__name__)


async def complete_chat(request: web.Request, service: Service) -> web.StreamResponse:
    """Answers a request. When the client goes, the reply is given up.

    Raises:
        ApiError: it cannot be honoured.
        StageError: the model failed before it had said anything.
    """
    body = read_body(await read_object(request))
    line = service.line(body.model)
    generation = generation_of(body, line)
    completion = _Completion(body.model or line.name)
    async with contextlib.aclosing(_reply(line, service.reply_slots(line), generation)) as outputs:
        if body.stream:
            return await _streamed(request, body, completion, outputs)
        return web.json_response(await completion.whole(outputs))


async def _reply(line: Line, slots: Slots, generation: GenerationRequest) -> AsyncGenerator[ModelOutput, None]:
    """The reply's parts; the last is `Generated`.

    Raises:
        StageError: the model failed.
    """
    give_back = await slots.take()
    model = line.llm.open()
    try:
        async with contextlib.aclosing(generate(line, model, generation)) as outputs:
            async for output in outputs:
                yield output
                if isinstance(output, Generated):
                    return
        raise StageError("llm", "The language model ended without saying why.")
    finally:
        model.close()
        give_back()


async def _streamed(
    request: web.Request, body: ChatBody, completion: "_Completion", outputs: AsyncGenerator[ModelOutput, None]
) -> web.StreamResponse:
    stream = Stream(request, "text/event-stream")
    with stream.whole_or_broken():
        await _send(stream, body, completion, outputs)
    return stream.response


async def _send(
    stream: Stream, body: ChatBody, completion: "_Completion", outputs: AsyncGenerator[ModelOutput, None]
) -> None:
    with_usage = body.stream_options is not None and bool(body.stream_options.include_usage)
    try:
        async for output in outputs:
            if not stream.has_begun:
                await stream.event(completion.chunk({"role": "assistant", "content": ""}, with_usage=with_usage))
            match output:
                case TextDelta(text=text):
                    await stream.event(completion.chunk({"content": text}, with_usage=with_usage))
                case ToolCallDelta():
                    await stream.event(completion.chunk(completion.call(output), with_usage=with_usage))
                case Generated():
                    reason = completion.reason(output)
                    await stream.event(completion.chunk({}, reason, with_usage=with_usage))
                    if with_usage:
                        await stream.event(completion.last_word(output))
    except StageError as error:
        if not stream.has_begun:
            raise
        log.error("a chat completion broke off: %s", error.problem)
        await stream.event(of_stage(error).body())
    else:
        await stream.write(b"data: [DONE]\n\n")


class _Completion:
    """One reply in OpenAI's shape."""

    def __init__(self, model: str) -> None:
        self._head = {"id": f"chatcmpl-{secrets.token_hex(12)}", "created": int(time.time()), "model": model}
        self._called = False

    async def whole(self, outputs: AsyncGenerator[ModelOutput, None]) -> dict[str, Any]:
        """Reads the reply to its end. Returns the `chat.completion`."""
        texts: list[str] = []
        calls: list[dict[str, Any]] = []
        reason, usage = "stop", {}
        async for output in outputs:
            match output:
                case TextDelta(text=text):
                    texts.append(text)
                case ToolCallDelta():
                    (piece,) = self.call(output)["tool_calls"]
                    if output.name:
                        calls.append({"id": piece["id"], "type": "function", "function": piece["function"]})
                    else:
                        calls[output.index]["function"]["arguments"] += output.arguments
                case Generated():
                    reason, usage = self.reason(output), _usage(output)
        text = "".join(texts)
        message: dict[str, Any] = {"role": "assistant", "content": None if calls and not text else text}
        message["refusal"] = None
        if calls:
            message["tool_calls"] = calls
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reason}
        return {**self._head, "object": "chat.completion", "choices": [choice], "usage": usage}

    def call(self, delta: ToolCallDelta) -> dict[str, Any]:
        """Returns what a chunk says of a piece of a call; the first has its id and name."""
        self._called = True
        function: dict[str, str] = {"arguments": delta.arguments}
        piece: dict[str, Any] = {"index": delta.index, "function": function}
        if delta.name:
            function["name"] = delta.name
            piece |= {"id": delta.id or f"call_{secrets.token_hex(12)}", "type": "function"}
        return {"tool_calls": [piece]}

    def reason(self, generated: Generated) -> str:
        if generated.reason == "max_tokens":
            return "length"
        return "tool_calls" if self._called else "stop"

    def chunk(self, delta: dict[str, Any], reason: str | None = None, *, with_usage: bool) -> dict[str, Any]:
        """Returns a `chat.completion.chunk`. Where usage was asked for, it is null in all but the last."""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        chunk = {**self._head, "object": "chat.completion.chunk", "choices": [choice]}
        return {**chunk, "usage": None} if with_usage else chunk

    def last_word(self, generated: Generated) -> dict[str, Any]:
        """Returns the chunk that says what it cost."""
        return {**self._head, "object": "chat.completion.chunk", "choices": [], "usage": _usage(generated)}


def _usage(generated: Generated) -> dict[str, Any]:
    return {
        "prompt_tokens": generated.input_tokens,
        "completion_tokens": generated.output_tokens,
        "total_tokens": generated.input_tokens + generated.output_tokens,
        "prompt_tokens_details": {"cached_tokens": generated.cached_tokens, "audio_tokens": 0},
    }
