"""Dialogues about the user's name: given, asked for, corrected, changed, spelled, and not known."""

from __future__ import annotations

import re

from .memory_script import Script
from .memory_text import Row, Values, Wordings, spell
from .number_words import words
from .sources import invented_name

AFTER = ["first", "spell", "length", "initial", "told", "origin", "like", "greet", "bye", "check", "last", "hello"]
UNKNOWN = [
    *[("name_ask", "name_unknown")] * 6,
    ("name_hello_ask", "name_unknown"),
    ("name_told_ask", "name_told_no"),
]
STATE = re.compile(r"^(?!.*\b(?:name|names|call|called|calls)\b).*\b(?:i'm|i am|it's|it is|that's)\b")
"""Sentences that give a name only if the word is one."""


class Names:
    """Writes conversations about the user's name."""

    def __init__(self, wordings: Wordings, values: Values) -> None:
        self.wordings = wordings
        self.values = values

    def write(self, script: Script) -> None:
        """One conversation."""
        rng = script.rng
        user, new, last = self.values.names(rng, 3)
        slots = {"user": user, "new": new, "last": last, "other": new, "initial": user[0], "letter": new[0]}
        script.gap((60, 20, 10, 10))
        kind = rng.choices(
            ["plain", "unknown", "asked", "correct", "wrong", "change", "full", "spelled"],
            [34, 14, 12, 9, 6, 9, 9, 7],
        )[0]
        known = self._give(script, kind, slots)
        for _ in range(rng.choice([1, 1, 1, 2, 2, 3])):
            script.gap()
            self._ask(script, slots, known, full=kind == "full")

    def opening(self, script: Script) -> tuple[str, str]:
        """A name, and a sentence that gives it and may go on."""
        user = self.values.names(script.rng, 1)[0]
        told = self.wordings.draw("name_opening", script.rng, {"user": user})
        return user, told

    def ask(self, script: Script, user: str) -> None:
        """Asks for a name that was given."""
        self._say(script, "name_ask", "name_answer", {"user": user})

    def _say(self, script: Script, ask: str, reply: str, slots: Row) -> None:
        text = self.wordings.draw(ask, script.rng, slots)
        while slots["user"] in self.values.common and STATE.search(text):  # lest `i'm hungry` give a name
            text = self.wordings.draw(ask, script.rng, slots)
        script.say(text, self.wordings.draw(reply, script.rng, slots), [value for value in slots.values() if value])

    def _give(self, script: Script, kind: str, slots: Row) -> bool:
        """How the name becomes known, or not."""
        if kind == "unknown":
            return False
        if kind == "asked":
            ask = self.wordings.draw("name_ask", script.rng)
            script.say(ask, "I don't know your name yet. What is it?")
            self._say(script, "name_reply", "name_greeting", slots)
        elif kind == "full":
            last = slots["last"] if script.rng.random() < 0.7 else invented_name(script.rng)
            slots["last"] = last
            self._say(script, "name_full", "name_greeting", slots)
        elif kind == "spelled":
            letters = spell(slots["user"]).replace(",", "").lower()
            self._say(script, "name_spelled", "name_greeting", slots | {"spelled": letters})
        else:
            self._say(script, "name_tell", "name_greeting", slots)
        if kind in ("correct", "change"):
            script.gap((85, 10, 5) if kind == "correct" else (40, 30, 20, 10))
            self._say(script, f"name_{kind}", f"name_{kind}_reply", slots)
        if kind == "wrong":
            self._say(script, "name_wrong", "name_wrong_reply", slots)
            self._say(script, "name_reply", "name_greeting", slots | {"user": slots["new"]})
        if kind in ("correct", "change", "wrong"):
            slots["other"], slots["user"] = slots["user"], slots["new"]
            slots["initial"] = slots["user"][0]
        return True

    def _ask(self, script: Script, slots: Row, known: bool, full: bool) -> None:
        rng = script.rng
        if not known:
            self._say(script, *rng.choice(UNKNOWN), slots)
            return
        if full and rng.random() < 0.7:
            part = rng.choice(["full", "last", "first"])
            self._say(script, f"name_{part}_ask", f"name_{part}_answer", slots)
            return
        part = rng.choice(AFTER) if rng.random() < 0.45 else "name"
        user = slots["user"]
        if part == "name":
            self._say(script, "name_ask", "name_answer", slots)
        elif part == "spell":
            script.say(self.wordings.draw("name_spell_ask", rng), f"{spell(user)}.")
        elif part == "length":
            reply = f"{user} has {words(len(user))} letters: {spell(user)}."
            script.say(self.wordings.draw("name_length_ask", rng), reply)
        elif part == "told":
            self._say(script, "name_told_ask", "name_told_yes", slots)
        elif part == "greet":
            self._say(script, "name_greet", "name_greet_reply", slots)
        elif part == "bye":
            self._say(script, "name_bye", "name_bye_reply", slots)
        elif part == "check":
            right = rng.random() < 0.5
            asked = slots | {"other": user if right else slots["other"]}
            self._say(script, "name_check", "name_check_yes" if right else "name_check_no", asked)
        elif part == "last" and not full:
            self._say(script, "name_last_ask", "name_last_unknown", slots)
        else:
            part = part if part != "last" else "first"
            self._say(script, f"name_{part}_ask", f"name_{part}_answer", slots)
