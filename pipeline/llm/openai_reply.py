"""Reads a chat completion, whole or in chunks, as outputs of a language model. No I/O."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from pipeline.http.failures import Failures
from pipeline.http.replies import parse_object
from pipeline.http.sse import Event
from pipeline.llm.markup import MarkupFilter, Visible
from pipeline.types import Generated, GenerationRequest, ModelOutput, NamedTool, TextDelta, ToolCallDelta

MAX_REPLY = 2**20
"""Characters of a reply, its reasoning and its calls together, after which the model is taken to run wild: far more
than anybody listens to."""


@dataclass
class _Call:
    """One tool call that is coming in. Arguments wait until its name is there."""

    id: str | None
    name: str = ""
    waiting: list[str] = field(default_factory=list)


class ReplyReader:
    """Reads one reply. What is not for the ear is dropped: reasoning in fields of its own or between tags."""

    def __init__(self, request: GenerationRequest, fail: Failures, begins_thinking: bool = False) -> None:
        """`begins_thinking`: the prompt has opened a reasoning block, which the reply closes."""
        self._request = request
        self._fail = fail
        self._filter = MarkupFilter("<think>" if begins_thinking else "")
        self._half = ""
        """Half of a character, whose other half comes with the next piece."""
        self._calls: list[_Call] = []
        self._by_index: dict[int | None, int] = {}
        """The endpoint's index of the call that came last under it (None: it says no index) → ours."""
        self._from_markup: dict[int, int] = {}
        self._usage: dict[str, Any] = {}
        self._pieces = 0
        self._size = 0
        self._understood = False
        self.reason: Literal["stop", "max_tokens"] | None = None
        """Why the reply ended, when that has been said."""
        self.done = False
        """Whether the reply was ended by `[DONE]`."""

    def feed(self, event: Event) -> Iterator[ModelOutput]:
        """Takes the next chunk, or the whole reply.

        Raises:
            StageError: it is an error; the reply was cut by a filter, or is far too long.
        """
        value = parse_object(event.data, self._fail, event.name)
        if isinstance(usage := value.get("usage"), dict):
            self._usage = usage
        choices = value.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict) and not choice.get("index"):
                self._understood = True
                yield from self._choice(choice)

    def finish(self) -> Iterator[ModelOutput]:
        """Ends the reply, after its last chunk.

        Raises:
            StageError: it broke off, or calls no tool although it had to.
        """
        yield from self._visible(self._filter.feed(_mended(self._half)))
        yield from self._visible(self._filter.finish())
        if self.reason is None and not self.done:
            raise self._fail.of_reply(
                "broke off in the middle of its reply" if self._understood else "sent no chat completion"
            )
        if self._owes_a_call() and self.reason != "max_tokens":
            raise self._fail.of_reply("called no tool although it had to", "tool_call_missing")
        details = self._usage.get("prompt_tokens_details")
        yield Generated(
            self.reason or "stop",
            input_tokens=_count(self._usage.get("prompt_tokens")) or 0,
            output_tokens=self._pieces if (told := _count(self._usage.get("completion_tokens"))) is None else told,
            cached_tokens=_count(details.get("cached_tokens")) or 0 if isinstance(details, dict) else 0,
        )

    def _owes_a_call(self) -> bool:
        called = {call.name for call in self._calls if call.name}
        match self._request.tool_choice:
            case "auto" | "none":
                return False
            case NamedTool(name=name):
                return name not in called
            case _:
                return not called

    def _choice(self, choice: dict[str, Any]) -> Iterator[ModelOutput]:
        delta = choice.get("delta") or choice.get("message")
        if isinstance(delta, dict):
            yield from self._delta(delta)
        reason = choice.get("finish_reason") or ("stop" if "message" in choice else None)
        if reason == "content_filter":
            raise self._fail.of_reply("ended the reply for what is in it (content_filter)", "content_filter")
        if reason:
            self.reason = "max_tokens" if reason == "length" else "stop"

    def _delta(self, delta: dict[str, Any]) -> Iterator[ModelOutput]:
        text = self._whole(_text(delta.get("content")) + _text(delta.get("refusal")))
        hidden = _text(delta.get("reasoning_content")) or _text(delta.get("reasoning"))
        calls = delta.get("tool_calls")
        calls = [call for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
        if text or hidden or calls:
            self._pieces += 1
        self._bound(len(text) + len(hidden))
        if text:
            yield from self._visible(self._filter.feed(text))
        for call in calls:
            yield from self._call(call)

    def _call(self, call: dict[str, Any]) -> Iterator[ModelOutput]:
        function = call.get("function")
        function = function if isinstance(function, dict) else {}
        index = self._place(call, _text(function.get("name")))
        known = self._calls[index]
        arguments = function.get("arguments")
        text = arguments if isinstance(arguments, str) else "" if arguments is None else json.dumps(arguments)
        text = _mended(text)
        self._bound(len(text))
        known.waiting.append(text)
        if not known.name:
            known.name = name = _mended(_text(function.get("name")))
            if not name:
                return
            yield from self._emit(ToolCallDelta(index, name, "".join(known.waiting), known.id))
        elif text:
            yield from self._emit(ToolCallDelta(index, "", text, known.id))
        known.waiting.clear()

    def _place(self, call: dict[str, Any], name: str) -> int:
        """Which of our calls this is a piece of. Some endpoints send no index, some 0 for every call: then another id
        begins another call.
        """
        told = call.get("index") if isinstance(call.get("index"), int) else None
        identity = call.get("id") if isinstance(call.get("id"), str) else None
        index = self._by_index.get(told)
        if index is not None:
            known = self._calls[index]
            another = bool(name and known.name) and (told is None or (identity or known.id) != known.id)
            if not another:
                known.id = known.id or identity
                return index
        index = self._by_index[told] = self._new(identity)
        return index

    def _new(self, identity: str | None) -> int:
        self._calls.append(_Call(identity))
        return len(self._calls) - 1

    def _visible(self, shown: list[Visible]) -> Iterator[ModelOutput]:
        for output in shown:
            if isinstance(output, TextDelta):
                yield output
                continue
            if output.index not in self._from_markup:
                self._from_markup[output.index] = self._new(None)
            index = self._from_markup[output.index]
            self._calls[index].name = self._calls[index].name or output.name
            yield from self._emit(ToolCallDelta(index, output.name, output.arguments, output.id))

    def _emit(self, delta: ToolCallDelta) -> Iterator[ModelOutput]:
        """Passes on a call that may be made; the endpoint may not have heeded what it was told."""
        choice = self._request.tool_choice
        allowed = choice != "none"
        if isinstance(choice, NamedTool):
            allowed = self._calls[delta.index].name == choice.name
        if allowed and (self._request.parallel_tool_calls or delta.index == 0):
            yield delta

    def _whole(self, text: str) -> str:
        """Joins the halves of characters that the endpoint has escaped in JSON (`\\ud83d\\ude00`) and cut in two."""
        text = self._half + text
        self._half = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
        return _mended(text.removesuffix(self._half))

    def _bound(self, more: int) -> None:
        self._size += more
        if self._size > MAX_REPLY:
            raise self._fail.of_reply(f"sent a reply of more than {MAX_REPLY} characters")


def _text(value: object) -> str:
    """The text of a field: a string, or a list of parts of which those of type `text` count."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(
            _text(part.get("text")) for part in value if isinstance(part, dict) and part.get("type") == "text"
        )
    return ""


def _mended(text: str) -> str:
    """Returns text that can be encoded: pairs of surrogates joined, single ones replaced by U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
