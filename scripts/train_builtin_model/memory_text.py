"""Reads `data/memory/*.txt`: pools of wordings, pools of values, and the facts that users tell about themselves."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field
from pathlib import Path

from .grammar import GrammarError, Pattern, join
from .number_words import words
from .sources import DATA, Sources, invented_name

Row = dict[str, str]
MEMORY = DATA / "memory"
DATES = (
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth "
    "fifteenth sixteenth seventeenth eighteenth nineteenth twentieth"
).split()
DATES += [f"twenty {date}" for date in DATES[:8]]
HOURS = [*(words(hour) for hour in range(1, 13)), *(f"half past {words(hour)}" for hour in range(1, 13)), "noon"]
NOTE_SLOTS = {
    "ownthing": "ownthings",
    "place": "places",
    "buy": "buys",
    "colour": "colours",
    "city": "cities",
    "food": "foods",
    "day": "days",
    "hour": "hours",
    "number": "numbers",
}
DIGITS = {words(number): str(number) for number in range(1000)}
OTHER_PERSON = {"i": "you", "my": "your", "mine": "yours", "myself": "yourself", "your": "my", "yours": "mine"}


@dataclass
class FactKind:
    """One kind of thing that users tell: its values, what it is, how it is stated, told and asked for."""

    name: str
    pools: list[str]
    clause: Pattern
    statement: Pattern
    tells: list[Pattern] = field(default_factory=list)
    asks: list[Pattern] = field(default_factory=list)


class Wordings:
    """Pools of patterns by name."""

    def __init__(self, *files: str) -> None:
        self.pools: dict[str, list[Pattern]] = {}
        for file in files:
            pool: list[Pattern] = []
            for line in lines(MEMORY / file):
                if line.startswith("== "):
                    pool = self.pools.setdefault(line[3:], [])
                else:
                    pool.append(Pattern(line, {}))

    def draw(self, name: str, rng: random.Random, slots: Row | None = None) -> str:
        """A sentence of a pool."""
        return join(rng.choice(self.pools[name]).expand(rng, slots or {}))


class Values:
    """Draws what users tell; a good part of the names and words is invented, so that they must be copied."""

    def __init__(self, sources: Sources) -> None:
        self.sources = sources
        self.pools: dict[str, list[str]] = {}
        self.common = {row["word"].capitalize() for row in sources.tables["words"]}
        for line in lines(MEMORY / "values.txt"):
            name, _, values = line.partition(": ")
            self.pools[name] = [value.strip() for value in values.split(";")]
        self.notes = Wordings("notes.txt")

    def draw(self, pool: str, rng: random.Random) -> str:
        """A value as a reply writes it."""
        if pool == "notes" and rng.random() < 0.8:
            return self.note(rng)
        if pool in self.pools:
            made_up = pool in ("cities", "petnames", "words", "lands") and rng.random() < 0.25
            if made_up or (pool in ("streets", "teams") and rng.random() < 0.1):
                name = invented_name(rng)
                return name.lower() if pool == "words" else name
            return rng.choice(self.pools[pool])
        computed = {
            "names": lambda: self.name(rng),
            "ages": lambda: words(rng.randint(4, 99)),
            "counts": lambda: words(rng.randint(2, 12)),
            "numbers": lambda: words(rng.choice([rng.randint(2, 20), rng.randint(2, 99), rng.randint(100, 999)])),
            "codes": lambda: " ".join(words(rng.randint(0, 9)) for _ in range(rng.choice([3, 3, 4, 4, 4, 5, 6]))),
            "hours": lambda: rng.choice(HOURS),
        }
        if pool not in computed:
            raise GrammarError(f"no pool of values is called {pool}")
        return computed[pool]()

    def note(self, rng: random.Random) -> str:
        """A sentence that nobody has said before."""
        name, name2 = self.names(rng, 2)
        slots = {"name": name, "name2": name2}
        slots |= {slot: self.draw(pool, rng) for slot, pool in NOTE_SLOTS.items()}
        return self.notes.draw("note", rng, slots)

    def name(self, rng: random.Random) -> str:
        """A first name, an invented one, or any word at all."""
        chance = rng.random()
        if chance < 0.25:
            return invented_name(rng)
        if chance < 0.35:
            return rng.choice(self.sources.tables["words"])["word"].capitalize()
        return rng.choice(self.sources.tables["names"])["name"]

    def names(self, rng: random.Random, count: int) -> list[str]:
        """Different names."""
        drawn: list[str] = []
        while len(drawn) < count:
            name = self.name(rng)
            if name not in drawn:
                drawn.append(name)
        return drawn

    def row(self, kind: FactKind, rng: random.Random) -> Row:
        """The slots `v` and `w` of a fact."""
        if kind.pools == ["monthdays"]:
            return {"v": rng.choice(DATES), "w": rng.choice(self.pools["months"])}
        return dict(zip("vw", (self.draw(pool, rng) for pool in kind.pools), strict=False))


def lines(path: Path) -> list[str]:
    """The lines of a file that say something."""
    stripped = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in stripped if line and not line.startswith("#")]


def read_facts() -> list[FactKind]:
    """The kinds of facts in `facts.txt`."""
    kinds: list[FactKind] = []
    for line in lines(MEMORY / "facts.txt"):
        mark, _, rest = line.partition(" ")
        if mark == "=":
            name, pools, clause, statement = (part.strip() for part in rest.split("|"))
            kinds.append(FactKind(name, pools.split(","), Pattern(clause, {}), Pattern(statement, {})))
        elif mark == "+":
            kinds[-1].tells.append(Pattern(rest, {}))
        elif mark == "?":
            kinds[-1].asks.append(Pattern(rest, {}))
        else:
            raise GrammarError(f"facts.txt: a line begins with {mark!r}")
    return kinds


def other_person(text: str) -> str:
    """What the assistant says to the user as the user would say it, or the other way round."""
    text = re.sub(r"\byou are\b", "<i> am", text)
    text = re.sub(r"\byou were\b", "<i> was", text)
    text = re.sub(r"(?<=visiting )you\b", "me", text)
    text = re.sub(r"(?<!<)\byou\b", "<i>", text)
    text = re.sub(r"\bI\b", "<you>", text)
    text = re.sub(r"\b(my|your)\b", lambda found: f"<{OTHER_PERSON[found[0]]}>", text)
    return text.replace("<", "").replace(">", "")


def in_digits(value: str) -> str:
    """A number or a code in words as people type it, or the value itself."""
    if value in DIGITS:
        return DIGITS[value]
    parts = value.split()
    return "".join(DIGITS[part] for part in parts) if all(part in DIGITS for part in parts) else value


def start(text: str) -> str:
    """The text with a capital at its start."""
    return text[:1].upper() + text[1:]


def spell(word: str) -> str:
    """The letters of a word as the spelling intent gives them: `A, N, N, A`."""
    return ", ".join(letter for letter in word.upper() if letter.isalpha())
