"""The dialogues that need memory: they load, take turns, and hold what they say."""

from __future__ import annotations

import random

from scripts.train_builtin_model.chat import Chat
from scripts.train_builtin_model.memory import MemoryTalk
from scripts.train_builtin_model.memory_text import Values, lines, other_person, read_facts
from scripts.train_builtin_model.sources import DATA, Sources, read_table


def test_dialogues_take_turns_and_end_with_the_assistant() -> None:
    family = MemoryTalk(Chat())
    rng = random.Random(1)
    for _ in range(400):
        messages = family.dialogue(rng).messages
        assert [message.role for message in messages] == ["user", "assistant"] * (len(messages) // 2)
        assert all(message.text.strip() and "{" not in message.text for message in messages)


def test_every_fact_can_be_told_asked_for_and_named() -> None:
    kinds = read_facts()
    values = Values(Sources())
    rng = random.Random(2)
    assert len(kinds) >= 60
    for kind in kinds:
        row = values.row(kind, rng)
        for pattern in [kind.clause, kind.statement, *kind.tells, *kind.asks]:
            assert pattern.expand(rng, row)


def test_wordings_abound() -> None:
    names = lines(DATA / "memory" / "names.txt")
    for pool in ("name_tell", "name_ask"):
        after = names[names.index(f"== {pool}") + 1 :]
        assert next(at for at, line in enumerate(after) if line.startswith("==")) >= 60
    assert len(read_table(DATA / "names.tsv")) >= 900


def test_the_other_person() -> None:
    assert other_person("how old you are") == "how old i am"
    assert other_person("your dog is called Rex") == "my dog is called Rex"
    assert other_person("what I should remember") == "what you should remember"
