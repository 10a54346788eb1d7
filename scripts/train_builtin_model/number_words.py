"""Numbers as words, as a voice says them."""

from __future__ import annotations

ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
).split()
TENS = "zero ten twenty thirty forty fifty sixty seventy eighty ninety".split()
ORDINALS = "zeroth first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth".split()
NUMBER_WORDS = {word: str(value) for value, word in enumerate(ONES) if value > 1}


def words(value: int) -> str:
    """An integer from -999 to 999 in words: 42 is `forty two`."""
    if value < 0:
        return f"minus {words(-value)}"
    if value < 20:
        return ONES[value]
    if value < 100:
        return TENS[value // 10] + (f" {ONES[value % 10]}" if value % 10 else "")
    hundreds = f"{ONES[value // 100]} hundred"
    return hundreds + (f" and {words(value % 100)}" if value % 100 else "")
