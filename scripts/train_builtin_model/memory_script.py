"""The conversation that a memory family writes: its own exchanges with ordinary ones in between."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from .chat import Chat, Setting
from .dialogue import Dialogue, Message

LONG = 24
"""From how many messages on a conversation gets no more ordinary exchanges."""
PERSONAL = re.compile(
    r"\b(my|mine|who am i|call me|i am called|i'm called|i live|i come|i was born|i have|i had|i got|we have"
    r"|i am|i'm|i like|i love|i feel|remember|repeat|again|pardon|what did|where am i|what am i|last)\b",
    re.IGNORECASE,
)
"""Ordinary exchanges with these words could say something that contradicts what a memory dialogue is about."""


class Script:
    """A conversation being written."""

    def __init__(self, chat: Chat, rng: random.Random) -> None:
        self.chat = chat
        self.rng = rng
        self.setting: Setting = chat.setting(rng)
        self.messages: list[Message] = []
        self.seen = {"name_"}
        self.instructions = chat.instructions(rng, self.setting)

    def heard(self, text: str, fixed: Sequence[str] = ()) -> str:
        """A sentence of the user as it arrives."""
        return self.chat.user(text, self.rng, self.setting, fixed=fixed)

    def say(self, ask: str, reply: str, fixed: Sequence[str] = ()) -> None:
        """One exchange."""
        self.messages += [Message("user", self.heard(ask, fixed)), Message("assistant", reply)]

    def gap(self, chances: Sequence[int] = (45, 25, 12, 8, 5, 3, 2)) -> int:
        """None to six ordinary exchanges; returns how many there were."""
        return self.ordinary(self.rng.choices(range(len(chances)), chances)[0])

    def ordinary(self, count: int) -> int:
        """Some ordinary exchanges that say nothing about the user."""
        before = len(self.messages)
        for _ in range(count if before < LONG else 0):
            for _ in range(10):
                part = self.chat.exchanges(self.rng, 1, self.setting, self.seen)
                if not any(message.role == "user" and PERSONAL.search(message.text) for message in part):
                    self.messages += part
                    break
        return (len(self.messages) - before) // 2

    def done(self) -> Dialogue:
        """The dialogue."""
        return Dialogue(self.messages, self.instructions)
