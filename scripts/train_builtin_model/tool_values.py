"""Values for the arguments and results of functions: as spoken, as typed, as given, as told in a reply."""

from __future__ import annotations

import random
import re
from typing import Any, NamedTuple

from .number_words import words
from .sources import DATA

INVENTED = 0.12
"""How many names of an open pool are invented words, so that values get copied and not recalled."""

STARTS = "b br c ch d dr f fl g gl gr h j k kr l m n p pl qu r s sh sk sl st t th tr v w y z".split()
VOWELS = "a e i o u a e i o ai ea oo ou".split()
ENDS = "b ck d g l ll m n nd ng p r rt s st t x rn sk".split()


class Value(NamedTuple):
    """One value: what a user says, what one types, the argument or result, and what the assistant tells."""

    said: str
    typed: str
    given: Any
    told: str


def invented(rng: random.Random) -> str:
    """A pronounceable word that does not exist."""
    syllables = rng.choice([1, 2, 2, 2, 3])
    start = "".join(rng.choice(STARTS) + rng.choice(VOWELS) for _ in range(syllables))
    return start + (rng.choice(ENDS) if syllables == 1 or rng.random() < 0.6 else "")


def title(text: str) -> str:
    """Every word with a capital."""
    return " ".join(word[:1].upper() + word[1:] for word in text.split())


def number_words(value: float) -> str:
    """A number as it is spoken: `three point five`, `two thousand four hundred`."""
    if isinstance(value, float) and value != int(value):
        whole, part = f"{abs(value):.2f}".rstrip("0").split(".")
        sign = "minus " if value < 0 else ""
        return f"{sign}{words(int(whole))} point {' '.join(words(int(digit)) for digit in part)}"
    value = int(value)
    if abs(value) < 1000:
        return words(value)
    rest = value % 1000
    joined = f" {'and ' if rest < 100 else ''}{words(rest)}" if rest else ""
    return f"{words(value // 1000)} thousand{joined}"


def clock_words(clock: str) -> str:
    """`14:30` is `fourteen thirty`, `08:00` is `eight o'clock`."""
    hour, minute = (int(part) for part in clock.split(":"))
    if minute == 0:
        return f"{words(hour)} o'clock" if 0 < hour <= 12 else f"{words(hour)} hundred"
    return f"{words(hour)} {'oh ' if minute < 10 else ''}{words(minute)}"


def number(value: float) -> Value:
    """A number."""
    text = number_words(value)
    return Value(text, str(value), value, text)


def time_of_day(rng: random.Random) -> Value:
    """A time as a user says it; the argument is HH:MM where that is asked for."""
    hour, minute = rng.randint(1, 12), rng.choice([0, 0, 0, 30, 30, 15, 45, 20, 10, 40, 50])
    half = rng.choice([None, None, "am", "pm"])
    full = hour % 12 + (12 if half == "pm" else 0) if half else hour
    given = f"{full:02}:{minute:02}"
    typed = f"{hour}{f':{minute:02}' if minute else ''}"
    if half:
        moment = "in the morning" if half == "am" else ("in the evening" if 5 <= hour < 12 else "in the afternoon")
        moment = "at night" if full in (0, 1, 2) else moment
        said = words(hour) + (f" {words(minute)}" if minute else "") + f" {moment}"
        return Value(said, f"{typed} {half}", given, said)
    following = words(hour % 12 + 1)
    ways = {
        0: [f"{words(hour)} o'clock", words(hour)],
        30: [f"half past {words(hour)}", f"{words(hour)} thirty"],
        15: [f"quarter past {words(hour)}", f"{words(hour)} fifteen"],
        45: [f"quarter to {following}", f"{words(hour)} forty five"],
    }
    said = rng.choice(ways.get(minute, [f"{words(hour)} {words(minute)}"]))
    return Value(said, typed if minute else f"{hour} o'clock", given, said)


def digits(rng: random.Random, count: int) -> Value:
    """A number read digit by digit, such as an order's."""
    text = str(rng.randint(10 ** (count - 1), 10**count - 1))
    said = " ".join(words(int(digit)) for digit in text)
    return Value(said, text, text, said)


def listed(values: list[Value], rng: random.Random) -> Value:
    """Some values as a list: `milk, eggs and bread`."""
    texts = [value.told for value in values]
    joined = texts[0] if len(texts) == 1 else ", ".join(texts[:-1]) + f" and {texts[-1]}"
    plain = all(" " not in text for text in texts) and rng.random() < 0.6
    said = joined.replace(",", "") if plain else " and ".join(value.said for value in values)
    return Value(said, joined, [value.given for value in values], joined)


class Pools:
    """Draws values by a specification: a pool's name, `n(1,60)`, `enum(a:spoken~spoken,b)`, `list(grocery)` …"""

    def __init__(self) -> None:
        self.pools: dict[str, tuple[str, list[str]]] = {}
        for line in (DATA / "tools" / "values.txt").read_text(encoding="utf-8").splitlines():
            if line.strip() and not line.startswith("#"):
                head, _, values = line.partition(":")
                name, *marks = head.split()
                self.pools[name] = (" ".join(marks), [value.strip() for value in values.split(",")])
        names = (DATA / "names.tsv").read_text(encoding="utf-8").split("\n")[1:]
        self.pools["person"][1].extend(name.split("\t")[0].lower() for name in names if name.strip())
        countries = [row.split("\t") for row in (DATA / "countries.tsv").read_text(encoding="utf-8").split("\n")[1:]]
        cities = [row[1].lower() for row in countries if len(row) > 1]
        self.pools["city"][1].extend(city for city in cities if re.fullmatch("[a-z ]+", city))

    def known(self, spec: str) -> bool:
        """Whether a specification can be drawn."""
        kind, inner = split(spec)
        if kind == "list":
            return self.known(inner)
        return kind in self.pools or kind in ("n", "f", "enum", "onoff", "yn", "digits", "time", "clock", "price")

    def draw(self, spec: str, rng: random.Random) -> Value:
        """One value."""
        kind, inner = split(spec)
        if kind in self.pools:
            return self._word(kind, rng)
        if kind == "list":
            count = rng.choices([1, 2, 3, 4], [2, 5, 5, 1])[0]
            chosen = {value.told: value for value in (self.draw(inner, rng) for _ in range(count))}
            return listed(list(chosen.values()), rng)
        return drawn(kind, inner, rng)

    def _word(self, pool: str, rng: random.Random) -> Value:
        marks, values = self.pools[pool]
        if "open" in marks and rng.random() < INVENTED:
            text = invented(rng) if rng.random() < 0.7 else f"{invented(rng)} {invented(rng)}"
        else:
            text = rng.choice(values)
        text = re.sub(r"\bi\b", "I", text)
        while found := re.search(r"\{(\w+)\}", text):
            text = text[: found.start()] + self._word(found[1], rng).told + text[found.end() :]
        shown = title(text) if "proper" in marks else text
        return Value(shown.lower(), shown, shown, shown)


def split(spec: str) -> tuple[str, str]:
    """`n(1,60)` is `n` and `1,60`."""
    kind, _, inner = spec.partition("(")
    return kind, inner.removesuffix(")")


def drawn(kind: str, inner: str, rng: random.Random) -> Value:
    """A computed value."""
    if kind == "enum":
        value, said = rng.choice(choices(inner))
        return Value(said, said, value, said)
    if kind in ("onoff", "yn"):
        yes = rng.random() < 0.5
        word = ("on" if yes else "off") if kind == "onoff" else ("yes" if yes else "no")
        return Value(word, word, yes, word)
    if kind == "clock":
        clock = f"{rng.randint(6, 22):02}:{rng.randrange(0, 60, 5):02}"
        return Value(clock_words(clock), clock, clock, clock_words(clock))
    return time_of_day(rng) if kind == "time" else amount(kind, [int(part) for part in inner.split(",")], rng)


def amount(kind: str, limits: list[int], rng: random.Random) -> Value:
    """A number between limits: whole, with a decimal, in digits, or a price."""
    if kind == "digits":
        return digits(rng, limits[0])
    low, high, *step = limits
    if kind == "n":
        return number(rng.randrange(low, high + 1, step[0] if step else 1))
    if kind == "f":
        return number(round(rng.randint(low * 10, high * 10) / 10, 1))
    whole, cents = rng.randint(low, high), rng.choice([0, 0, 0.5, 0.2, 0.9, 0.75])
    said = f"{number_words(whole)} euro{'' if whole == 1 else 's'}" + (f" {words(round(cents * 100))}" if cents else "")
    value = whole + cents if cents else whole
    return Value(said, f"{value} euros", value, said)


def choices(inner: str) -> list[tuple[str, str]]:
    """The values of an `enum(…)` with each way of saying them."""
    pairs = []
    for part in inner.split(","):
        value, _, ways = part.strip().partition(":")
        pairs += [(value, way) for way in [value.replace("_", " "), *filter(None, ways.split("~"))]]
    return pairs
