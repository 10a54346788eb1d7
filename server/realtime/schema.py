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
    """Samples a second; no other rate is taken."""


class PcmuFormat(msgspec.Struct, tag_field="type", tag="audio/pcmu", forbid_unknown_fields=True):
    """G.711 mu-law at 8 kHz, base64 in events."""


class PcmaFormat(msgspec.Struct, tag_field="type", tag="audio/pcma", forbid_unknown_fields=True):
    """G.711 A-law at 8 kHz, base64 in events."""


AudioFormat: TypeAlias = PcmFormat | PcmuFormat | PcmaFormat


class ServerVad(msgspec.Struct, tag_field="type", tag="server_vad", forbid_unknown_fields=True, kw_only=True):
    """Turn detection by voice activity and silence. Defaults are OpenAI's."""

    threshold: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.5
    """How sure the detector has to be that somebody speaks."""
    prefix_padding_ms: PaddingMs = 300
    """Sound before the first voice that belongs to the utterance."""
    silence_duration_ms: Milliseconds = 500
    """Silence that ends the turn."""
    idle_timeout_ms: Annotated[int, Meta(ge=5_000, le=30_000)] | None = None
    """Silence after the reply was played until the model is asked to go on; OpenAI's range."""
    create_response: bool = True
    """Whether the end of a turn is answered."""
    interrupt_response: bool = True
    """Whether a voice ends the reply under way; if not, it is answered after it."""

    @property
    def most_ms(self) -> int:
        """Silence that ends the turn in any case."""
        return self.silence_duration_ms


class SemanticVad(msgspec.Struct, tag_field="type", tag="semantic_vad", forbid_unknown_fields=True, kw_only=True):
    """Turn detection by what was said and how, as the pipeline's end-of-turn detector judges it."""

    eagerness: Literal["low", "medium", "high", "auto"] = "auto"
    """How long a pause may last in any case: 2 s (`high`), 4 s (`medium`, `auto`) or 8 s (`low`)."""
    create_response: bool = True
    """As in `ServerVad`."""
    interrupt_response: bool = True
    """As in `ServerVad`."""

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
    """The pipeline's own transcriber, by its name or by that of one of OpenAI's models."""
    language: str | UnsetType | None = UNSET
    """What is spoken, as a tag such as `en` or `en-US`; absent or null: what the engine is set to."""
    prompt: str | UnsetType | None = UNSET
    """Words to expect, for transcribers that take a prompt."""
    keywords: list[str] | UnsetType | None = UNSET
    """Words to expect, behind the prompt."""
    languages: Annotated[list[str], Meta(max_length=1)] | UnsetType | None = UNSET
    """One language, as in `language`."""
    delay: UnsetType | None = UNSET
    """Only null: words are shown as soon as they are certain."""


class NoiseReduction(msgspec.Struct, forbid_unknown_fields=True):
    """What noise is taken out of the user's sound before anything hears it."""

    type: NoiseField
    """Whether the microphone is near the mouth or far from it."""


class AudioInput(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    format: AudioFormat = msgspec.field(default_factory=PcmFormat)
    """What the client sends."""
    transcription: Transcription | None = None
    """Whether and how the user's words are told; null: not at all, although the model hears them."""
    noise_reduction: NoiseReduction | None = None
    """What noise is taken out; null: none."""
    turn_detection: TurnDetection | None = msgspec.field(default_factory=ServerVad)
    """How the end of a turn is found; null: the client commits."""


class AudioOutput(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    format: AudioFormat = msgspec.field(default_factory=PcmFormat)
    """What the client is sent."""
    voice: str
    """One of the pipeline's voices, or a name that leads to one; fixed once sound was sent."""
    speed: Annotated[float, Meta(ge=0.25, le=1.5)] = 1.0
    """How fast is spoken, in the range of the engine."""


class Audio(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    input: AudioInput
    """How the user is heard."""
    output: AudioOutput
    """How replies sound."""


Modalities = Annotated[list[Literal["text", "audio"]], Meta(min_length=1, max_length=1)]
MaxOutputTokens = Annotated[int, Meta(ge=1, le=4096)] | Literal["inf"]


class FunctionTool(msgspec.Struct, tag_field="type", tag="function", forbid_unknown_fields=True, omit_defaults=True):
    """A function of the client's that the model may call. `parameters` is a JSON schema; None: it takes none."""

    name: Annotated[str, Meta(min_length=1, max_length=128)]
    """What the model calls it by; each tool has a name of its own."""
    description: str | None = None
    """What it is for, for the model."""
    parameters: dict[str, Any] | None = None
    """What it takes, as a JSON schema of an object."""


class FunctionChoice(msgspec.Struct, tag_field="type", tag="function", forbid_unknown_fields=True):
    """This function must be called."""

    name: str
    """One of the tools."""


Tools = Annotated[list[FunctionTool | McpTool], Meta(max_length=128)]
ToolChoiceParam = str | FunctionChoice | McpChoice
"""`auto`, `none`, `required`, a function (as an object, or by its bare name), or tools of an MCP server."""


class TracingConfig(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """What a trace is called, for whoever looks for it among others."""

    workflow_name: str | UnsetType | None = UNSET
    """What kind of session it is."""
    group_id: str | UnsetType | None = UNSET
    """What sessions belong together by."""
    metadata: dict[str, Any] | UnsetType | None = UNSET
    """Anything, written into the trace."""


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
    """Of the session, `sess_…`."""
    model: str
    """The pipeline; fixed when the client connects."""
    expires_at: int
    """When the session ends at the latest, in seconds since 1970."""
    instructions: str
    """What the model is told before the conversation; empty: nothing."""
    output_modalities: Modalities
    """Whether replies are spoken or written."""
    audio: Audio
    """Everything about sound."""
    tools: Tools = msgspec.field(default_factory=list)
    """What the model may call."""
    tool_choice: ToolChoiceParam = "auto"
    """Whether it may call, has to, or has to call a certain one."""
    max_output_tokens: MaxOutputTokens = "inf"
    """Most tokens of a reply."""
    parallel_tool_calls: bool = True
    """Whether a reply may have several calls."""
    truncation: TruncationParam = "auto"
    """What becomes of a conversation that is too long for the model. `auto`: the oldest goes; `disabled`: the response
    fails.
    """
    reasoning: Reasoning | None = None
    """How much a model that reasons does so."""
    include: Include | None = None
    """What events carry only where it is asked for."""
    prompt: None = None
    """Always null: stored prompts are kept by OpenAI."""
    tracing: Tracing | None = None
    """Whether the session is written into the trace folder; null also where there is none."""
    temperature: float | None = None
    """What the model draws with; None: what its engine is set to, which does not say. Not in OpenAI's GA schema, but in
    the older one: the wire shows it to those who speak that.
    """


class TranscriptionSession(msgspec.Struct, kw_only=True):
    """What a transcription session shows of its configuration: how it hears. There is nothing else to it."""

    type: Literal["transcription"] = "transcription"
    object: Literal["realtime.transcription_session"] = "realtime.transcription_session"
    id: str
    """Of the session, `sess_…`."""
    expires_at: int
    """When the session ends at the latest, in seconds since 1970."""
    audio: dict[str, Any]
    """Everything about sound."""
    include: Include | None = None
    """What events carry only where it is asked for."""


FIXED_SESSION_FIELDS = frozenset({"object", "id", "expires_at"})
"""Fields of the session object that the server sets and no client may send."""


class ContentPart(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True, kw_only=True):
    """One part of a message. Which keys it has follows from its type."""

    type: str
    text: str | UnsetType | None = UNSET
    """What it says in writing."""
    transcript: str | UnsetType | None = UNSET
    """What its sound says in words; null: not known yet."""
    audio: bytes | UnsetType | None = UNSET
    """Sound, in base64."""
    image_url: str | UnsetType | None = UNSET
    """An image, for a model that sees: a PNG or JPEG of up to 8 MiB as a data URL in base64."""
    detail: Literal["auto", "low", "high"] | UnsetType | None = UNSET
    """How closely the model is to look."""


class Item(msgspec.Struct, omit_defaults=True, kw_only=True):
    """An item of the conversation, as events carry it."""

    id: str
    """Of the item, `item_…` or what the client gave."""
    type: str
    object: str | UnsetType = UNSET
    status: str | UnsetType = UNSET
    """Whether all of it is there: `incomplete` if it was cut off, `in_progress` while it is made."""
    role: str | UnsetType = UNSET
    """Who says it."""
    content: list[ContentPart] | UnsetType = UNSET
    """Its parts."""
    name: str | UnsetType = UNSET
    """The function that is called."""
    call_id: str | UnsetType = UNSET
    arguments: str | UnsetType = UNSET
    """What it is called with, as JSON."""
    output: str | UnsetType | None = UNSET
    """What came of the call; null while that is not known, or where it failed."""
    server_label: str | UnsetType = UNSET
    """The MCP server that it is about."""
    tools: list[McpListedTool] | UnsetType = UNSET
    """What the server has."""
    approval_request_id: str | UnsetType | None = UNSET
    """The request for approval that belongs to it."""
    approve: bool | UnsetType = UNSET
    """Whether the call may be made."""
    reason: str | UnsetType | None = UNSET
    """Why, for the model."""
    error: McpError | UnsetType | None = UNSET
    """Why the call failed."""


class ClientItem(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """An item as a client sends it. (One struct: msgspec tells apart by one tag, and messages differ by role.) None is
    as good as nothing. An `item_reference` stands for an item of the conversation, in a response's own input.
    """

    type: Literal[
        "message", "function_call", "function_call_output", "item_reference", "mcp_approval_response", "mcp_call"
    ]
    role: Literal["system", "user", "assistant"] | None = None
    """Who says it: it tells what content it may have."""
    content: list[ContentPart] | None = None
    """Its parts, at least one."""
    name: str | None = None
    """The function that was called."""
    call_id: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    arguments: str | None = None
    """What it was called with: a JSON object as text."""
    output: str | None = None
    """What came of the call, for the model."""
    server_label: str | None = None
    """The MCP server whose tool was called."""
    approval_request_id: str | None = None
    """The request for approval that is answered, or was."""
    approve: bool | None = None
    """Whether the call may be made: then it is made at once."""
    reason: str | None = None
    """Why, which the model is told where the call may not be made."""
    error: McpError | None = None
    """Why the call failed, for the model."""
    id: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    """Chosen by the client, and taken by no other item of the conversation, or of the response's own input; absent: the
    server gives one.
    """
    object: Literal["realtime.item"] | None = None
    status: Literal["completed", "incomplete", "in_progress"] | None = None
    """`incomplete` stays so, and a call that is so has no output; anything else is `completed`."""


class ResponseAudioOutput(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    format: AudioFormat | None = None
    """As in the session."""
    voice: str | None = None
    """As in the session; may be another one, too."""


class ResponseAudio(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    output: ResponseAudioOutput | None = None
    """How it sounds."""


MetadataText = Annotated[str, Meta(max_length=512)]
Metadata = Annotated[dict[Annotated[str, Meta(max_length=64)], MetadataText], Meta(max_length=16)]


class ResponseParams(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What `response.create` may say. What is absent, or null, comes from the session."""

    instructions: str | None = None
    """In place of the session's."""
    output_modalities: Modalities | None = None
    """Whether it is spoken or written."""
    audio: ResponseAudio | None = None
    """How it sounds."""
    max_output_tokens: MaxOutputTokens | None = None
    """Most tokens of it."""
    metadata: Metadata | None = None
    """Comes back with the response: up to 16 keys."""
    conversation: Literal["auto", "none"] | None = None
    """`none`: out of band, beside the one of the conversation, which does not learn of it."""
    input: list[ClientItem] | None = None
    """What the model is told in place of the conversation."""
    tools: Tools | None = None
    """In place of the session's."""
    tool_choice: ToolChoiceParam | None = None
    """In place of the session's."""
    parallel_tool_calls: bool | None = None
    """Whether it may have several calls."""
    reasoning: Reasoning | None = None
    """In place of the session's."""
    prompt: None = None
    """Always null: stored prompts are kept by OpenAI."""
    temperature: float | None = None
    """As in `Session`."""
