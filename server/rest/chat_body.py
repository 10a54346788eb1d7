"""The body of a chat completion → what the model is asked. Every field has its effect, or is refused by name."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

from pipeline.images import image_of
from pipeline.json_schema import JsonSchema, UncheckedSchemaError
from pipeline.line import Line
from pipeline.reply_parts import is_json_object
from pipeline.types import GenerationRequest, Image, Message, NamedTool, Prompt, Tool, ToolCall, ToolChoice
from server.rest.errors import ApiError, refused
from server.rest.http import convert

_MAX_MESSAGES = 4096

_ONLY: Final[Mapping[str, tuple[object, ...]]] = MappingProxyType(
    {
        "n": (1,),
        "logprobs": (False,),
        "top_logprobs": (0,),
        "logit_bias": ({},),
        "response_format": ({"type": "text"},),
        "modalities": (["text"],),
        "verbosity": ("medium",),
        "service_tier": ("auto", "default"),
        "store": (False,),
        "metadata": ({},),
        "audio": (),
        "prediction": (),
        "moderation": (),
        "web_search_options": (),
        "functions": (),
        "function_call": (),
        "user": (),
        "safety_identifier": (),
        "prompt_cache_key": (),
        "prompt_cache_options": (),
        "prompt_cache_retention": (),
    }
)
"""Fields of OpenAI's that nothing here can honour → the values, besides null, that ask for nothing that is not done
anyway.
"""


# --- messages -------------------------------------------------------------------------------------------------


class TextPart(msgspec.Struct, tag_field="type", tag="text", forbid_unknown_fields=True):
    text: str


class RefusalPart(msgspec.Struct, tag_field="type", tag="refusal", forbid_unknown_fields=True):
    refusal: str


class ImageUrl(msgspec.Struct, forbid_unknown_fields=True):
    url: str
    detail: Literal["auto", "low", "high"] | None = None


class ImagePart(msgspec.Struct, tag_field="type", tag="image_url", forbid_unknown_fields=True):
    image_url: ImageUrl


class AudioPart(msgspec.Struct, tag_field="type", tag="input_audio"):
    """Known, to be refused in so many words."""


class FilePart(msgspec.Struct, tag_field="type", tag="file"):
    """Likewise."""


Part: TypeAlias = TextPart | RefusalPart | ImagePart | AudioPart | FilePart
Content: TypeAlias = str | list[Part]


class SystemMessage(msgspec.Struct, tag_field="role", tag="system", forbid_unknown_fields=True):
    content: Content
    name: None = None


class DeveloperMessage(msgspec.Struct, tag_field="role", tag="developer", forbid_unknown_fields=True):
    content: Content
    name: None = None


class UserMessage(msgspec.Struct, tag_field="role", tag="user", forbid_unknown_fields=True):
    content: Content
    name: None = None


class CalledFunction(msgspec.Struct, forbid_unknown_fields=True):
    name: Annotated[str, Meta(min_length=1)]
    arguments: str


class Call(msgspec.Struct, tag_field="type", tag="function", forbid_unknown_fields=True):
    """`index` is what a streamed call carries; clients put it back."""

    id: Annotated[str, Meta(min_length=1)]
    function: CalledFunction
    index: int | None = None


class AssistantMessage(msgspec.Struct, tag_field="role", tag="assistant", forbid_unknown_fields=True):
    """A reply, as it was sent or as the `openai` package hands it back."""

    content: Content | None = None
    tool_calls: list[Call] | None = None
    refusal: str | None = None
    name: None = None
    audio: None = None
    function_call: None = None
    annotations: Annotated[list[Any], Meta(max_length=0)] | None = None


class ToolMessage(msgspec.Struct, tag_field="role", tag="tool", forbid_unknown_fields=True):
    """`name`, which some clients add, has to be that of the function that was called."""

    content: Content
    tool_call_id: str
    name: str | None = None


AnyMessage: TypeAlias = SystemMessage | DeveloperMessage | UserMessage | AssistantMessage | ToolMessage


# --- tools ----------------------------------------------------------------------------------------------------


class Function(msgspec.Struct, forbid_unknown_fields=True):
    name: Annotated[str, Meta(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class FunctionTool(msgspec.Struct, tag_field="type", tag="function", forbid_unknown_fields=True):
    function: Function


class ChosenFunction(msgspec.Struct, forbid_unknown_fields=True):
    name: str


class FunctionChoice(msgspec.Struct, tag_field="type", tag="function", forbid_unknown_fields=True):
    function: ChosenFunction


class StreamOptions(msgspec.Struct, forbid_unknown_fields=True):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


# --- the body -------------------------------------------------------------------------------------------------


class ChatBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What of a request has an effect."""

    messages: Annotated[list[AnyMessage], Meta(min_length=1, max_length=_MAX_MESSAGES)]
    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    tools: list[FunctionTool] | None = None
    tool_choice: Literal["auto", "none", "required"] | FunctionChoice | None = None
    parallel_tool_calls: bool | None = None
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Meta(ge=1)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    seed: int | None = None
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    stop: str | list[str] | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None


def read_body(value: dict[str, Any]) -> ChatBody:
    """Checks a body, but for what depends on the model.

    Raises:
        ApiError: a field is wrong, or cannot be honoured.
    """
    asked = dict(value)
    for name, harmless in _ONLY.items():
        if name in asked:
            given = asked.pop(name)
            if given is not None and not any(type(given) is type(each) and given == each for each in harmless):
                raise refused("unsupported_parameter", _cannot(name, harmless), name)
    body = convert(asked, ChatBody)
    if body.max_tokens is not None and body.max_completion_tokens is not None:
        problem = "`max_tokens` is the old name of `max_completion_tokens`: give one of them."
        raise refused("invalid_value", problem, "max_tokens")
    if body.stream_options is not None and not body.stream:
        raise refused("invalid_value", "There are `stream_options` only with `stream`.", "stream_options")
    if body.stream_options is not None and body.stream_options.include_obfuscation:
        problem = "Nothing is obfuscated here: leave this out, or say false."
        raise refused("unsupported_parameter", problem, "stream_options.include_obfuscation")
    return body


def _cannot(name: str, harmless: Sequence[object]) -> str:
    shown = " or ".join(msgspec.json.encode(each).decode() for each in harmless)
    return f"`{name}` has no effect here: leave it out{f', or say {shown}' if shown else ''}."


def generation_of(body: ChatBody, line: Line) -> GenerationRequest:
    """Returns what the pipeline's language model is asked.

    Raises:
        ApiError: it cannot do that.
    """
    able, engine = line.llm.capabilities, line.config.llm.engine
    tools = _tools(body, line)
    stop = _stop(body)
    settings = {"stop": stop or None, "top_p": body.top_p, "seed": body.seed}
    settings |= {"presence_penalty": body.presence_penalty, "frequency_penalty": body.frequency_penalty}
    for name, setting in settings.items():
        if setting is not None and name not in able.heeds:
            raise refused("unsupported_parameter", f"`{engine}` cannot be told `{name}`: leave it out.", name)
    effort = body.reasoning_effort
    if effort not in (None, "none") and not able.reasoning:
        problem = f"The language model of '{line.name}' does not reason: leave this out, or say none."
        raise refused("unsupported_parameter", problem, "reasoning_effort")
    return GenerationRequest(
        prompt=Prompt(_messages(body.messages, line), tools),
        max_tokens=body.max_completion_tokens or body.max_tokens,
        temperature=body.temperature,
        tool_choice=_tool_choice(body, tools, line),
        parallel_tool_calls=body.parallel_tool_calls is not False,
        effort=effort if able.reasoning else None,
        stop=stop,
        top_p=body.top_p,
        seed=body.seed,
        presence_penalty=body.presence_penalty,
        frequency_penalty=body.frequency_penalty,
    )


def _stop(body: ChatBody) -> tuple[str, ...]:
    stop = (body.stop,) if isinstance(body.stop, str) else tuple(body.stop or ())
    if len(stop) > 4 or not all(stop):
        raise refused("invalid_value", "`stop` are four texts at most, none of them empty.", "stop")
    return stop


def _tools(body: ChatBody, line: Line) -> tuple[Tool, ...]:
    for index, tool in enumerate(body.tools or ()):
        if tool.function.strict:
            _check_strict(tool.function, f"tools[{index}].function")
    if body.tools and not line.llm.capabilities.tools:
        raise refused("unsupported_parameter", f"The language model of '{line.name}' cannot be given tools.", "tools")
    functions = [tool.function for tool in body.tools or ()]
    names = [function.name for function in functions]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise refused("invalid_value", f"There are two tools called '{name}'.", f"tools[{index}].function.name")
    return tuple(
        Tool(each.name, each.description or "", each.parameters or {}, strict=bool(each.strict)) for each in functions
    )


def _check_strict(function: Function, where: str) -> None:
    try:
        JsonSchema(function.parameters or {})
    except UncheckedSchemaError as error:
        problem = f"That calls keep to this schema cannot be promised ({error}): change it, or leave `strict` out."
        raise refused("unsupported_parameter", problem, f"{where}.parameters") from None


def _tool_choice(body: ChatBody, tools: Sequence[Tool], line: Line) -> ToolChoice:
    choice = body.tool_choice
    if choice in (None, "auto", "none"):
        return "none" if choice == "none" else "auto"
    names = [tool.name for tool in tools]
    if isinstance(choice, FunctionChoice) and choice.function.name not in names:
        problem = f"There is no tool '{choice.function.name}' among `tools`."
        raise refused("invalid_value", problem, "tool_choice.function.name")
    if not names:
        raise refused("invalid_value", "A call cannot be required where there are no tools.", "tool_choice")
    if not line.llm.capabilities.forced_calls:
        problem = f"The language model of '{line.name}' cannot be made to call a tool."
        raise refused("unsupported_parameter", problem, "tool_choice")
    return NamedTool(choice.function.name) if isinstance(choice, FunctionChoice) else "required"


def _messages(given: Sequence[AnyMessage], line: Line) -> tuple[Message, ...]:
    """The messages, each result joined with its call.

    Raises:
        ApiError: a result has no call before it, a call no result after it, or there is more than text.
    """
    messages: list[Message] = []
    owed: dict[str, str] = {}
    for index, each in enumerate(given):
        where = f"messages[{index}]"
        if owed and not isinstance(each, ToolMessage):
            raise _unanswered(owed, where)
        match each:
            case ToolMessage():
                messages.append(_result(each, owed, where))
            case AssistantMessage():
                message = _reply(each, where)
                owed = {call.id: call.name for call in message.calls}
                messages.append(message)
            case UserMessage():
                messages.append(_question(each, where, line))
            case _:
                messages.append(Message("system", _text(each.content, where)))
    if owed:
        raise _unanswered(owed, "messages")
    return tuple(messages)


def _unanswered(owed: Mapping[str, str], where: str) -> ApiError:
    ids = ", ".join(owed)
    return refused("invalid_value", f"These calls have no result (a message of role tool) yet: {ids}.", where)


def _question(message: UserMessage, where: str, line: Line) -> Message:
    """A user's message, the only one that may have images."""
    if isinstance(message.content, str):
        return Message("user", message.content)
    text = ""
    images: list[Image] = []
    for index, part in enumerate(message.content):
        if not isinstance(part, ImagePart):
            text += _text([part], where, index)
            continue
        param = f"{where}.content[{index}]"
        if not line.llm.capabilities.vision:
            problem = f"The language model of '{line.name}' does not see: images are not taken."
            raise refused("unsupported_parameter", problem, f"{param}.type")
        try:
            images.append(image_of(part.image_url.url, part.image_url.detail or "auto", len(text)))
        except ValueError as error:
            raise refused("invalid_value", str(error), f"{param}.image_url.url") from None
    return Message("user", text, images=tuple(images))


def _result(message: ToolMessage, owed: dict[str, str], where: str) -> Message:
    name = owed.pop(message.tool_call_id, None)
    if name is None:
        problem = f"No call before it has the id '{message.tool_call_id}', or it has a result already."
        raise refused("invalid_value", problem, f"{where}.tool_call_id")
    if message.name not in (None, name):
        raise refused("invalid_value", f"The call was of '{name}'.", f"{where}.name")
    return Message("tool", _text(message.content, where), call_id=message.tool_call_id)


def _reply(message: AssistantMessage, where: str) -> Message:
    calls = tuple(ToolCall(call.id, call.function.name, call.function.arguments) for call in message.tool_calls or ())
    for index, call in enumerate(calls):
        if not is_json_object(call.arguments):
            param = f"{where}.tool_calls[{index}].function.arguments"
            raise refused("invalid_value", "The arguments of a call are a JSON object.", param)
    if len({call.id for call in calls}) < len(calls):
        raise refused("invalid_value", "Two calls have one id.", f"{where}.tool_calls")
    if message.content is None and not calls and message.refusal is None:
        raise refused("missing_required_parameter", "A reply has `content`, `tool_calls` or both.", f"{where}.content")
    text = "" if message.content is None else _text(message.content, where)
    return Message("assistant", text or message.refusal or "", calls)


def _text(content: Content, where: str, first: int = 0) -> str:
    """The text of parts, of which the first has this index."""
    if isinstance(content, str):
        return content
    texts = []
    for index, part in enumerate(content, first):
        param = f"{where}.content[{index}].type"
        match part:
            case TextPart(text=text) | RefusalPart(refusal=text):
                texts.append(text)
            case ImagePart():
                raise refused("unsupported_parameter", "Images are for messages of role user.", param)
            case _:
                raise refused("unsupported_parameter", "Messages have no sound and no files here.", param)
    return "".join(texts)
