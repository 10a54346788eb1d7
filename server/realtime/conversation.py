"""The items of the default conversation: their chain, what they say, and what was heard of them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from pipeline.reply_parts import is_json_object
from pipeline.types import Message, Prompt, Tool, ToolCall
from server.realtime.given import GivenMessage, Status, message_of
from server.realtime.mcp_items import McpApprovalRequestItem, McpApprovalResponseItem, McpCallItem, McpItem, McpListItem
from server.realtime.refusal import Refusal
from server.realtime.schema import ContentPart, Item
from server.realtime.usage import ms_to_ticks, ticks_to_ms

SILENCE = "..."
"""What the model, which cannot hear it, is told that a user said who said nothing for too long."""

_TICKS_A_CHARACTER = 24_000 // 15
"""How long a character of speech takes, before the voice has shown it: 150 words a minute of six characters."""

PartKind = Literal["input_audio", "output_text", "output_audio"]


@dataclass(slots=True)
class Span:
    """A clause of a reply and its place in the reply's sound, `[start, end)` in samples at 24 kHz."""

    text: str
    start: int
    end: int


@dataclass(slots=True)
class SpokenReply:
    """The sound of an assistant item: what was sent of it, and what was heard as far as that is known.

    Over a WebSocket only the client knows what was played. Until it says so (`truncate`), an interrupted reply
    counts as heard up to what could have been played since its first sound was sent.
    """

    spans: list[Span] = field(default_factory=list)
    sent: int = 0
    """Samples at 24 kHz that went to the client."""
    first_sent_ms: int | None = None
    heard: int | None = None
    """Samples at 24 kHz; None: all of it."""
    cut_ms: int | None = None
    """Where the client cut it while it was still being made; see `settle`."""

    def begin_clause(self, text: str) -> None:
        self.spans.append(Span(text, self.sent, self.sent))

    def add_sound(self, samples: int, now: int) -> None:
        if self.first_sent_ms is None:
            self.first_sent_ms = now
        self.sent += samples
        self.spans[-1].end = self.sent

    def interrupt(self, now: int, begins: int) -> int:
        """Notes that the user began to speak at `now`, so that the rest may never have been played.

        It begins to play when its first sound is sent, but not before `begins`. Returns when it has been played. All
        in ms.
        """
        if self.first_sent_ms is None:
            self.heard = 0
            return begins
        begins = max(begins, self.first_sent_ms)
        played = ms_to_ticks(max(0, now - begins))
        self.heard = min(played, self.sent if self.heard is None else self.heard)
        return begins + ticks_to_ms(self.heard)

    def text(self) -> str:
        return "".join(span.text for span in self.spans)

    def heard_text(self) -> str:
        return self.text() if self.heard is None else self.text_until(self.heard)

    def text_until(self, end: int) -> str:
        """Returns the words that had been said by the sample `end`; a clause cut short gives its share in words."""
        said = []
        for span in self.spans:
            if span.start >= end:
                break  # a clause whose sound has not come yet was not heard either
            if span.end <= end:
                said.append(span.text)
            else:
                words = span.text.split()
                share = (end - span.start) / (span.end - span.start)
                said.append(" ".join(words[: int(len(words) * share)]))
        return "".join(said).rstrip()

    def truncate(self, ms: int, in_progress: bool) -> None:
        """Cuts sound and text at `ms`, for good; what is still being made is cut when it is done.

        Raises:
            Refusal: `ms` lies behind what was sent.
        """
        if ms > ticks_to_ms(self.sent):
            raise Refusal(
                "invalid_value",
                f"Audio content of {ticks_to_ms(self.sent)}ms is already shorter than {ms}ms",
                "audio_end_ms",
            )
        # The end in whole milliseconds is the end, although some samples lie behind it.
        end = self.sent if ms == ticks_to_ms(self.sent) else ms_to_ticks(ms)
        if in_progress:
            self.cut_ms, self.heard = ms, end
            return
        text = self.text_until(end)
        self.sent = end
        self.spans = [Span(text, 0, self.sent)] if text else []
        self.heard = None

    def settle(self, was_finished: bool) -> None:
        """Notes that no more of it will be made. Unless it `was_finished`, the last clause was cut somewhere: by what
        a character of the clauses before it took, its sound would have gone on.
        """
        if self.spans and not was_finished:
            *whole, last = self.spans
            ticks = sum(span.end - span.start for span in whole) or _TICKS_A_CHARACTER
            characters = sum(len(span.text) for span in whole) or 1
            last.end = max(last.end, last.start + len(last.text.strip()) * ticks // characters)
        if self.cut_ms is not None:
            self.truncate(self.cut_ms, in_progress=False)


@dataclass(slots=True, kw_only=True)
class MessageItem:
    """What was said in the session. `text` is that in words; for the user's speech, None until it is transcribed."""

    id: str
    role: Literal["user", "assistant"]
    part: PartKind
    text: str | None = ""
    status: Status = "completed"
    heard_ticks: int = 0
    """Length of the user's sound, samples at 24 kHz."""
    timed_out: bool = False
    """Whether the user said nothing in it for so long that the model is to go on."""
    spoken: SpokenReply | None = None
    has_part: bool = True
    """False until an assistant item has begun its content."""

    @property
    def is_pending(self) -> bool:
        """Whether the words are still being found out."""
        return self.part == "input_audio" and self.text is None

    def message(self) -> Message | None:
        """Returns the item as the model sees it; None when there is nothing in it."""
        text = self.spoken.heard_text() if self.spoken else (self.text or "")
        if self.timed_out:
            text = SILENCE
        return Message(self.role, text.strip(), heard=self.heard_ticks) if text.strip() else None

    def wire(self) -> Item:
        return message_of(self, [self._content()] if self.has_part else [])

    def _content(self) -> ContentPart:
        match self.part:
            case "input_audio":
                return ContentPart(type=self.part, transcript=self.text)
            case "output_audio":
                return ContentPart(type=self.part, transcript=self.spoken.text() if self.spoken else "")
            case _:
                return ContentPart(type=self.part, text=self.text or "")


@dataclass(slots=True, kw_only=True)
class CallItem:
    """A call of a function, made by the model. `arguments` is a JSON object as text, once it is complete."""

    id: str
    call_id: str
    name: str
    arguments: str = ""
    status: Status = "completed"

    def close(self, status: Status) -> None:
        """Ends it; one that is not whole cannot be made by anybody and counts as incomplete."""
        self.status = status if is_json_object(self.arguments) else "incomplete"

    def wire(self) -> Item:
        return Item(
            id=self.id,
            object="realtime.item",
            type="function_call",
            status=self.status,
            name=self.name,
            call_id=self.call_id,
            arguments=self.arguments,
        )


@dataclass(slots=True, kw_only=True)
class CallOutputItem:
    """What came of a call, as text."""

    id: str
    call_id: str
    output: str
    status: Status = "completed"

    def wire(self) -> Item:
        return Item(
            id=self.id,
            object="realtime.item",
            type="function_call_output",
            status=self.status,
            call_id=self.call_id,
            output=self.output,
        )


ConversationItem: TypeAlias = MessageItem | GivenMessage | CallItem | CallOutputItem | McpItem


class Conversation:
    """The chain of items, in order."""

    def __init__(self, items: Iterable[ConversationItem] = ()) -> None:
        self._items: list[ConversationItem] = list(items)

    def __iter__(self) -> Iterator[ConversationItem]:
        return iter(self._items)

    @property
    def last(self) -> ConversationItem | None:
        return self._items[-1] if self._items else None

    @property
    def last_id(self) -> str | None:
        return self._items[-1].id if self._items else None

    def append(self, item: ConversationItem) -> str | None:
        """Adds an item at the end; returns the id of the one before it."""
        previous = self.last_id
        self._items.append(item)
        return previous

    def insert(self, item: ConversationItem, after: str | None) -> str | None:
        """Adds an item after another (None: at the end, `root`: first); returns the id of the one before it.

        Raises:
            Refusal: the other is unknown, the item's id is taken, or it is the output of an unknown call.
        """
        if any(other.id == item.id for other in self._items):
            raise Refusal("item_already_exists", f"There is already an item with id '{item.id}'.", "item.id")
        if isinstance(item, CallOutputItem) and item.call_id not in self._calls():
            raise Refusal(
                "invalid_tool_call_id",
                f"There is no call with id '{item.call_id}' in the conversation.",
                "item.call_id",
            )
        if after is None:
            return self.append(item)
        place = 0 if after == "root" else self._index(after, "previous_item_id") + 1
        self._items.insert(place, item)
        return self._items[place - 1].id if place else None

    def before(self, item: ConversationItem) -> str | None:
        """Returns the id of the item before this one; None when it is the first, or not there any more."""
        pairs = zip(self._items, self._items[1:], strict=False)
        return next((previous.id for previous, other in pairs if other is item), None)

    def get(self, item_id: str) -> ConversationItem:
        """Returns an item.

        Raises:
            Refusal: there is none with this id.
        """
        return self._items[self._index(item_id, "item_id")]

    def find(self, item_id: str) -> ConversationItem | None:
        return next((item for item in self._items if item.id == item_id), None)

    def remove(self, item_id: str) -> ConversationItem:
        """Removes and returns an item.

        Raises:
            Refusal: there is none with this id.
        """
        return self._items.pop(self._index(item_id, "item_id"))

    def prompt(self, instructions: str, tools: tuple[Tool, ...] = (), last_words: str | None = None) -> Prompt:
        """Returns what the model is told; `last_words` are words of the user that are no item yet."""
        messages = [Message("system", instructions)] if instructions.strip() else []
        messages += self._messages()
        if last_words and last_words.strip():
            messages.append(Message("user", last_words.strip()))
        return Prompt(tuple(messages), tools)

    def _messages(self) -> Iterator[Message]:
        """Yields the items as the model sees them: a call belongs to the words before it and is followed by its output.

        Models take it ill when an output is missing or comes late, so a call without one is left out, and an output
        is told where its call is.
        """
        outputs = dict(output for item in self._items if (output := _output_of(item)) is not None)
        text, calls = "", list[ToolCall]()
        for item in self._items:
            call = _call_of(item)
            if call is not None and call.id in outputs:
                calls.append(call)
            message = item.message() if isinstance(item, MessageItem | GivenMessage) else None
            if message is None:
                continue
            yield from _spoken_and_called(text, calls, outputs)
            text, calls = "", []
            if message.role == "assistant":
                text = message.text
            else:
                yield message
        yield from _spoken_and_called(text, calls, outputs)

    def _calls(self) -> set[str]:
        return {item.call_id for item in self._items if isinstance(item, CallItem) and item.status == "completed"}

    def was_understood(self) -> bool:
        """Whether there is something to answer: the user's speech since anything else was said has words, or there is
        no such speech, or the output of a call is before it. Silence that the client put there is answered, too.
        """
        nothing_heard = False
        for item in reversed(self._items):
            if _output_of(item) is not None:
                return True
            if isinstance(item, McpListItem):
                continue
            if isinstance(item, GivenMessage) and any(item.sounds):
                if item.message() is not None:
                    return True
                continue
            if not isinstance(item, MessageItem) or item.part != "input_audio":
                return not nothing_heard
            if item.message() is not None:
                return True
            nothing_heard = True
        return not nothing_heard

    def pending(self) -> set[str]:
        """Returns the ids of the items whose words are still being found out."""
        return {item.id for item in self._items if isinstance(item, MessageItem | GivenMessage) and item.is_pending}

    def interrupt(self, now: int) -> None:
        """Notes on the replies that the user began to speak at `now` (ms): they are played one after the other."""
        ends = 0
        for item in self._items:
            if isinstance(item, MessageItem) and item.spoken is not None:
                ends = item.spoken.interrupt(now, ends)

    def played_until(self) -> int:
        """Returns when the replies have been played that were sent, in ms: they are played one after the other."""
        ends = 0
        for item in self._items:
            if isinstance(item, MessageItem) and (spoken := item.spoken) and spoken.first_sent_ms is not None:
                heard = spoken.sent if spoken.heard is None else spoken.heard
                ends = max(ends, spoken.first_sent_ms) + ticks_to_ms(heard)
        return ends

    def awaits_output(self) -> bool:
        """Whether a call that the model made last is still without its output."""
        outputs = {item.call_id for item in self._items if isinstance(item, CallOutputItem)}
        for item in reversed(self._items):
            if not isinstance(item, CallItem | CallOutputItem):
                return False
            if isinstance(item, CallItem) and item.status == "completed" and item.call_id not in outputs:
                return True
        return False

    def _index(self, item_id: str, param: str) -> int:
        for index, item in enumerate(self._items):
            if item.id == item_id:
                return index
        raise Refusal("item_not_found", f"There is no item with id '{item_id}' in the conversation.", param)


def _call_of(item: ConversationItem) -> ToolCall | None:
    """Returns the call that an item is, with what joins it to its output."""
    match item:
        case CallItem():
            return ToolCall(item.call_id, item.name, item.arguments)
        case McpCallItem() | McpApprovalRequestItem() if is_json_object(item.arguments):
            return ToolCall(item.id, item.tool, item.arguments)
        case _:
            return None


def _output_of(item: ConversationItem) -> tuple[str, str] | None:
    """Returns which call an item says the end of, and what the model is told of that."""
    match item:
        case CallOutputItem():
            return item.call_id, item.output
        case McpCallItem() if item.result is not None:
            return item.id, item.told()
        case McpApprovalResponseItem(approve=False):
            return item.approval_request_id, item.told()
        case _:
            return None


def _spoken_and_called(text: str, calls: list[ToolCall], outputs: Mapping[str, str]) -> Iterator[Message]:
    if text or calls:
        yield Message("assistant", text, calls=tuple(calls))
    for call in calls:
        yield Message("tool", outputs[call.id], call_id=call.id)
