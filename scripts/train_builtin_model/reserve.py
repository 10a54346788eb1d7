"""What belongs to the evaluation: the runs of five words that no sentence of training may have."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from .evaluation_cases import cases

LENGTH = 5
Gram = tuple[str, ...]
_NO_WORD = re.compile(r"[^a-z0-9\s]")

keeping = True
"""Whether `offends` finds anything: not while the price of the reserve is measured."""


def spoken_words(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation (an apostrophe joins: `what's` is `whats`)."""
    return _NO_WORD.sub("", text.lower().replace("-", " ")).split()


def grams(text: str) -> Iterator[Gram]:
    """Each run of five words of a text."""
    words = spoken_words(text)
    return (tuple(words[at : at + LENGTH]) for at in range(len(words) - LENGTH + 1))


@cache
def reserved() -> frozenset[Gram]:
    """The runs of five words of all that users say in the evaluation."""
    return frozenset(gram for case in cases() for text in case.said for gram in grams(text))


def offends(text: str) -> bool:
    """Whether a user's sentence has a run of five words that belongs to the evaluation."""
    kept = reserved()
    return keeping and any(gram in kept for gram in grams(text))
