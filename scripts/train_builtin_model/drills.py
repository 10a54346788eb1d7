"""Drills: many very short exchanges on what must be known by heart.

The replies are those of the intents in `data/knowledge.txt`, so that a fact has one form; the questions are their
shortest, or no more than the next value ("and Spain"). Rows are dealt, so that facts come about equally often.
"""

from __future__ import annotations

import random
from itertools import accumulate

from .chat import Chat, Setting, sentence_case
from .dialogue import Dialogue, Message
from .grammar import Intent, Pattern, Piece, Turn, join, read
from .number_words import words
from .rows import Row
from .sources import DATA

THEMES: dict[str, tuple[float, tuple[str, ...]]] = {
    "sums": (45, ("sum", "sum", "sum", "sum", "addition", "subtraction", "double", "half")),
    "tables": (20, ("product", "product", "division", "square", "root")),
    "spelling": (20, ("spell", "spell", "spell", "letters_in", "first_letter")),
    "capitals": (20, ("capital",)),
    "countries": (8, ("capital", "capital_of_what", "capital_of_what", "continent", "language_of", "currency")),
    "opposites": (24, ("opposite",)),
    "calendar": (
        7,
        ("day_after", "day_before", "month_after", "month_before", "days_between", "month_place", "month_days"),
    ),
    "numbers": (6, ("number_after", "number_before", "compared", "parity", "number_between")),
    "letters": (3, ("letter_after", "letter_before", "letter_place", "letter_vowel")),
    "animals": (9, ("animal_sound", "animal_baby", "animal_legs", "animal_food", "animal_class")),
    "words": (5, ("plural", "past_tense", "rhyme")),
    "colours": (4, ("colour_of", "colour_of", "mix")),
    "planets": (3, ("planet_place", "planet_next", "planet_number", "planet_moons")),
    "anything": (40, ()),
    "sayings": (3, ("units", "shape_sides", "family", "kind_of")),
}
"""Subjects with their weights and intents; one without stands for all that is known, each intent by its weight."""

KNOWLEDGE = ("frames.txt", "knowledge.txt", "trivia.txt")
ENTERTAINING = ("joke", "riddle", "fact", "openers", "system_")

TERSE = {
    "sum": ["{x} {spoken} {y}", "[and] {x} {spoken} {y}", "{x} {operation} {y}"],
    "product": ["{x} times {y}", "{x} {spoken} {y}"],
    "division": ["{x} divided by {y}", "{x} {spoken} {y}"],
    "spell": ["{word}", "[and] [spell] {word}", "now {word}", "next {word}"],
    "capital": ["{country}", "and [of] {country}", "[and] the capital of {country}", "now {country}"],
    "opposite": ["{word}", "[and] [the opposite of] {word}", "now {word}"],
    "animal_sound": ["{a:animal}", "and {a:animal}", "the {animal}"],
    "plural": ["{single}", "and {single}"],
    "past_tense": ["{verb}", "and {verb}"],
    "colour_of": ["{thing}", "and {thing}"],
    "double": ["double {number}", "twice {number}"],
    "half": ["half of {even}", "half {even}"],
}
"""What a user says who asks the same kind of question again."""

TYPED = frozenset(["sum", "sum_chain", "sum_chain_less", "addition", "subtraction", "product", "division"])
"""Intents whose sums may be typed with signs alone."""

SIGNS = {"plus": "+", "minus": "-", "times": "x", "divided by": "/"}
DIGITS = {words(value): str(value) for value in range(1000)}
TRIVIA = 3.0
TRIES = 2
"""Expansions of which the shortest is taken."""


class Drills:
    """The family of drills; `instructions` are given in half of them."""

    def __init__(self, chat: Chat, instructions: str | None = None) -> None:
        self.chat = chat
        self.instructions = instructions
        self.intents = {intent.name: intent for intent in chat.intents}
        names = {intent.name for intent in read([DATA / name for name in KNOWLEDGE])}
        self.known = [
            intent for intent in chat.intents if intent.name in names and not intent.name.startswith(ENTERTAINING)
        ]
        self.weights = list(accumulate(self._weight(intent) for intent in self.known))
        self.terse = {name: [Pattern(source, {}) for source in sources] for name, sources in TERSE.items()}

    def dialogue(self, rng: random.Random) -> Dialogue:
        """Six to fourteen exchanges on one subject, sometimes on two."""
        setting = self.chat.setting(rng)
        weights = [weight for weight, _ in THEMES.values()]
        subjects = [THEMES[name][1] for name in rng.choices(list(THEMES), weights, k=rng.choice([1, 1, 2]))]
        messages: list[Message] = []
        last = ""
        for _ in range(rng.randint(6, 14)):
            intent = self._intent(rng.choice(subjects), rng)
            messages += self._exchange(intent, rng, setting, again=intent.name == last)
            last = intent.name
        return Dialogue(messages, self.instructions if rng.random() < 0.5 else None)

    @staticmethod
    def _weight(intent: Intent) -> float:
        """Trivia are many, and each is one fact: they count more than elsewhere."""
        return TRIVIA * intent.weight if intent.name.startswith("trivia_") else intent.weight

    def _intent(self, names: tuple[str, ...], rng: random.Random) -> Intent:
        if names:
            return self.intents[rng.choice(names)]
        return rng.choices(self.known, cum_weights=self.weights)[0]

    def _exchange(self, intent: Intent, rng: random.Random, setting: Setting, *, again: bool) -> list[Message]:
        """The turns of an intent: mostly one."""
        row = {"me": setting.me} | (self.chat.sources.draw(intent.rows, rng) if intent.rows else {})
        messages = []
        for number, turn in enumerate(intent.turns):
            reply = sentence_case(join(rng.choice(turn.replies).expand(rng, row)))
            if setting.typed and number == 0 and intent.name in TYPED and rng.random() < 0.6:
                asked = in_signs(row, rng)
            else:
                said = self._ask(intent, turn, row, rng, again=again and number == 0)
                fixed = [piece.text for piece in said if piece.fixed]
                asked = self.chat.user(join(said), rng, setting, fixed)
            messages += [Message("user", asked), Message("assistant", reply)]
        return messages

    def _ask(self, intent: Intent, turn: Turn, row: Row, rng: random.Random, *, again: bool) -> list[Piece]:
        if again and intent.name in self.terse and rng.random() < 0.6:
            return rng.choice(self.terse[intent.name]).expand(rng, row)
        tries = [rng.choice(turn.asks).expand(rng, row) for _ in range(TRIES)]
        return min(tries, key=lambda said: len(join(said)))


def in_signs(row: Row, rng: random.Random) -> str:
    """A sum as it is typed, such as `7 + 5 =`."""
    sign = SIGNS[row["operation"]]
    gap = rng.choice([" ", " ", ""])
    before = rng.choice(["", "", "what is ", "What's ", "calculate "])
    after = rng.choice(["", "", "=", "?", " ="])
    return f"{before}{DIGITS[row['x']]}{gap}{sign}{gap}{DIGITS[row['y']]}{after}"
