"""Where slots come from: the tables in `data/*.tsv`, and rows that are computed."""

from __future__ import annotations

import csv
import random
from collections.abc import Callable
from pathlib import Path

from .deck import Deck
from .number_words import words
from .outside import Outside
from .rows import (
    Numbers,
    Row,
    Sums,
    counting_row,
    month_row,
    spelling_row,
    step_row,
    sure,
    weekday_row,
)

DATA = Path(__file__).parent / "data"
CARDS = "ace two three four five six seven eight nine ten jack queen king".split()
HEROES = (
    "dragon robot princess prince king queen pirate knight wizard witch boy girl fairy ghost giant farmer sailor "
    "cat dog bear unicorn dinosaur monster soldier teacher child tree star snowman astronaut baker mermaid"
).split()


COMMON = 267
"""How many of the first words are the most common to be asked for."""

KINDS = {
    "fruit": "fruits",
    "vegetable": "vegetables",
    "colour": "colours",
    "country": "countries",
    "piece of furniture": "pieces of furniture",
    "piece of clothing": "pieces of clothing",
    "part of the body": "parts of the body",
    "vehicle": "vehicles",
    "musical instrument": "musical instruments",
    "tool": "tools",
    "sport": "sports",
    "drink": "drinks",
    "animal": "animals",
    "bird": "birds",
    "insect": "insects",
    "tree": "trees",
    "flower": "flowers",
    "metal": "metals",
    "shape": "shapes",
    "job": "jobs",
    "planet": "planets",
    "city": "cities",
    "day": "days of the week",
    "month": "months",
}
"""The kinds of `things`, in the plural."""

APART = [kind for kind in KINDS if kind not in ("bird", "insect", "job")]
"""Kinds of which no thing is of two."""

SIMPLE = {
    kind for kind in KINDS if kind not in ("animal", "bird", "insect", "shape", "planet", "country", "city", "job")
}
"""Kinds whose things no other intent explains."""


class Sources:
    """Draws rows by the name of their source, dealing those of a table so that each comes equally often.

    `pairs:x` draws two different rows of x, the second as `slot2`; `table:column` only rows that have the column.
    """

    def __init__(self) -> None:
        self.decks: dict[str, Deck[Row]] = {}
        self.tables = {path.stem: read_table(path) for path in sorted(DATA.glob("*.tsv")) if path.stem != "questions"}
        self.computed: dict[str, Callable[[random.Random], Row]] = {
            **Sums().rows,
            **Numbers().rows,
            "weekdays": weekday_row,
            "months": month_row,
            "counting": counting_row,
            "steps": step_row,
            "cards": card_row,
            "numbers": number_row,
            "spelling": self._spelling_row,
            "short_spelling": self._short_spelling_row,
            "odd_ones": self._odd_row,
            "kinds": self._kind_row,
            "simple_things": self._simple_row,
            "members": self._member_row,
            "sizes": self._size_row,
            "classes": self._class_row,
            "planet_sizes": self._planet_row,
            "capital_mixups": self._mixup_row,
            "capital_letters": self._capital_row,
            "opposite_letters": self._opposite_row,
            "vocal_animals": self._vocal_row,
            "people": self._person_row,
            "unknown": self._unknown_row,
            "stories": self._story_row,
            **Outside(self.tables).computed(),
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
        computed, _, column = name.partition(":")
        if computed in self.computed:
            return self._with_column(computed, column, rng)
        return self._deck(name).deal(rng)

    def _with_column(self, name: str, column: str, rng: random.Random) -> Row:
        row = self.computed[name](rng)
        while not row[column]:
            row = self.computed[name](rng)
        return row

    def _deck(self, name: str) -> Deck[Row]:
        if name not in self.decks:
            table, _, column = name.partition(":")
            self.decks[name] = Deck([row for row in self.tables[table] if not column or row[column]])
        return self.decks[name]

    def _spelling_row(self, rng: random.Random) -> Row:
        """Mostly a common word; sometimes a name, now and then one that nobody has."""
        chance = rng.random()
        if chance < 0.2:
            word = self._common_word(rng)
        elif chance < 0.26:
            word = self._deck("names").deal(rng)["name"].lower()
        elif chance < 0.3:
            word = invented_name(rng).lower()
        else:
            word = self._deck("words").deal(rng)["word"]
        return spelling_row(word, rng)

    def _common_word(self, rng: random.Random) -> str:
        """One of those that stand first in the table, which are asked for most."""
        if "common words" not in self.decks:
            self.decks["common words"] = Deck(self.tables["words"][:COMMON])
        return self.decks["common words"].deal(rng)["word"]

    def _short_spelling_row(self, rng: random.Random) -> Row:
        if "short words" not in self.decks:
            self.decks["short words"] = Deck([row for row in self.tables["words"] if 2 < len(row["word"]) < 7])
        return spelling_row(self.decks["short words"].deal(rng)["word"], rng)

    def _by_kind(self, kind: str) -> list[str]:
        return [row["thing"] for row in self.tables["things"] if row["kind"] == kind]

    def _odd_row(self, rng: random.Random) -> Row:
        """Three things of a kind and one of another, in any order."""
        kind, other = rng.sample(APART, 2)
        same = rng.sample(self._by_kind(kind), 3)
        odd = rng.choice(self._by_kind(other))
        four = [*same[: rng.choice([2, 3, 3])], odd]
        rng.shuffle(four)
        return {"odd": odd, "kind": other, "rest": KINDS[kind], "list": " ".join(four), "listed": " or ".join(four)}

    def _kind_row(self, rng: random.Random) -> Row:
        """A thing, its kind, and a kind that it is not."""
        row = self._deck("things").deal(rng)
        other = rng.choice([kind for kind in APART if kind != row["kind"]])
        return row | {"wrong": other}

    def _simple_row(self, rng: random.Random) -> Row:
        """A thing of which there is nothing more to say than its kind."""
        row = self._deck("things").deal(rng)
        while row["kind"] not in SIMPLE:
            row = self._deck("things").deal(rng)
        return row

    def _member_row(self, rng: random.Random) -> Row:
        """Some things of a kind."""
        kind = rng.choice(list(KINDS))
        some = self._by_kind(kind)[:5]
        name = next(row["name"] for row in self.tables["things"] if row["thing"] == some[0])
        return {"kind": kind, "kinds": KINDS[kind], "one": some[0], "one_name": name} | {
            number: f"{', '.join(some[: n - 1])} and {some[n - 1]}"
            for n, number in enumerate(("two", "three", "four", "five"), 2)
        }

    def _size_row(self, rng: random.Random) -> Row:
        """Two animals, one of them much heavier."""
        deck = self._deck("animals:size")
        first = second = deck.deal(rng)
        while max(ratio(first, second), ratio(second, first)) < 4.0:
            second = deck.deal(rng)
        big, small = (first, second) if float(first["size"]) > float(second["size"]) else (second, first)
        return {
            "animal": first["animal"],
            "animal2": second["animal"],
            "plural": first["plural"],
            "plural2": second["plural"],
            "bigger": big["animal"],
            "smaller": small["animal"],
        } | sure(big is first)

    def _class_row(self, rng: random.Random) -> Row:
        """An animal with its class and one that it does not belong to."""
        row = self._deck("animals").deal(rng)
        common = ["mammal", "bird", "fish", "reptile", "insect"]
        return row | {"wrong": rng.choice([name for name in common if name != row["class"]])}

    def _planet_row(self, rng: random.Random) -> Row:
        first, second = rng.sample(self.tables["planets"], 2)
        big, small = (first, second) if int(first["size"]) > int(second["size"]) else (second, first)
        place = self.tables["planets"].index
        near, far = (first, second) if place(first) < place(second) else (second, first)
        return {
            "planet": first["planet"],
            "planet2": second["planet"],
            "bigger": big["planet"],
            "smaller": small["planet"],
            "nearer": near["planet"],
            "farther": far["planet"],
        } | sure(big is first)

    def _capital_row(self, rng: random.Random) -> Row:
        """A country whose capital is one word, with the letters of the capital."""
        row = self._deck("countries").deal(rng)
        while not row["capital"].isalpha():
            row = self._deck("countries").deal(rng)
        return row | {"letters": ", ".join(row["capital"].upper())}

    def _opposite_row(self, rng: random.Random) -> Row:
        """A word whose opposite is one word, with the letters of that."""
        row = self._deck("opposites").deal(rng)
        while not row["other"].isalpha():
            row = self._deck("opposites").deal(rng)
        return row | {"other_letters": ", ".join(row["other"].upper())}

    def _vocal_row(self, rng: random.Random) -> Row:
        """An animal with a sound, food and legs."""
        row = self._deck("animals:sound").deal(rng)
        while not (row["food"] and row["legs"]):
            row = self._deck("animals:sound").deal(rng)
        return row

    def _mixup_row(self, rng: random.Random) -> Row:
        """A country and a capital that is not its own."""
        row, other = self._deck("countries").deal(rng), self._deck("countries:nation").deal(rng)
        while other["capital"] == row["capital"]:
            other = self._deck("countries:nation").deal(rng)
        return row | {"wrong": other["capital"]}

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


def ratio(first: Row, second: Row) -> float:
    """How many times heavier the first animal is."""
    return float(first["size"]) / float(second["size"])


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


def card_row(rng: random.Random) -> Row:
    """Playing cards, as in `seven of clubs`."""
    suits = ["clubs", "spades", "hearts", "diamonds"]
    cards = [f"{rng.choice(CARDS)} of {rng.choice(suits)}" for _ in range(3)]
    return {"card": cards[0], "second": cards[1], "third": cards[2], "suit": rng.choice(suits)}


def number_row(rng: random.Random) -> Row:
    """Two plain numbers for sentences that need some."""
    return {"n": words(rng.randint(2, 20)), "m": words(rng.choice([5, 10, 15, 20, 30, 45, 50, 100]))}


__all__ = ["DATA", "Row", "Sources", "invented_name", "read_table"]
