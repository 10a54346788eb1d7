"""Fair drawing: every card once before any comes again."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class Deck(Generic[T]):
    """Deals its cards in a random order, each once before any comes again."""

    def __init__(self, cards: Sequence[T]) -> None:
        self.cards = list(cards)
        self.left: list[T] = []

    def deal(self, rng: random.Random, fits: Callable[[T], bool] = lambda card: True) -> T:
        """One card, the next that fits; raises ValueError if none does."""
        for _ in range(2):
            for at in reversed(range(len(self.left))):
                if fits(self.left[at]):
                    return self.left.pop(at)
            self.left = self.cards[:]
            rng.shuffle(self.left)
        raise ValueError("no card of the deck fits")
