"""One response on the wire: from `response.created` to the one `response.done`, every part opened and closed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Literal, TypeAlias, TypedDict

import msgspec

from pipeline.reply_parts import is_json_object
from pipeline.types import AUTO, Effort, Generated, Pcm16, Prompt, RunId, Tool, ToolChoice, Truncation
from server.realtime.conversation import CallItem, Conversation, MessageItem, SpokenReply
from server.realtime.mcp_calls import INVALID_PARAMS, MAX_CALLS, McpCall, McpCalls
from server.realtime.mcp_items import McpApprovalRequestItem, McpCallItem
from server.realtime.mcp_listings import RemoteTool
from server.realtime.mcp_schema import McpChoice, McpError, McpTool
from server.realtime.outbox import Outbox
from server.realtime.playback import Playback
from server.realtime.schema import AudioFormat, ContentPart, Item
from server.realtime.server_events import (
    ContentPartAdded,
    ContentPartDone,
    FunctionCallArgumentsDelta,
    FunctionCallArgumentsDone,
    ItemAdded,
    ItemDone,
    McpCallArgumentsDelta,
    McpCallArgumentsDone,
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

OutputItem: TypeAlias = MessageItem | CallItem | McpCallItem | McpApprovalRequestItem
"""What a response makes."""


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
    servers: tuple[McpTool, ...] = ()
    """MCP servers whose tools the model may call besides `tools`; `remote` has them when it is known which they are."""
    server_choice: McpChoice | None = None
    remote: Mapping[str, RemoteTool] = field(default_factory=dict)

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


class _ItemPlace(TypedDict):
    """Where an event about an item belongs."""

    response_id: str
    item_id: str
    output_index: int


class _CallPlace(_ItemPlace):
    """Where an event about a call of the client's function belongs."""

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
    mcp_calls: McpCalls
    playback: Playback | None = None
    """What plays its sound; None: it is sent to the client."""
    needs_words: bool = False
    """Whether it answers what was just said, so that nothing understood means nothing to say."""
    awaiting: set[str] = field(default_factory=set)
    """Ids of the items whose words it waits for."""
    run: RunId | None = None
    phase: ReplyPhase = ReplyPhase.CREATED
    items: list[OutputItem] = field(default_factory=list)
    """What it has made, in order."""
    outcome: Outcome | None = None
    """How it ends when the calls of tools on MCP servers are over, where there is nothing else to wait for."""
    prompt: Prompt = field(default_factory=lambda: Prompt(()))
    """What the model is told, once that is known."""
    _sound: int = 0
    """Length of the sound that was sent, samples at 24 kHz, whatever the client has cut since."""
    _encoder: SoundEncoder | None = None
    """What makes the sound of the open message what the client asked for."""
    _text: list[str] = field(default_factory=list)
    """The words of the open message."""
    _calls: int = 0
    _is_open: bool = False
    """Whether the last item is still being made."""
    _calling: dict[str, int] = field(default_factory=dict)
    """The calls of tools on MCP servers under way: id of the item → its place in the output."""

    @property
    def is_calling(self) -> bool:
        return bool(self._calling)

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
            if self.playback is not None:
                self.playback.play(item, audio, ticks)
            else:
                self.outbox.send(OutputAudioDelta(delta=audio, **self._place(item)))

    def hear_out(self) -> None:
        """Notes, in a call, that what there is of the sound is played to its end, and no more comes."""
        if self._is_open and isinstance(item := self.items[-1], MessageItem) and item.spoken is not None:
            item.spoken.heard = item.spoken.sent

    def add_call(self, index: int, name: str, arguments: str) -> None:
        """Sends a piece of the call with this number; see `TurnCall`."""
        item = self._open_call(name) if index >= self._calls else self.items[-1]
        assert not isinstance(item, MessageItem), "calls come one after the other"
        if arguments:
            self._add_arguments(item, arguments)

    def _add_arguments(self, item: CallItem | McpCallItem | McpApprovalRequestItem, arguments: str) -> None:
        item.arguments += arguments
        if isinstance(item, CallItem):
            self.outbox.send(FunctionCallArgumentsDelta(delta=arguments, **self._call_place(item)))
        elif isinstance(item, McpCallItem):
            self.outbox.send(McpCallArgumentsDelta(delta=arguments, **self._item_place(item)))

    def close(self, outcome: Outcome) -> None:
        """Closes what the run was making; calls of tools on MCP servers may go on."""
        status: Literal["completed", "incomplete"] = "completed" if outcome.status == "completed" else "incomplete"
        self._close_item(status, was_finished=outcome.generated is not None)

    def call_is_over(self, item: McpCallItem) -> None:
        """Closes a call that has come to its end, if it is one of these."""
        if (index := self._calling.pop(item.id, None)) is not None:
            self.outbox.send(OutputItemDone(response_id=self.id, output_index=index, item=item.wire()))

    def end(self, outcome: Outcome) -> None:
        """Closes whatever is open, then the response. Calls under way go on, where there is a conversation for them."""
        self.close(outcome)
        for item_id, index in self._calling.items():
            self.outbox.send(OutputItemDone(response_id=self.id, output_index=index, item=self.items[index].wire()))
            if self.conversation is None:
                self.mcp_calls.abandon(item_id)
        self.phase = ReplyPhase.ENDED
        self.outbox.send(ResponseDone(response=self._object(outcome.status, outcome)))
        if self.playback is not None:
            self.playback.response_is_over(self.id)

    def _place(self, item: MessageItem) -> _Place:
        return _Place(response_id=self.id, item_id=item.id, output_index=len(self.items) - 1, content_index=0)

    def _item_place(self, item: OutputItem) -> _ItemPlace:
        return _ItemPlace(response_id=self.id, item_id=item.id, output_index=len(self.items) - 1)

    def _call_place(self, item: CallItem) -> _CallPlace:
        return _CallPlace(call_id=item.call_id, **self._item_place(item))

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
        if spoken is not None and self.playback is not None:
            self.playback.begin(self.id, item, self.conversation is not None)
        item.has_part = True
        self.outbox.send(ContentPartAdded(part=self._part(""), **self._place(item)))
        return item

    def _open_call(self, name: str) -> OutputItem:
        item_id, remote = self.outbox.new_id("item"), self.config.remote.get(name)
        self._calls += 1
        item: OutputItem
        if remote is None:
            item = CallItem(id=item_id, call_id=self.outbox.new_id("call"), name=name, status="in_progress")
        else:
            kind = McpApprovalRequestItem if remote.asks else McpCallItem
            item = kind(id=item_id, server_label=remote.server.label, name=remote.name, tool=name)
        self._open(item)
        return item

    def _open(self, item: OutputItem) -> None:
        self._close_item("completed", was_finished=True)
        self.phase = ReplyPhase.PLAYING
        self.items.append(item)
        self._is_open = True
        self._text = []
        if not isinstance(item, McpApprovalRequestItem):  # which is told when it is whole
            self._announce(item)

    def _announce(self, item: OutputItem) -> None:
        self.outbox.send(OutputItemAdded(response_id=self.id, output_index=len(self.items) - 1, item=item.wire()))
        if self.conversation is not None:
            previous = self.conversation.append(item)
            self.outbox.send(ItemAdded(previous_item_id=previous, item=item.wire()))

    def _close_item(self, status: Literal["completed", "incomplete"], was_finished: bool) -> None:
        """`was_finished`: all of its sound has come, so that the end of it is to be heard as well."""
        if not self._is_open:
            return
        self._is_open = False
        item = self.items[-1]
        match item:
            case CallItem():
                self._close_call(item, status)
            case McpCallItem():
                self._close_mcp_call(item, status)
                return
            case McpApprovalRequestItem():
                self._close_request(item, status)
                return
            case MessageItem():
                self._close_message(item, status, was_finished)
        self._send_done(item)

    def _send_done(self, item: OutputItem) -> None:
        if self.conversation is not None:
            self.outbox.send(ItemDone(previous_item_id=self.conversation.before(item), item=item.wire()))
        self.outbox.send(OutputItemDone(response_id=self.id, output_index=len(self.items) - 1, item=item.wire()))

    def _close_message(self, item: MessageItem, status: Literal["completed", "incomplete"], was_finished: bool) -> None:
        if was_finished and self._encoder is not None:
            self._send_sound(item, self._encoder.flush())
        self._close_part(item)
        item.status = status
        if item.spoken is not None:
            item.spoken.settle(was_finished)
            if self.playback is not None:
                self.playback.end(item)

    def _close_call(self, item: CallItem, status: Literal["completed", "incomplete"]) -> None:
        if status == "completed" and not item.arguments.strip():
            self._add_arguments(item, "{}")  # how some models call what takes no arguments
        self.outbox.send(FunctionCallArgumentsDone(name=item.name, arguments=item.arguments, **self._call_place(item)))
        item.close(status)

    def _close_mcp_call(self, item: McpCallItem, status: Literal["completed", "incomplete"]) -> None:
        """Has the call made, if it is whole; the item is done when that has come to its end."""
        if status == "completed" and not item.arguments.strip():
            self._add_arguments(item, "{}")
        self.outbox.send(McpCallArgumentsDone(arguments=item.arguments, **self._item_place(item)))
        index = len(self.items) - 1
        call = McpCall(item, self.config.remote[item.tool].server, index, self.conversation is not None)
        problem = _why_not_made(item, status, sum(isinstance(made, McpCallItem) for made in self.items))
        if problem is None:
            self._calling[item.id] = index
            self.mcp_calls.make(call)
        else:
            self.mcp_calls.tell(call, McpError(type="protocol_error", code=INVALID_PARAMS, message=problem))
            self.outbox.send(OutputItemDone(response_id=self.id, output_index=index, item=item.wire()))

    def _close_request(self, item: McpApprovalRequestItem, status: Literal["completed", "incomplete"]) -> None:
        """Asks the client whether the call may be made, if it is whole; else there is a call that was not."""
        if status == "completed" and not item.arguments.strip():
            item.arguments = "{}"
        if status == "completed" and is_json_object(item.arguments):
            self._announce(item)
            self.mcp_calls.ask(item, self.config.remote[item.tool].server, len(self.items) - 1)
            self._send_done(item)
            return
        call = McpCallItem(id=item.id, server_label=item.server_label, name=item.name, tool=item.tool)
        self.items[-1] = call
        self._announce(call)
        if item.arguments:
            self._add_arguments(call, item.arguments)
        self._close_mcp_call(call, "incomplete")

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


def _why_not_made(item: McpCallItem, status: str, calls: int) -> str | None:
    """Returns what is wrong with a call, as the `calls`th of its response; None when it can be made."""
    if status != "completed":
        return "The response ended before the call was whole. It was not made."
    if not is_json_object(item.arguments):
        return "The arguments are no JSON object. The call was not made."
    return None if calls <= MAX_CALLS else f"A response may make {MAX_CALLS} calls. This one was not made."
