"""Exchanges whose subject is known, so that what follows can refer to it."""

from __future__ import annotations

import random
from dataclasses import dataclass

from .memory_script import Script
from .memory_text import Row, Wordings, spell, start
from .number_words import words
from .sources import Sources

ONCE = 20
KINDS = ["capital", "opposite", "sum", "joke", "spell", "fact"]
SPOKEN = {"plus": ["plus", "and", "added to"], "minus": ["minus", "take away"], "times": ["times", "multiplied by"]}


@dataclass
class Subject:
    """A question with its reply, and what it was about."""

    kind: str
    slots: Row
    ask: str
    reply: str
    topic: str
    result: int = 0

    def fixed(self) -> list[str]:
        """The values that must stay readable."""
        return [self.slots[name] for name in ("country", "word", "x", "y") if name in self.slots]

    def word(self) -> str:
        """The word that the reply gives, if there is one."""
        return {"capital": "capital", "opposite": "other", "spell": "word"}.get(self.kind, "")


class Subjects:
    """Draws questions with their replies."""

    def __init__(self, wordings: Wordings, sources: Sources) -> None:
        self.wordings = wordings
        self.sources = sources
        names = {row["word"] for row in sources.tables["opposites"]}
        counts: dict[str, int] = dict.fromkeys(names, 0)
        for row in sources.tables["opposites"]:
            counts[row["word"]] += 1
        self.opposites = [row for row in sources.tables["opposites"] if counts[row["word"]] == 1]
        self.countries = [row for row in sources.tables["countries"] if row["country"][:4] != "the "]

    def draw(self, rng: random.Random, kind: str | None = None, seen: set[str] | None = None) -> Subject:
        """A question of a kind, or of any; no joke or fact that was `seen`."""
        kind = kind or rng.choices(KINDS, [30, 18, 22, 12, 10, 8])[0]
        for _ in range(ONCE):
            slots, result = self.row(rng, kind)
            if seen is None or slots.get("once") not in seen:
                break
        if seen is not None and "once" in slots:
            seen.add(slots["once"])
        ask = self.wordings.draw(kind, rng, slots)
        reply = self.wordings.draw(f"{kind}_reply", rng, slots)
        return Subject(kind, slots, ask, reply, self.wordings.draw(f"{kind}_topic", rng, slots), result)

    def row(self, rng: random.Random, kind: str) -> tuple[Row, int]:
        """The slots of a kind, and the result of a sum."""
        if kind == "capital":
            return dict(rng.choice(self.countries)), 0
        if kind == "opposite":
            return dict(rng.choice(self.opposites)), 0
        if kind == "joke":
            return dict(rng.choice(self.sources.tables["jokes"])), 0
        if kind == "fact":
            return dict(rng.choice(self.sources.tables["facts"])), 0
        if kind == "spell":
            word = rng.choice(self.sources.tables["words"])["word"]
            return {"word": word, "letters": spell(word)}, 0
        return sum_slots(rng)


def sum_slots(rng: random.Random) -> tuple[Row, int]:
    """A small sum and its result."""
    operation = rng.choice(["plus", "plus", "minus", "times"])
    left, right = rng.randint(1, 20), rng.randint(1, 20)
    if operation == "times":
        left, right = rng.randint(2, 10), rng.randint(2, 10)
    elif operation == "minus":
        left, right = max(left, right), min(left, right)
    result = {"plus": left + right, "minus": left - right, "times": left * right}[operation]
    slots = {"x": words(left), "y": words(right), "operation": operation, "spoken": rng.choice(SPOKEN[operation])}
    return slots | {"z": words(result), "sum_start": start(f"{slots['x']} {operation} {slots['y']}")}, result


def follow(script: Script, wordings: Wordings, subjects: Subjects, subject: Subject) -> None:
    """A question that only makes sense behind `subject`, which has just been asked, and its reply."""
    rng = script.rng
    options = ["sure", "sure", "louder", "never_mind"]
    options += {
        "capital": ["again", "again", "again", "spell_that", "length", "wrong", "why_capital", "more"],
        "opposite": ["again", "again", "spell_that", "length", "opposite_that", "wrong"],
        "sum": ["double", "double", "plus", "minus", "how_sum", "how_sum", "wrong"],
        "joke": ["again", "again", "why_joke"],
        "spell": ["length", "again_word"],
        "fact": ["again", "again", "more", "more"],
    }[subject.kind]
    if subject.kind in ("joke", "spell"):
        options = [option for option in options if option != "sure"]
    kind = rng.choice(options)
    if kind == "again":
        _again(script, wordings, subjects, subject)
    elif kind == "again_word":
        slots, _ = subjects.row(rng, "spell")
        ask = wordings.draw("again_opposite", rng, slots)
        script.say(ask.replace(" of ", " "), f"{slots['letters']}.", [slots["word"]])
    elif kind in ("spell_that", "length", "opposite_that"):
        _about_word(script, wordings, subject, kind)
    elif kind in ("double", "plus", "minus"):
        _reckon(script, wordings, subject, kind)
    else:
        _stand(script, wordings, subjects, subject, kind)


def _again(script: Script, wordings: Wordings, subjects: Subjects, subject: Subject) -> None:
    """The same question for something else, once or more often."""
    for _ in range(script.rng.choice([1, 1, 2, 3])):
        other = subjects.draw(script.rng, subject.kind, script.seen)
        if other.slots == subject.slots:
            continue
        ask = wordings.draw(f"again_{subject.kind}", script.rng, other.slots)
        script.say(ask, other.reply, other.fixed())
        subject = other


def _about_word(script: Script, wordings: Wordings, subject: Subject, kind: str) -> None:
    word = subject.slots[subject.word()]
    rng = script.rng
    if kind == "opposite_that":
        script.say(wordings.draw(kind, rng), f"The opposite of {word} is {subject.slots['word']}.")
        return
    if not word.replace(" ", "").isalpha():
        return
    letters = spell(word)
    if kind == "spell_that":
        script.say(wordings.draw("spell_that", rng), f"{letters}.")
    else:
        count = sum(letter.isalpha() for letter in word)
        slots = {"word_start": start(word), "length": words(count), "letters": letters}
        script.say(wordings.draw("length_that", rng), wordings.draw("length_reply", rng, slots))


def _reckon(script: Script, wordings: Wordings, subject: Subject, kind: str) -> None:
    """Goes on reckoning with the last result."""
    rng = script.rng
    result = subject.result
    for _ in range(rng.choice([1, 1, 2])):
        small = rng.randint(1, 10)
        if kind == "minus" and result < small:
            kind = "plus"
        after = {"double": 2 * result, "plus": result + small, "minus": result - small}[kind]
        slots = {"z": words(result), "z_start": start(words(result)), "n": words(small)}
        slots |= {"double": words(after), "result": words(after)}
        ask = wordings.draw(f"{kind}_ask", rng, slots)
        script.say(ask, wordings.draw(f"{kind}_reply", rng, slots), [slots["n"]] if kind != "double" else [])
        result = after
        kind = rng.choice(["double", "plus", "minus"])


def _stand(script: Script, wordings: Wordings, subjects: Subjects, subject: Subject, kind: str) -> None:
    """Doubts, reasons, and the wish to go on or to stop."""
    rng = script.rng
    slots = subject.slots | {"fact": subject.reply}
    if kind == "wrong":
        other = subjects.draw(rng, subject.kind).slots
        name = {"capital": "capital", "opposite": "other", "sum": "z"}[subject.kind]
        if other[name] == subject.slots[name]:
            kind = "sure"
        slots |= {"wrong": other[name], "right": subject.slots[name]}
    ask = "more_ask" if kind == "more" else f"{kind}_ask" if kind in ("sure", "wrong") else kind
    script.say(wordings.draw(ask, rng, slots), wordings.draw(f"{kind}_reply", rng, slots), [slots.get("wrong", "")])
