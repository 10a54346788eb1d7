"""The objects of the Realtime protocol that only the server sends, shaped as in OpenAI's GA schema."""

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from server.realtime.schema import Item


class InputTokenDetails(msgspec.Struct, kw_only=True):
    text_tokens: int = 0
    """Instructions, tools and words."""
    audio_tokens: int = 0
    """The user's sound: one for 100 ms."""
    image_tokens: int = 0
    """Images."""
    cached_tokens: int = 0
    """What the model did not have to read again."""


class OutputTokenDetails(msgspec.Struct, kw_only=True):
    text_tokens: int = 0
    """Words and calls."""
    audio_tokens: int = 0
    """Sound: one for 50 ms."""


class Usage(msgspec.Struct, kw_only=True):
    """What a response cost, in tokens; see usage.py for how they are counted."""

    total_tokens: int = 0
    """Both together."""
    input_tokens: int = 0
    """What the model was told."""
    output_tokens: int = 0
    """What it made."""
    input_token_details: InputTokenDetails = msgspec.field(default_factory=InputTokenDetails)
    """What the model was told, by kind."""
    output_token_details: OutputTokenDetails = msgspec.field(default_factory=OutputTokenDetails)
    """What it made, by kind."""


class TranscriptionTokenDetails(msgspec.Struct, kw_only=True):
    text_tokens: int = 0
    """The prompt's."""
    audio_tokens: int = 0
    """The sound's: one for 100 ms."""


class TranscriptionUsage(msgspec.Struct, tag_field="type", tag="tokens", kw_only=True):
    total_tokens: int
    """Both together."""
    input_tokens: int
    """The sound and the prompt."""
    output_tokens: int
    """The words."""
    input_token_details: TranscriptionTokenDetails
    """What was heard, by kind."""


class LogProb(msgspec.Struct, kw_only=True):
    """A token of a transcript, its UTF-8 bytes, and the natural logarithm of its probability."""

    token: str
    """The token, as text."""
    logprob: float
    """The natural logarithm of its probability."""
    bytes: list[int]
    """The token in UTF-8."""


class StatusError(msgspec.Struct, kw_only=True):
    """Why a response failed. `code` is the stage and what it did, such as `tts_timeout`, or what a remote service
    called it. `message` is not in OpenAI's schema, but in what OpenAI sends, and what clients show.
    """

    type: str
    code: str
    """The stage and what it did, or what a remote service called it."""
    message: str


class StatusDetails(msgspec.Struct, omit_defaults=True, kw_only=True):
    type: str
    reason: str | UnsetType = UNSET
    """`turn_detected`, `client_cancelled` or `max_output_tokens`."""
    error: StatusError | UnsetType = UNSET


class ResponseObject(msgspec.Struct, kw_only=True):
    """A response, as `response.created` and `response.done` carry it."""

    object: Literal["realtime.response"] = "realtime.response"
    id: str
    """Of the response, `resp_…`."""
    status: str
    """`in_progress`; in the end `completed`, `cancelled`, `incomplete` or `failed`."""
    status_details: StatusDetails | None
    """Why it did not end as `completed`."""
    output: list[Item]
    """The items that were made, in order."""
    conversation_id: str | None
    """The default conversation; null: out of band."""
    output_modalities: list[str]
    """Whether it is spoken or written."""
    max_output_tokens: int | str
    """Most tokens of it."""
    audio: dict[str, Any]
    """How it sounds."""
    usage: Usage | None
    """What it cost; null until it is done."""
    metadata: dict[str, str] | None
    """What the client gave it."""
    temperature: float | None = None
    """As in `Session`."""


class ErrorBody(msgspec.Struct, kw_only=True):
    """What went wrong, for the client. `event_id` is the client's, when it sent one."""

    type: Literal["invalid_request_error", "server_error"]
    """`server_error`: something broke here."""
    message: str
    """What is wrong, and what would be right."""
    code: str | None = None
    """What is wrong, for programs."""
    param: str | None = None
    """The field at fault, as a path from the top of the event."""
    event_id: str | None = None
