"""Training dialogues: intents drawn from `data/*.txt`, strung into conversations with and without instructions."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass

from .damage import spoken, written
from .grammar import Intent, Pattern, Piece, Turn, join, read
from .sources import DATA, Sources

DEFAULT_INSTRUCTIONS = (
    "You are Parley, a friendly voice assistant running on this machine. Answer in one or two short spoken sentences."
)
Message = tuple[str, str]
"""A role and what it says: `system`, `user`, `assistant`, or `cut` for a reply of which only a part was heard."""

CUT = 0.05
"""How many replies are cut short in the history, as after an interruption; they are seen but not learned."""


@dataclass
class Setting:
    """What holds for a whole conversation: the assistant's name, the user's, and how replies are to be."""

    me: str
    instructions: str | None
    one_word: bool
    damage: float
    typed: bool


class Dialogues:
    """An endless, seeded source of conversations."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.sources = Sources()
        everything = read(sorted(DATA.glob("*.txt")))
        self.openers = next(intent for intent in everything if intent.name == "openers").turns[0]
        self.systems = {intent.name: intent for intent in everything if intent.name.startswith("system_")}
        self.intents = [i for i in everything if i.name != "openers" and not i.name.startswith("system_")]
        self.naming = [intent for intent in self.intents if "is_your_name" in intent.name or intent.name == "your_name"]
        self.short = [intent for intent in self.intents if all(turn.one_word for turn in intent.turns)]

    def __iter__(self) -> Iterator[list[Message]]:
        while True:
            yield self.dialogue()

    def dialogue(self) -> list[Message]:
        """One conversation of one to sixteen exchanges."""
        setting = self._setting()
        length = self.rng.choices([1, 2, 3, 4, 5, 8, 14], [20, 22, 20, 16, 12, 8, 2])[0]
        messages: list[Message] = [("system", setting.instructions)] if setting.instructions else []
        seen: set[str] = set()
        waiting: list[list[Message]] = []
        while length > 0 or waiting:
            if waiting and (length <= 0 or self.rng.random() < 0.45):
                messages += waiting.pop(0)
                continue
            parts = self._exchange(self._choose(setting, seen), setting, seen)
            messages += parts[0]
            waiting = parts[1:] + waiting
            length -= len(parts[0]) // 2
        return [*(self._maybe_cut(message) for message in messages[:-1]), messages[-1]]

    def _maybe_cut(self, message: Message) -> Message:
        role, text = message
        if role != "assistant" or self.rng.random() > CUT:
            return message
        words = text.split()
        return "cut", " ".join(words[: self.rng.randint(1, len(words))])

    def _choose(self, setting: Setting, seen: set[str]) -> Intent:
        """Draws an intent; of those about the user's name only one, lest a known name be called unknown."""
        if setting.me != "Parley" and self.rng.random() < 0.25:  # a persona's name is worth asking for
            return self.rng.choice(self.naming)
        intents = self.short if setting.one_word else self.intents
        while True:
            intent = self.rng.choices(intents, [intent.weight for intent in intents])[0]
            if not intent.name.startswith("name_"):
                return intent
            if "name_" not in seen:
                seen.add("name_")
                return intent

    def _setting(self) -> Setting:
        """Draws the instructions: none, ours, a helper's, a persona's, or one-word answers."""
        kind = self.rng.choices(["none", "default", "helper", "persona", "one_word"], [20, 42, 20, 11, 7])[0]
        me = "Parley"
        instructions = None
        if kind == "default":
            instructions = DEFAULT_INSTRUCTIONS
        elif kind != "none":
            row = self.sources.draw("people", self.rng)
            if kind == "persona":
                me = row["user"]
            pattern = self.rng.choice(self.systems[f"system_{kind}"].turns[0].asks)
            instructions = join(pattern.expand(self.rng, {"me": me}))
        damage = self.rng.choices([0.0, 0.03, 0.06, 0.1], [35, 25, 25, 15])[0]
        return Setting(me, instructions, kind == "one_word", damage, self.rng.random() < 0.2)

    def _exchange(self, intent: Intent, setting: Setting, seen: set[str]) -> list[list[Message]]:
        """An intent's turns with one row, cut where other intents may come between."""
        for _ in range(20):  # a joke or a fact is not told twice in a conversation
            row = self.sources.draw(intent.rows, self.rng) if intent.rows else {}
            if row.get("once") not in seen:
                break
        if "once" in row:
            seen.add(row["once"])
        slots = {"me": setting.me} | row
        parts: list[list[Message]] = [[]]
        for turn in intent.turns:
            if turn.after_gap:
                parts.append([])
            parts[-1] += [("user", self._ask(turn, setting, slots)), ("assistant", self._reply(turn, setting, slots))]
        return parts

    def _ask(self, turn: Turn, setting: Setting, slots: dict[str, str]) -> str:
        pieces = [misheard(piece, slots, self.rng) for piece in self.rng.choice(turn.asks).expand(self.rng, slots)]
        if self.rng.random() < 0.25:
            opener = self.rng.choice(self.openers.asks).expand(self.rng, slots)
            pieces = [*opener, Piece(" "), *pieces]
        if self.rng.random() < 0.1:
            closer = self.rng.choice(self.openers.replies).expand(self.rng, slots)
            pieces = [*pieces, Piece(" "), *closer]
        return written(pieces, self.rng) if setting.typed else spoken(pieces, self.rng, setting.damage)

    def _reply(self, turn: Turn, setting: Setting, slots: dict[str, str]) -> str:
        patterns: list[Pattern] = turn.one_word if setting.one_word else turn.replies
        return sentence_case(join(self.rng.choice(patterns).expand(self.rng, slots)))


def misheard(piece: Piece, slots: dict[str, str], rng: random.Random) -> Piece:
    """A slot's value as a transcriber sometimes writes it, where the row says so (`france` as `friends`)."""
    near = slots.get("heard")
    if piece.fixed and near and piece.text == slots.get("country") and rng.random() < 0.12:
        return Piece(rng.choice(near.split(",")).strip(), fixed=True)
    return piece


def sentence_case(text: str) -> str:
    """Capitals at the start and behind each full stop, question mark or exclamation mark."""
    return re.sub(r"(^|[.!?] )([a-z])", lambda found: found[1] + found[2].upper(), text)
