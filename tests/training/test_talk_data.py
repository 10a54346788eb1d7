"""The tables and the conversations of jokes, riddles, facts and small talk."""

from __future__ import annotations

import random
import re

import pytest

from scripts.train_builtin_model.chat import Chat
from scripts.train_builtin_model.play import Play
from scripts.train_builtin_model.sources import DATA, read_table

LEAST = {
    "jokes": 160,
    "riddles": 100,
    "facts": 220,
    "twisters": 15,
    "proverbs": 40,
    "compliments": 20,
    "quiz": 40,
    "knocks": 20,
    "poems": 10,
}
OURS = ("smalltalk.txt", "cards.txt", "play.txt", *(path.name for path in sorted(DATA.glob("talk_*.txt"))))
SPEAKABLE = re.compile(r"[A-Za-z ,.;:!?'-]+")


@pytest.fixture(scope="module")
def chat() -> Chat:
    return Chat()


@pytest.mark.parametrize("name", LEAST)
def test_table_is_large_speakable_and_without_doubles(name: str) -> None:
    rows = read_table(DATA / f"{name}.tsv")
    assert len(rows) >= LEAST[name]
    first = next(iter(rows[0]))
    assert len({row[first].lower() for row in rows}) == len(rows)
    for row in rows:
        assert all(SPEAKABLE.fullmatch(value) for value in row.values()), row


def test_jokes_are_short() -> None:
    for row in read_table(DATA / "jokes.tsv"):
        assert len(f"{row['once']} {row['punch']}".split()) <= 25, row


def test_riddles_have_answers_of_their_own() -> None:
    answers = [row["answer"] for row in read_table(DATA / "riddles.tsv")]
    assert len(set(answers)) == len(answers)


def test_every_intent_of_ours_expands(chat: Chat) -> None:
    rng = random.Random(1)
    setting = chat.setting(rng)
    text = "".join((DATA / name).read_text(encoding="utf-8") for name in OURS)
    ours = set(re.findall(r"(?m)^== (\S+)", text))
    chosen = [intent for intent in chat.intents if intent.name in ours]
    assert len(chosen) >= 150
    for intent in chosen:
        for part in chat._exchange(intent, rng, setting, set()):
            assert all(message.text and "{" not in message.text for message in part)


def test_nothing_is_told_twice(chat: Chat) -> None:
    rng = random.Random(2)
    play = Play(chat)
    jokes = [row["once"] for row in read_table(DATA / "jokes.tsv")]
    for _ in range(150):
        told = [m.text for m in play.dialogue(rng).messages if m.role == "assistant"]
        starts = [once for text in told for once in jokes if once in text]
        assert len(set(starts)) == len(starts)


def test_jokes_are_dealt_evenly(chat: Chat) -> None:
    play = Play(chat)
    rng = random.Random(3)
    deck = play.decks["joke"]
    dealt = [deck.deal(rng)["once"] for _ in range(2 * len(deck.cards))]
    assert all(dealt.count(row["once"]) == 2 for row in deck.cards)


def test_users_and_replies_take_turns(chat: Chat) -> None:
    rng = random.Random(4)
    play = Play(chat)
    for _ in range(100):
        roles = [message.role for message in play.dialogue(rng).messages]
        assert roles == ["user", "assistant"] * (len(roles) // 2)
