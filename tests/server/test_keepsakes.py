"""The sound of items that may be retrieved: the newest is kept, no more than there is room for."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.audio import pcm16_to_bytes
from pipeline.types import Pcm16
from server import keepsakes
from server.keepsakes import Keepsakes
from server.realtime.refusal import MAX_OBJECT_BYTES
from server.realtime.schema import AudioFormat, ContentPart, Item, PcmFormat, PcmuFormat


def item(item_id: str = "a", parts: int = 1) -> Item:
    content = [ContentPart(type="input_audio", transcript="hello") for _ in range(parts)]
    return Item(id=item_id, type="message", role="user", content=content)


def sound_of(kept: Keepsakes, item_id: str = "a", format: AudioFormat | None = None) -> list[bytes | None]:
    content = kept.with_sound(item(item_id, 2), format or PcmFormat()).content
    assert isinstance(content, list)
    assert all(part.transcript == "hello" for part in content)
    return [part.audio or None for part in content]


def tone(ticks: int, value: int = 1) -> Pcm16:
    return np.full(ticks, value, np.int16)


def test_each_part_gets_its_own_sound() -> None:
    kept = Keepsakes()
    kept.keep("a", 1, tone(4))
    kept.keep("b", 0, tone(4, 2))
    assert sound_of(kept, "a") == [None, pcm16_to_bytes(tone(4))]
    assert sound_of(kept, "b") == [pcm16_to_bytes(tone(4, 2)), None]
    assert sound_of(kept, "c") == [None, None]


def test_sound_comes_in_the_format_of_the_session() -> None:
    kept = Keepsakes()
    kept.keep("a", 0, tone(2400, 0))
    (audio, _) = sound_of(kept, format=PcmuFormat())
    assert audio is not None
    assert 790 <= len(audio) <= 810


def test_what_an_event_has_no_room_for_is_not_sent() -> None:
    kept = Keepsakes()
    fits = MAX_OBJECT_BYTES * 3 // 4 // 2 - 500
    kept.keep("a", 0, tone(fits))
    kept.keep("b", 0, tone(fits + 1000))
    assert sound_of(kept, "a")[0] is not None
    assert sound_of(kept, "b") == [None, None]
    assert sound_of(kept, "b", PcmuFormat())[0] is not None, "in a smaller format there is room"


def test_of_too_much_nothing_is_kept() -> None:
    kept = Keepsakes()
    kept.keep("a", 0, tone(10))
    kept.keep("b", 0, tone(keepsakes.MAX_TICKS + 1))
    assert kept.kept == 10


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, keepsakes.MAX_TICKS // 3)), max_size=30))
def test_the_newest_are_kept_and_never_more_than_there_is_room_for(steps: list[tuple[int, int]]) -> None:
    kept = Keepsakes()
    alive: list[tuple[str, int]] = []
    for number, (what, ticks) in enumerate(steps):
        if what == 0 and alive:
            kept.forget(alive.pop(0)[0])
            continue
        kept.keep(f"i{number}", 0, np.zeros(ticks, np.int16))
        alive.append((f"i{number}", ticks))
        while sum(ticks for _, ticks in alive) > keepsakes.MAX_TICKS:
            alive.pop(0)
        assert kept.kept == sum(ticks for _, ticks in alive) <= keepsakes.MAX_TICKS
