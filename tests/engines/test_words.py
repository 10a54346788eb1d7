"""What the engine `words` promises."""

import numpy as np
import pytest

from pipeline.endpointing.english import FINISHED, LIKELY, UNFINISHED, likely_to_go_on
from pipeline.endpointing.words import Words
from pipeline.stages import Pause
from pipeline.workers import CancelToken
from scripts.measure_turns.__main__ import MOST_MS, SOON_MS, by_words
from scripts.measure_turns.sentences import Part, sentences


def assess(words: str, most_ms: int = 4_000, **options: int) -> int:
    pause = Pause(np.zeros(0, np.int16), words, most_ms)
    return Words(Words.Options(**options)).assess(pause, CancelToken())


@pytest.mark.parametrize(("most_ms", "waits"), [(8_000, 8_000), (4_000, 4_000), (2_000, 2_000)])
def test_who_has_not_finished_is_waited_for_as_long_as_the_client_allows(most_ms: int, waits: int) -> None:
    assert assess("what's the weather in", most_ms) == waits


@pytest.mark.parametrize("words", ["what's the weather in paris", "turn on the kitchen lights", "yes", "no", "okay"])
def test_who_has_finished_is_answered_soon(words: str) -> None:
    assert assess(words) == 300
    assert assess(words, silence_ms=500) == 500
    assert assess(words, most_ms=200) == 200, "but never later than the client allows"


def test_a_statement_is_given_a_little_more_because_it_may_go_on() -> None:
    assert 300 < assess("i went to the market") < 1_000


@pytest.mark.parametrize(("most_ms", "waits"), [(8_000, 2_000), (4_000, 1_000), (2_000, 500), (0, 0)])
def test_without_words_the_silence_alone_decides(most_ms: int, waits: int) -> None:
    assert assess("", most_ms) == assess(" \n", most_ms) == waits


@pytest.mark.parametrize(
    "words",
    [
        "so", "and", "the", "um", "i", "my name is", "turn on the", "i want to", "because", "tell me", "i was, uh",
        "what is the capital of", "if i had more time", "my number is oh seven", "well you know", "let me see",
    ],
)  # fmt: skip
def test_endings_that_call_for_more_are_not_finished(words: str) -> None:
    assert likely_to_go_on(words) == UNFINISHED


@pytest.mark.parametrize(
    "words",
    [
        "what is it made of", "who are you talking to", "come in", "turn it off", "i do", "what time it is", "why not",
        "where are you from", "the fifth of may", "i don't think so", "what's it called", "what do you want",
        "not really",
        "turn the light on", "when is easter", "no they aren't", "um yes", "thank you very much",
        "my code is one two three four",
    ],
)  # fmt: skip
def test_endings_that_look_like_more_may_be_the_end(words: str) -> None:
    assert likely_to_go_on(words) in (FINISHED, LIKELY)


@pytest.mark.parametrize("mark", [",", "...", "…", " -", ":"])
def test_punctuation_that_leads_on_counts_where_there_is_any(mark: str) -> None:
    assert likely_to_go_on(f"I bought a car{mark}") == UNFINISHED
    assert likely_to_go_on("I bought a car.") == LIKELY
    assert likely_to_go_on("You bought a car?") == FINISHED
    assert likely_to_go_on("What's the?") == UNFINISHED, "transcribers put marks behind whatever stands there"


def test_the_last_sentence_decides() -> None:
    assert likely_to_go_on("If it rains. Turn on the lights.") == FINISHED
    assert likely_to_go_on("What time is it? I have to go to the") == UNFINISHED


@pytest.mark.parametrize(
    "words", ["👋", "?!", "...", "\x00", "¿qué hora es?", "wie spät ist es", "今日は", "a " * 5000]
)
def test_whatever_was_understood_gets_an_answer(words: str) -> None:
    assert 300 <= assess(words) <= 4_000


@pytest.mark.parametrize("part", ["tuning", "heldout"])
def test_most_labelled_sentences_are_judged_right(part: Part) -> None:
    """The figures are in docs/turn-detection.md; here is what no change may make worse by much."""
    judge, labelled = by_words(lambda sentence: sentence.as_heard), sentences(part)
    finished = [judge(each) for each in labelled if each.finished]
    unfinished = [judge(each) for each in labelled if not each.finished]
    assert len(finished) + len(unfinished) >= 150
    assert sum(wait <= SOON_MS for wait in finished) >= 0.95 * len(finished)
    assert sum(wait < MOST_MS // 2 for wait in unfinished) <= 0.1 * len(unfinished)
