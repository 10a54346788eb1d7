"""Whether a reply is what a case wants: the notation of the column `wanted`.

Terms are joined by ` && `; all must hold for the last reply. A term is a regular expression that the reply must
contain (upper and lower case alike), or one of these:

- `!pattern`: the reply must not contain it.
- `=42`: the reply says that number, in digits or in words, as its first or its last. It may stand beside patterns
  in a choice: `dozen|=12`.
- `@honest`: it says that it does not know or cannot. It may stand in a choice too: `@honest|doctor`.
- `@spell word`: its letters, one by one.
- `@words N`: N words at most.
- `@distinct`: all replies of the conversation tell something, and each something else.
- `@each pattern`: all replies of the conversation contain the pattern.
- `@asks`: it asks the user something.
- `@call name {"argument": value}`: it calls that function. `a|b` in a text stands for two that are both right.
  Without such a term, a reply that calls anything is wrong; with some, exactly these must be called.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from .number_words import ONES, TENS

HONEST = re.compile(
    r"""
    (?:\b(?:i|we)\ (?:\w+\ )?|(?:^|[.,;:!?]\ )(?:sorry\ )?)(?:do|ca|could|have|did|would|wo|had|was|am|were)n't\b
    | \bi\ (?:\w+\ )?(?:do|can|could|have|did|would|will|am)\ not\b | \bi(?:'m|'ve|'d|'ll)\ (?:\w+\ )?not\b
    | \bi\ (?:\w+\ )?cannot\b | ^cannot\b | \bunable\b | \bimpossible\b | \bi\ wish\ i\ (?:could|knew)
    | \bi(?:'ve|\ have|'ve\ got|\ have\ got)\ (?:no|nothing|neither|never)\b
    | \bi\ (?:know|own|see|keep)\ (?:no|nothing)\b
    | \bi(?:'ve|\ have|\ was)?\ (?:\w+\ )?never\ (?:heard|learn|met|read|seen|been|told)
    | \bnobody\ (?:has\ )?told | \bnever\ heard\b
    | \bno\ (?:idea|internet|clock|calendar|way\ (?:to|of|for)|access|knowledge|information|clue)\b
    | \b(?:isn't|is\ not|aren't|wasn't|not)\ (?:something|anything|a\ thing|one|among|in|part|within)\b
    | \b(?:isn't|is\ not|aren't|wasn't|not)\ (?:for\ me|known|my|possible)\b
    | \bi(?:'m|\ am)?\ (?:only|just)\ (?:know|have|do|speak|learned|learnt|talk|a|able|small|remember|go)
    | \bmy\ (?:\w+\ )?\w+\ (?:does|do|is|are)(?:n't|\ not)\b
    | \bnothing\ (?:about|of|on)\ (?:that|it|him|her|them|this)\b
    | \b(?:beyond|past|over|above|outside)\ (?:of\ )?(?:me|my|what\ i)\b | \bwithout\ (?:a|an|any|the|internet)\b
    | \btoo\ (?:big|hard|large|difficult|much|high|long)\ for\ me\b
    | \b(?:unknown|new|news|mystery)\ to\ me\b | \boffline\b
    | \bi(?:'m|\ am)\ (?:\w+\ )?lost\b | \byou\ (?:haven't|have\ not|didn't|never)\b
    """,
    re.IGNORECASE | re.VERBOSE,
)
"""Any honest way to say no. What answers the question all the same is for a `!pattern` to forbid."""

NUMBER = re.compile(r"\d+(?:[.,]\d+)*|[a-z]+")
VALUES = {word: value for value, word in enumerate(ONES)} | {
    word: 10 * place for place, word in enumerate(TENS) if place > 1
}


@dataclass(frozen=True)
class Call:
    """A call that a reply makes; `arguments` is what its JSON says, or None if it is not an object in JSON."""

    name: str
    arguments: dict[str, Any] | None


@dataclass(frozen=True)
class Reply:
    """What the model said, and what it called."""

    text: str
    calls: tuple[Call, ...] = ()


def right(wanted: str, replies: list[Reply]) -> bool:
    """Whether the replies of a conversation are what the case wants; most terms look at the last one only."""
    last = replies[-1]
    terms = [term.strip() for term in wanted.split(" && ")]
    calls = [term.removeprefix("@call ") for term in terms if term.startswith("@call ")]
    if not same_calls(calls, last.calls):
        return False
    return all(holds(term, replies) for term in terms if not term.startswith("@call "))


def holds(term: str, replies: list[Reply]) -> bool:
    """Whether one term, other than a call, is true of the replies."""
    texts = [plain(reply.text) for reply in replies]
    kind, _, rest = term.partition(" ")
    if kind == "@distinct":
        return len({core(text) for text in texts}) == len(texts) and not any(refuses(text) for text in texts)
    if kind == "@each":
        return all(matches(rest, text) for text in texts)
    if kind == "@spell":
        return spells(rest, texts[-1])
    if kind == "@words":
        return 0 < len(texts[-1].replace("-", " ").split()) <= int(rest)
    if kind == "@asks":
        return (
            "?" in texts[-1]
            or re.search(r"\b(tell me|need to know|please (say|give|tell))\b", texts[-1], re.I) is not None
        )
    return matches(term, texts[-1])


def plain(text: str) -> str:
    """A reply with straight apostrophes and single spaces."""
    return " ".join(text.replace("’", "'").replace("‑", "-").split())


def core(text: str) -> str:
    """The longest sentence of a reply, without its marks: a joke told again has it again, whatever leads up to it."""
    sentences = re.split(r"(?<=[.!?]) ", text.lower())
    return " ".join(re.findall(r"[a-z']+", max(sentences, key=len)))


def refuses(text: str) -> bool:
    """Whether a reply tells nothing."""
    return len(text.split()) < 3 or "sorry" in text.lower() or HONEST.search(text) is not None


def matches(term: str, text: str) -> bool:
    """Whether a text has one of the choices of a term: numbers, `@honest`, or patterns; or none after `!`."""
    if term.startswith("!"):
        return not matches(term[1:], text)
    choices = term.split("|")
    if "@honest" in choices and HONEST.search(text):
        return True
    said = numbers_in(text)
    numbers = [choice for choice in choices if re.fullmatch(r"=\d+", choice)]
    if any(float(number[1:]) in (said[0], said[-1]) for number in numbers if said):
        return True
    pattern = "|".join(choice for choice in choices if choice != "@honest" and choice not in numbers)
    return bool(pattern) and any(re.search(pattern, way, re.IGNORECASE) for way in (text, text.replace("-", " ")))


def numbers_in(text: str) -> list[float]:
    """The numbers that a text says, in digits or in words up to thousands, in order."""
    found: list[float] = []
    last: str | None = None  # how the number that is being read came to its last word
    words = NUMBER.findall(text.lower().replace("-", " "))
    for at, word in enumerate(words):
        if word[0].isdigit():
            found.append(float(word.replace(",", "")))
            last = None
        elif word in VALUES:
            value = VALUES[word]
            kind = "one" if value < 10 else "teen" if value < 20 else "ten"
            if last == "hundred" or (last == "ten" and kind == "one" and value):
                found[-1] += value
            else:
                found.append(value)
            last = kind
        elif word in ("hundred", "thousand"):
            scale = 100 if word == "hundred" else 1000
            if last in ("one", "teen", "ten", "hundred"):
                found[-1] *= scale
            else:
                found.append(scale)
            last = "hundred"
        elif not (word == "and" and last == "hundred" and words[at + 1 : at + 2] and words[at + 1] in VALUES):
            last = None
    return found


def spells(word: str, text: str) -> bool:
    """Whether a text says the letters of a word one by one, in order and nothing else."""
    runs = re.findall(r"(?:\b[a-z]\b[^a-z]*)+", text.lower().replace("'s", ""))
    said = ["".join(re.findall("[a-z]", run)) for run in runs]
    return word in said


def same_calls(wanted: list[str], made: tuple[Call, ...]) -> bool:
    """Whether exactly the wanted calls were made, in any order."""
    left = list(made)
    for term in wanted:
        name, _, arguments = term.partition(" ")
        expected = json.loads(arguments or "{}")
        same = next((call for call in left if call.name == name and same_value(expected, call.arguments)), None)
        if same is None:
            return False
        left.remove(same)
    return not left


def same_value(wanted: Any, given: Any) -> bool:
    """Whether two values of JSON are equal: texts trimmed and in lower case, numbers as numbers."""
    if isinstance(wanted, bool) or isinstance(given, bool):
        return wanted is given
    if isinstance(wanted, dict):
        return (
            isinstance(given, dict)
            and wanted.keys() == given.keys()
            and all(same_value(value, given[key]) for key, value in wanted.items())
        )
    if isinstance(wanted, list):
        return isinstance(given, list) and len(wanted) == len(given) and all(map(same_value, wanted, given))
    if isinstance(wanted, str):
        return isinstance(given, str) and given.strip().lower() in [way.strip().lower() for way in wanted.split("|")]
    return bool(wanted == given)
