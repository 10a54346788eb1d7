"""What happens to a user's words before the model sees them: a transcriber's damage, or somebody's typing.

The damage is what PocketSphinx did to sentences that espeak-ng said: `data/heard.tsv` and `data/heard_values.tsv`,
made by `hear.py`.
"""

from __future__ import annotations

import functools
import random
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from .grammar import Piece, join
from .heard import LONGEST_SAID, Unit, distance, plain, table_of, units, word_errors
from .number_words import NUMBER_WORDS, ONES, ORDINALS, TENS, words
from .sources import DATA, Row, read_table

FILLERS = ["um", "uh", "well", "so", "like", "hm", "okay", "and", "oh", "the", "a"]
CUT = 0.04
"""How often, at amount 1, a sentence loses its first word, and as often its last: the voice was noticed too late."""

FILLER = 0.08
DOUBT = 2.0
"""How many times more a span is taken to have been heard right than was counted: few counts prove little."""

MOST_WRONG = 0.6
"""Of its words; a sentence that is worse than this can be understood by nobody, and is damaged again more mildly."""

MOST_UNLIKE, SPAN_UNLIKE = 0.65, 0.75
"""Sounds changed, of those of a value, and of those of ordinary words: there the others help."""

LIKE_KEPT = 20_000

SAME_SOUND = frozenset(["to", "too", "for", "won", "ate", "for a"])
"""What a number may become although it is so short."""

EMPTY = frozenset(
    "a an the and or of in on it its it's is are was i i'm you we he she they that this those these to too at for with "
    "what who how when where which there their then than not no yes do does did has have had will would can could me "
    "my your our his her from by be been as but if so up out one all any some them him us very just like well".split()
)
"""Words that are heard everywhere: made of these alone, nothing can be recognised."""

NUMERALS = frozenset([*ONES, *TENS, *ORDINALS, "hundred", "thousand"]) - {"one"}


@dataclass
class Forms:
    """What something is heard as when it is not heard right, and how often that happens."""

    rate: float
    forms: list[str]
    weights: list[int]

    def draw(self, rng: random.Random) -> str:
        """One of the forms."""
        return rng.choices(self.forms, cum_weights=self.weights)[0]


class Heard:
    """The tables of what was heard."""

    def __init__(self, spans: Sequence[Row], values: Sequence[Row]) -> None:
        self.spans: dict[str, Forms] = {}
        self.known: dict[tuple[str, int], list[str]] = defaultdict(list)
        self.mean = 0.0
        self._like: dict[str, list[str]] = {}
        self._read_spans(spans)
        self.values = {key: forms for key, forms in _read_values(values).items() if forms.forms}

    def _read_spans(self, rows: Sequence[Row]) -> None:
        wrong: dict[str, dict[str, int]] = defaultdict(dict)
        of: dict[str, int] = {}
        for row in rows:
            of[row["said"]] = int(row["of"])
            if row["heard"] != row["said"] and understandable(row["said"], row["heard"], int(row["times"])):
                wrong[row["said"]][row["heard"]] = int(row["times"])
        single = {said: times for said, times in of.items() if said and " " not in said}
        errors = sum(sum(wrong[said].values()) for said in single)
        self.mean = errors / max(1, sum(single.values()))
        for said, times in of.items():
            doubt = 0.0 if said == "" else DOUBT * (1 if " " not in said else 2)
            rate = (sum(wrong[said].values()) + (doubt * self.mean if said in single else 0)) / (times + doubt)
            if wrong[said]:
                self.spans[said] = Forms(rate, list(wrong[said]), list(accumulate(wrong[said].values())))
            if said in single and times > 1:
                self.known[said[0], len(said)].append(said)
        self.heard_often = {said for said, times in single.items() if times > 1}

    def like(self, word: str) -> list[str]:
        """Known words that sound a little like one that was never said."""
        found = self._like.get(word)
        if found is None:
            near = [other for length in range(-1, 2) for other in self.known.get((word[0], len(word) + length), [])]
            found = [other for other in near if other != word and distance(word, other) <= 0.4 * len(word)]
            if len(self._like) < LIKE_KEPT:
                self._like[word] = found
        return found


def _read_values(rows: Sequence[Row]) -> dict[tuple[str, str], Forms]:
    """The forms by which a value can still be recognised, by source and value."""
    counts: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    by_form: dict[tuple[str, str], int] = defaultdict(int)
    for row in rows:
        counts[row["source"], row["value"]][row["heard"]] = int(row["times"])
        by_form[row["source"], row["heard"]] += int(row["times"])
    names = {source: _all_of(source, [value for other, value in counts if other == source]) for source, _ in counts}
    found: dict[tuple[str, str], Forms] = {}
    for (source, value), forms in counts.items():
        usable = {
            form: times
            for form, times in forms.items()
            if times >= 0.75 * by_form[source, form] and recognisable(value, form, names[source])
        }
        rate = sum(usable.values()) / (sum(forms.values()) + 1)
        found[source, value] = Forms(rate, list(usable), list(accumulate(usable.values())))
    return found


def _all_of(source: str, heard: Sequence[str]) -> frozenset[str]:
    """Everything that a table knows, in plain words."""
    path = DATA / f"{source}.tsv"
    cells = [cell for row in read_table(path) for cell in row.values()] if path.exists() else []
    return frozenset([*heard, *(plain(cell) for cell in cells if len(cell) < 40)])


def understandable(said: str, heard: str, times: int) -> bool:
    """Whether what was heard of a span says something: it came often, was of little weight, or sounds alike.

    To guess what else was said is not what the model shall learn; nor does a number become another, nor a yes a no.
    """
    if weighty(said) != weighty(heard):
        return False
    if times >= 3 or all(word in EMPTY for word in said.split()):
        return True
    return distance(said, heard) <= SPAN_UNLIKE * len(said.replace(" ", ""))


def weighty(text: str) -> set[str]:
    """The words of a text that nothing may change: its numbers, and whether it denies."""
    split = text.split()
    return {word for word in split if word in NUMERALS} | {"not" for word in split if word == "not" or "n't" in word}


def recognisable(value: str, form: str, others: frozenset[str]) -> bool:
    """Whether a form is no value of its own, has something to be recognised by, and sounds like the value."""
    if form == value:
        return False
    if form in SAME_SOUND and (value in NUMERALS or value == "one"):
        return True
    split = form.split()
    if form in others or any(word in others and word not in value.split() for word in split):
        return False
    if any(word in NUMERALS for word in split) or value in {"plus", "minus", "times"}:
        return False
    telling = [word for word in split if word not in EMPTY and len(word) > 3]
    return bool(telling) and distance(value, form) <= MOST_UNLIKE * len(value.replace(" ", ""))


@functools.cache
def load() -> Heard:
    """The tables in `data`, and what the table of countries says that they may be heard as."""
    values = read_table(DATA / "heard_values.tsv")
    known = {(row["source"], row["value"], row["heard"]) for row in values}
    for row in read_table(DATA / "countries.tsv"):
        for form in filter(None, (plain(form) for form in row.get("heard", "").split(","))):
            key = ("countries", plain(row["country"]), form)
            if key not in known:
                values.append(dict(zip(("source", "value", "heard"), key, strict=True)) | {"times": "1"})
    return Heard(read_table(DATA / "heard.tsv"), values)


def spoken(pieces: list[Piece], rng: random.Random, amount: float, rows: str | None = None) -> str:
    """The words as a small transcriber writes them: lower case, no punctuation, mangled where it misheard.

    At `amount` 1 as many spans are misheard as PocketSphinx mishears, at 0 none. Values are misheard only if
    `rows` names the source that they are from, and then only as something that nothing else of that source is heard as.
    """
    said = units(pieces, table_of(rows))
    reference = [word for unit in said for word in unit.text.split()]
    while amount > 0.05:
        heard = _mishear(said, rng, amount, load())
        if heard and word_errors(reference, heard) <= max(1.0, MOST_WRONG * len(reference)):
            return " ".join(heard)
        amount /= 2
    return " ".join(reference) or join(pieces).lower()


def _mishear(said: Sequence[Unit], rng: random.Random, amount: float, tables: Heard) -> list[str]:
    first, last = 0, len(said)
    if last > 3 and said[0].source is None and rng.random() < amount * CUT:
        first += 1
    if last > 3 and said[-1].source is None and rng.random() < amount * CUT:
        last -= 1
    heard = [rng.choice(FILLERS)] if rng.random() < amount * FILLER else []
    noise = tables.spans.get("")
    at = first
    while at < last:
        if noise and rng.random() < amount * noise.rate:
            heard += noise.draw(rng).split()
        form, count = _mishear_first(said[at:last], rng, amount, tables)
        heard += form.split()
        at += count
    return heard


def _mishear_first(said: Sequence[Unit], rng: random.Random, amount: float, tables: Heard) -> tuple[str, int]:
    """What is heard of the first unit or the first few, and of how many."""
    unit = said[0]
    if unit.source is not None:
        forms = tables.values.get((unit.source, unit.text))
        return (forms.draw(rng) if forms and rng.random() < amount * forms.rate else unit.text), 1
    ordinary = next((index for index, each in enumerate(said) if each.source is not None), len(said))
    for length in range(min(LONGEST_SAID, ordinary), 0, -1):
        forms = tables.spans.get(" ".join(each.text for each in said[:length]))
        if forms and rng.random() < amount * forms.rate:
            return forms.draw(rng), length
    if unit.text not in tables.heard_often and rng.random() < amount * tables.mean:
        return rng.choice(tables.like(unit.text) or [unit.text]), 1
    return unit.text, 1


@dataclass
class Hand:
    """How somebody types."""

    lower: bool
    apostrophes: bool
    digits: bool
    mark: bool
    slips: float
    short: bool


SHORT = {"you": "u", "please": "pls", "thanks": "thx", "are": "r", "your": "ur", "because": "cuz", "okay": "ok"}
SIGNS = {"plus": ["+"], "minus": ["-"], "times": ["*", "x"], "divided by": ["/"], "multiplied by": ["*", "x"]}
NEIGHBOURS = {
    letter: row[max(0, at - 1) : at] + row[at + 1 : at + 2]
    for row in ("qwertyuiop", "asdfghjkl", "zxcvbnm")
    for at, letter in enumerate(row)
}
DIGITS = {words(value): str(value) for value in range(1000)}
QUESTION = re.compile(
    r"(?:\w+ )?(?:what|who|how|when|where|which|why|can|could|would|will|do|does|did|is|are|have|what's|whats)\b",
    re.IGNORECASE,
)


def draw_hand(rng: random.Random) -> Hand:
    """A careful, an ordinary or a careless one."""
    kind = rng.choices(["careful", "ordinary", "careless"], [45, 30, 25])[0]
    if kind == "careful":
        return Hand(False, True, rng.random() < 0.6, rng.random() < 0.95, 0.0, False)
    if kind == "ordinary":
        return Hand(rng.random() < 0.5, rng.random() < 0.8, rng.random() < 0.6, rng.random() < 0.5, 0.03, False)
    return Hand(True, rng.random() < 0.3, rng.random() < 0.7, rng.random() < 0.2, 0.08, rng.random() < 0.3)


def written(pieces: list[Piece], rng: random.Random, rows: str | None = None) -> str:
    """The words as somebody types them: with or without capitals, marks, apostrophes; with digits and slips.

    Values are typed as they are, but for their capitals, and but for the numbers of sums and the like.
    """
    hand = draw_hand(rng)
    numbers = table_of(rows) == "numbers" or (rows or "").removeprefix("pairs:") in {"outside_sums", "hard_sums"}
    typed = []
    for piece in pieces:
        if not piece.fixed:
            typed.append(Piece(_type(piece.text, hand, rng)))
        elif numbers and hand.digits:
            typed.append(Piece(_in_digits(piece.text, rng)))
        else:
            typed.append(piece)
    text = join(typed) or join(pieces)
    if hand.lower:
        text = text.lower()
    else:
        text = re.sub(r"\bi\b(?=[ ']|$)", "I", text)
        text = text[:1].upper() + text[1:]
    if hand.mark and text[-1:].isalnum():
        text += rng.choice(["?"] * 12 + ["??"]) if QUESTION.match(text) else rng.choice([".", ".", ".", "!"])
    return text.upper() if rng.random() < 0.01 else text


def _in_digits(text: str, rng: random.Random) -> str:
    if text in SIGNS:
        return rng.choice(SIGNS[text]) if rng.random() < 0.6 else text
    return DIGITS.get(text, text)


def _type(text: str, hand: Hand, rng: random.Random) -> str:
    """Ordinary words, typed."""
    if not hand.apostrophes:
        text = text.replace("'", "")
    if hand.digits:
        text = re.sub(r"[a-z]+", lambda found: NUMBER_WORDS.get(found[0], found[0]), text)
    if hand.short:
        text = re.sub(r"[a-z']+", lambda found: SHORT.get(found[0], found[0]), text)
    if hand.slips:
        text = re.sub(r"[a-z]{3,}", lambda found: _slip(found[0], rng) if rng.random() < hand.slips else found[0], text)
    return text


def _slip(word: str, rng: random.Random) -> str:
    """A word with one wrong stroke."""
    at = rng.randrange(1, len(word))
    kind = rng.randrange(4)
    if kind == 0:
        return word[: at - 1] + word[at] + word[at - 1] + word[at + 1 :]
    if kind == 1:
        return word[:at] + word[at + 1 :]
    if kind == 2:
        return word[:at] + word[at] + word[at:]
    return word[:at] + rng.choice(NEIGHBOURS.get(word[at], word[at])) + word[at + 1 :]
