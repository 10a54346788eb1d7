"""Where a stop string ends a reply."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.llm.stop_strings import StopStrings

TEXTS = st.text("ab<> ", max_size=30)
STOPS = st.lists(st.text("ab<> ", min_size=1, max_size=4), min_size=1, max_size=3)


@given(said=TEXTS, stops=STOPS, sizes=st.lists(st.integers(1, 5), max_size=30))
def test_a_reply_goes_up_to_the_stop_string_that_is_complete_first_however_it_is_cut(
    said: str, stops: list[str], sizes: list[int]
) -> None:
    filter = StopStrings(stops)
    shown, rest = "", said
    for size in [*sizes, len(rest)]:
        shown += filter.feed(rest[:size])
        rest = rest[size:]
    shown += filter.finish()
    found = [(said.find(stop) + len(stop), said.find(stop)) for stop in stops if stop in said]
    assert shown == (said[: min(found)[1]] if found else said)
    assert filter.hit == bool(found)


def test_only_what_may_begin_a_stop_string_waits() -> None:
    filter = StopStrings(["User:"])
    assert filter.feed("Hi Us") == "Hi "
    assert filter.feed("a. U") == "Usa. "
    assert filter.feed("ser") == ""
    assert filter.feed(": and") == ""
    assert filter.hit


def test_without_stop_strings_everything_passes() -> None:
    filter = StopStrings([])
    assert filter.feed("User:") == "User:"
    assert filter.finish() == ""
