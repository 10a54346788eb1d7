"""What a client may say: one struct per client event of the protocol.

`CLIENT_EVENTS` lists them; the wire decodes into them and the docs are generated from them.
"""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from server.realtime.schema import ClientItem, ResponseParams

EventId = Annotated[str, Meta(max_length=512)]


class ClientEvent(msgspec.Struct, tag_field="type", forbid_unknown_fields=True, kw_only=True):
    """Base of the client events. `event_id` comes back in an error about the event."""

    event_id: EventId | None = None


class SessionUpdate(ClientEvent, tag="session.update"):
    """Changes the session's configuration. The object is merged into the effective one before it is judged."""

    session: dict[str, Any]
    """What is to change; what is not named stays."""


class InputAudioBufferAppend(ClientEvent, tag="input_audio_buffer.append"):
    """Adds sound to the input buffer, in the session's input format."""

    audio: bytes
    """Sound in base64, up to 15 MiB."""


class InputAudioBufferCommit(ClientEvent, tag="input_audio_buffer.commit"):
    """Makes a user item of what the input buffer holds."""


class InputAudioBufferClear(ClientEvent, tag="input_audio_buffer.clear"):
    """Drops what the input buffer holds."""


class OutputAudioBufferClear(ClientEvent, tag="output_audio_buffer.clear"):
    """Cuts the sound that is being played, and what waits to be. The history then has what was heard."""


class ConversationItemCreate(ClientEvent, tag="conversation.item.create"):
    """Adds an item after `previous_item_id`: absent or null appends, `root` puts it first."""

    item: ClientItem
    previous_item_id: str | None = None


class ConversationItemRetrieve(ClientEvent, tag="conversation.item.retrieve"):
    item_id: str


class ConversationItemDelete(ClientEvent, tag="conversation.item.delete"):
    item_id: str


class ConversationItemTruncate(ClientEvent, tag="conversation.item.truncate"):
    """Cuts an assistant item to what was heard of it: `audio_end_ms` on the audio clock of the item."""

    item_id: str
    content_index: Annotated[int, Meta(ge=0)]
    audio_end_ms: Annotated[int, Meta(ge=0)]
    """Where it ends, on the clock of the item's sound; not behind what was sent."""


class ResponseCreate(ClientEvent, tag="response.create"):
    response: ResponseParams | UnsetType = UNSET
    """What is to be different from the session; absent: nothing."""


class ResponseCancel(ClientEvent, tag="response.cancel"):
    """Ends a response: the one named, or the active one of the default conversation."""

    response_id: str | None = None


CLIENT_EVENTS: tuple[type[ClientEvent], ...] = (
    SessionUpdate,
    InputAudioBufferAppend,
    InputAudioBufferCommit,
    InputAudioBufferClear,
    OutputAudioBufferClear,
    ConversationItemCreate,
    ConversationItemRetrieve,
    ConversationItemDelete,
    ConversationItemTruncate,
    ResponseCreate,
    ResponseCancel,
)
