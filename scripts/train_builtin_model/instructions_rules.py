"""What a rule in the instructions does to a conversation."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from .instructions_book import Exchange

Asking = Callable[[random.Random], Exchange]
Change = Callable[[random.Random, str, str], str]


@dataclass
class Rule:
    """A rule: its sentences in the instructions, and what follows from it for what is said.

    `slot` tells which rules exclude one another. `own` makes exchanges about the rule, `share` of all. `unfit` finds
    ordinary exchanges that the rule forbids, written as `user // reply`. `change` makes another reply, of the
    user's words and the reply; `yes_no` rules leave no room for others.
    """

    slot: str
    clauses: list[str]
    own: list[Asking] = field(default_factory=list)
    share: float = 0.0
    me: str | None = None
    one_word: bool = False
    yes_no: bool = False
    prefix: str = ""
    suffix: str = ""
    first: str = ""
    opening: Callable[[random.Random], list[Exchange]] | None = None
    unfit: re.Pattern[str] | None = None
    change: Change | None = None


def decorate(reply: str, prefix: str, suffix: str) -> str:
    """A reply with what the rules want before and after it."""
    if suffix:
        reply = with_suffix(reply, suffix)
    return with_prefix(reply, prefix) if prefix else reply


def with_prefix(reply: str, prefix: str) -> str:
    """`Ahoy. The capital is Rome.`: the phrase as a sentence of its own."""
    return f"{sentence(prefix)} {reply}"


def with_suffix(reply: str, suffix: str) -> str:
    """`The capital is Rome, over.`, or a sentence of its own where the phrase has a capital or an end of its own.

    One that begins with a comma is a form of address: it always stands behind the comma.
    """
    if suffix.startswith(", "):
        suffix = suffix[2:]
        if reply.rstrip(".!?").endswith(suffix):
            return reply
    elif suffix[:1].isupper() or suffix[-1:] in ".!?":
        body = reply if reply[-1:] in ".!?" else f"{reply}."
        return f"{body} {sentence(suffix)}"
    end = reply[-1] if reply[-1:] in ".!?" else ""
    return f"{reply[:-1] if end else reply}, {suffix}{end}"


def sentence(phrase: str) -> str:
    """A phrase with a capital and an end."""
    text = phrase[:1].upper() + phrase[1:]
    return text if text[-1:] in ".!?" else f"{text}."
