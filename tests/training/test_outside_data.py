"""What lies outside is refused in clear words, and nothing known is among it."""

from __future__ import annotations

import random
import re
from functools import cache

import pytest

from scripts.train_builtin_model.chat import Chat, Setting
from scripts.train_builtin_model.grammar import Intent, join, read
from scripts.train_builtin_model.outside import Outside, core, known_text
from scripts.train_builtin_model.sources import DATA, Sources

CLEAR = re.compile(
    r"don't know|do not know|can't|cannot|not able|too hard|no (doctor|lawyer|opinion|clock|calendar|internet)|"
    r"only (know|do|speak|a small)|rather not|helpline|emergency number|not (a dictionary|much of a singer)|serious",
    re.IGNORECASE,
)
NOT_REFUSED = {"coin", "pick_number", "teach_back", "what_then"}


@cache
def chat() -> Chat:
    return Chat()


def outside_intents() -> list[Intent]:
    shared = read([DATA / "frames.txt", DATA / "limits.txt", *sorted(DATA.glob("outside*.txt"))])
    return [intent for intent in shared if intent.name != "openers" and not intent.name.startswith("system_")]


def test_every_intent_expands_and_speaks_plainly() -> None:
    rng = random.Random(1)
    for intent in outside_intents():
        for _ in range(20):
            for part in chat()._exchange(intent, rng, Setting(), set()):
                for message in part:
                    assert message.text.strip()
                    assert not re.search(r"[{}<>|\[\]]", message.text), intent.name
                    if message.role == "assistant":
                        assert len(message.text.split()) <= 25, message.text


@pytest.mark.parametrize("intent", outside_intents(), ids=lambda intent: intent.name)
def test_refusals_use_clear_words(intent: Intent) -> None:
    if intent.name in NOT_REFUSED:
        return
    rng, last = random.Random(2), intent.turns[-1]
    turn = intent.turns[0] if intent.name == "capital_contrast_back" else last
    for reply in turn.replies:
        text = join(reply.expand(rng, Sources().draw(intent.rows, rng) if "{" in reply.source and intent.rows else {}))
        assert CLEAR.search(text), text


def test_nothing_known_is_called_unknown() -> None:
    sources = Sources()
    outside = Outside(sources.tables)
    known = known_text()
    countries = {row["country"].lower() for row in sources.tables["countries"]}
    assert not countries & {value.lower() for kind in ("region", "noland") for value in outside.lists[kind]}
    opposites = {row["word"].lower() for row in sources.tables["opposites"]}
    assert not opposites & {value.lower() for kind in ("unpaired", "adjective") for value in outside.lists[kind]}
    animals = {row["animal"].lower() for row in sources.tables["animals"]}
    assert not animals & {core(value) for value in outside.lists["beast"]}
    for kind in ("book", "object", "person", "term"):
        assert len(outside.lists[kind]) > 30
        assert not [value for value in outside.lists[kind] if f" {core(value)} " in known]


def test_values_go_on_without_end() -> None:
    rng = random.Random(3)
    outside = Outside(Sources().tables)
    people = {outside.value("person", rng).lower() for _ in range(3000)}
    assert len(people) > 1200


def test_outside_has_its_share_of_conversation() -> None:
    names = {intent.name for intent in outside_intents()}
    weights = {intent.name: intent.weight for intent in chat().intents}
    share = sum(weight for name, weight in weights.items() if name in names) / sum(weights.values())
    assert 0.2 <= share <= 0.35
