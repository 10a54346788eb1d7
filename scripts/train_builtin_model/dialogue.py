"""What training dialogues are made of."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

DEFAULT_INSTRUCTIONS = (
    "You are Parley, a friendly voice assistant running on this machine. Answer in one or two short spoken sentences."
)
"""What Parley's server gives to a session that brings no instructions."""


class Call(NamedTuple):
    """A function that the assistant calls."""

    name: str
    arguments: dict[str, Any]


class Message(NamedTuple):
    """One message. `role` is `user`, `assistant`, `tool` (what a function returned), or `cut`.

    `cut` is a reply of the assistant of which only a part was heard: it is seen but not learned.
    """

    role: str
    text: str
    calls: tuple[Call, ...] = ()


@dataclass
class Dialogue:
    """A conversation under instructions, with functions in the Realtime form.

    A function is `{"type": "function", "name": …, "description": …, "parameters": a JSON schema}`.
    """

    messages: list[Message]
    instructions: str | None = None
    tools: list[dict[str, Any]] = field(default_factory=list)


class Family(Protocol):
    """A kind of conversation."""

    def dialogue(self, rng: random.Random) -> Dialogue:
        """Makes one."""
