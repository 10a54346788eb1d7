"""Where slots come from: the tables in `data/*.tsv`, and rows that are computed."""

from __future__ import annotations

import csv
import random
from collections.abc import Callable
from pathlib import Path

from .number_words import ORDINALS, words

DATA = Path(__file__).parent / "data"
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = "January February March April May June July August September October November December".split()
CARDS = "ace two three four five six seven eight nine ten jack queen king".split()
HEROES = (
    "dragon robot princess prince king queen pirate knight wizard witch boy girl fairy ghost giant farmer sailor "
    "cat dog bear unicorn dinosaur monster soldier teacher child tree star snowman astronaut baker mermaid"
).split()
Row = dict[str, str]


class Sources:
    """Draws rows by the name of their source; `pairs:x` draws two different rows of x, the second as `slot2`."""

    def __init__(self) -> None:
        self.tables = {path.stem: read_table(path) for path in sorted(DATA.glob("*.tsv")) if path.stem != "questions"}
        self.computed: dict[str, Callable[[random.Random], Row]] = {
            "sums": sum_row,
            "weekdays": weekday_row,
            "months": month_row,
            "counting": counting_row,
            "neighbours": neighbour_row,
            "letters": letter_row,
            "cards": card_row,
            "numbers": number_row,
            "spelling": self._spelling_row,
            "people": self._person_row,
            "unknown": self._unknown_row,
            "stories": self._story_row,
        }

    def draw(self, name: str, rng: random.Random) -> Row:
        """One row; raises KeyError for a source that does not exist."""
        if name.startswith("pairs:"):
            first = second = self.draw(name[6:], rng)
            while second == first:
                second = self.draw(name[6:], rng)
            return first | {f"{key}2": value for key, value in second.items()}
        if name in self.computed:
            return self.computed[name](rng)
        return rng.choice(self.tables[name])

    def _spelling_row(self, rng: random.Random) -> Row:
        word = rng.choice(self.tables["words"])["word"]
        return {"word": word, "letters": ", ".join(word.upper()), "length": words(len(word))}

    def _person_row(self, rng: random.Random) -> Row:
        if rng.random() < 0.25:
            return {"user": invented_name(rng)}
        return {"user": rng.choice(self.tables["names"])["name"]}

    def _unknown_row(self, rng: random.Random) -> Row:
        """Things that the model does not know: people, places, works, some of them invented."""
        draws = {
            kind: rng.choice([row["value"] for row in self.tables["unknowns"] if row["kind"] == kind])
            for kind in ("person", "place", "work", "event", "thing")
        }
        if rng.random() < 0.4:
            draws["person"] = f"{invented_name(rng)} {invented_name(rng)}"
        if rng.random() < 0.4:
            draws["place"] = invented_name(rng)
        return draws | {"nowhere": invented_name(rng), "year": f"nineteen {words(rng.randint(13, 99))}"}

    def _story_row(self, rng: random.Random) -> Row:
        animal = rng.choice(self.tables["animals"])["animal"] if rng.random() < 0.5 else rng.choice(HEROES)
        name = rng.choice(self.tables["names"])["name"]
        return {"animal": animal, "hero": name}


def read_table(path: Path) -> list[Row]:
    """The rows of a tab-separated file whose first line names the columns; every row must have them all."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    for number, row in enumerate(rows, 2):
        if None in row or None in row.values():
            raise ValueError(f"{path.name}:{number}: the number of columns differs from the first line")
    return rows


def invented_name(rng: random.Random) -> str:
    """A name nobody has, such as Belmaro: copying it cannot be learned by heart."""
    onset = "b br c d dr f g gr h j k kl l m n p r s sh st t tr v w z".split()
    middle = ["a", "e", "i", "o", "u", "ay", "ee", "or", "an", "el", "in", "ar", "al", "on", "ir"]
    syllables = [rng.choice(onset) + rng.choice(middle) for _ in range(rng.choice([1, 2, 2, 3]))]
    return ("".join(syllables) + rng.choice(["", "n", "a", "s", "k", "th", "l", "my"])).capitalize()


def sum_row(rng: random.Random) -> Row:
    """A small sum: its terms, the words of its operation, and its result."""
    kind = rng.choice(["plus", "plus", "minus", "times", "divided by"])
    top = 10 if rng.random() < 0.6 else 20
    left, right = rng.randint(0, top), rng.randint(0, top)
    if kind == "minus":
        left, right = max(left, right), min(left, right)
        result = left - right
    elif kind == "times":
        left, right = rng.randint(1, 12), rng.randint(1, 12)
        result = left * right
    elif kind == "divided by":
        right, result = rng.randint(1, 10), rng.randint(1, 10)
        left = right * result
    else:
        if rng.random() < 0.15:
            left *= 10
        result = left + right
    spoken = {
        "plus": ["plus", "plus", "and", "added to"],
        "minus": ["minus", "minus", "take away"],
        "times": ["times", "times", "multiplied by"],
        "divided by": ["divided by", "over"],
    }[kind]
    return {"x": words(left), "y": words(right), "operation": kind, "spoken": rng.choice(spoken), "z": words(result)}


def weekday_row(rng: random.Random) -> Row:
    """A day, those around it, and its place in the week."""
    at = rng.randrange(7)
    return {
        "day": DAYS[at],
        "next": DAYS[(at + 1) % 7],
        "previous": DAYS[at - 1],
        "later": DAYS[(at + 2) % 7],
        "place": ORDINALS[at + 1],
    }


def month_row(rng: random.Random) -> Row:
    """A month, those around it, its place, length and season (north of the equator)."""
    at = rng.randrange(12)
    length = {1: "twenty eight days, or twenty nine in a leap year"}.get(
        at, "thirty days" if at in (3, 5, 8, 10) else "thirty one days"
    )
    return {
        "month": MONTHS[at],
        "next": MONTHS[(at + 1) % 12],
        "previous": MONTHS[at - 1],
        "place": ORDINALS[at + 1],
        "days": length,
        "season": ["winter", "winter", "spring", "spring", "spring", "summer"][at]
        if at < 6
        else ["summer", "summer", "autumn", "autumn", "autumn", "winter"][at - 6],
    }


def counting_row(rng: random.Random) -> Row:
    """Counting from one number to another, up or down."""
    first = 1 if rng.random() < 0.75 else rng.randint(1, 12)
    last = first + rng.choice([2, 3, 4, 5, 7, 9, 9, 11, 14, 19, 19, 19, 24, 29, 29, 39]) if first == 1 else 0
    last = last or first + rng.randint(2, 10)
    numbers = [words(value) for value in range(first, last + 1)]
    return {
        "first": words(first),
        "last": words(last),
        "up": ", ".join(numbers),
        "down": ", ".join(reversed(numbers[-20:])),
        "bottom": numbers[-20:][0],
    }


def neighbour_row(rng: random.Random) -> Row:
    """A number with the ones before and after it."""
    value = rng.randint(1, 30) if rng.random() < 0.7 else rng.randint(1, 99)
    parity = "odd" if value % 2 else "even"
    return {
        "number": words(value),
        "next": words(value + 1),
        "previous": words(value - 1),
        "parity": parity,
        "double": words(2 * value),
    }


def letter_row(rng: random.Random) -> Row:
    """A letter of the alphabet with the one after and the one before it."""
    at = rng.randint(1, 24)
    return {"letter": chr(65 + at), "next": chr(66 + at), "previous": chr(64 + at)}


def card_row(rng: random.Random) -> Row:
    """Playing cards, as in `seven of clubs`."""
    suits = ["clubs", "spades", "hearts", "diamonds"]
    cards = [f"{rng.choice(CARDS)} of {rng.choice(suits)}" for _ in range(3)]
    return {"card": cards[0], "second": cards[1], "third": cards[2], "suit": rng.choice(suits)}


def number_row(rng: random.Random) -> Row:
    """Two plain numbers for sentences that need some."""
    return {"n": words(rng.randint(2, 20)), "m": words(rng.choice([5, 10, 15, 20, 30, 45, 50, 100]))}
