"""Server-sent events: bytes in, events out (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

import codecs
import re
from dataclasses import dataclass, field

_LINE_END = re.compile(rb"\r\n|\r|\n")


class TooLongError(Exception):
    """An event or a line is longer than anybody means it to be."""


@dataclass(frozen=True, slots=True)
class Event:
    """`data` is its lines, joined; `name` is empty where the sender gave none."""

    data: str
    name: str = ""


@dataclass
class EventParser:
    """Reads one stream. However it is cut into pieces, the events are the same.

    Lines end with CR, LF or both. Fields other than `data` and `event`, and comments, are skipped. A line that is a
    JSON object by itself is an event: Ollama says so what went wrong in the middle of a stream.
    """

    longest: int
    """Bytes of an event (its data lines together, or a line that has not ended) from which on it is refused."""
    _line: list[bytes] = field(default_factory=list)
    _size: int = 0
    _data: list[str] = field(default_factory=list)
    _name: str = ""
    _after_cr: bool = False
    _begun: bool = False

    def feed(self, data: bytes) -> list[Event]:
        """Takes the next bytes. Returns the events that end in them.

        Raises:
            TooLongError: one is longer than `longest`.
        """
        if not data:
            return []
        start = 1 if self._after_cr and data.startswith(b"\n") else 0
        self._after_cr = data.endswith(b"\r")
        events: list[Event] = []
        for end in _LINE_END.finditer(data, start):
            self._line.append(data[start : end.start()])
            start = end.end()
            self._count(self._line[-1])
            self._end_line(events)
        self._line.append(data[start:])
        self._count(self._line[-1])
        return events

    def finish(self) -> list[Event]:
        """Ends the stream. Returns the last event if its end was not sent. (By the book it would be dropped; there are
        servers that close after `data: [DONE]`.)
        """
        events: list[Event] = []
        self._end_line(events)
        self._dispatch(events)
        return events

    def _count(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > self.longest:
            raise TooLongError

    def _end_line(self, events: list[Event]) -> None:
        raw = b"".join(self._line)
        self._line.clear()
        if not self._begun:
            self._begun = True
            raw = raw.removeprefix(codecs.BOM_UTF8)
        if not raw:
            self._dispatch(events)
            return
        name, _, value = raw.decode("utf-8", "replace").partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._name = value
        elif raw.startswith(b"{"):
            events.append(Event(raw.decode("utf-8", "replace")))
            self._size -= len(raw)
        else:
            self._size -= len(raw)  # nothing of it is kept

    def _dispatch(self, events: list[Event]) -> None:
        if self._data:
            events.append(Event("\n".join(self._data), self._name))
        self._data.clear()
        self._name = ""
        self._size = 0
