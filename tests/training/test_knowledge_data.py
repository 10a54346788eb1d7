"""The knowledge that the built-in model is trained on: tables, sums, questions and drills."""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict

import pytest

from scripts.train_builtin_model.chat import Chat
from scripts.train_builtin_model.deck import Deck
from scripts.train_builtin_model.drills import Drills
from scripts.train_builtin_model.grammar import join, read
from scripts.train_builtin_model.number_words import words
from scripts.train_builtin_model.rows import FACTS, Sums, fact_row, hard_sum_row, result, spelling_row
from scripts.train_builtin_model.sources import DATA, Sources

VALUES = {words(value): value for value in range(-30, 1000)}


@pytest.fixture(scope="module")
def sources() -> Sources:
    return Sources()


def test_the_tables_are_large_and_have_one_answer_to_a_question(sources: Sources) -> None:
    keys = {
        "countries": ("country", 195),
        "opposites": ("word", 700),
        "animals": ("animal", 80),
        "colours": ("thing", 120),
        "words": ("word", 3000),
        "plurals": ("single", 100),
        "verbs": ("verb", 60),
        "things": ("thing", 200),
        "currencies": ("country", 40),
        "family": ("who", 20),
    }
    for table, (column, least) in keys.items():
        values = [row[column] for row in sources.tables[table]]
        assert len(values) >= least, table
        assert [value for value, times in Counter(values).items() if times > 1] == [], table


def test_each_capital_belongs_to_one_nation(sources: Sources) -> None:
    capitals = Counter(row["capital"] for row in sources.tables["countries"] if row["nation"])
    assert [capital for capital, times in capitals.items() if times > 1] == []
    everywhere = {row["capital"] for row in sources.tables["countries"]}
    assert everywhere == set(capitals)


def test_currencies_are_of_known_countries(sources: Sources) -> None:
    known = {row["country"] for row in sources.tables["countries"]}
    assert {row["country"] for row in sources.tables["currencies"]} <= known


def test_opposites_mostly_go_both_ways(sources: Sources) -> None:
    pairs = {row["word"]: row["other"] for row in sources.tables["opposites"]}
    assert not [word for word, other in pairs.items() if word == other]
    assert sum(pairs.get(other) == word for word, other in pairs.items()) > 0.8 * len(pairs)


def test_a_mixture_does_not_depend_on_the_order(sources: Sources) -> None:
    mixes = {(row["one"], row["two"]): row["result"] for row in sources.tables["mixes"]}
    assert all(mixes[second, first] == made for (first, second), made in mixes.items())


def test_sums_are_true_and_complete() -> None:
    rng = random.Random(1)
    for facts in FACTS.values():
        for fact in facts:
            row = fact_row(fact, rng)
            left, right, made = (VALUES[row[slot]] for slot in "xyz")
            if fact[1] == "divided by":
                assert made * right == left
            else:
                assert made == {"plus": left + right, "minus": left - right, "times": left * right}[fact[1]]
    assert {(a, b) for a, _, b in FACTS["plus"]} >= {(a, b) for a in range(21) for b in range(21)}
    assert {(a, b) for a, _, b in FACTS["times"]} >= {(a, b) for a in range(13) for b in range(13)}


def test_no_sum_is_both_known_and_too_hard() -> None:
    rng = random.Random(1)
    known = {f"{words(a)} {operation} {words(b)}" for facts in FACTS.values() for a, operation, b in facts}
    hard = {
        hard_sum_row(rng)["hard"].replace("multiplied by", "times").replace("over", "divided by") for _ in range(8000)
    }
    assert sorted(known & hard) == []


def test_stories_and_remainders_are_true() -> None:
    sums, rng = Sums(), random.Random(1)
    for _ in range(300):
        row = sums.rows["remainders"](rng)
        assert VALUES[row["x"]] == VALUES[row["y"]] * VALUES[row["z"]] + VALUES[row["rest"]]
        row = sums.rows["triples"](rng)
        sign = 1 if row["last"] == "plus" else -1
        assert VALUES[row["z"]] == VALUES[row["x"]] + VALUES[row["y"]] + sign * VALUES[row["v"]]
        assert VALUES[sums.rows["losses"](rng)["z"]] > 1
    assert result((21, "divided by", 7)) == 3


def test_spelling() -> None:
    row = spelling_row("rabbit", random.Random(1))
    assert (row["letters"], row["length"], row["initial"], row["final"]) == ("R, A, B, B, I, T", "six", "R", "T")
    assert row["backwards"] == "T, I, B, B, A, R"


def test_a_deck_deals_everything_before_it_repeats() -> None:
    deck, rng = Deck(range(10)), random.Random(1)
    assert sorted(deck.deal(rng) for _ in range(10)) == list(range(10))


def test_compared_animals_differ_much(sources: Sources) -> None:
    weight = {row["animal"]: float(row["size"]) for row in sources.tables["animals"] if row["size"]}
    rng = random.Random(1)
    for _ in range(300):
        row = sources.draw("sizes", rng)
        assert weight[row["bigger"]] >= 4 * weight[row["smaller"]]


def test_the_odd_one_is_of_another_kind(sources: Sources) -> None:
    kinds = {row["thing"]: row["kind"] for row in sources.tables["things"]}
    rng = random.Random(1)
    for _ in range(300):
        row = sources.draw("odd_ones", rng)
        assert kinds[row["odd"]] == row["kind"]
        assert [kinds[word] for word in re.split(" or ", row["listed"])].count(row["kind"]) == 1


def test_every_intent_has_its_slots_and_no_question_two_answers(sources: Sources) -> None:
    """Questions without slots are asked of trivia and lists; the same words must not get different replies."""
    rng = random.Random(1)
    replies: dict[str, set[str]] = defaultdict(set)
    for intent in read(
        [DATA / name for name in ("frames.txt", "knowledge.txt", "trivia.txt", "long.txt", "limits.txt")]
    ):
        for _ in range(8):
            row = {"me": "Parley"} | (sources.draw(intent.rows, rng) if intent.rows else {})
            for turn in intent.turns:
                for pattern in (*turn.asks, *turn.replies, *turn.one_word):
                    pattern.expand(rng, row)
                if intent.name.startswith("trivia_"):
                    for pattern in turn.asks:
                        replies[join(pattern.expand(rng, row))].add(intent.name)
    assert {said: names for said, names in replies.items() if len(names) > 1} == {}


def test_drills_are_short_and_alternate() -> None:
    drills, rng = Drills(Chat()), random.Random(1)
    for _ in range(50):
        messages = drills.dialogue(rng).messages
        assert 12 <= len(messages) <= 32
        assert [message.role for message in messages] == ["user", "assistant"] * (len(messages) // 2)
        assert all(message.text for message in messages)
