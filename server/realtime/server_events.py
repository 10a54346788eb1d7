"""What the server says: one struct per server event, in GA's shape. The machine fills `event_id` in."""

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from server.realtime.schema import ContentPart, Item, Session, TranscriptionSession
from server.realtime.server_objects import ErrorBody, LogProb, ResponseObject, TranscriptionUsage


class ServerEvent(msgspec.Struct, tag_field="type", kw_only=True):
    """Base of the server events."""

    event_id: str = ""


class Error(ServerEvent, tag="error"):
    error: ErrorBody


class SessionCreated(ServerEvent, tag="session.created"):
    session: Session | TranscriptionSession
    """The whole effective configuration."""


class SessionUpdated(ServerEvent, tag="session.updated"):
    session: Session | TranscriptionSession
    """The whole effective configuration."""


class ConversationInfo(msgspec.Struct, kw_only=True):
    id: str
    """Of the conversation, `conv_…`."""
    object: Literal["realtime.conversation"] = "realtime.conversation"


class ConversationCreated(ServerEvent, tag="conversation.created"):
    """The default conversation is there; told once, after the session's creation, where the dialect has it."""

    conversation: ConversationInfo
    """The default conversation."""


class SpeechStarted(ServerEvent, tag="input_audio_buffer.speech_started"):
    audio_start_ms: int
    """Where the utterance begins, with its padding: ms of sound since the session's first sample."""
    item_id: str


class SpeechStopped(ServerEvent, tag="input_audio_buffer.speech_stopped"):
    audio_end_ms: int
    """Where it ends, ms of sound since the session's first sample."""
    item_id: str


class TimeoutTriggered(ServerEvent, tag="input_audio_buffer.timeout_triggered"):
    """Nothing was said for `idle_timeout_ms` after the reply was played."""

    audio_start_ms: int
    """Where the silence begins, ms of sound since the session's first sample."""
    audio_end_ms: int
    """Where it ends."""
    item_id: str


class OutputAudioBufferStarted(ServerEvent, tag="output_audio_buffer.started"):
    """In a call: the sound of a response begins to be played."""

    response_id: str


class OutputAudioBufferStopped(ServerEvent, tag="output_audio_buffer.stopped"):
    """In a call: all sound of a response has been played, and no more comes."""

    response_id: str


class OutputAudioBufferCleared(ServerEvent, tag="output_audio_buffer.cleared"):
    """In a call: what was still to be played of a response is dropped: the user speaks, or the client says so."""

    response_id: str


class Committed(ServerEvent, tag="input_audio_buffer.committed"):
    previous_item_id: str | None
    item_id: str


class Cleared(ServerEvent, tag="input_audio_buffer.cleared"):
    pass


class ItemAdded(ServerEvent, tag="conversation.item.added"):
    previous_item_id: str | None
    item: Item


class ItemDone(ServerEvent, tag="conversation.item.done"):
    previous_item_id: str | None
    item: Item


class ItemRetrieved(ServerEvent, tag="conversation.item.retrieved"):
    item: Item


class ItemDeleted(ServerEvent, tag="conversation.item.deleted"):
    item_id: str


class ItemTruncated(ServerEvent, tag="conversation.item.truncated"):
    item_id: str
    content_index: int
    audio_end_ms: int
    """Where it ends now, on the clock of the item's sound."""


class TranscriptionDelta(ServerEvent, tag="conversation.item.input_audio_transcription.delta"):
    item_id: str
    content_index: int
    delta: str
    logprobs: list[LogProb] | UnsetType | None = UNSET
    """As in `TranscriptionCompleted`, of the tokens that begin in `delta`."""


class TranscriptionCompleted(ServerEvent, tag="conversation.item.input_audio_transcription.completed"):
    item_id: str
    content_index: int
    transcript: str
    """All of it; what deltas said may have been corrected."""
    usage: TranscriptionUsage
    """What it cost."""
    logprobs: list[LogProb] | UnsetType | None = UNSET
    """Where the session includes them; null: the transcriber gave none for these words."""


class TranscriptionSegment(ServerEvent, tag="conversation.item.input_audio_transcription.segment"):
    """A stretch of a transcript, in seconds from the item's first sample. `speaker` is empty: nobody tells voices
    apart.
    """

    id: str
    """Of the segment."""
    item_id: str
    content_index: int
    text: str
    """Its words."""
    start: float
    """In seconds from the item's first sample."""
    end: float
    """In seconds from the item's first sample."""
    speaker: str = ""
    """Always empty: nobody tells voices apart."""


class TranscriptionError(msgspec.Struct, kw_only=True):
    type: str
    code: str
    """What the stage did, or what a remote service called it."""
    message: str
    """What is wrong."""


class TranscriptionFailed(ServerEvent, tag="conversation.item.input_audio_transcription.failed"):
    item_id: str
    content_index: int
    error: TranscriptionError
    """Why."""


class ResponseCreated(ServerEvent, tag="response.created"):
    response: ResponseObject


class ResponseDone(ServerEvent, tag="response.done"):
    response: ResponseObject


class RateLimitsUpdated(ServerEvent, tag="rate_limits.updated"):
    """Always empty: a local server has no rate limits."""

    rate_limits: list[None] = msgspec.field(default_factory=list)
    """Always empty."""


class OutputItemAdded(ServerEvent, tag="response.output_item.added"):
    response_id: str
    output_index: int
    item: Item


class OutputItemDone(ServerEvent, tag="response.output_item.done"):
    response_id: str
    output_index: int
    item: Item


class PartEvent(ServerEvent):
    """Base of the events about one content part of a response's item."""

    response_id: str
    item_id: str
    output_index: int
    content_index: int


class ContentPartAdded(PartEvent, tag="response.content_part.added"):
    part: ContentPart


class ContentPartDone(PartEvent, tag="response.content_part.done"):
    part: ContentPart


class OutputTextDelta(PartEvent, tag="response.output_text.delta"):
    delta: str


class OutputTextDone(PartEvent, tag="response.output_text.done"):
    text: str
    """All of it."""


class CallEvent(ServerEvent):
    """Base of the events about one function call of a response."""

    response_id: str
    item_id: str
    output_index: int
    call_id: str


class FunctionCallArgumentsDelta(CallEvent, tag="response.function_call_arguments.delta"):
    delta: str


class FunctionCallArgumentsDone(CallEvent, tag="response.function_call_arguments.done"):
    name: str
    """The function that is called."""
    arguments: str
    """All of it: a JSON object as text, unless it was cut off."""


class McpListToolsEvent(ServerEvent):
    """Base of the events about the listing of an MCP server's tools."""

    item_id: str


class McpListToolsInProgress(McpListToolsEvent, tag="mcp_list_tools.in_progress"):
    pass


class McpListToolsCompleted(McpListToolsEvent, tag="mcp_list_tools.completed"):
    pass


class McpListToolsFailed(McpListToolsEvent, tag="mcp_list_tools.failed"):
    pass


class McpCallArgumentsDelta(ServerEvent, tag="response.mcp_call_arguments.delta"):
    response_id: str
    item_id: str
    output_index: int
    delta: str


class McpCallArgumentsDone(ServerEvent, tag="response.mcp_call_arguments.done"):
    response_id: str
    item_id: str
    output_index: int
    arguments: str
    """All of them."""


class McpCallEvent(ServerEvent):
    """Base of the events about a call of an MCP server's tool. They name no response: the call may outlive it."""

    item_id: str
    output_index: int


class McpCallInProgress(McpCallEvent, tag="response.mcp_call.in_progress"):
    pass


class McpCallCompleted(McpCallEvent, tag="response.mcp_call.completed"):
    pass


class McpCallFailed(McpCallEvent, tag="response.mcp_call.failed"):
    pass


class OutputAudioTranscriptDelta(PartEvent, tag="response.output_audio_transcript.delta"):
    delta: str


class OutputAudioTranscriptDone(PartEvent, tag="response.output_audio_transcript.done"):
    transcript: str
    """All of it."""


class OutputAudioDelta(PartEvent, tag="response.output_audio.delta"):
    """`delta` is sound in the response's output format."""

    delta: bytes


class OutputAudioDone(PartEvent, tag="response.output_audio.done"):
    pass
