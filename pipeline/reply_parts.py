"""What a language model puts out → the parts of a reply, one after the other: text, and calls of tools that there are.

Clients are sent one part after the other, and services do not keep to that: two calls may come piece by piece in
turns, or a line break between a call and the next.
"""

import json
import logging
from collections.abc import Iterator
from dataclasses import replace

from pipeline.types import ModelOutput, TextDelta, ToolCallDelta

log = logging.getLogger(__name__)


def is_json_object(text: str) -> bool:
    """Whether `text` is a JSON object, as the arguments of a call have to be."""
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


class ReplyParts:
    """The parts of one reply. Feed it all outputs in order, the last one (`Generated`) too.

    A call goes on until its arguments are whole, and what comes meanwhile waits. Text without a word in it is no part
    of its own.
    """

    def __init__(self, known: frozenset[str]) -> None:
        """`known` are the names of the tools that the model was given: there is nobody to answer other calls."""
        self._known = known
        self._blank = ""
        """Space that has no word behind it yet."""
        self._in_text = False
        self._numbers: dict[int, int] = {}
        """The engine's index of each call that has begun → ours."""
        self._call: int | None = None
        """The engine's index of the call under way."""
        self._arguments = ""
        self._waiting: list[TextDelta | ToolCallDelta] = []

    def feed(self, output: ModelOutput) -> Iterator[ModelOutput]:
        """Takes the next output; yields what can be sent by now. The indices of calls count those that are sent."""
        match output:
            case TextDelta():
                yield from self._text(output)
            case ToolCallDelta():
                yield from self._piece(output)
            case _:
                while self._waiting:
                    self._call = None  # what its arguments lack does not come any more
                    yield from self._go_on()
                yield output

    def _text(self, delta: TextDelta) -> Iterator[ModelOutput]:
        if self._is_busy():
            self._waiting.append(delta)
            return
        text, self._blank = self._blank + delta.text, ""
        if self._in_text or text.strip():
            self._in_text, self._call = True, None
            yield replace(delta, text=text)
        else:
            self._blank = text

    def _piece(self, delta: ToolCallDelta) -> Iterator[ModelOutput]:
        if delta.index != self._call:
            if self._is_busy():
                self._waiting.append(delta)
                return
            if not self._begins(delta):
                return
        self._arguments += delta.arguments
        yield replace(delta, index=self._numbers[delta.index])
        if self._waiting and not self._is_busy():
            yield from self._go_on()

    def _begins(self, delta: ToolCallDelta) -> bool:
        if not delta.name or delta.index in self._numbers:
            return False  # of a call that is over, or of one that nobody can answer
        if delta.name not in self._known:
            log.warning("the model called `%s`, which is no tool that it was given", delta.name)
            return False
        self._numbers[delta.index] = len(self._numbers)
        self._call, self._arguments = delta.index, ""
        self._in_text, self._blank = False, ""
        return True

    def _is_busy(self) -> bool:
        return self._call is not None and not is_json_object(self._arguments)

    def _go_on(self) -> Iterator[ModelOutput]:
        waiting, self._waiting = self._waiting, []
        for delta in waiting:
            yield from self.feed(delta)
