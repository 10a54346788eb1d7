"""Conversations in which what was said before must be found again: names, facts, the talk itself, small games."""

from __future__ import annotations

import random

from .chat import Chat
from .dialogue import Dialogue
from .memory_context import Context
from .memory_facts import Facts
from .memory_games import Games
from .memory_names import Names
from .memory_script import Script
from .memory_text import Values, Wordings
from .memory_topics import Subjects


class MemoryTalk:
    """The family of conversations that need memory."""

    def __init__(self, chat: Chat) -> None:
        self.chat = chat
        values = Values(chat.sources)
        topics = Wordings("topics.txt")
        self.subjects = Subjects(topics, chat.sources)
        context = Context(topics, Wordings("talk.txt"), self.subjects)
        self.names = Names(Wordings("names.txt"), values)
        self.facts = Facts(Wordings("frames.txt"), values)
        self.writers = {
            self.names.write: 24,
            self.facts.write: 32,
            self._name_and_fact: 4,
            self._in_one_breath: 6,
            context.about: 15,
            context.follow_up: 13,
            Games(Wordings("games.txt"), values).write: 12,
        }

    def dialogue(self, rng: random.Random) -> Dialogue:
        """One conversation."""
        while True:
            script = Script(self.chat, rng)
            rng.choices(list(self.writers), list(self.writers.values()))[0](script)
            if script.messages:
                return script.done()

    def _name_and_fact(self, script: Script) -> None:
        """Both in one conversation."""
        for writer in script.rng.sample([self.names.write, self.facts.write], 2):
            writer(script)

    def _in_one_breath(self, script: Script) -> None:
        """A name with a question or with a fact in the same sentence, and both found again."""
        rng = script.rng
        script.gap((80, 15, 5))
        user, opening = self.names.opening(script)
        if rng.random() < 0.5:
            subject = self.subjects.draw(rng, rng.choice(["capital", "opposite", "sum", "spell"]))
            script.say(f"{opening} {subject.ask}", f"Hello, {user}! {subject.reply}", [user, *subject.fixed()])
            script.gap()
            self.names.ask(script, user)
            return
        told = self.facts.draw(rng)
        sentence = self.facts.sentence(script, told)
        reply = f"Nice to meet you, {user}! I'll remember that {told.fact()}."
        script.say(f"{opening} {sentence}", reply, [user, *told.fixed()])
        script.gap()
        if rng.random() < 0.7:
            self.names.ask(script, user)
        if rng.random() < 0.7:
            self.facts.ask(script, told)
