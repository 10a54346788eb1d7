"""One response on the wire: from `response.created` to the one `response.done`, every part opened and closed."""

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Literal, TypedDict

import msgspec

from pipeline.types import AUTO, Effort, Generated, Pcm16, Prompt, RunId, Tool, ToolChoice, Truncation
from server.realtime.conversation import CallItem, Conversation, MessageItem, SpokenReply
from server.realtime.outbox import Outbox
from server.realtime.schema import AudioFormat, ContentPart, Item
from server.realtime.server_events import (
    ContentPartAdded,
    ContentPartDone,
    FunctionCallArgumentsDelta,
    FunctionCallArgumentsDone,
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
from server.realtime.server_objects import ResponseObject, StatusDetails, StatusError
from server.realtime.sound_formats import SoundEncoder, encoder_of
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
    format: AudioFormat
    speed: float
    max_output_tokens: int | Literal["inf"]
    temperature: float | None = None
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice = "auto"
    parallel_tool_calls: bool = True
    effort: Effort | None = None
    truncation: Truncation = AUTO
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


class _CallPlace(TypedDict):
    """Where an event about a call belongs."""

    response_id: str
    item_id: str
    output_index: int
    call_id: str


@dataclass(slots=True)
class Reply:
    """A response under way. `conversation` is None when it is out of band; `context` is what it answers."""

    outbox: Outbox
    id: str
    config: ReplyConfig
    conversation: Conversation | None
    conversation_id: str | None
    context: Conversation
    needs_words: bool = False
    """Whether it answers what was just said, so that nothing understood means nothing to say."""
    awaiting: set[str] = field(default_factory=set)
    """Ids of the items whose words it waits for."""
    run: RunId | None = None
    phase: ReplyPhase = ReplyPhase.CREATED
    items: list[MessageItem | CallItem] = field(default_factory=list)
    """What it has made, in order; the last one is open while its status is `in_progress`."""
    prompt: Prompt = field(default_factory=lambda: Prompt(()))
    """What the model is told, once that is known."""
    _sound: int = 0
    """Length of the sound that was sent, samples at 24 kHz, whatever the client has cut since."""
    _encoder: SoundEncoder | None = None
    """What makes the sound of the open message what the client asked for."""
    _text: list[str] = field(default_factory=list)
    """The words of the open message."""
    _calls: int = 0

    def create(self) -> None:
        self.outbox.send(ResponseCreated(response=self._object("in_progress")))
        self.outbox.send(RateLimitsUpdated())

    def add_text(self, text: str) -> None:
        """Sends text of a reply in writing."""
        item = self._open_message()
        item.text = (item.text or "") + text
        self._text.append(text)
        self.outbox.send(OutputTextDelta(delta=text, **self._place(item)))

    def add_clause(self, text: str) -> None:
        """Sends the words whose sound comes next."""
        item = self._open_message()
        assert item.spoken is not None
        item.spoken.begin_clause(text)
        self._text.append(text)
        self.outbox.send(OutputAudioTranscriptDelta(delta=text, **self._place(item)))

    def add_sound(self, samples: Pcm16) -> None:
        """Sends sound, int16 `[n]` at 24 kHz, of the clause named last."""
        item = self._open_message()
        assert item.spoken is not None
        assert self._encoder is not None
        self._send_sound(item, self._encoder.encode(samples))

    def _send_sound(self, item: MessageItem, audio: bytes) -> None:
        if audio and item.spoken is not None and self._encoder is not None:
            ticks = self._encoder.ticks(audio)
            item.spoken.add_sound(ticks, self.outbox.now)
            self._sound += ticks
            self.outbox.send(OutputAudioDelta(delta=audio, **self._place(item)))

    def add_call(self, index: int, name: str, arguments: str) -> None:
        """Sends a piece of the call with this number; see `TurnCall`."""
        item = self._open_call(name) if index >= self._calls else self.items[-1]
        assert isinstance(item, CallItem), "calls come one after the other"
        if arguments:
            self._add_arguments(item, arguments)

    def _add_arguments(self, item: CallItem, arguments: str) -> None:
        item.arguments += arguments
        self.outbox.send(FunctionCallArgumentsDelta(delta=arguments, **self._call_place(item)))

    def end(self, outcome: Outcome) -> None:
        """Closes whatever is open, then the response."""
        status: Literal["completed", "incomplete"] = "completed" if outcome.status == "completed" else "incomplete"
        self._close_item(status, was_finished=outcome.generated is not None)
        self.phase = ReplyPhase.ENDED
        self.outbox.send(ResponseDone(response=self._object(outcome.status, outcome)))

    def _place(self, item: MessageItem) -> _Place:
        return _Place(response_id=self.id, item_id=item.id, output_index=len(self.items) - 1, content_index=0)

    def _call_place(self, item: CallItem) -> _CallPlace:
        index = len(self.items) - 1
        return _CallPlace(response_id=self.id, item_id=item.id, output_index=index, call_id=item.call_id)

    def _open_message(self) -> MessageItem:
        if self.items and isinstance(last := self.items[-1], MessageItem):
            return last
        spoken = SpokenReply() if self.config.modality == "audio" else None
        self._encoder = encoder_of(self.config.format) if spoken else None
        item = MessageItem(
            id=self.outbox.new_id("item"),
            role="assistant",
            part="output_audio" if spoken else "output_text",
            status="in_progress",
            spoken=spoken,
            has_part=False,
        )
        self._open(item)
        item.has_part = True
        self.outbox.send(ContentPartAdded(part=self._part(""), **self._place(item)))
        return item

    def _open_call(self, name: str) -> CallItem:
        item = CallItem(
            id=self.outbox.new_id("item"), call_id=self.outbox.new_id("call"), name=name, status="in_progress"
        )
        self._calls += 1
        self._open(item)
        return item

    def _open(self, item: MessageItem | CallItem) -> None:
        self._close_item("completed", was_finished=True)
        self.phase = ReplyPhase.PLAYING
        self.items.append(item)
        self._text = []
        self.outbox.send(OutputItemAdded(response_id=self.id, output_index=len(self.items) - 1, item=item.wire()))
        if self.conversation is not None:
            previous = self.conversation.append(item)
            self.outbox.send(ItemAdded(previous_item_id=previous, item=item.wire()))

    def _close_item(self, status: Literal["completed", "incomplete"], was_finished: bool) -> None:
        """`was_finished`: all of its sound has come, so that the end of it is to be heard as well."""
        if not self.items:
            return
        item = self.items[-1]
        if isinstance(item, CallItem):
            self._close_call(item, status)
        else:
            if was_finished and self._encoder is not None:
                self._send_sound(item, self._encoder.flush())
            self._close_part(item)
            item.status = status
            if item.spoken is not None:
                item.spoken.settle(was_finished)
        if self.conversation is not None:
            self.outbox.send(ItemDone(previous_item_id=self.conversation.before(item), item=item.wire()))
        self.outbox.send(OutputItemDone(response_id=self.id, output_index=len(self.items) - 1, item=item.wire()))

    def _close_call(self, item: CallItem, status: Literal["completed", "incomplete"]) -> None:
        if status == "completed" and not item.arguments.strip():
            self._add_arguments(item, "{}")  # how some models call what takes no arguments
        self.outbox.send(FunctionCallArgumentsDone(name=item.name, arguments=item.arguments, **self._call_place(item)))
        item.close(status)

    def _close_part(self, item: MessageItem) -> None:
        text, place = "".join(self._text), self._place(item)
        if item.spoken is not None:
            self.outbox.send(OutputAudioDone(**place))
            self.outbox.send(OutputAudioTranscriptDone(transcript=text, **place))
        else:
            self.outbox.send(OutputTextDone(text=text, **place))
        self.outbox.send(ContentPartDone(part=self._part(text), **place))

    def _part(self, text: str) -> ContentPart:
        if self.config.modality == "audio":
            return ContentPart(type="audio", transcript=text)
        return ContentPart(type="text", text=text)

    def _object(self, status: str, outcome: Outcome | None = None) -> ResponseObject:
        output: list[Item] = []
        usage = None
        if outcome is not None:
            output = [item.wire() for item in self.items]
            usage = response_usage(outcome.generated, self.prompt, self._sound)
        return ResponseObject(
            id=self.id,
            status=status,
            status_details=outcome.details() if outcome else None,
            output=output,
            conversation_id=self.conversation_id,
            output_modalities=[self.config.modality],
            max_output_tokens=self.config.max_output_tokens,
            audio={"output": {"format": msgspec.to_builtins(self.config.format), "voice": self.config.voice}},
            usage=usage,
            metadata=self.config.metadata,
            temperature=self.config.temperature,
        )
