"""The notation of `data/*.txt`: intents, their turns, and patterns that stand for many sentences.

A file is a list of macros and intents:

    <ask> = (can|could) you [please] tell me | i would like to know

    == capital rows=countries weight=6
    ? <ask> the capital of {country}
    ! The capital of {country} is {capital}.
    1 {capital}

`?` is something a user may say, `!` a reply, `1` the reply when asked to answer in one word. A `?` after a `!`
begins the next turn of the same intent; `~` in between lets other intents come between the two turns. In a
pattern `(a|b)` is a choice, `[a|b]` a choice or nothing, `<name>` a macro, `{slot}` a value of the intent's row
and `{a:slot}` the value with its article. `#` begins a comment line.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

TOKEN = re.compile(r"[()\[\]|]|<[a-z_]+>|\{[a-z0-9_:]+\}|[^()\[\]|<{]+")

VOWEL = re.compile(
    r"(?!eu|ewe|one\b|once|uni(?!n|mp|d)|ukulele|uru|url|us[eu]|ut[eo]|ufo)[aeiou]|hono|hour|honest|heir", re.IGNORECASE
)
"""The beginnings that sound like a vowel; `unicorn`, `European` and `one` do not."""


class GrammarError(ValueError):
    """A data file does not follow the notation; the message names the file and the line."""


@dataclass(frozen=True)
class Piece:
    """A stretch of expanded text; `fixed` marks a slot's value, which damage must leave readable."""

    text: str
    fixed: bool = False


@dataclass
class Turn:
    """One exchange of an intent: the patterns of the user and of the reply."""

    asks: list[Pattern] = field(default_factory=list)
    replies: list[Pattern] = field(default_factory=list)
    one_word: list[Pattern] = field(default_factory=list)
    after_gap: bool = False


@dataclass
class Intent:
    """A named exchange of one or more turns; `rows` names the source that fills its slots."""

    name: str
    rows: str | None
    weight: float
    turns: list[Turn] = field(default_factory=list)


class Pattern:
    """A compiled pattern: a choice of sequences of texts, slots, macros and nested patterns."""

    def __init__(self, source: str, macros: Mapping[str, Pattern]) -> None:
        self.source = source
        self._macros = macros
        tokens = TOKEN.findall(source)
        if "".join(tokens) != source:
            raise GrammarError(f"cannot read the pattern {source!r}")
        self._choices, rest = self._parse(tokens, 0, None)
        if rest != len(tokens):
            raise GrammarError(f"unbalanced brackets in {source!r}")

    def _parse(self, tokens: list[str], at: int, closing: str | None) -> tuple[list[list[object]], int]:
        choices: list[list[object]] = [[]]
        while at < len(tokens):
            token = tokens[at]
            at += 1
            if token == closing:
                return choices, at
            if token == "|":
                choices.append([])
            elif token in "([":
                inner, at = self._parse(tokens, at, ")" if token == "(" else "]")
                choices[-1].append((token, inner))
            elif token in ")]":
                raise GrammarError(f"unbalanced brackets in {self.source!r}")
            else:
                choices[-1].append(token)
        if closing is not None:
            raise GrammarError(f"unbalanced brackets in {self.source!r}")
        return choices, at

    def expand(self, rng: random.Random, slots: Mapping[str, str]) -> list[Piece]:
        """One sentence of the pattern, as pieces; raises KeyError for a slot that the row does not have."""
        return list(self._walk(self._choices, rng, slots))

    def _walk(self, choices: list[list[object]], rng: random.Random, slots: Mapping[str, str]) -> Iterator[Piece]:
        for token in rng.choice(choices):
            if isinstance(token, tuple):
                bracket, inner = token
                if bracket == "(" or rng.random() < 0.4:
                    yield from self._walk(inner, rng, slots)
            elif isinstance(token, str) and token.startswith("{"):
                yield Piece(slot_value(token[1:-1], slots), fixed=True)
            elif isinstance(token, str) and token.startswith("<"):
                yield from self._macros[token[1:-1]].expand(rng, slots)
            else:
                yield Piece(str(token))


def slot_value(name: str, slots: Mapping[str, str]) -> str:
    """The value of a slot, with its article for `a:name`."""
    if name.startswith("a:"):
        return with_article(slots[name[2:]])
    return slots[name]


def with_article(value: str) -> str:
    """The value with `a` or `an`, by how it sounds: an hour, a unicorn, an F."""
    lettered = re.match(r"[A-Z]\b", value) is not None
    vowel = value[0] in "AEFHILMNORSX" if lettered else VOWEL.match(value) is not None
    return f"{'an' if vowel else 'a'} {value}"


def join(pieces: list[Piece]) -> str:
    """The text of some pieces with single spaces."""
    return re.sub(r"\s+", " ", "".join(piece.text for piece in pieces)).strip()


def read(paths: list[Path]) -> list[Intent]:
    """The intents of some files; macros are shared by all files, whatever the order."""
    macros: dict[str, Pattern] = {}
    intents: list[Intent] = []
    for path in paths:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            try:
                _read_line(line.strip(), macros, intents)
            except (GrammarError, ValueError, IndexError) as error:
                raise GrammarError(f"{path.name}:{number}: {error}") from error
    for intent in intents:
        if not all(turn.asks and turn.replies for turn in intent.turns) or not intent.turns:
            raise GrammarError(f"intent {intent.name}: every turn wants `?` and `!` lines")
    return intents


def _read_line(line: str, macros: dict[str, Pattern], intents: list[Intent]) -> None:
    if not line or line.startswith("#"):
        return
    if line.startswith("<") and re.match(r"<[a-z_]+> = ", line):
        name, _, pattern = line.partition(" = ")
        macros[name[1:-1]] = Pattern(pattern, macros)
        return
    mark, _, rest = line.partition(" ")
    if mark == "==":
        name, *options = rest.split()
        chosen = dict(option.split("=") for option in options)
        intents.append(Intent(name, chosen.get("rows"), float(chosen.get("weight", "1"))))
        return
    turns = intents[-1].turns
    if mark == "~":
        turns.append(Turn(after_gap=True))
    elif mark == "?":
        if not turns or turns[-1].replies:
            turns.append(Turn())
        turns[-1].asks.append(Pattern(rest, macros))
    elif mark == "!":
        turns[-1].replies.append(Pattern(rest, macros))
    elif mark == "1":
        turns[-1].one_word.append(Pattern(rest, macros))
    else:
        raise GrammarError(f"a line begins with {mark!r}; expected ==, ?, !, 1, ~ or a macro")
