"""One response on the wire: from `response.created` to the one `response.done`, every part opened and closed."""

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Literal, TypedDict

from pipeline.audio import pcm16_to_bytes
from pipeline.types import Generated, Pcm16, RunId
from server.realtime.conversation import Conversation, ConversationItem, SpokenReply
from server.realtime.outbox import Outbox
from server.realtime.schema import ContentPart, Item, ResponseObject, StatusDetails, StatusError
from server.realtime.server_events import (
    ContentPartAdded,
    ContentPartDone,
    ItemAdded,
    ItemDone,
    OutputAudioDelta,
    OutputAudioDone,
    OutputAudioTranscriptDelta,
    OutputAudioTranscriptDone,
    OutputItemAdded,
    OutputItemDone,
    OutputTextDelta,
    OutputTextDone,
    RateLimitsUpdated,
    ResponseCreated,
    ResponseDone,
)
from server.realtime.usage import response_usage

Status = Literal["completed", "cancelled", "failed", "incomplete"]


class ReplyPhase(Enum):
    CREATED = auto()
    PLAYING = auto()
    ENDED = auto()


@dataclass(frozen=True, slots=True)
class ReplyConfig:
    """What a response runs with: the configuration in force when it was created (invariant 9)."""

    instructions: str
    modality: Literal["audio", "text"]
    voice: str
    engine_voice: str
    speed: float
    max_output_tokens: int | Literal["inf"]
    metadata: dict[str, str] | None = None

    @property
    def max_tokens(self) -> int | None:
        return None if self.max_output_tokens == "inf" else self.max_output_tokens


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a response ended."""

    status: Status
    reason: Literal["turn_detected", "client_cancelled", "max_output_tokens"] | None = None
    error: StatusError | None = None
    generated: Generated | None = None

    def details(self) -> StatusDetails | None:
        if self.status == "completed":
            return None
        details = StatusDetails(type=self.status)
        if self.reason:
            details.reason = self.reason
        if self.error:
            details.error = self.error
        return details


class _Place(TypedDict):
    """Where a part event belongs."""

    response_id: str
    item_id: str
    output_index: int
    content_index: int


@dataclass(slots=True)
class Reply:
    """A response under way. `conversation` is None when it is out of band."""

    outbox: Outbox
    id: str
    config: ReplyConfig
    conversation: Conversation | None
    conversation_id: str | None
    needs_words: bool = False
    """Whether it answers what was just said, so that nothing understood means nothing to say."""
    awaiting: set[str] = field(default_factory=set)
    """Ids of the items whose words it waits for."""
    run: RunId | None = None
    phase: ReplyPhase = ReplyPhase.CREATED
    item: ConversationItem | None = None
    heard_ticks: int = 0
    _sound: int = 0
    """Samples at 24 kHz that were sent, whatever the client has cut since."""
    _text: list[str] = field(default_factory=list)

    def create(self) -> None:
        self.outbox.send(ResponseCreated(response=self._object("in_progress")))
        self.outbox.send(RateLimitsUpdated())

    def add_text(self, text: str) -> None:
        """Sends text of a reply in writing."""
        item = self._open_item()
        item.text = (item.text or "") + text
        self._text.append(text)
        self.outbox.send(OutputTextDelta(delta=text, **self._place(item)))

    def add_clause(self, text: str) -> None:
        """Sends the words whose sound comes next."""
        item = self._open_item()
        assert item.spoken is not None
        item.spoken.begin_clause(text)
        self._text.append(text)
        self.outbox.send(OutputAudioTranscriptDelta(delta=text, **self._place(item)))

    def add_sound(self, samples: Pcm16) -> None:
        """Sends sound, int16 `[n]` at 24 kHz, of the clause named last."""
        item = self._open_item()
        assert item.spoken is not None
        item.spoken.add_sound(len(samples), self.outbox.now)
        self._sound += len(samples)
        self.outbox.send(OutputAudioDelta(delta=pcm16_to_bytes(samples), **self._place(item)))

    def end(self, outcome: Outcome) -> None:
        """Closes whatever is open, then the response."""
        if self.item is not None:
            self._close_item(self.item, "completed" if outcome.status == "completed" else "incomplete")
        self.phase = ReplyPhase.ENDED
        self.outbox.send(ResponseDone(response=self._object(outcome.status, outcome)))

    def _place(self, item: ConversationItem) -> _Place:
        return _Place(response_id=self.id, item_id=item.id, output_index=0, content_index=0)

    def _open_item(self) -> ConversationItem:
        if self.item is not None:
            return self.item
        spoken = SpokenReply() if self.config.modality == "audio" else None
        self.item = item = ConversationItem(
            id=self.outbox.new_id("item"),
            role="assistant",
            part="output_audio" if spoken else "output_text",
            status="in_progress",
            spoken=spoken,
            has_part=False,
        )
        self.phase = ReplyPhase.PLAYING
        self.outbox.send(OutputItemAdded(response_id=self.id, output_index=0, item=item.wire()))
        if self.conversation is not None:
            previous = self.conversation.append(item)
            self.outbox.send(ItemAdded(previous_item_id=previous, item=item.wire()))
        item.has_part = True
        self.outbox.send(ContentPartAdded(part=self._part(""), **self._place(item)))
        return item

    def _close_item(self, item: ConversationItem, status: Literal["completed", "incomplete"]) -> None:
        text, place = "".join(self._text), self._place(item)
        if item.spoken is not None:
            self.outbox.send(OutputAudioDone(**place))
            self.outbox.send(OutputAudioTranscriptDone(transcript=text, **place))
        else:
            self.outbox.send(OutputTextDone(text=text, **place))
        self.outbox.send(ContentPartDone(part=self._part(text), **place))
        item.status = status
        if item.spoken is not None:
            item.spoken.settle()
        if self.conversation is not None:
            self.outbox.send(ItemDone(previous_item_id=self.conversation.before(item), item=item.wire()))
        self.outbox.send(OutputItemDone(response_id=self.id, output_index=0, item=item.wire()))

    def _part(self, text: str) -> ContentPart:
        if self.config.modality == "audio":
            return ContentPart(type="audio", transcript=text)
        return ContentPart(type="text", text=text)

    def _object(self, status: str, outcome: Outcome | None = None) -> ResponseObject:
        output: list[Item] = []
        usage = None
        if outcome is not None:
            output = [self.item.wire()] if self.item else []
            usage = response_usage(outcome.generated, self.heard_ticks, self._sound)
        return ResponseObject(
            id=self.id,
            status=status,
            status_details=outcome.details() if outcome else None,
            output=output,
            conversation_id=self.conversation_id,
            output_modalities=[self.config.modality],
            max_output_tokens=self.config.max_output_tokens,
            audio={"output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": self.config.voice}},
            usage=usage,
            metadata=self.config.metadata,
        )
