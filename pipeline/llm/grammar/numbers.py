"""Numbers within bounds as GBNF, llama.cpp's notation of grammars."""

from decimal import Decimal

MAX_DIGITS = 15
"""Digits of a number without bounds: so many a double holds exactly."""

_EXTRA_DECIMALS = 2
"""How much finer than its bounds a number may be."""


class EmptyRangeError(ValueError):
    """No number lies between the bounds."""


def bounded(low: Decimal | None, high: Decimal | None, *, above: bool, below: bool, whole: bool) -> str:
    """Returns an expression for the decimal numbers from `low` to `high`.

    Args:
        low: the least; None: as low as `MAX_DIGITS` go.
        high: the greatest.
        above: only those above `low`.
        below: only those below `high`.
        whole: integers only; else as many decimals as the bounds have, and two more.

    Raises:
        EmptyRangeError: there is none.
    """
    limits = [abs(limit) for limit in (low, high) if limit is not None]
    decimals = max((_decimals(limit) for limit in limits), default=0)
    digits = max((len(str(int(limit))) for limit in limits), default=1)
    finest = 0 if whole else max(min(decimals + _EXTRA_DECIMALS, MAX_DIGITS - digits), 0)
    alternatives = []
    for places in range(finest + 1):
        scale = 10**places
        most = Decimal(10**MAX_DIGITS - 1)
        least = _ceiling((-most if low is None else low) * scale, strictly=above and low is not None)
        greatest = -_ceiling(-(most if high is None else high) * scale, strictly=below and high is not None)
        if least <= greatest:
            alternatives.append(_signed(least, greatest, places))
    if not alternatives:
        raise EmptyRangeError
    return " | ".join(alternatives)


def _decimals(value: Decimal) -> int:
    exponent = value.normalize().as_tuple().exponent
    return max(-exponent, 0) if isinstance(exponent, int) else 0


def _ceiling(value: Decimal, *, strictly: bool) -> int:
    """The least integer that is not below `value`, or is above it."""
    down = int(value.to_integral_value(rounding="ROUND_FLOOR"))
    return down + 1 if strictly or down < value else down


def _signed(low: int, high: int, places: int) -> str:
    """From `low` to `high`, both times 10**places."""
    alternatives = []
    if low < 0:
        alternatives += [f'"-" ({each})' for each in _lengths(max(1, -high), -low, places)]
    if high >= 0:
        alternatives += _lengths(max(low, 0), high, places)
    return " | ".join(alternatives)


def _lengths(low: int, high: int, places: int) -> list[str]:
    """The range from 0 up, each number of digits by itself: no number begins with a zero that it does not need."""
    alternatives = []
    for length in range(max(places + 1, len(str(low))), max(places + 1, len(str(high))) + 1):
        first = max(low, 10 ** (length - 1) if length > places + 1 else 0)
        last = min(high, 10**length - 1)
        if first <= last:
            alternatives.append(_digits(str(first).zfill(length), str(last).zfill(length), places))
    return alternatives


def _digits(low: str, high: str, places: int) -> str:
    """The digits from `low` to `high`, which are as long as each other, with a point before the last `places`."""
    if not low:
        return '""'
    point = '"." ' if len(low) == places else ""
    if low.strip("0") == "" and high.strip("9") == "":
        before, behind = (len(low) - places, places) if len(low) > places else (0, len(low))
        return " ".join(filter(None, [_any(before), '"."' if places and behind == places else "", _any(behind)]))
    if low[0] == high[0]:
        return f'{point}"{low[0]}" {_digits(low[1:], high[1:], places)}'
    rest = len(low) - 1
    first, last = int(low[0]), int(high[0])
    alternatives = []
    if low[1:].strip("0"):
        alternatives.append(f'"{low[0]}" {_digits(low[1:], "9" * rest, places)}')
        first += 1
    if high[1:].strip("9"):
        alternatives.append(f'"{high[0]}" {_digits("0" * rest, high[1:], places)}')
        last -= 1
    if first <= last:
        alternatives.append(f"[{first}-{last}] {_digits('0' * rest, '9' * rest, places)}")
    return f"{point}({' | '.join(alternatives)})"


def _any(count: int) -> str:
    return f"[0-9]{{{count}}}" if count else ""
