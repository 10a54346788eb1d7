"""Dialogues about the conversation itself, and follow-up questions."""

from __future__ import annotations

import re

from .grammar import join
from .memory_script import Script
from .memory_text import Wordings
from .memory_topics import Subject, Subjects, follow
from .number_words import ORDINALS

LONGEST = 16
"""The most words of a sentence that is repeated."""
GRAVE = re.compile(r"\b(die|dying|dead|kill|killed|suicide|sex|sexy|hurt|naked|porn|shoot|murder)\b", re.IGNORECASE)
"""What is not repeated."""
PLAIN = re.compile(r"(?!I |I'm|I'd|My |Here|Did |Hello|Good|You|Yes|No|We |Okay|Thank)[A-Z][^?!.]{12,80}\.$")
"""A reply that states something, which can be stood by."""


class Context:
    """Writes conversations whose last question is about what came before."""

    def __init__(self, wordings: Wordings, talk: Wordings, subjects: Subjects) -> None:
        self.wordings = wordings
        self.talk = talk
        self.subjects = subjects

    def follow_up(self, script: Script) -> None:
        """One to three subjects, each with a question that needs it."""
        script.gap((60, 25, 15))
        for _ in range(script.rng.choice([1, 1, 2, 3])):
            kind = script.rng.random()
            if kind < 0.14:
                self._land(script)
            elif kind < 0.26:
                self._two(script)
            else:
                subject = self._subject(script)
                follow(script, self.wordings, self.subjects, subject)
            script.gap((80, 15, 5))

    def about(self, script: Script) -> None:
        """Questions about what was said."""
        rng = script.rng
        script.gap((25, 30, 20, 10, 8, 4, 3))
        for _ in range(rng.choice([1, 1, 2])):
            kind = rng.choices(
                [
                    "reply",
                    "said",
                    "first",
                    "before",
                    "topic",
                    "talked",
                    "joke",
                    "capitals",
                    "count",
                    "nothing",
                    "stand",
                ],
                [26, 20, 12, 6, 10, 9, 7, 9, 4, 3, 10],
            )[0]
            getattr(self, f"_{kind}")(script)
            script.gap((75, 15, 10))

    def _subject(self, script: Script, kind: str | None = None) -> Subject:
        subject = self.subjects.draw(script.rng, kind, script.seen)
        script.say(subject.ask, subject.reply, subject.fixed())
        return subject

    def _land(self, script: Script) -> None:
        rng = script.rng
        slots, _ = self.subjects.row(rng, "capital")
        told = slots | {"country_start": slots["country"]}
        ask = self.wordings.draw("land_told", rng, slots)
        script.say(ask, self.wordings.draw("land_reply", rng, told), [slots["country"]])
        script.say(self.wordings.draw("its_capital", rng), self.wordings.draw("capital_reply", rng, slots))

    def _two(self, script: Script) -> None:
        rng = script.rng
        one, two = (self.subjects.row(rng, "capital")[0] for _ in range(2))
        if one == two:
            return
        slots = one | {"country2": two["country"], "capital2": two["capital"]}
        ask = self.wordings.draw("two_capitals", rng, slots)
        reply = self.wordings.draw("two_capitals_reply", rng, slots)
        script.say(ask, reply, [one["country"], two["country"]])
        for place in rng.sample(["first_one", "second_one"], rng.choice([1, 1, 2])):
            row = one if place == "first_one" else two
            ask = self.wordings.draw(place, rng)
            script.say(ask, self.wordings.draw("capital_reply", rng, row), ["first", "second", "last", "other"])

    def _ensure(self, script: Script) -> None:
        if not script.messages:
            script.ordinary(1)
        if not script.messages:
            self._subject(script)

    def _quote(self, script: Script, pool: str, text: str) -> None:
        """Repeats what a message said, if it is not too long."""
        if len(text.split()) > LONGEST or GRAVE.search(text):
            return
        text = text.rstrip(".?! ")
        reply = self.talk.draw(f"{pool}_reply", script.rng, {"text": text})
        script.say(self.talk.draw(pool, script.rng), reply, ["first", "before"])

    def _said(self, script: Script) -> None:
        self._ensure(script)
        self._quote(script, "last_said", script.messages[-2].text)

    def _first(self, script: Script) -> None:
        self._ensure(script)
        self._quote(script, "first_said", script.messages[0].text)

    def _before(self, script: Script) -> None:
        while len(script.messages) < 4:
            self._subject(script)
        before, last = script.messages[-4].text, script.messages[-2].text
        if max(len(before.split()), len(last.split())) <= LONGEST:
            self._quote(script, "last_said", last)
            self._quote(script, "before_said", before)

    def _reply(self, script: Script) -> None:
        self._ensure(script)
        last = script.messages[-1].text
        if len(last.split()) > 45:
            return
        script.say(self.talk.draw("last_reply", script.rng), last)
        if script.rng.random() < 0.1:
            script.say(self.talk.draw("last_reply", script.rng), last)

    def _stand(self, script: Script) -> None:
        """Stands by an ordinary reply that is plain."""
        rng = script.rng
        for _ in range(4):
            script.ordinary(1)
            if script.messages and PLAIN.match(script.messages[-1].text):
                break
        else:
            return
        pool, reply = rng.choice([("sure_ask", "sure_reply"), ("wrong_ask", "wrong_reply")])
        asks = [pattern for pattern in self.wordings.pools[pool] if "{" not in pattern.source]
        ask = join(rng.choice(asks).expand(rng, {}))
        script.say(ask, self.wordings.draw(reply, rng, {"fact": script.messages[-1].text}))

    def _topic(self, script: Script) -> None:
        subject = self._subject(script)
        reply = self.talk.draw("topic_reply", script.rng, {"topic": subject.topic})
        script.say(self.talk.draw("topic_ask", script.rng), reply)

    def _talked(self, script: Script) -> None:
        rng = script.rng
        subject = self._subject(script)
        script.gap((40, 30, 20, 10))
        if rng.random() < 0.55:
            asked, pool = subject, "talked_yes"
        else:
            asked, pool = self.subjects.draw(rng), "talked_no"
            if any(asked.topic in message.text or asked.topic == subject.topic for message in script.messages):
                return
            if asked.kind in ("joke", "fact"):
                return
        slots = {"topic": asked.topic}
        script.say(self.talk.draw("talked_ask", rng, slots), self.talk.draw(pool, rng, slots), asked.fixed())

    def _joke(self, script: Script) -> None:
        rng = script.rng
        joke = self._subject(script, "joke")
        script.gap((50, 30, 20))
        if any(message.text.startswith("Here is") for message in script.messages[-4:-2]):
            return
        pool = rng.choice(["joke_which", "joke_which", "punch"])
        ask = "punch_ask" if pool == "punch" else pool
        script.say(self.talk.draw(ask, rng), self.talk.draw(f"{pool}_reply", rng, joke.slots))

    def _capitals(self, script: Script) -> None:
        rng = script.rng
        if any("capital" in message.text.lower() for message in script.messages):
            return
        if rng.random() < 0.2:
            script.say(self.talk.draw("capital_none", rng), self.talk.draw("capital_none_reply", rng))
            return
        asked: list[Subject] = []
        for _ in range(rng.choice([2, 2, 3])):
            asked.append(self._subject(script, "capital"))
        place = rng.choice(["first", "last"])
        row = asked[0 if place == "first" else -1].slots
        reply = self.talk.draw(f"capital_{place}_reply", rng, row)
        script.say(self.talk.draw(f"capital_{place}", rng), reply, ["first", "last", "capital", "country"])

    def _count(self, script: Script) -> None:
        count = len(script.messages) // 2 + 1
        if count > 6:
            return
        reply = self.talk.draw("how_many_reply", script.rng, {"ordinal": ORDINALS[count]})
        script.say(self.talk.draw("how_many", script.rng), reply)

    def _nothing(self, script: Script) -> None:
        """At the very start there is nothing to repeat."""
        if script.messages:
            return
        rng = script.rng
        pool, reply = rng.choice(
            [
                ("last_reply", "nothing_said_reply"),
                ("last_reply", "nothing_said_reply"),
                ("last_said", "nothing_asked_reply"),
                ("first_said", "nothing_asked_reply"),
                ("topic_ask", "topic_none_reply"),
            ]
        )
        script.say(self.talk.draw(pool, rng), self.talk.draw(reply, rng))
