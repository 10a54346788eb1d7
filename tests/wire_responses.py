"""One response on a recorded wire: what is opened is closed, in order, and what is done adds up to what came."""

import base64
import json
from collections.abc import Callable
from typing import Any

Event = dict[str, Any]


class Stream:
    """A text that comes in deltas and then whole."""

    def __init__(self) -> None:
        self.deltas: list[str] = []
        self.done: str | None = None

    def add(self, delta: str) -> None:
        assert self.done is None, "no delta after the done (3)"
        self.deltas.append(delta)

    def end(self, whole: str) -> None:
        assert self.done is None, "a text is done once (3)"
        assert "".join(self.deltas) == whole, "deltas add up to the done text (3)"
        self.done = whole


class Part:
    """A content part. `kind` is `audio` or `text`."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.words = Stream()
        self.sound_is_done = False
        self.done = False

    @property
    def is_whole(self) -> bool:
        return self.words.done is not None and (self.kind == "text" or self.sound_is_done)


class OutputItem:
    """An item of a response: its parts by index, or the arguments of its call."""

    def __init__(self, body: Event, index: int) -> None:
        self.id: str = body["id"]
        self.kind: str = body["type"]
        self.index = index
        self.parts: dict[int, Part] = {}
        self.arguments = Stream()
        self.call_id = body.get("call_id")
        self.body: Event | None = None
        """As it was when it was done."""


class Response:
    """A response: feed it its events with `see`. `max_sound` is the most bytes of sound in an event."""

    def __init__(self, body: Event, max_sound: int | None) -> None:
        assert body["status"] == "in_progress"
        assert body["output"] == []
        self.id: str = body["id"]
        self.created = body
        self.in_conversation = body["conversation_id"] is not None
        self.items: dict[str, OutputItem] = {}
        self.calling: set[str] = set()
        """Calls of tools on MCP servers, which may go on while the next item is made."""
        self.done: Event | None = None
        self._max_sound = max_sound

    def see(self, event: Event) -> None:
        """Takes an event that names this response."""
        assert self.done is None, "nothing of a response follows its done (2)"
        handler = _HANDLERS.get(event["type"].removeprefix("response."))
        if handler is not None:
            handler(self, event)

    def end(self, body: Event, truncated: set[str]) -> None:
        """Takes the response of `response.done`; `truncated` are the items that the client cut meanwhile."""
        assert self.done is None, "exactly one response.done (2)"
        assert all(item.body for item in self.items.values()), "every item that was added is done (3)"
        assert body["status"] in ("completed", "cancelled", "failed", "incomplete")
        assert [item["id"] for item in body["output"]] == list(self.items), "output lists what was made"
        for item in body["output"]:
            if item["id"] not in truncated:
                assert item == self.items[item["id"]].body, "output has the items as they were done"
        usage = body["usage"]
        assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
        if body["status"] == "completed":
            assert body["status_details"] is None
        else:
            assert body["status_details"]["type"] == body["status"]
        assert body["conversation_id"] == self.created["conversation_id"], "it is of one conversation"
        given, told = self.created["metadata"] or {}, body["metadata"] or {}
        assert given.items() <= told.items(), "what the client wrote into the metadata stays"
        self.done = body

    # --- items ---

    def _item_added(self, event: Event) -> None:
        open_items = [item.id for item in self.items.values() if item.body is None]
        assert set(open_items) <= self.calling, "one item after the other (3)"
        item = OutputItem(event["item"], event["output_index"])
        assert item.id not in self.items, "an item is added once"
        assert item.index == len(self.items), "output_index counts the items"
        self.items[item.id] = item

    def _item_done(self, event: Event) -> None:
        item, body = self._item(event, event["item"]["id"]), event["item"]
        assert all(part.done for part in item.parts.values()), "every part that was added is done (3)"
        if item.kind == "function_call":
            assert item.arguments.done == body["arguments"], "the item has the arguments that were done"
            if body["status"] == "completed":
                assert isinstance(json.loads(body["arguments"]), dict), "a completed call can be made"
        if item.kind in ("message", "function_call"):
            assert body["status"] in ("completed", "incomplete")
        item.body = body

    def _item(self, event: Event, item_id: str | None = None) -> OutputItem:
        item_id = event["item_id"] if item_id is None else item_id
        assert item_id in self.items, "events of a response name its own items"
        item = self.items[item_id]
        assert item.body is None, "an item that is done is over (3)"
        assert event["output_index"] == item.index, "output_index is the item's"
        return item

    # --- parts ---

    def _part_added(self, event: Event) -> None:
        item, index = self._item(event), event["content_index"]
        assert item.kind == "message"
        assert index == len(item.parts), "content_index counts the parts"
        assert all(part.done for part in item.parts.values()), "one part after the other (3)"
        item.parts[index] = Part(event["part"]["type"])

    def _part_done(self, event: Event) -> None:
        part, body = self._part(event), event["part"]
        assert body["type"] == part.kind
        assert part.is_whole, "a part is done when all of it is (3)"
        assert body["transcript" if part.kind == "audio" else "text"] == part.words.done
        part.done = True

    def _part(self, event: Event, kind: str | None = None) -> Part:
        item = self._item(event)
        assert event["content_index"] in item.parts, "deltas lie between added and done (3)"
        part = item.parts[event["content_index"]]
        assert not part.done, "deltas lie between added and done (3)"
        assert kind is None or part.kind == kind, f"a part of type {part.kind} has no {kind}"
        return part

    def _words(self, kind: str, event: Event) -> None:
        self._part(event, kind).words.add(event["delta"])

    def _words_done(self, kind: str, event: Event) -> None:
        self._part(event, kind).words.end(event["transcript" if kind == "audio" else "text"])

    def _sound(self, event: Event) -> None:
        assert not self._part(event, "audio").sound_is_done, "no delta after the done (3)"
        sound = base64.b64decode(event["delta"], validate=True)
        assert sound, "no empty sound"
        assert self._max_sound is None or len(sound) <= self._max_sound, "sound comes in small pieces"

    def _sound_done(self, event: Event) -> None:
        part = self._part(event, "audio")
        assert not part.sound_is_done, "sound is done once (3)"
        part.sound_is_done = True

    # --- calls ---

    def _arguments(self, event: Event) -> None:
        self._call(event).arguments.add(event["delta"])

    def _arguments_done(self, event: Event) -> None:
        self._call(event).arguments.end(event["arguments"])

    def _mcp_arguments_done(self, event: Event) -> None:
        self._arguments_done(event)
        self.calling.add(event["item_id"])

    def _call(self, event: Event) -> OutputItem:
        item = self._item(event)
        assert item.kind in ("function_call", "mcp_call")
        assert event.get("call_id") == item.call_id, "one call, one id"
        return item


_Handler = Callable[[Response, Event], None]

_HANDLERS: dict[str, _Handler] = {
    "output_item.added": Response._item_added,
    "output_item.done": Response._item_done,
    "content_part.added": Response._part_added,
    "content_part.done": Response._part_done,
    "output_audio.delta": Response._sound,
    "output_audio.done": Response._sound_done,
    "output_audio_transcript.delta": lambda response, event: response._words("audio", event),
    "output_audio_transcript.done": lambda response, event: response._words_done("audio", event),
    "output_text.delta": lambda response, event: response._words("text", event),
    "output_text.done": lambda response, event: response._words_done("text", event),
    "function_call_arguments.delta": Response._arguments,
    "function_call_arguments.done": Response._arguments_done,
    "mcp_call_arguments.delta": Response._arguments,
    "mcp_call_arguments.done": Response._mcp_arguments_done,
}
# The older dialect's names.
_HANDLERS |= {
    name.removeprefix("output_"): handler
    for name, handler in _HANDLERS.items()
    if name.startswith(("output_audio", "output_text"))
}
