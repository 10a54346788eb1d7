"""The objects of the Realtime protocol, shaped as in OpenAI's GA schema.

What a client may send is validated against these structs as well: a field that is not here is refused by name.
"""

from typing import Annotated, Any, ClassVar, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pipeline.noise import NoiseField
from server.realtime.mcp_schema import McpChoice, McpError, McpListedTool, McpTool

Milliseconds = Annotated[int, Meta(ge=0)]
PaddingMs = Annotated[int, Meta(ge=0, le=60_000)]
"""Milliseconds of sound that are kept while nobody speaks: bounded, because they stay in memory."""


class PcmFormat(msgspec.Struct, tag_field="type", tag="audio/pcm", forbid_unknown_fields=True):
    """Little-endian 16-bit mono PCM at 24 kHz, base64 in events."""

    rate: Literal[24000] = 24000


class PcmuFormat(msgspec.Struct, tag_field="type", tag="audio/pcmu", forbid_unknown_fields=True):
    """G.711 mu-law at 8 kHz, base64 in events."""


class PcmaFormat(msgspec.Struct, tag_field="type", tag="audio/pcma", forbid_unknown_fields=True):
    """G.711 A-law at 8 kHz, base64 in events."""


AudioFormat: TypeAlias = PcmFormat | PcmuFormat | PcmaFormat


class ServerVad(msgspec.Struct, tag_field="type", tag="server_vad", forbid_unknown_fields=True, kw_only=True):
    """Turn detection by voice activity and silence. Defaults are OpenAI's."""

    threshold: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.5
    prefix_padding_ms: PaddingMs = 300
    silence_duration_ms: Milliseconds = 500
    idle_timeout_ms: Annotated[int, Meta(ge=5_000, le=30_000)] | None = None
    """Silence after the reply was played until the model is asked to go on; OpenAI's range."""
    create_response: bool = True
    interrupt_response: bool = True

    @property
    def most_ms(self) -> int:
        """Silence that ends the turn in any case."""
        return self.silence_duration_ms


class SemanticVad(msgspec.Struct, tag_field="type", tag="semantic_vad", forbid_unknown_fields=True, kw_only=True):
    """Turn detection by what was said and how, as the pipeline's end-of-turn detector judges it."""

    eagerness: Literal["low", "medium", "high", "auto"] = "auto"
    create_response: bool = True
    interrupt_response: bool = True

    threshold: ClassVar[float] = 0.5
    prefix_padding_ms: ClassVar[int] = 300

    @property
    def most_ms(self) -> int:
        """Silence that ends the turn in any case; OpenAI's figures."""
        return {"low": 8000, "high": 2000}.get(self.eagerness, 4000)


TurnDetection: TypeAlias = ServerVad | SemanticVad


class Transcription(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """How the user's speech is transcribed for the client.

    `keywords` reach the transcriber behind the prompt. `languages` names one, as `language` does: transcribers can be
    told of no more. Words are shown as soon as they are certain, so `delay` is only taken as null.
    """

    model: str
    language: str | UnsetType | None = UNSET
    prompt: str | UnsetType | None = UNSET
    keywords: list[str] | UnsetType | None = UNSET
    languages: Annotated[list[str], Meta(max_length=1)] | UnsetType | None = UNSET
    delay: UnsetType | None = UNSET


class NoiseReduction(msgspec.Struct, forbid_unknown_fields=True):
    """What noise is taken out of the user's sound before anything hears it."""

    type: NoiseField


class AudioInput(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    format: AudioFormat = msgspec.field(default_factory=PcmFormat)
    transcription: Transcription | None = None
    noise_reduction: NoiseReduction | None = None
    turn_detection: TurnDetection | None = msgspec.field(default_factory=ServerVad)


class AudioOutput(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    format: AudioFormat = msgspec.field(default_factory=PcmFormat)
    voice: str
    speed: Annotated[float, Meta(ge=0.25, le=1.5)] = 1.0


class Audio(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    input: AudioInput
    output: AudioOutput


Modalities = Annotated[list[Literal["text", "audio"]], Meta(min_length=1, max_length=1)]
MaxOutputTokens = Annotated[int, Meta(ge=1, le=4096)] | Literal["inf"]


class FunctionTool(msgspec.Struct, tag_field="type", tag="function", forbid_unknown_fields=True, omit_defaults=True):
    """A function of the client's that the model may call. `parameters` is a JSON schema; None: it takes none."""

    name: Annotated[str, Meta(min_length=1, max_length=128)]
    description: str | None = None
    parameters: dict[str, Any] | None = None


class FunctionChoice(msgspec.Struct, tag_field="type", tag="function", forbid_unknown_fields=True):
    """This function must be called."""

    name: str


Tools = Annotated[list[FunctionTool | McpTool], Meta(max_length=128)]
ToolChoiceParam = str | FunctionChoice | McpChoice
"""`auto`, `none`, `required`, a function (as an object, or by its bare name), or tools of an MCP server."""


class TracingConfig(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """What a trace is called, for whoever looks for it among others."""

    workflow_name: str | UnsetType | None = UNSET
    group_id: str | UnsetType | None = UNSET
    metadata: dict[str, Any] | UnsetType | None = UNSET


Tracing: TypeAlias = Literal["auto"] | TracingConfig


class TokenLimits(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """How many tokens the conversation may have, instructions and tools apart."""

    post_instructions: Annotated[int, Meta(ge=1)] | None = None
    """Tokens; no more than the model's context has beside `max_output_tokens`. Null: what fits."""


class RetentionRatio(
    msgspec.Struct,
    tag_field="type",
    tag="retention_ratio",
    forbid_unknown_fields=True,
    omit_defaults=True,
    kw_only=True,
):
    """What part of a conversation that is too long is kept."""

    retention_ratio: Annotated[float, Meta(ge=0.0, le=1.0)]
    """Of the tokens that are allowed."""
    token_limits: TokenLimits | None = None
    """What is allowed; null: what fits into the model's context."""


TruncationParam: TypeAlias = Literal["auto", "disabled"] | RetentionRatio


class Reasoning(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """How much a model that reasons does so before it replies. None: what its engine is set to."""

    effort: Literal["minimal", "low", "medium", "high", "xhigh"] | None = None
    """A model that only reasons or does not takes `minimal` for not."""


SessionKind: TypeAlias = Literal["realtime", "transcription"]
"""Whether a session answers, or only hears. It is settled when the client connects."""

Include: TypeAlias = list[Literal["item.input_audio_transcription.logprobs"]]
"""What events carry only where it is asked for."""


class Session(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The effective configuration of a session, as `session.created` and `session.updated` show it; of a transcription
    session they show a part: see `TranscriptionSession`.
    """

    type: SessionKind = "realtime"
    object: Literal["realtime.session"] = "realtime.session"
    id: str
    model: str
    expires_at: int
    instructions: str
    output_modalities: Modalities
    audio: Audio
    tools: Tools = msgspec.field(default_factory=list)
    tool_choice: ToolChoiceParam = "auto"
    max_output_tokens: MaxOutputTokens = "inf"
    parallel_tool_calls: bool = True
    """Whether a reply may have several calls."""
    truncation: TruncationParam = "auto"
    """What becomes of a conversation that is too long for the model. `auto`: the oldest goes; `disabled`: the response
    fails.
    """
    reasoning: Reasoning | None = None
    """How much a model that reasons does so."""
    include: Include | None = None
    prompt: None = None
    tracing: Tracing | None = None
    temperature: float | None = None
    """What the model draws with; None: what its engine is set to, which does not say. Not in OpenAI's GA schema, but in
    the older one: the wire shows it to those who speak that.
    """


class TranscriptionSession(msgspec.Struct, kw_only=True):
    """What a transcription session shows of its configuration: how it hears. There is nothing else to it."""

    type: Literal["transcription"] = "transcription"
    object: Literal["realtime.transcription_session"] = "realtime.transcription_session"
    id: str
    expires_at: int
    audio: dict[str, Any]
    include: Include | None = None


FIXED_SESSION_FIELDS = frozenset({"object", "id", "expires_at"})
"""Fields of the session object that the server sets and no client may send."""


class ContentPart(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True, kw_only=True):
    """One part of a message. Which keys it has follows from its type."""

    type: str
    text: str | UnsetType | None = UNSET
    transcript: str | UnsetType | None = UNSET
    audio: bytes | UnsetType | None = UNSET
    image_url: str | UnsetType | None = UNSET
    """An image, for a model that sees: a PNG or JPEG of up to 8 MiB as a data URL in base64."""
    detail: Literal["auto", "low", "high"] | UnsetType | None = UNSET
    """How closely the model is to look."""


class Item(msgspec.Struct, omit_defaults=True, kw_only=True):
    """An item of the conversation, as events carry it."""

    id: str
    type: str
    object: str | UnsetType = UNSET
    status: str | UnsetType = UNSET
    role: str | UnsetType = UNSET
    content: list[ContentPart] | UnsetType = UNSET
    name: str | UnsetType = UNSET
    call_id: str | UnsetType = UNSET
    arguments: str | UnsetType = UNSET
    output: str | UnsetType | None = UNSET
    server_label: str | UnsetType = UNSET
    tools: list[McpListedTool] | UnsetType = UNSET
    approval_request_id: str | UnsetType | None = UNSET
    approve: bool | UnsetType = UNSET
    reason: str | UnsetType | None = UNSET
    error: McpError | UnsetType | None = UNSET


class ClientItem(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """An item as a client sends it. (One struct: msgspec tells apart by one tag, and messages differ by role.) None is
    as good as nothing. An `item_reference` stands for an item of the conversation, in a response's own input.
    """

    type: Literal[
        "message", "function_call", "function_call_output", "item_reference", "mcp_approval_response", "mcp_call"
    ]
    role: Literal["system", "user", "assistant"] | None = None
    content: list[ContentPart] | None = None
    name: str | None = None
    call_id: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    arguments: str | None = None
    output: str | None = None
    server_label: str | None = None
    approval_request_id: str | None = None
    approve: bool | None = None
    reason: str | None = None
    error: McpError | None = None
    id: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    object: Literal["realtime.item"] | None = None
    status: Literal["completed", "incomplete", "in_progress"] | None = None


class ResponseAudioOutput(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    format: AudioFormat | None = None
    voice: str | None = None


class ResponseAudio(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    output: ResponseAudioOutput | None = None


MetadataText = Annotated[str, Meta(max_length=512)]
Metadata = Annotated[dict[Annotated[str, Meta(max_length=64)], MetadataText], Meta(max_length=16)]


class ResponseParams(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What `response.create` may say. What is absent, or null, comes from the session."""

    instructions: str | None = None
    output_modalities: Modalities | None = None
    audio: ResponseAudio | None = None
    max_output_tokens: MaxOutputTokens | None = None
    metadata: Metadata | None = None
    conversation: Literal["auto", "none"] | None = None
    input: list[ClientItem] | None = None
    """What the model is told in place of the conversation."""
    tools: Tools | None = None
    tool_choice: ToolChoiceParam | None = None
    parallel_tool_calls: bool | None = None
    reasoning: Reasoning | None = None
    """In place of the session's."""
    prompt: None = None
    """Always null: stored prompts are kept by OpenAI."""
    temperature: float | None = None
    """As in `Session`."""


class InputTokenDetails(msgspec.Struct, kw_only=True):
    text_tokens: int = 0
    audio_tokens: int = 0
    image_tokens: int = 0
    cached_tokens: int = 0


class OutputTokenDetails(msgspec.Struct, kw_only=True):
    text_tokens: int = 0
    audio_tokens: int = 0


class Usage(msgspec.Struct, kw_only=True):
    """What a response cost, in tokens; see usage.py for how they are counted."""

    total_tokens: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    input_token_details: InputTokenDetails = msgspec.field(default_factory=InputTokenDetails)
    output_token_details: OutputTokenDetails = msgspec.field(default_factory=OutputTokenDetails)


class TranscriptionTokenDetails(msgspec.Struct, kw_only=True):
    text_tokens: int = 0
    audio_tokens: int = 0


class TranscriptionUsage(msgspec.Struct, tag_field="type", tag="tokens", kw_only=True):
    total_tokens: int
    input_tokens: int
    output_tokens: int
    input_token_details: TranscriptionTokenDetails


class LogProb(msgspec.Struct, kw_only=True):
    """A token of a transcript, its UTF-8 bytes, and the natural logarithm of its probability."""

    token: str
    logprob: float
    bytes: list[int]


class StatusError(msgspec.Struct, kw_only=True):
    """Why a response failed. `code` is the stage and what it did, such as `tts_timeout`, or what a remote service
    called it. `message` is not in OpenAI's schema, but in what OpenAI sends, and what clients show.
    """

    type: str
    code: str
    message: str


class StatusDetails(msgspec.Struct, omit_defaults=True, kw_only=True):
    type: str
    reason: str | UnsetType = UNSET
    error: StatusError | UnsetType = UNSET


class ResponseObject(msgspec.Struct, kw_only=True):
    """A response, as `response.created` and `response.done` carry it."""

    object: Literal["realtime.response"] = "realtime.response"
    id: str
    status: str
    status_details: StatusDetails | None
    output: list[Item]
    conversation_id: str | None
    output_modalities: list[str]
    max_output_tokens: int | str
    audio: dict[str, Any]
    usage: Usage | None
    metadata: dict[str, str] | None
    temperature: float | None = None
    """As in `Session`."""


class ErrorBody(msgspec.Struct, kw_only=True):
    """What went wrong, for the client. `event_id` is the client's, when it sent one."""

    type: Literal["invalid_request_error", "server_error"]
    message: str
    code: str | None = None
    param: str | None = None
    event_id: str | None = None
