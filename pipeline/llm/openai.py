"""Language models behind an endpoint with the shape of OpenAI's chat completions: Ollama, llama-server, vLLM, LocalAI,
OpenAI itself, another Parley. How a reply is read: openai_reply.py.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal, get_args

from msgspec import Meta

from pipeline.errors import EngineError
from pipeline.http.engine import ServiceEngine
from pipeline.http.failures import HttpError
from pipeline.http.options import OPENAI_HOST, EndpointOptions, check_extra
from pipeline.http.replies import DONE, events
from pipeline.images import data_url
from pipeline.llm.openai_reply import ReplyReader
from pipeline.llm.truncation import Scale, estimate, estimate_of, left_out
from pipeline.stages import LanguageModelCapabilities, RequestSetting
from pipeline.types import Generated, GenerationRequest, Message, ModelOutput, NamedTool, Tool, ToolChoice
from pipeline.workers import CancelToken

log = logging.getLogger(__name__)

_LAST_WORD_S = 1.0
"""How long a reply that has said why it ended may take to say what it cost, and that it is over."""

_ASKED = ("top_p", "seed", "presence_penalty", "frequency_penalty")
"""Settings of a request, which go before those of the pipeline."""

_FIXED = ("model", "messages", "stream", "stream_options", "tools", "tool_choice", "parallel_tool_calls", "n")
_OWN_OPTIONS = {name: name for name in ("temperature", "top_p", "stop", "seed")}
_OWN_OPTIONS |= {"max_tokens": "max_tokens", "max_completion_tokens": "max_tokens", "reasoning_effort": "effort"}


class OpenAIModel(ServiceEngine):
    """A language model behind an HTTP endpoint with the shape of OpenAI's chat completions.

    What it costs is what the endpoint says. One that does not say: the pieces of the reply count as its tokens, and
    those of the prompt are 0.
    """

    class Options(EndpointOptions, frozen=True, kw_only=True):
        """Sampling is the endpoint's own where nothing is said here."""

        model: Annotated[str, Meta(min_length=1, description="The model's name there, such as `qwen3` or `gpt-4.1`.")]
        temperature: Annotated[
            Annotated[float, Meta(ge=0, le=2)] | None,
            Meta(description="Randomness; 0 always takes the likeliest token. Default: the endpoint's."),
        ] = None
        top_p: Annotated[
            Annotated[float, Meta(gt=0, le=1)] | None,
            Meta(description="Draw from the likeliest tokens that reach this probability. Default: the endpoint's."),
        ] = None
        seed: Annotated[
            int | None, Meta(description="The same draws for the same prompt, by endpoints that can. Default: none.")
        ] = None
        stop: Annotated[
            tuple[Annotated[str, Meta(min_length=1)], ...],
            Meta(max_length=4, description="Texts at which the reply ends, four at most."),
        ] = ()
        max_tokens: Annotated[
            Annotated[int, Meta(ge=1)] | None,
            Meta(
                description="Most tokens of a reply that asks for no limit of its own. Default: the endpoint's limit."
            ),
        ] = None
        max_tokens_field: Annotated[
            Literal["auto", "max_tokens", "max_completion_tokens"],
            Meta(
                description="What the endpoint calls that limit. `auto`: `max_completion_tokens` at api.openai.com, "
                "`max_tokens` elsewhere."
            ),
        ] = "auto"
        context: Annotated[
            Annotated[int, Meta(ge=1)] | None,
            Meta(
                description="Most tokens of prompt and reply together. With it, conversations that are too long lose "
                "their oldest turns here, by an estimate of a token for four bytes; without, the endpoint decides. "
                "Default: unknown."
            ),
        ] = None
        tools: Annotated[bool, Meta(description="Whether the model can be given tools.")] = True
        vision: Annotated[
            bool, Meta(description="Whether the model sees: images are then handed to it, as `image_url` parts.")
        ] = False
        tell_thinking: Annotated[
            Literal["nothing", "reasoning_effort", "chat_template_kwargs"],
            Meta(
                description="The field that tells the endpoint whether to reason before it replies: `reasoning_effort` "
                "for Ollama and OpenAI's reasoning models, `chat_template_kwargs` for vLLM, SGLang and llama-server; "
                "`nothing` for models that do not reason. Reasoning is never spoken, but it takes its time."
            ),
        ] = "nothing"
        thinking: Annotated[
            bool, Meta(description="Whether it reasons where a request does not say; needs `tell_thinking`.")
        ] = False
        effort: Annotated[
            Literal["minimal", "low", "medium", "high"], Meta(description="`reasoning_effort` when it is to reason.")
        ] = "medium"
        least_effort: Annotated[
            Literal["none", "minimal", "low"],
            Meta(description="`reasoning_effort` when it is not; `minimal` or `low` for models that refuse `none`."),
        ] = "none"
        begins_thinking: Annotated[
            bool,
            Meta(
                description="Whether the model's template opens a reasoning block that the endpoint passes on as text: "
                "a reply is then silent up to its `</think>`. (vLLM without `--reasoning-parser`.)"
            ),
        ] = False
        extra: Annotated[
            dict[str, Any], Meta(description="Further fields of the request, such as `{top_k: 20, keep_alive: 1h}`.")
        ] = {}  # noqa: RUF012 - msgspec makes a new one for each

    def __init__(self, options: Options) -> None:
        """Raises:
        EngineError: an option cannot be meant.
        """
        check_extra(options.extra, _FIXED, _OWN_OPTIONS)
        if options.thinking and options.tell_thinking == "nothing":
            raise EngineError(
                "The endpoint is not told to reason.",
                "Write `tell_thinking: reasoning_effort`, or `chat_template_kwargs`, as it understands.",
                "thinking",
            )
        self._options = options
        super().__init__("llm", options, options.model)
        self.capabilities = LanguageModelCapabilities(
            context=options.context,
            tools=options.tools,
            forced_calls=options.tools,
            vision=options.vision,
            reasoning=options.tell_thinking != "nothing",
            heeds=frozenset(get_args(RequestSetting)),
        )
        own = self.client.endpoint.base.host == OPENAI_HOST
        self._max_tokens_field = options.max_tokens_field
        if options.max_tokens_field == "auto":
            self._max_tokens_field = "max_completion_tokens" if own else "max_tokens"
        self._ask_usage = True

    def open(self) -> "OpenAIModelStream":
        """Opens a session's stream."""
        return OpenAIModelStream(self)

    async def generate(self, request: GenerationRequest, cancel: CancelToken) -> AsyncIterator[ModelOutput]:
        """Makes one reply; see `LanguageModelStream.generate`."""
        replies = self.client.iterate(lambda: self._reply(request), cancel)
        async with contextlib.aclosing(replies):
            async for output in replies:
                yield output

    async def _reply(self, request: GenerationRequest) -> AsyncGenerator[ModelOutput, None]:
        asked_usage = self._ask_usage
        try:
            async with contextlib.aclosing(self._try(request, asked_usage)) as outputs:
                async for output in outputs:
                    yield output
        except HttpError as error:
            if not (asked_usage and error.status in (400, 422) and _names_usage(error.refusal.raw)):
                raise
            log.info("%s knows no `stream_options`, and will not be sent any", self.device)
            self._ask_usage = False
            async with contextlib.aclosing(self._try(request, False)) as outputs:
                async for output in outputs:
                    yield output

    async def _try(self, request: GenerationRequest, ask_usage: bool) -> AsyncGenerator[ModelOutput, None]:
        gone = self._left_out(request)
        body = self._body(request, [each for at, each in enumerate(request.prompt.messages) if at not in gone])
        if ask_usage:
            body["stream_options"] = {"include_usage": True}
        client = self.client
        async with client.post_json("chat/completions", body) as response:
            reader = ReplyReader(request, client.fail, begins_thinking=self._options.begins_thinking)
            async with contextlib.aclosing(events(response, client.fail)) as stream:
                while True:
                    try:
                        # After its reason to end there is nothing to wait for that could not be done without.
                        async with asyncio.timeout(_LAST_WORD_S if reader.reason is not None else None):
                            event = await anext(stream, None)
                    except TimeoutError:
                        break
                    if event is None or event.data == DONE:
                        reader.done = event is not None
                        break
                    for output in reader.feed(event):
                        yield output
            for output in reader.finish():
                yield replace(output, left_out=gone) if isinstance(output, Generated) else output

    def _left_out(self, request: GenerationRequest) -> frozenset[int]:
        """Returns the indices of the messages for which there is no room, as far as that is known here."""
        messages, tools = request.prompt.messages, request.prompt.tools

        def tokens(gone: frozenset[int]) -> int:
            return estimate([message for index, message in enumerate(messages) if index not in gone], tools)

        reply = request.max_tokens or self._options.max_tokens
        return left_out(messages, request.truncation, Scale(tokens, estimate_of), self._options.context, reply)

    def _body(self, request: GenerationRequest, messages: Sequence[Message]) -> dict[str, Any]:
        options = self._options
        body: dict[str, Any] = {"model": options.model, "messages": list(map(_message, messages))}
        body["stream"] = True
        temperature = options.temperature if request.temperature is None else request.temperature
        settings: dict[str, Any] = {"temperature": temperature, "top_p": options.top_p, "seed": options.seed}
        settings["stop"] = (*options.stop, *request.stop) or None
        settings[self._max_tokens_field] = request.max_tokens or options.max_tokens
        body |= {name: value for name, value in settings.items() if value is not None}
        if request.prompt.tools and options.tools:
            body["tools"] = list(map(_tool, request.prompt.tools))
            if request.tool_choice != "auto":
                body["tool_choice"] = _tool_choice(request.tool_choice)
            if not request.parallel_tool_calls:
                body["parallel_tool_calls"] = False
        asked = {name: value for name in _ASKED if (value := getattr(request, name)) is not None}
        return {**body, **options.extra, **asked, **self._thinking(request)}

    def _thinking(self, request: GenerationRequest) -> Mapping[str, Any]:
        options = self._options
        effort: str = request.effort or (options.effort if options.thinking else "none")
        match options.tell_thinking:
            case "reasoning_effort":
                return {"reasoning_effort": options.least_effort if effort == "none" else effort}
            case "chat_template_kwargs":
                thinking = options.thinking if request.thinking is None else request.thinking
                others = options.extra.get("chat_template_kwargs", {})
                return {"chat_template_kwargs": {"enable_thinking": thinking, **others}}
            case _:
                return {}


class OpenAIModelStream:
    """One session's hold on the endpoint: nothing, for each request brings the whole conversation."""

    def __init__(self, engine: OpenAIModel) -> None:
        self.generate = engine.generate

    def close(self) -> None:
        """Nothing is held."""


def _names_usage(said: str) -> bool:
    return "stream_options" in said or "include_usage" in said


def _message(message: Message) -> dict[str, Any]:
    value: dict[str, Any] = {"role": message.role, "content": _content(message) if message.images else message.text}
    if message.calls:
        value["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.calls
        ]
    if message.role == "tool":
        value["tool_call_id"] = message.call_id
    return value


def _content(message: Message) -> list[dict[str, Any]]:
    """The text in parts, with the images between them."""
    parts: list[dict[str, Any]] = []
    begin = 0
    for image in message.images:
        if text := message.text[begin : image.at].strip():
            parts.append({"type": "text", "text": text})
        parts.append({"type": "image_url", "image_url": {"url": data_url(image), "detail": image.detail}})
        begin = image.at
    if text := message.text[begin:].strip():
        parts.append({"type": "text", "text": text})
    return parts


def _tool(tool: Tool) -> dict[str, Any]:
    # An empty schema means an object without fields; some endpoints refuse one that does not say so.
    parameters = dict(tool.parameters) or {"type": "object", "properties": {}}
    function: dict[str, Any] = {"name": tool.name, "description": tool.description, "parameters": parameters}
    if tool.strict:
        function["strict"] = True
    return {"type": "function", "function": function}


def _tool_choice(choice: ToolChoice) -> str | dict[str, Any]:
    if isinstance(choice, NamedTool):
        return {"type": "function", "function": {"name": choice.name}}
    return choice
