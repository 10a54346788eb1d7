"""What a transcriber makes of words, and what is learned of it."""

import random

import pytest

from scripts.train_builtin_model import damage
from scripts.train_builtin_model.damage import Heard, recognisable, spoken, written
from scripts.train_builtin_model.grammar import Piece
from scripts.train_builtin_model.heard import Tables, Unit, align, mark, plain, units, unmark

SPANS = [
    {"said": "tell me a", "heard": "silly", "times": "4", "of": "4"},
    {"said": "joke", "heard": "joke", "times": "4", "of": "4"},
    {"said": "the", "heard": "that", "times": "9", "of": "10"},
    {"said": "capital", "heard": "wombat", "times": "1", "of": "2"},
    {"said": "capital", "heard": "capital", "times": "1", "of": "2"},
]
VALUES = [
    {"source": "countries", "value": "france", "heard": "friends", "times": "8"},
    {"source": "countries", "value": "france", "heard": "france", "times": "1"},
    {"source": "countries", "value": "sweden", "heard": "france", "times": "3"},
    {"source": "numbers", "value": "two", "heard": "to", "times": "5"},
    {"source": "numbers", "value": "three", "heard": "two", "times": "5"},
]
CAPITAL = [Piece("what is the capital of "), Piece("France", fixed=True), Piece("'s friend")]


@pytest.fixture(autouse=True)
def few_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = Heard(SPANS, VALUES)
    monkeypatch.setattr(damage, "load", lambda: tables)


def heard(line: str, heard_words: str) -> list[tuple[str, str]]:
    """The segments of an alignment, as texts."""
    segments = align(unmark(line), heard_words.split())
    return [(" ".join(unit.text for unit in said), " ".join(words)) for said, words in segments]


def outcomes(pieces: list[Piece], rows: str | None = None, amount: float = 1.0) -> set[str]:
    return {spoken(pieces, random.Random(seed), amount, rows) for seed in range(300)}


def test_a_sentence_is_cut_into_words_and_whole_values() -> None:
    pieces = [Piece("is "), Piece("a wild boar", fixed=True), Piece(" in "), Piece("Peru", fixed=True), Piece("'s zoo")]
    said = units(pieces, "animals")
    assert mark(said) == "is a {animals=wild boar} in {animals=peru's} zoo"
    assert unmark(mark(said)) == said


def test_marks_and_accents_are_not_heard() -> None:
    assert plain("São Tomé, Jack-in-the-box: it's!") == "sao tome jack in the box it's"


def test_equal_words_anchor_the_alignment() -> None:
    assert heard("tell me a joke please", "salvia joke please") == [
        ("tell me a", "salvia"),
        ("joke", "joke"),
        ("please", "please"),
    ]


def test_a_value_is_aligned_as_a_whole() -> None:
    found = heard("in {countries=burkina faso} please", "in burkina fossil please um")
    assert found == [("in", "in"), ("burkina faso", "burkina fossil"), ("please", "please"), ("", "um")]


def test_the_tables_count_spans_and_how_often_they_were_said() -> None:
    tables = Tables()
    tables.add([Unit("tell"), Unit("me"), Unit("two", "numbers")], ["tell", "the", "to"])
    assert tables.spans["me", "the"] == 1
    assert tables.said["tell me"] == 1
    assert "me two" not in tables.said
    assert tables.values["numbers", "two", "to"] == 1
    assert (tables.words, tables.errors) == (3, 2)


def test_without_damage_everything_is_heard() -> None:
    assert outcomes([Piece("tell me a joke")], amount=0.0) == {"tell me a joke"}


def test_a_span_is_heard_as_it_was_heard() -> None:
    assert any("silly joke" in text for text in outcomes([Piece("now tell me a joke please")]))


def test_what_says_nothing_of_the_word_is_not_learned() -> None:
    assert not any("wombat" in text for text in outcomes(CAPITAL))


def test_a_value_is_damaged_only_where_its_source_is_known() -> None:
    capital = [Piece("what is the capital of "), Piece("France", fixed=True)]
    assert all("france" in text for text in outcomes(capital))
    assert any("friends" in text for text in outcomes(capital, "countries"))


def test_a_value_never_becomes_another() -> None:
    sweden = [Piece("what is the capital of "), Piece("Sweden", fixed=True)]
    assert all("sweden" in text for text in outcomes(sweden, "pairs:countries"))
    three = [Piece("add "), Piece("three", fixed=True), Piece(" and "), Piece("two", fixed=True)]
    assert all("three" in text for text in outcomes(three, "sums"))
    assert any("to" in text.split() for text in outcomes(three, "sums"))


def test_what_can_be_recognised() -> None:
    others = frozenset(["france", "niger", "nigeria"])
    assert recognisable("france", "friends", others)
    assert not recognisable("nigeria", "niger", others)
    assert not recognisable("france", "it was", others)
    assert not recognisable("seven", "seventh", others)


def test_the_same_seed_gives_the_same() -> None:
    assert spoken(CAPITAL, random.Random(5), 0.7) == spoken(CAPITAL, random.Random(5), 0.7)


def test_typed_sums_may_be_in_digits_and_signs() -> None:
    pieces = [Piece("what is "), Piece("forty two", fixed=True), Piece(" "), Piece("plus", fixed=True)]
    typed = {written(pieces, random.Random(seed), "sums").lower() for seed in range(300)}
    assert any("42 +" in text for text in typed)
    assert any("forty two plus" in text for text in typed)


def test_typed_values_keep_their_letters() -> None:
    for seed in range(300):
        assert "france" in written(CAPITAL, random.Random(seed), "countries").lower()


def test_typing_has_many_faces() -> None:
    typed = {written([Piece("what's your name")], random.Random(seed)) for seed in range(300)}
    assert {"What's your name?", "what's your name", "whats your name"} <= typed
