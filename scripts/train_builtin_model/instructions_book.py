"""What instructions are written with: the wordings in `data/instructions`, and invented names and values.

Those files are lists of sections: `== name`, then one pattern a line (see grammar.py). In `facts_*.txt` a section is
a kind of fact: `i` its subjects, `v` its values, `s` how the instructions state it, `?` how the user asks, `!` the
reply, `1` the reply in one word, `n` the reply when the instructions do not say; `i`, `s`, `?` are needed in that
kind of file to be of any use, and a kind without `i` has no subject.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from .chat import sentence_case
from .grammar import GrammarError, Pattern, join
from .sources import DATA, Sources, invented_name

FOLDER = DATA / "instructions"
MARKS = {"i": "subjects", "v": "values", "s": "statements", "?": "asks", "!": "replies", "1": "short", "n": "unknown"}


class Exchange(NamedTuple):
    """A user's sentence, in lower case, and the reply; `one` is the reply in one word, if there is one.

    `fixed` are the stretches of the user's sentence that the transcriber leaves readable.
    """

    user: str
    reply: str
    one: str | None = None
    fixed: tuple[str, ...] = ()


@dataclass
class Kind:
    """A kind of fact that instructions may state."""

    name: str
    domain: str
    weight: float
    subjects: list[Pattern] = field(default_factory=list)
    values: list[Pattern] = field(default_factory=list)
    statements: list[Pattern] = field(default_factory=list)
    asks: list[Pattern] = field(default_factory=list)
    replies: list[Pattern] = field(default_factory=list)
    short: list[Pattern] = field(default_factory=list)
    unknown: list[Pattern] = field(default_factory=list)


class Book:
    """The wordings, and draws from them."""

    def __init__(self, sources: Sources) -> None:
        self.sources = sources
        self.macros: dict[str, Pattern] = {}
        self.sections: dict[str, list[Pattern]] = {}
        self.kinds: list[Kind] = []
        for path in sorted(FOLDER.glob("*.txt")):
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                try:
                    self._read(line.strip(), path.stem.startswith("facts"))
                except (GrammarError, ValueError, IndexError, KeyError) as error:
                    raise GrammarError(f"{path.name}:{number}: {error}") from error
        for kind in self.kinds:
            if not (kind.values and kind.statements and kind.asks and kind.replies and kind.unknown):
                raise GrammarError(f"the kind of fact {kind.name} lacks lines")

    def _read(self, line: str, facts: bool) -> None:
        if not line or line.startswith("# "):
            return
        if line.startswith("<") and re.match(r"<[a-z_]+> = ", line):
            name, _, pattern = line.partition(" = ")
            self.macros[name[1:-1]] = Pattern(pattern, self.macros)
        elif line.startswith("== "):
            name, *options = line[3:].split()
            chosen = dict(option.split("=") for option in options)
            if facts:
                self.kinds.append(Kind(name, chosen.get("domain", "any"), float(chosen.get("weight", "1"))))
            else:
                if name in self.sections:
                    raise GrammarError(f"a second section {name}")
                self._section = self.sections[name] = []
        elif facts:
            mark, _, rest = line.partition(" ")
            getattr(self.kinds[-1], MARKS[mark]).append(Pattern(rest, self.macros))
        else:
            self._section.append(Pattern(line, self.macros))

    def raw(self, section: str, rng: random.Random, **slots: str) -> str:
        """One expansion of a pattern of a section."""
        return self.expand(self.sections[section], rng, slots)

    def say(self, section: str, rng: random.Random, **slots: str) -> str:
        """The same, as sentences with capitals."""
        return sentence_case(self.raw(section, rng, **slots))

    def expand(self, patterns: list[Pattern], rng: random.Random, slots: Mapping[str, str]) -> str:
        """One expansion of some patterns."""
        return re.sub(r" (?=[.,!?](?:\s|$))", "", join(rng.choice(patterns).expand(rng, slots)))

    def person(self, rng: random.Random) -> str:
        """A first name, one of four invented."""
        return self.sources.draw("people", rng)["user"]

    def slots(self, rng: random.Random) -> dict[str, str]:
        """Names and numbers that values are made of."""
        first, last = self.person(rng), invented_name(rng)
        if rng.random() < 0.6:
            last = self.raw("last_name", rng)
        return {
            "first": first,
            "full": f"{first} {last}",
            "last": last,
            "zorb": invented_name(rng),
            "digits": str(rng.choice([rng.randint(2, 30), rng.randint(10, 99), rng.randint(100, 999)])),
            "code": str(rng.randint(1000, 9999)),
            "small": str(rng.randint(2, 12)),
        }

    def name(self, rng: random.Random) -> str:
        """A name for an assistant: a first name, an invented one, or one of two words."""
        return self.raw("assistant_name", rng, **self.slots(rng))

    def word(self, rng: random.Random) -> str:
        """A word or phrase that somebody might want to hear in every answer; some are invented."""
        return self.raw("phrase", rng, **{key: value.lower() for key, value in self.slots(rng).items()})
