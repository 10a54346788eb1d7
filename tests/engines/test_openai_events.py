"""Server-sent events are read as they were sent, however the network cuts them."""

from collections import deque

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.http.sse import Event, EventParser, TooLongError

LINE = st.text(st.characters(exclude_characters="\r\n", codec="utf-8"), max_size=12)
ENDS = st.sampled_from(["\n", "\r\n", "\r"])
NOISE = st.sampled_from([":", ": keep-alive", "id: 7", "retry: 10", "nonsense", "event2: x"])


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, list[Event]]:
    """A stream, and the events that were put into it. Line ends, comments and the space after the colon vary."""
    events, text, end = [], "\ufeff" if draw(st.booleans()) else "", draw(ENDS)
    for _ in range(draw(st.integers(0, 4))):
        data, name = draw(st.lists(LINE, min_size=1, max_size=3)), draw(st.sampled_from(["", "error", "delta"]))
        lines = [f"event: {name}"] if name else []
        for line in data:
            lines += draw(st.lists(NOISE, max_size=2))
            # The one space behind the colon is no part of the data; without it, data must not begin with one.
            lines.append(f"data: {line}" if line.startswith(" ") or draw(st.booleans()) else f"data:{line}")
        text += "".join(line + end for line in lines) + end
        events.append(Event("\n".join(data), name))
    return text.encode(), events


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    """The data in pieces of these sizes, over and over."""
    pieces, start = [], 0
    while start < len(data):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(data[start : start + size])
        start += size
    return pieces


def read(pieces: list[bytes]) -> list[Event]:
    parser = EventParser(longest=10_000)
    return [event for piece in pieces for event in parser.feed(piece)] + parser.finish()


@given(streams(), st.lists(st.integers(1, 7), min_size=1, max_size=5))
@example((b"data: a\r\ndata: b\r\n\r\n", [Event("a\nb")]), [8])  # between CR and LF
@example(("data: ä€😀\n\n".encode(), [Event("ä€😀")]), [1])  # inside characters
def test_events_are_those_that_were_sent_however_they_are_cut(
    sent: tuple[bytes, list[Event]], sizes: list[int]
) -> None:
    data, events = sent
    assert read([data]) == events
    assert read(cut(data, sizes)) == events


def test_an_event_whose_end_was_not_sent_counts() -> None:
    assert read([b"data: one\n\ndata: [DONE]"]) == [Event("one"), Event("[DONE]")]
    assert read([b"data: one\n\ndata: [DONE]\n"]) == [Event("one"), Event("[DONE]")]


def test_an_event_without_data_is_none() -> None:
    assert read([b"event: ping\n\nid: 3\n\n: nothing\n\n\n\ndata: x\n\n"]) == [Event("x")]


def test_a_bare_json_object_is_an_event() -> None:
    data = b'data: one\n\n{"error": "out of memory"}\ndata: two\n\n'
    assert read(cut(data, [3])) == [Event("one"), Event('{"error": "out of memory"}'), Event("two")]


@pytest.mark.parametrize("endless", [b"data: " + b"x" * 50, b"data: xxxxx\n", b"event: xxxxxxx\n", b"x" * 50])
def test_an_event_without_end_is_refused_before_it_fills_the_memory(endless: bytes) -> None:
    parser = EventParser(longest=1_000)
    with pytest.raises(TooLongError):
        deque(map(parser.feed, [endless] * 1_000), maxlen=0)


def test_comments_may_go_on_for_ever() -> None:
    parser = EventParser(longest=1_000)
    for _ in range(1_000):
        assert parser.feed(b": still working on it\n") == []
    assert parser.feed(b"data: x\n\n") == [Event("x")]
