"""Ordinary conversation: intents drawn from `data/*.txt` and strung together."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from .damage import spoken, written
from .dialogue import DEFAULT_INSTRUCTIONS, Message
from .grammar import Intent, Pattern, Piece, Turn, join, read
from .sources import DATA, Sources

ONCE = 20
"""How often a row is drawn again because the conversation had it already."""

USERS_NAME = frozenset(["name_intro", "name_only", "name_unknown", "name_ask_back"])
"""Intents about the user's name, of which a conversation has one."""


@dataclass
class Setting:
    """What holds for a whole conversation: the assistant's name, how replies are to be, how the user is heard.

    `damage` is what `damage.spoken` takes; `typed` users write instead of speaking.
    """

    me: str = "Parley"
    one_word: bool = False
    damage: float = 0.0
    typed: bool = False


class Chat:
    """Makes ordinary exchanges."""

    def __init__(self) -> None:
        self.sources = Sources()
        everything = read(sorted(DATA.glob("*.txt")))
        self.openers = next(intent for intent in everything if intent.name == "openers").turns[0]
        self.intents = [i for i in everything if i.name != "openers" and not i.name.startswith("system_")]
        self.systems = {intent.name: intent for intent in everything if intent.name.startswith("system_")}
        self.short = [intent for intent in self.intents if all(turn.one_word for turn in intent.turns)]
        self.weights = list(accumulate(intent.weight for intent in self.intents))
        self.short_weights = list(accumulate(intent.weight for intent in self.short))

    def setting(self, rng: random.Random) -> Setting:
        """Draws how the user is heard: three of four speak, half of them clearly; see damage.py."""
        damage = rng.choices([0.0, 0.5, 1.0, 1.5, 2.0], [50, 20, 15, 10, 5])[0]
        return Setting(damage=damage, typed=rng.random() < 0.25)

    def instructions(self, rng: random.Random, setting: Setting) -> str | None:
        """Draws instructions that change nothing: Parley's own, those of another helper, or none."""
        kind = rng.choices(["none", "default", "helper"], [25, 50, 25])[0]
        if kind == "helper":
            pattern = rng.choice(self.systems["system_helper"].turns[0].asks)
            return join(pattern.expand(rng, {"me": setting.me}))
        return DEFAULT_INSTRUCTIONS if kind == "default" else None

    def exchanges(
        self, rng: random.Random, count: int, setting: Setting, seen: set[str] | None = None
    ) -> list[Message]:
        """About `count` exchanges, user and assistant in turn; nothing is told twice.

        `seen` is what the conversation had before and gets what it has now.
        """
        messages: list[Message] = []
        seen = set() if seen is None else seen
        waiting: list[list[Message]] = []
        while count > 0 or waiting:
            if waiting and (count <= 0 or rng.random() < 0.45):
                messages += waiting.pop(0)
                continue
            parts = self._exchange(self._choose(rng, setting, seen), rng, setting, seen)
            messages += parts[0]
            waiting = parts[1:] + waiting
            count -= len(parts[0]) // 2
        return messages

    def user(self, text: str, rng: random.Random, setting: Setting, fixed: Sequence[str] = ()) -> str:
        """A lower-case sentence as it arrives; the stretches named in `fixed` stay readable."""
        return self._heard(pieces(text, fixed), rng, setting)

    def _choose(self, rng: random.Random, setting: Setting, seen: set[str]) -> Intent:
        """Draws an intent; of those about the user's name only one, lest a known name be called unknown."""
        intents, weights = (self.short, self.short_weights) if setting.one_word else (self.intents, self.weights)
        while True:
            intent = rng.choices(intents, cum_weights=weights)[0]
            if intent.name not in USERS_NAME:
                return intent
            if "name_" not in seen:
                seen.add("name_")
                return intent

    def _exchange(self, intent: Intent, rng: random.Random, setting: Setting, seen: set[str]) -> list[list[Message]]:
        """An intent's turns with one row, cut where other intents may come between."""
        row: dict[str, str] = {}
        for _ in range(ONCE):
            row = self.sources.draw(intent.rows, rng) if intent.rows else {}
            if row.get("once") not in seen:
                break
        if "once" in row:
            seen.add(row["once"])
        slots = {"me": setting.me} | row
        parts: list[list[Message]] = [[]]
        for turn in intent.turns:
            if turn.after_gap:
                parts.append([])
            parts[-1].append(Message("user", self._ask(turn, rng, setting, slots, intent.rows)))
            parts[-1].append(Message("assistant", self._reply(turn, rng, setting, slots)))
        return parts

    def _ask(self, turn: Turn, rng: random.Random, setting: Setting, slots: dict[str, str], rows: str | None) -> str:
        said = rng.choice(turn.asks).expand(rng, slots)
        if rng.random() < 0.25:
            said = [*rng.choice(self.openers.asks).expand(rng, slots), Piece(" "), *said]
        if rng.random() < 0.1:
            said = [*said, Piece(" "), *rng.choice(self.openers.replies).expand(rng, slots)]
        return self._heard(said, rng, setting, rows)

    def _reply(self, turn: Turn, rng: random.Random, setting: Setting, slots: dict[str, str]) -> str:
        patterns: list[Pattern] = turn.one_word if setting.one_word else turn.replies
        return sentence_case(join(rng.choice(patterns).expand(rng, slots)))

    def _heard(self, said: list[Piece], rng: random.Random, setting: Setting, rows: str | None = None) -> str:
        return written(said, rng, rows) if setting.typed else spoken(said, rng, setting.damage, rows)


def pieces(text: str, fixed: Sequence[str]) -> list[Piece]:
    """Cuts a sentence into pieces; those named in `fixed` are marked, the longest first."""
    if not fixed:
        return [Piece(text)]
    longest = sorted({value for value in fixed if value}, key=len, reverse=True)
    parts = re.split(r"\b(" + "|".join(re.escape(value) for value in longest) + r")\b", text, flags=re.IGNORECASE)
    lowered = {value.lower() for value in longest}
    return [Piece(part, fixed=part.lower() in lowered) for part in parts if part]


def sentence_case(text: str) -> str:
    """Capitals at the start and behind each full stop, question mark or exclamation mark."""
    return re.sub(r"(^|[.!?] )([a-z])", lambda found: found[1] + found[2].upper(), text)
