"""What can be shown of an utterance while it is spoken."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.agreement import Agreement


def test_words_are_shown_when_two_hypotheses_in_a_row_begin_with_them() -> None:
    agreement = Agreement()
    assert agreement.add("what") == ""
    assert agreement.add("what is") == "what"
    assert agreement.add("what is the cap") == "what is"
    assert agreement.add("what is the capital of") == "what is the"
    assert agreement.add("what is the capital of France") == "what is the capital of"


def test_what_was_shown_is_not_taken_back_and_nothing_is_added_to_what_turned_out_otherwise() -> None:
    agreement = Agreement()
    agreement.add("ice cream")
    assert agreement.add("ice cream for") == "ice cream"
    agreement.add("I scream for")
    assert agreement.add("I scream for ice") == "ice cream"


def test_half_a_word_at_the_end_is_not_shown_however_often_it_was_heard() -> None:
    agreement = Agreement()
    agreement.add("what is the cap")
    assert agreement.add("what is the cap") == "what is the"
    assert agreement.add("what is the capital of") == "what is the"
    assert agreement.add("what is the capital of France") == "what is the capital of"


def test_scripts_without_spaces_are_shown_character_by_character() -> None:
    agreement = Agreement()
    agreement.add("今日は")
    assert agreement.add("今日はいい") == "今日は"


@given(st.lists(st.text(alphabet="ab c今,", max_size=12), max_size=8))
def test_whatever_the_hypotheses_what_is_shown_only_grows_and_was_said_twice(hypotheses: list[str]) -> None:
    agreement = Agreement()
    shown, before = "", ""
    for hypothesis in hypotheses:
        now = agreement.add(hypothesis)
        assert now.startswith(shown)
        if now != shown:
            assert hypothesis.strip().startswith(now)
            assert before.strip().startswith(now)
        shown, before = now, hypothesis
