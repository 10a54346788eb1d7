"""The recent sound of a session, by position: whatever is still kept reads as it was appended."""

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from server.store import AudioStore


class Stores(RuleBasedStateMachine):
    """An AudioStore beside a plain array that forgets nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.store = AudioStore()
        self.all = np.zeros(0, np.int16)
        self.forgotten = 0

    @rule(samples=st.integers(0, 50))
    def append(self, samples: int) -> None:
        new = np.arange(len(self.all), len(self.all) + samples).astype(np.int16)
        self.all = np.concatenate((self.all, new))
        self.store.append(new.tobytes())

    @rule(data=st.data())
    def read_what_is_kept(self, data: st.DataObject) -> None:
        start = data.draw(st.integers(self.forgotten, len(self.all)))
        end = data.draw(st.integers(start, len(self.all)))
        assert np.array_equal(self.store.read(start, end), self.all[start:end])

    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        self.forgotten = data.draw(st.integers(self.forgotten, len(self.all)))
        self.store.forget(self.forgotten)

    @rule(beyond=st.integers(1, 5))
    def reading_past_the_end_is_an_error(self, beyond: int) -> None:
        with pytest.raises(IndexError):
            self.store.read(self.forgotten, len(self.all) + beyond)

    @invariant()
    def what_is_forgotten_takes_no_room(self) -> None:
        assert self.store.end == len(self.all)
        assert 0 <= self.store.kept - (len(self.all) - self.forgotten) < 50, "at most a part of one piece more"


TestStores = Stores.TestCase


def test_what_was_forgotten_cannot_be_read() -> None:
    store = AudioStore()
    store.append(bytes(20))
    store.append(bytes(20))
    store.forget(10)
    with pytest.raises(IndexError):
        store.read(9, 12)
    assert len(store.read(10, 20)) == 10


def test_what_is_read_does_not_keep_what_it_was_read_from() -> None:
    """A short clause of a long piece must not keep the piece alive."""
    store = AudioStore()
    store.append(bytes(2_000))
    assert store.read(3, 5).base is None
