"""Rows that are computed: sums, numbers, days, months, letters, and what is compared or drawn from several rows.

Facts are dealt from shuffled decks, so that each of them comes about equally often.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import count, product

from .deck import Deck
from .number_words import words

Row = dict[str, str]
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = "January February March April May June July August September October November December".split()
ORDINALS = (
    "zeroth first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth "
    "fifteenth sixteenth seventeenth eighteenth nineteenth twentieth twenty-first twenty-second twenty-third "
    "twenty-fourth twenty-fifth twenty-sixth"
).split()
SEASONS = ["winter"] * 2 + ["spring"] * 3 + ["summer"] * 3 + ["autumn"] * 3 + ["winter"]
THINGS = (
    "apples sweets books pencils eggs cookies marbles balloons coins stickers oranges cakes toys flowers cards stamps "
    "biscuits shells buttons grapes plums bananas carrots tickets cups crayons nuts strawberries ducks sheep"
).split()
VOWELS = "AEIOU"
ODD_HALVES = 30
"""Up to this, odd numbers are halved too."""

SPOKEN = {
    "plus": ["plus", "plus", "plus", "and", "added to"],
    "minus": ["minus", "minus", "minus", "take away"],
    "times": ["times", "times", "times", "multiplied by"],
    "divided by": ["divided by", "divided by", "over"],
}


Fact = tuple[int, str, int]
"""Two numbers with the operation in between."""


def easy_up_to_hundred() -> Iterator[Fact]:
    """Sums and differences beyond twenty that are easy: with a small, a round, or two handy numbers."""
    for left, right in product(range(1, 101), repeat=2):
        small = min(left, right) < 10
        tens = left % 10 == 0 or right % 10 == 0
        fives = left % 5 == 0 and right % 5 == 0
        if max(left, right) > 20 and left + right <= 100 and (small or tens or fives):
            yield left, "plus", right
        if left > 20 and left >= right and (right < 10 or right % 10 == 0 or fives):
            yield left, "minus", right


FACTS: dict[str, list[Fact]] = {
    "plus": [(left, "plus", right) for left, right in product(range(21), repeat=2)],
    "minus": [(left, "minus", right) for left in range(21) for right in range(left + 1)],
    "times": [(left, "times", right) for left, right in product(range(13), repeat=2)],
    "divided by": [(a * b, "divided by", a) for a, b in product(range(1, 13), repeat=2)],
    "easy": list(easy_up_to_hundred()),
    "below": [(left, "minus", right) for left in range(11) for right in range(left + 1, 13)],
    "tens": [(10, "times", n) for n in range(13, 21)]
    + [(n * 10, "divided by", 10) for n in range(13, 21)]
    + [(100, "divided by", n) for n in (2, 4, 5, 10, 20, 25, 50)]
    + [(2, "times", n) for n in range(13, 51)]
    + [(2 * n, "divided by", 2) for n in range(13, 51)]
    + [(100, "plus", n) for n in range(1, 101)]
    + [(100, "minus", n) for n in range(1, 100)]
    + [(n, "plus", m) for n in range(91, 100) for m in range(101 - n, 21)]
    + [(n * 10, "times", m) for n in range(2, 10) for m in range(2, 10)]
    + [(m, "times", n * 10) for n in range(2, 10) for m in range(2, 10)]
    + [(n * 10, "plus", m * 10) for n in range(1, 20) for m in range(1, 20) if n + m > 10]
    + [(n * 100, "plus", m * 100) for n in range(1, 9) for m in range(1, 10 - n)],
}
SHARES = {"plus": 26, "minus": 18, "times": 26, "divided by": 12, "easy": 12, "below": 2, "tens": 5}


def result(fact: Fact) -> int:
    """What a fact comes to."""
    left, operation, right = fact
    if operation == "plus":
        return left + right
    if operation == "minus":
        return left - right
    return left * right if operation == "times" else left // right


def fact_row(fact: Fact, rng: random.Random) -> Row:
    """The slots of a fact: its terms, the words of its operation as given and as said, and its result."""
    left, operation, right = fact
    spoken = rng.choice(SPOKEN[operation])
    return {
        "x": words(left),
        "y": words(right),
        "operation": operation,
        "spoken": spoken,
        "z": words(result(fact)),
        "things": rng.choice(THINGS),
    }


class Sums:
    """Deals the facts of arithmetic; `rows` are the sources made of them."""

    def __init__(self) -> None:
        self.decks = {name: Deck(facts) for name, facts in FACTS.items()}
        self.stories = {
            "gains": Deck([(a, "plus", b) for a, b in product(range(2, 13), repeat=2)]),
            "losses": Deck([(a, "minus", b) for a in range(4, 21) for b in range(2, a - 1)]),
            "groups": Deck([(a, "times", b) for a, b in product(range(2, 11), repeat=2)]),
            "shares": Deck([(a * b, "divided by", a) for a, b in product(range(2, 11), range(2, 11))]),
        }
        self.rests = Deck([(a, b) for b in range(2, 10) for a in range(b + 1, 31) if a % b])
        self.triples = Deck(list(product(range(1, 11), repeat=3)))
        self.rows: dict[str, Callable[[random.Random], Row]] = {
            "sums": self.any,
            "additions": self._of("plus", "plus", "easy"),
            "subtractions": self._of("minus", "minus", "easy"),
            "products": self._of("times", "times"),
            "divisions": self._of("divided by", "divided by"),
            "remainders": self._remainder,
            "triples": self._triple,
            "hard_sums": hard_sum_row,
            "chained": self._chain,
            **{name: self._story(deck) for name, deck in self.stories.items()},
        }

    def any(self, rng: random.Random) -> Row:
        """Some fact."""
        name = rng.choices(list(SHARES), list(SHARES.values()))[0]
        return fact_row(self.decks[name].deal(rng), rng)

    def _of(self, operation: str, *names: str) -> Callable[[random.Random], Row]:
        def draw(rng: random.Random) -> Row:
            name = names[0] if rng.random() < 0.75 else names[-1]
            fact = self.decks[name].deal(rng)
            while fact[1] != operation:
                fact = self.decks[name].deal(rng)
            return fact_row(fact, rng)

        return draw

    def _story(self, deck: Deck[Fact]) -> Callable[[random.Random], Row]:
        return lambda rng: fact_row(deck.deal(rng), rng)

    def _chain(self, rng: random.Random) -> Row:
        """A sum to which something is added, or from which it is taken, in the next turn."""
        fact = self.decks[rng.choice(["plus", "plus", "minus", "times"])].deal(rng)
        row, made = fact_row(fact, rng), result(fact)
        more, less = rng.randint(1, 10 if made < 91 else 9), rng.randint(0, min(made, 9))
        return row | {
            "v": words(more),
            "w": words(made + more),
            "less": words(less),
            "u": words(made - less),
            "double": words(2 * made),
        }

    def _remainder(self, rng: random.Random) -> Row:
        left, right = self.rests.deal(rng)
        return {"x": words(left), "y": words(right), "z": words(left // right), "rest": words(left % right)}

    def _triple(self, rng: random.Random) -> Row:
        x, y, v = self.triples.deal(rng)
        if rng.random() < 0.3 and x + y > v:
            return {"x": words(x), "y": words(y), "v": words(v), "last": "minus", "z": words(x + y - v)}
        return {"x": words(x), "y": words(y), "v": words(v), "last": "plus", "z": words(x + y + v)}


def hard_sum_row(rng: random.Random) -> Row:
    """A sum beyond what the model has learned, whole, as `hard`."""
    return {"hard": rng.choice(HARD)(rng)}


def hard_addition(rng: random.Random) -> str:
    """Two numbers of two digits, neither of them round, nor both of them handy."""
    first, second = rng.randint(21, 90), rng.randint(11, 90)
    while first % 10 == 0 or second % 10 == 0 or (first % 5 == 0 and second % 5 == 0):
        first, second = rng.randint(21, 90), rng.randint(11, 90)
    if rng.random() < 0.5:
        return f"{words(first)} {rng.choice(SPOKEN['plus'])} {words(second)}"
    return f"{words(max(first, second))} {rng.choice(SPOKEN['minus'])} {words(min(first, second))}"


def hard_product(rng: random.Random) -> str:
    """A number beyond the tables times another that is neither one, two nor ten."""
    big = rng.choice([n for n in range(13, 100) if n % 10] * 2 + list(range(101, 1000)))
    other = rng.choice([n for n in range(3, 100) if n % 10])
    pair = [words(big), words(other)]
    rng.shuffle(pair)
    return f"{pair[0]} {rng.choice(SPOKEN['times'])} {pair[1]}"


def hard_quotient(rng: random.Random) -> str:
    """What is beyond the tables, and no hundred."""
    by = rng.choice([3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 17, 19])
    of = rng.randint(31, 400)
    while of == 100 or (of % by == 0 and of // by <= 12):
        of = rng.randint(31, 400)
    return f"{words(of)} {rng.choice(SPOKEN['divided by'])} {words(by)}"


def hard_large(rng: random.Random) -> str:
    """With hundreds or thousands."""
    large = rng.choice([words(rng.randint(201, 999)), f"{words(rng.randint(1, 99))} thousand"])
    return f"{large} {rng.choice(['plus', 'minus', 'times', 'divided by', 'and'])} {words(rng.randint(101, 199) | 1)}"


def hard_root(rng: random.Random) -> str:
    """Roots and powers."""
    return rng.choice(
        [
            f"the square root of {words(rng.choice([n for n in range(2, 400) if int(n**0.5) ** 2 != n]))}",
            f"the cube root of {words(rng.randint(9, 900))}",
            f"{words(rng.randint(2, 20))} to the power of {words(rng.randint(4, 20))}",
            f"{words(rng.randint(13, 99))} squared",
        ]
    )


def hard_fraction(rng: random.Random) -> str:
    """Decimals and percentages."""
    decimal = f"{words(rng.randint(1, 20))} point {words(rng.randint(1, 9))}"
    return rng.choice(
        [
            f"{decimal} {rng.choice(['plus', 'minus', 'times', 'divided by'])} {words(rng.randint(2, 20))}",
            f"{words(rng.randint(3, 97) | 1)} percent of {words(rng.randint(30, 900))}",
        ]
    )


HARD = [hard_addition, hard_addition, hard_product, hard_product, hard_quotient, hard_large, hard_root, hard_fraction]


def weekday_row(rng: random.Random) -> Row:
    """A day, those around it, and its place in the week."""
    at = rng.randrange(7)
    return {
        "day": DAYS[at],
        "next": DAYS[(at + 1) % 7],
        "previous": DAYS[at - 1],
        "later": DAYS[(at + 2) % 7],
        "third": DAYS[(at + 3) % 7],
        "earlier": DAYS[at - 2],
        "place": ORDINALS[at + 1],
        "number": words(at + 1),
        "weekend": "part of the weekend" if at > 4 else "a weekday",
        "sure": "Yes" if at > 4 else "No",
    }


def month_row(rng: random.Random) -> Row:
    """A month, those around it, its place, length and season (north of the equator)."""
    at = rng.randrange(12)
    short = "thirty days" if at in (3, 5, 8, 10) else "thirty one days"
    return {
        "month": MONTHS[at],
        "next": MONTHS[(at + 1) % 12],
        "previous": MONTHS[at - 1],
        "later": MONTHS[(at + 2) % 12],
        "earlier": MONTHS[at - 2],
        "place": ORDINALS[at + 1],
        "number": words(at + 1),
        "days": "twenty eight days, or twenty nine in a leap year" if at == 1 else short,
        "season": SEASONS[at],
    }


def counting_row(rng: random.Random) -> Row:
    """Counting from one number to another, up or down."""
    first = 1 if rng.random() < 0.7 else rng.randint(1, 50)
    last = first + (rng.choice([2, 4, 4, 6, 9, 9, 9, 11, 14, 19, 19, 19, 24, 29]) if first == 1 else rng.randint(2, 10))
    numbers = [words(value) for value in range(first, last + 1)]
    shown = numbers[-20:]
    return {
        "first": words(first),
        "last": words(last),
        "up": ", ".join(numbers),
        "down": ", ".join(reversed(shown)),
        "bottom": shown[0],
    }


def step_row(rng: random.Random) -> Row:
    """Counting in steps: to a hundred by tens, to twenty by twos."""
    step = rng.choice([2, 2, 2, 3, 4, 5, 5, 5, 10, 10, 10])
    last = {2: rng.choice([10, 20, 20, 30]), 3: 30, 4: 40, 5: rng.choice([50, 50, 30]), 10: 100}[step]
    plurals = {2: "twos", 3: "threes", 4: "fours", 5: "fives", 10: "tens"}
    numbers = [words(value) for value in range(step, last + 1, step)]
    return {"step": words(step), "steps": plurals[step], "last": words(last), "up": ", ".join(numbers)}


class Numbers:
    """Deals numbers with what is around them."""

    def __init__(self) -> None:
        self.small = Deck(range(1, 31))
        self.all = Deck(range(1, 101))
        self.squares = Deck(range(1, 13))
        self.letters = Deck(range(26))
        self.rows: dict[str, Callable[[random.Random], Row]] = {
            "neighbours": self._neighbour,
            "squares": self._square,
            "compared": self._compared,
            "letters": self._letter,
            "inner_letters": self._inner_letter,
        }

    def _neighbour(self, rng: random.Random) -> Row:
        value = (self.small if rng.random() < 0.5 else self.all).deal(rng)
        even = value if value <= ODD_HALVES else value - value % 2
        rest = " and a half" if even % 2 else ""
        return {
            "number": words(value),
            "next": words(value + 1),
            "previous": words(value - 1),
            "later": words(value + 2),
            "parity": "odd" if value % 2 else "even",
            "double": words(2 * value),
            "even": words(even),
            "half": f"{words(even // 2)}{rest}" if even > 1 else "a half",
            "ten_more": words(value + 10),
        }

    def _square(self, rng: random.Random) -> Row:
        value = self.squares.deal(rng)
        return {"number": words(value), "square": words(value * value)}

    def _compared(self, rng: random.Random) -> Row:
        deck = self.small if rng.random() < 0.5 else self.all
        first = second = deck.deal(rng)
        while second == first:
            second = deck.deal(rng)
        bigger, smaller = max(first, second), min(first, second)
        return {"x": words(first), "y": words(second), "bigger": words(bigger), "smaller": words(smaller)} | sure(
            first > second
        )

    def _letter(self, rng: random.Random) -> Row:
        return letter_row(self.letters.deal(rng))

    def _inner_letter(self, rng: random.Random) -> Row:
        at = self.letters.deal(rng)
        while not 0 < at < 25:
            at = self.letters.deal(rng)
        return letter_row(at)


def sure(first_is_bigger: bool) -> Row:
    """Whether the first of two is the bigger one, and whether it is the smaller one."""
    return {"sure": "Yes", "less_sure": "No"} if first_is_bigger else {"sure": "No", "less_sure": "Yes"}


def letter_row(at: int) -> Row:
    """A letter of the alphabet with those around it; A has none before it, Z none behind it."""
    letter = chr(65 + at)
    return {
        "letter": letter,
        "next": chr(66 + at) if at < 25 else "",
        "previous": chr(64 + at) if at else "",
        "place": ORDINALS[at + 1],
        "number": words(at + 1),
        "sort": "vowel" if letter in VOWELS else "consonant",
        "other_sort": "consonant" if letter in VOWELS else "vowel",
    }


def spelling_row(word: str, rng: random.Random) -> Row:
    """A word with its letters."""
    letters = [letter.upper() for letter in word if letter.isalpha()]
    asked = rng.choice(letters) if rng.random() < 0.5 else rng.choice("ABCDEFGHIKLMNOPRSTUW")
    numbers = count(1)
    vowels = [letter for letter in letters if letter in VOWELS]
    return {
        "word": word,
        "letters": ", ".join(letters),
        "spaced": " ".join(letters),
        "backwards": ", ".join(reversed(letters)),
        "numbered": ", ".join(f"{letter} {words(next(numbers))}" for letter in letters),
        "length": words(len(letters)),
        "initial": letters[0],
        "final": letters[-1],
        "asked": asked,
        "has": "Yes" if asked in letters else "No",
        "vowels": ", ".join(vowels),
    }
