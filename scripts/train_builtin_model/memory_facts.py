"""Dialogues in which users tell things about themselves and ask for them later."""

from __future__ import annotations

import random
from dataclasses import dataclass

from .grammar import join
from .memory_script import Script
from .memory_text import FactKind, Row, Values, Wordings, in_digits, other_person, read_facts, start

ALIKE = [
    {"home", "street", "birthplace", "origin", "floor"},
    {"plan", "plan_when", "visitor", "visitor_when", "tomorrow", "birthday", "birth_month", "appointment"},
    {"note", "remember_number", "remember_word", "shopping", "code"},
    {"car", "keys", "lostthing", "vehicle", "place_now"},
    {"pet", "petkind", "cats"},
    {"job", "workplace"},
    {"food", "hated_food", "fruit", "breakfast"},
    {"colour", "hated_colour", "eyes", "hair"},
    {"reading", "book"},
    {"language", "mother_tongue", "instrument", "sport", "hobby"},
    {"lunch", "dinner"},
    {"dream", "wish"},
    {"gift", "got_gift"},
    {"pocket", "box"},
    {"number", "lucky", "room", "bus"},
    {"any_place", "any_colour", "lostthing", "vehicle", "project", "instrument"},
    {"any_number", "room", "bus", "number", "lucky", "remember_number"},
    {"any_relative", "any_work"},
    {"siblings", "sister", "brother", "children"},
    {"wife", "husband"},
]
"""Kinds of facts that could be taken for one another: a conversation has one of each set."""

OPEN = 0.35
SAME_KIND = 0.5


@dataclass
class Told:
    """A fact with its values: what is said about it."""

    kind: FactKind
    row: Row

    def fact(self) -> str:
        """The statement, said to the user."""
        row = {slot: _yours(value) for slot, value in self.row.items()}
        return join(self.kind.statement.expand(random.Random(0), row))

    def clause(self) -> str:
        """What it is, said to the user."""
        return join(self.kind.clause.expand(random.Random(0), {slot: _yours(v) for slot, v in self.row.items()}))

    def fixed(self) -> list[str]:
        """The values that must stay readable, in words and in digits."""
        return [*self.row.values(), *(in_digits(value) for value in self.row.values())]


class Facts:
    """Writes conversations about what users tell."""

    def __init__(self, wordings: Wordings, values: Values) -> None:
        self.wordings = wordings
        self.values = values
        self.kinds = read_facts()
        self.open = [kind for kind in self.kinds if kind.name.startswith("any_")]

    def write(self, script: Script) -> None:
        """One conversation with one to four facts, asked for in any order."""
        rng = script.rng
        script.gap((65, 20, 10, 5))
        known: list[Told] = []
        for kind in self._kinds(rng, rng.choices([0, 1, 2, 3, 4], [12, 44, 24, 13, 7])[0]):
            told = Told(kind, self.values.row(kind, rng))
            known.append(told)
            self._tell(script, told, "tell_frame", "ack")
            script.gap((70, 20, 10))
        if known and rng.random() < 0.2:
            self._change(script, rng.choice(known))
        if rng.random() < 0.6:
            script.gap()
        asked = rng.sample(known, rng.randint(1, len(known))) if known else []
        for told in asked:
            self._ask(script, told)
            script.gap((75, 15, 10))
        if not known or rng.random() < 0.22:
            self._ask_unknown(script, known)
        if rng.random() < 0.12:
            self._ask_all(script, known)
        elif rng.random() < 0.04:
            script.say(self.wordings.draw("forget", rng), self.wordings.draw("forget_reply", rng))

    def draw(self, rng: random.Random) -> Told:
        """A fact that nobody has told yet."""
        kind = self._kind(rng)
        return Told(kind, self.values.row(kind, rng))

    def sentence(self, script: Script, told: Told) -> str:
        """A way of telling a fact; who types may type digits."""
        rng = script.rng
        row = told.row
        if script.setting.typed and rng.random() < 0.6:
            row = {slot: in_digits(value) for slot, value in row.items()}
        return join(rng.choice(told.kind.tells).expand(rng, row))

    def ask(self, script: Script, told: Told) -> None:
        """Asks for a fact that was told."""
        self._ask(script, told)

    def _kind(self, rng: random.Random) -> FactKind:
        """A kind; those that hold for anything at all come more often."""
        return rng.choice(self.open if rng.random() < OPEN else self.kinds)

    def _kinds(self, rng: random.Random, count: int) -> list[FactKind]:
        chosen: list[FactKind] = []
        while len(chosen) < count:
            kind = self._kind(rng)
            if not any(alike(kind.name, other.name) for other in chosen):
                chosen.append(kind)
        return chosen

    def _tell(self, script: Script, told: Told, frame: str, ack: str) -> None:
        sentence = self.sentence(script, told)
        text = self.wordings.draw(frame, script.rng, {"told": sentence})
        script.say(text, self.wordings.draw(ack, script.rng, {"fact": told.fact()}), told.fixed())

    def _change(self, script: Script, told: Told) -> None:
        """The last thing told counts; a fact about somebody or some day keeps whom and when."""
        script.gap((50, 30, 20))
        before = told.row["v"] if len(told.kind.pools) == 1 else ""
        new = self.values.row(told.kind, script.rng)
        if told.kind.name in ("pet", "lostthing", "plan_when", "visitor_when"):
            new["v"] = told.row["v"]
        elif "w" in new and told.kind.name != "birthday":
            new["w"] = told.row["w"]
        if new["v"] == before or new == told.row:
            return
        told.row = new
        self._tell(script, told, "change", "change_ack")

    def _question(self, script: Script, told: Told) -> str:
        rng = script.rng
        if rng.random() < 0.6:
            asked = join(rng.choice(told.kind.asks).expand(rng, told.row))
            return self.wordings.draw("ask_frame", rng, {"asked": asked})
        return self.wordings.draw("ask_clause", rng, {"clause": other_person(told.clause())})

    def _ask(self, script: Script, told: Told) -> None:
        rng = script.rng
        fact = told.fact()
        slots = {"fact": fact, "fact_start": start(fact), "clause": other_person(told.clause())}
        chance = rng.random()
        if chance < 0.08:
            script.say(self.wordings.draw("told_ask", rng, slots), self.wordings.draw("told_yes", rng, slots))
        elif chance < 0.2 and told.kind.name != "note":
            right = rng.random() < 0.5
            stated = told if right else Told(told.kind, self._other(told, rng))
            slots["statement"] = other_person(stated.fact())
            text = self.wordings.draw("check_true", rng, slots)
            script.say(text, self.wordings.draw("check_yes" if right else "check_no", rng, slots), stated.fixed())
        else:
            script.say(self._question(script, told), self.wordings.draw("answer", rng, slots), told.fixed())

    def _other(self, told: Told, rng: random.Random) -> Row:
        """Values that are not those told."""
        row = self.values.row(told.kind, rng)
        while row["v"] == told.row["v"]:
            row = self.values.row(told.kind, rng)
        return row | ({"w": told.row["w"]} if "w" in row else {})

    def _ask_unknown(self, script: Script, known: list[Told]) -> None:
        rng = script.rng
        kind = self._kind(rng)
        while any(alike(kind.name, told.kind.name) for told in known):
            kind = self._kind(rng)
        told = Told(kind, self.values.row(kind, rng))
        for other in known:  # the same kind of thing, of something else
            row = self.values.row(other.kind, rng)
            if other.kind in self.open and row["w"] != other.row["w"] and rng.random() < SAME_KIND:
                told = Told(other.kind, row)
        slots = {"clause": other_person(told.clause()), "clause_you": told.clause()}
        if rng.random() < 0.2:
            script.say(self.wordings.draw("told_ask", rng, slots), self.wordings.draw("told_no", rng, slots))
        else:
            script.say(self._question(script, told), self.wordings.draw("unknown", rng, slots), told.fixed())

    def _ask_all(self, script: Script, known: list[Told]) -> None:
        facts = [told.fact() for told in known if told.kind.name != "note"]
        if not facts and known:
            return
        slots = dict(zip(("fact", "second"), facts[:2], strict=False))
        reply = ["all_none", "all_one", "all_two"][len(slots)]
        script.say(self.wordings.draw("all_ask", script.rng), self.wordings.draw(reply, script.rng, slots))


def alike(name: str, other: str) -> bool:
    """Whether two kinds of facts are the same, or could be taken for one another."""
    return name == other or any(name in names and other in names for names in ALIKE)


def _yours(value: str) -> str:
    return other_person(value) if " my " in f" {value} " else value
