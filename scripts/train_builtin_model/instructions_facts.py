"""Facts that instructions state and users ask about."""

from __future__ import annotations

import random
import re
from typing import NamedTuple

from .chat import sentence_case
from .instructions_book import Book, Exchange, Kind
from .instructions_rules import Rule

DOMAINS = [
    ["business"],
    ["business"],
    ["business", "food"],
    ["business", "product"],
    ["user"],
    ["user"],
    ["me"],
    ["any"],
]
NO_UNKNOWN = {"day_today", "date_today", "time_now", "weather_now", "news", "here"}
NO_UNKNOWN |= {"my_age", "my_home", "my_origin", "my_hobby", "my_favourite", "my_pet", "my_friend"}
"""What ordinary conversation has its own answers for when the instructions do not say."""

UNFIT = {
    "day_today": r"\b(day|days|date|weekend|tomorrow|yesterday|today)\b",
    "date_today": r"\b(day|days|date|month|year|tomorrow|yesterday|today)\b",
    "time_now": r"time|clock|\blate\b|hour|noon",
    "weather_now": r"weather|outside|rain|sunny|cold|warm|umbrella|hot\b",
    "news": r"\bnew\b|news|happen",
    "here": r"\bwhere\b|\bhere\b|locat|machine|computer",
}
ME_UNFIT = r"\b(favou?rite|old|age|live|from|home|pet|hobby|hobbies|friend|boss|family)\b"
ME_UNFIT += r"|do you (like|love|enjoy|have)|made you"
USER_UNFIT = r"\bmy\b|\bme\b|\bmine\b|\bi\b|Your? (name|favourite)|\bname"


class Fact(NamedTuple):
    """A kind of fact with its subject and value."""

    kind: Kind
    slots: dict[str, str]


class Facts:
    """Draws facts, states them, and asks for them."""

    def __init__(self, book: Book) -> None:
        self.book = book

    def rule(self, rng: random.Random) -> Rule:
        """One to six facts in the instructions; some questions are about what they do not say."""
        domain = rng.choice(DOMAINS)
        facts = self._facts(rng, domain, rng.choices([1, 2, 3, 4, 5, 6], [18, 24, 24, 16, 10, 8])[0])
        clauses = [self._state(rng, fact) for fact in facts]
        patterns = [UNFIT[fact.kind.name] for fact in facts if fact.kind.name in UNFIT]
        if any(fact.kind.domain == "user" for fact in facts):
            patterns.append(USER_UNFIT)
        if any(fact.kind.domain == "me" for fact in facts):
            patterns.append(ME_UNFIT)
        said = {(fact.kind.name, fact.slots["i"]) for fact in facts}
        waiting = list(facts)
        rng.shuffle(waiting)

        def ask(rng: random.Random) -> Exchange:
            if rng.random() < 0.17:
                return self._unknown(rng, domain, facts, said)
            return self._asked(rng, waiting.pop() if waiting else rng.choice(facts))

        unfit = re.compile("|".join(patterns), re.IGNORECASE) if patterns else None
        return Rule("facts", clauses, own=[ask], share=0.8, unfit=unfit)

    def _facts(self, rng: random.Random, domain: list[str], count: int) -> list[Fact]:
        facts: list[Fact] = []
        used: set[tuple[str, str]] = set()
        for _ in range(6 * count):
            kind = self._kind(rng, domain)
            if facts and rng.random() < 0.4:
                kind = facts[-1].kind
            fact = self._draw(rng, kind)
            key = (kind.name, fact.slots["i"])
            same = {other.kind.name for other in facts} & {"day_today", "date_today"}
            if key not in used and not (same and kind.name in ("day_today", "date_today")):
                used.add(key)
                facts.append(fact)
            if len(facts) == count:
                break
        return facts

    def _kind(self, rng: random.Random, domain: list[str]) -> Kind:
        kinds = [kind for kind in self.book.kinds if kind.domain in domain or kind.domain == "any"]
        return rng.choices(kinds, [kind.weight * (1.6 if kind.domain in domain else 1) for kind in kinds])[0]

    def _draw(self, rng: random.Random, kind: Kind) -> Fact:
        slots = self.book.slots(rng)
        slots["role"] = self.book.raw("role", rng)
        slots["i"] = self.book.expand(kind.subjects, rng, self.book.slots(rng)) if kind.subjects else ""
        value = self.book.expand(kind.values, rng, slots)
        good = value in ("allowed", "yes")
        slots |= {"v": value, "yn": "yes" if good else "no", "wehave": "we have" if good else "we don't have"}
        return Fact(kind, slots)

    def _state(self, rng: random.Random, fact: Fact) -> str:
        return sentence_case(self.book.expand(fact.kind.statements, rng, fact.slots))

    def _asked(self, rng: random.Random, fact: Fact) -> Exchange:
        one = self.book.expand(fact.kind.short, rng, fact.slots) if fact.kind.short else fact.slots["v"]
        return Exchange(
            self.book.expand(fact.kind.asks, rng, fact.slots),
            sentence_case(self.book.expand(fact.kind.replies, rng, fact.slots)),
            sentence_case(one),
            (fact.slots["i"],),
        )

    def _unknown(
        self, rng: random.Random, domain: list[str], facts: list[Fact], said: set[tuple[str, str]]
    ) -> Exchange:
        """Asks for what is not there: mostly another subject of a kind that is there, which must not be mixed up."""
        while True:
            kind = rng.choice(facts).kind if rng.random() < 0.6 else self._kind(rng, domain)
            fact = self._draw(rng, kind)
            known = not fact.slots["i"] and any(name == kind.name for name, _ in said)
            if kind.name not in NO_UNKNOWN and not known and (kind.name, fact.slots["i"]) not in said:
                break
            if rng.random() < 0.1:
                return self._asked(rng, facts[0])
        return Exchange(
            self.book.expand(kind.asks, rng, fact.slots),
            sentence_case(self.book.expand(kind.unknown, rng, fact.slots)),
            "Unknown",
            (fact.slots["i"],),
        )
