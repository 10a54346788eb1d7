"""Rows for what lies outside: people, places, works and things that the model does not know, without end.

The lists are in `data/outside_things.tsv`. Whatever the other files know is taken out of them when they are read,
so that nothing is refused that can be answered. Invented names come beside the listed ones: what cannot be learned
by heart shows the model where its knowledge ends.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path

from .number_words import ORDINALS, words
from .outside_names import MAKERS, first_name, salad

Row = dict[str, str]
Tables = dict[str, list[Row]]
DATA = Path(__file__).parent / "data"
CHATTER = ("smalltalk", "frames", "cards", "long", "limits", "talk", "outside")
"""How the names of files begin that name things without knowing anything about them."""

NO_KNOWLEDGE = {"words", "names", "heard", "heard_values", "verbs", "plurals", "rhymes", "opposites", "unknowns"}
"""Tables whose first column is not something that the model could describe."""

ONLY = {
    "unpaired": ("opposites", "word"),
    "adjective": ("opposites", "word"),
    "region": ("countries", "country"),
    "noland": ("countries", "country"),
}
"""Kinds that are compared with one column of one table only."""

FREE = set(
    "plain language phrase relative lost local subject topic legal money role match product illness medicine".split()
)
"""Kinds that are compared with nothing: their words are known, but not what is asked about them."""

INVENTED = {
    "person": 0.45,
    "band": 0.4,
    "book": 0.4,
    "film": 0.4,
    "show": 0.3,
    "song": 0.4,
    "painting": 0.45,
    "game": 0.3,
    "city": 0.4,
    "river": 0.4,
    "mountain": 0.4,
    "water": 0.3,
    "island": 0.4,
    "landmark": 0.35,
    "company": 0.4,
    "product": 0.25,
    "team": 0.3,
    "event": 0.4,
    "medicine": 0.3,
    "dish": 0.25,
    "beast": 0.25,
    "chemical": 0.35,
    "term": 0.3,
    "rareword": 0.35,
    "object": 0.2,
}
"""How often a kind's value is made up."""

DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = "January February March April May June July August September October November December".split()
TWICE = (
    "person company city chemical code medicine event plain product team beast landmark rareword unpaired term".split()
)
"""Kinds of which a question may name two; the second one's slot ends in `_b`."""

GARBLED = {"person", "book", "film", "song", "city", "company", "team", "event", "landmark", "game", "band"}
"""Kinds whose values may come as a transcriber's words."""


class Outside:
    """Draws rows of unknown things from the lists, from invention and from garbled words."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        known = known_text()
        self.lists: dict[str, list[str]] = {}
        for row in tables["outside_things"]:
            values = [value.strip() for value in row["values"].split(", ")]
            self.lists.setdefault(row["kind"], []).extend(values)
        for kind, values in self.lists.items():
            self.lists[kind] = self._unknown(kind, list(dict.fromkeys(values)), known)
        countries = [row["country"] for row in tables["countries"]]
        paid = {row["country"] for row in tables.get("currencies", [])}
        self.countries = countries
        self.loud = [row for row in tables["animals"] if row["sound"] not in ("", "nothing at all")]
        named = {row["thing"].lower() for row in tables.get("things", [])}
        self.opposites = [row for row in tables["opposites"] if row["word"].lower() not in named]
        self.coinless = [country for country in countries if country not in paid]

    def computed(self) -> dict[str, Callable[[random.Random], Row]]:
        """The sources of this module by name."""
        return {
            "outside": self.row,
            "outside_sums": hard_sum_row,
            "contrast": self.contrast_row,
        }

    def row(self, rng: random.Random) -> Row:
        """One value of every kind, and some that belong to several kinds."""
        row = {kind: self.value(kind, rng) for kind in self.lists}
        row |= {f"{kind}_b": self.value(kind, rng) for kind in TWICE}
        row["village_b"] = MAKERS["city"](rng)
        land = rng.random()
        nowhere = MAKERS["country"](rng)
        row["nowhere"] = nowhere
        row["country"] = nowhere if land < 0.4 else rng.choice(self.countries)
        row["coinless"] = rng.choice(self.coinless) if self.coinless and land > 0.5 else nowhere
        row["notland"] = row[rng.choice(["region", "region", "noland", "noland"])]
        row["place"] = row[rng.choice(["city", "city", "river", "mountain", "water", "island", "landmark", "region"])]
        row["work"] = row[rng.choice(["book", "film", "song", "show", "opera", "painting"])]
        row["year"] = year(rng)
        row["village"] = MAKERS["city"](rng)
        row["friend"] = first_name(rng, self.tables["names"])
        row["anything"] = row[rng.choice("term term chemical event person company code plant".split())]
        row["n"], row["m"] = words(rng.randint(2, 20)), words(rng.choice([25, 30, 40, 45, 50, 60, 75, 90]))
        return row

    def contrast_row(self, rng: random.Random) -> Row:
        """Known things beside unknown ones, for frames that they share."""
        unknown = self.row(rng)
        country, animal = rng.choice(self.tables["countries"]), rng.choice(self.loud)
        opposite = rng.choice(self.opposites)
        nowhere = unknown["nowhere"] if rng.random() < 0.5 else unknown["notland"]
        return {
            "country": country["country"],
            "capital": country["capital"],
            "animal": animal["animal"],
            "sound": animal["sound"],
            "word": opposite["word"],
            "other": opposite["other"],
            "nowhere": nowhere,
            "beast": unknown["beast"],
            "unpaired": unknown["unpaired"],
            "plain": unknown["plain"],
            "language": unknown["language"],
            "city": unknown["city"],
            "region": unknown["region"],
            "creature": animal["animal"],
            "creatures": animal["plural"],
            "creature_sound": animal["sound"],
            "planet": rng.choice([row["planet"] for row in self.tables["planets"] if row["planet"] != "Earth"]),
            "day": rng.choice(DAYS),
            "month": rng.choice(MONTHS),
            "n": rng.choice(ORDINALS[1:]),
        }

    def value(self, kind: str, rng: random.Random) -> str:
        """One value of a kind: a listed one, an invented one, or a few words that a transcriber made of one."""
        chance = rng.random()
        maker = MAKERS.get(kind)
        invented = INVENTED.get(kind, 0.0)
        if maker and chance < invented:
            made = maker(rng)
            return made.lower() if rng.random() < 0.3 else made
        values = self.lists[kind]
        if not values or (kind in GARBLED and chance > 0.94):
            return salad(rng)
        chosen = rng.choice(values)
        return chosen.lower() if rng.random() < 0.3 else chosen

    def _unknown(self, kind: str, values: list[str], known: str) -> list[str]:
        if kind in FREE:
            return values
        if kind in ONLY:
            table, column = ONLY[kind]
            taken = {row[column].lower() for row in self.tables.get(table, [])}
            return [value for value in values if value.lower() not in taken]
        taken = {
            core(value)
            for name, rows in self.tables.items()
            if name not in NO_KNOWLEDGE and not name.startswith("outside")
            for row in rows
            for value in list(row.values())[:2]
        }
        return [value for value in values if core(value) not in taken and f" {core(value)} " not in known]


def known_text() -> str:
    """All that users ask in the files of knowledge, in lower case, as words between single spaces."""
    lines = [
        line[2:]
        for path in sorted(DATA.glob("*.txt"))
        if not path.stem.startswith(CHATTER)
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.startswith("? ")
    ]
    return " " + " ".join(re.findall(r"[a-z']+", " ".join(lines).lower())) + " "


def core(value: str) -> str:
    """A value in lower case without its article."""
    return re.sub(r"^(a|an|the|one|some) ", "", value.lower())


def year(rng: random.Random) -> str:
    """A year as it is spoken."""
    century = rng.choice("ten twelve fourteen sixteen seventeen eighteen nineteen nineteen nineteen nineteen".split())
    if rng.random() < 0.2:
        return f"two thousand {rng.choice(['and ', ''])}{words(rng.randint(1, 24))}"
    return f"{century} {words(rng.randint(10, 99))}"


def hard_sum_row(rng: random.Random) -> Row:
    """A sum that is too hard: large numbers, and a number whose root nobody knows by heart."""
    large = [rng.randint(201, 999), rng.randint(23, 999)]
    rng.shuffle(large)
    thousands = [f"{words(rng.randint(2, 99))} {rng.choice(['thousand', 'thousand', 'million'])}" for _ in range(2)]
    if rng.random() < 0.5:
        thousands[0] += f" {words(rng.randint(101, 999))}"
    root = rng.choice([value for value in range(2, 1000) if round(value**0.5) ** 2 != value])
    operation = rng.choice(["times", "times", "multiplied by", "divided by", "over"])
    return {
        "x": words(large[0]).replace(" and", rng.choice([" and", ""])),
        "y": words(large[1]),
        "big": thousands[0],
        "bigger": thousands[1],
        "spoken": operation,
        "any": rng.choice([operation, "plus", "minus", "and", "take away"]),
        "root": words(root),
        "percent": words(rng.randint(21, 97)),
        "n": words(rng.randint(3, 19)),
        "fraction": rng.choice(["point five", "point seven", "and a half", "and a quarter", "and two thirds"]),
        "power": rng.choice(["squared", "cubed", "to the power of five", "to the power of nine", "factorial"]),
    }
