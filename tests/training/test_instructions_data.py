"""The training dialogues under instructions: what the model says obeys them."""

from __future__ import annotations

import random

import pytest

from scripts.train_builtin_model.chat import Chat
from scripts.train_builtin_model.instructions import InstructedTalk
from scripts.train_builtin_model.instructions_rules import with_prefix, with_suffix


@pytest.fixture(scope="module")
def talk() -> InstructedTalk:
    return InstructedTalk(Chat())


def test_the_same_seed_gives_the_same_dialogues() -> None:
    first, second = InstructedTalk(Chat()), InstructedTalk(Chat())
    one, two = random.Random(5), random.Random(5)
    assert [first.dialogue(one) for _ in range(100)] == [second.dialogue(two) for _ in range(100)]


def test_user_and_assistant_take_turns(talk: InstructedTalk) -> None:
    rng = random.Random(4)
    for _ in range(300):
        made = talk.dialogue(rng)
        assert [message.role for message in made.messages] == ["user", "assistant"] * (len(made.messages) // 2)
        assert made.messages
        assert all(message.text for message in made.messages)


def test_every_wording_can_be_drawn(talk: InstructedTalk) -> None:
    rng = random.Random(1)
    for make in talk.weights:
        for _ in range(60):
            rule = make(rng)
            assert "\0" not in (talk.prompt(rng, [rule]) or "")
            assert all(ask(rng).reply for ask in rule.own)


def test_a_prefix_stands_before_every_reply(talk: InstructedTalk) -> None:
    rng = random.Random(2)
    rule = talk.makers.prefix(rng)
    made = talk.converse(rng, [rule], 4)
    start = with_prefix("", rule.prefix).strip()
    assert all(message.text.startswith(start) for message in made.messages if message.role == "assistant")


def test_one_word_replies_have_few_words(talk: InstructedTalk) -> None:
    rng = random.Random(3)
    made = talk.converse(rng, [talk.makers.one_word(rng)], 20)
    lengths = sorted(len(message.text.split()) for message in made.messages if message.role == "assistant")
    assert lengths[len(lengths) // 2] == 1


def test_marks_after_a_reply() -> None:
    assert with_suffix("It is Rome.", "over") == "It is Rome, over."
    assert with_suffix("Hello!", "Over and out") == "Hello! Over and out."
    assert with_suffix("Rome", "over") == "Rome, over"
    assert with_suffix("You are boss.", ", boss") == "You are boss."
    assert with_suffix("It is Rome.", ", Captain Blue") == "It is Rome, Captain Blue."
