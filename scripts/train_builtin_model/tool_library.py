"""The functions of the tool dialogues, read from `data/tools/functions*.txt`.

    = weather get_weather | forecast weather_report
    d tell the weather | get the weather in a city
    p city! day
    r temp=n(-5,35) sky
    - the weather in {city}
    ? is it warm in {city} [{day}]
    + check the weather in {city}
    ! It's {temp} degrees and {sky} in {city}.

`=` gives the domain, the name, and other names; `d` what it does, in words that follow "I can"; `p` the parameters,
`name|other|other=values`, with `!` when required; `r` the fields of the result, if it is more than "done". What a user
says is `-` (something to know or have), `?` (a whole question) or `+` (an order); `!` is the reply. A tag behind the
mark (`?x …`, `!x …`) ties questions to a reply of their own. `[[open?yes|no]]` in a reply depends on a field.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field
from typing import NamedTuple

from .grammar import Pattern
from .sources import DATA
from .tool_values import Pools, Value

SLOT = re.compile(r"\{([a-z0-9_]+)\}")


ONE = re.compile(
    r"(?<![yd] )\b([Oo]ne|1) (minute|hour|second|day|degree|point|item|euro|week|kilometre|time|night|month|email)s\b"
)


ARTICLE = re.compile(r"\b([Aa]) (?=[aeio])")
UNDATED = re.compile(r"\b[Oo]n (?=(?:today|tomorrow|tonight|this|next|the day after)\b)", re.IGNORECASE)


class LibraryError(ValueError):
    """A function in the data does not follow the notation; the message names the file and the line."""


class Param(NamedTuple):
    """A parameter or a field of a result: its names, the first of them the slot, and where its values come from."""

    names: tuple[str, ...]
    values: str
    required: bool

    @property
    def slot(self) -> str:
        return self.names[0]


class Ask(NamedTuple):
    """Something a user may say: the mark that tells its kind, the tag of its reply, and the pattern."""

    mark: str
    tag: str
    pattern: Pattern


@dataclass
class Function:
    """A function and how people talk about it."""

    domain: str
    names: tuple[str, ...]
    does: tuple[str, ...] = ()
    params: tuple[Param, ...] = ()
    fields: tuple[Param, ...] = ()
    asks: list[Ask] = field(default_factory=list)
    replies: dict[str, list[str]] = field(default_factory=dict)
    about: str = ""

    @property
    def name(self) -> str:
        return self.names[0]

    def words(self) -> set[str]:
        """The words of its topic, to tell whether it might serve a request; plain forms of common endings."""
        return stems(" ".join([self.name.replace("_", " "), *self.does]))

    def differs(self, other: Function) -> bool:
        """Whether this is another function for another thing: no name shared, and another first phrase."""
        return not set(self.names) & set(other.names) and self.does[0] != other.does[0]

    def complete(self, ask: Ask) -> bool:
        """Whether what is said can name all that is required."""
        return all("{" + param.slot + "}" in ask.pattern.source for param in self.params if param.required)


@dataclass
class Chain:
    """Two functions of which the second needs a field of the first's result: `~ first second field=param`."""

    functions: tuple[Function, Function]
    source: str
    target: str
    asks: list[Ask] = field(default_factory=list)

    def params(self) -> tuple[Param, ...]:
        """What the user may name: the parameters of both, save the one that comes from the first."""
        first, second = self.functions
        slots = {param.slot for param in first.params} | {self.target}
        return (*first.params, *(param for param in second.params if param.slot not in slots))


COMMON = set(
    """
a an the of in on at to for from with by and or is are it its be get tell set find check show give look up
what how  i you me my we city person room place things people another one all new some this that there about
into out add make do send create list start change when which  where who long many much now next current given
if has have can name number day please let take put read use  search see open close call know today tomorrow
say want would like need could will not any your don t s m re ll
""".split()
)


def stems(text: str) -> set[str]:
    """The telling words of a text without plural and verb endings."""
    found = set(re.findall(r"[a-z]+", text.lower())) - COMMON
    return {re.sub(r"(?<=[a-z]{3})(ings?|ies|es|s|y|e|ed)$", "", word) for word in found}


class Library:
    """All functions, by domain and name."""

    def __init__(self) -> None:
        self.pools = Pools()
        self.functions: list[Function] = []
        self.chains: list[Chain] = []
        self.macros: dict[str, Pattern] = {}
        self.current: Function | Chain | None = None
        for path in sorted((DATA / "tools").glob("functions*.txt")):
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                try:
                    self._read(line.strip())
                except (ValueError, IndexError, KeyError) as error:
                    raise LibraryError(f"{path.name}:{number}: {error}") from error
        for function in self.functions:
            self._check(function)
        self.domains: dict[str, list[Function]] = {}
        for function in self.functions:
            self.domains.setdefault(function.domain, []).append(function)

    def _read(self, line: str) -> None:
        mark, _, rest = line.partition(" ")
        if not line or line.startswith("#"):
            return
        if line.startswith("<"):
            name, _, pattern = line.partition(" = ")
            self.macros[name[1:-1]] = Pattern(pattern, self.macros)
        elif mark == "=":
            head, _, others = rest.partition("|")
            domain, name = head.split()
            self.current = Function(domain, (name, *others.split()))
            self.functions.append(self.current)
        elif mark == "~":
            named = {function.name: function for function in self.functions}
            first, second, link = rest.split()
            source, _, target = link.partition("=")
            self.current = Chain((named[first], named[second]), source, target)
            self.chains.append(self.current)
        elif mark == "d":
            self.functions[-1].does = tuple(part.strip() for part in rest.split("|"))
        elif mark in ("p", "r"):
            params = tuple(param(part) for part in split_outside(rest))
            if mark == "p":
                self.functions[-1].params = params
            else:
                self.functions[-1].fields = params
        elif mark[0] in "-?+":
            self._now().asks.append(Ask(mark[0], mark[1:], Pattern(rest, self.macros)))
        elif mark[0] == "!":
            self.functions[-1].replies.setdefault(mark[1:], []).append(rest)
        else:
            raise LibraryError(f"a line begins with {mark!r}")

    def _now(self) -> Function | Chain:
        if self.current is None:
            raise LibraryError("a line before the first function")
        return self.current

    def _check(self, function: Function) -> None:
        slots = {item.slot for item in (*function.params, *function.fields)}
        for item in (*function.params, *function.fields):
            if not self.pools.known(item.values):
                raise LibraryError(f"{function.name}: no values {item.values!r}")
        for ask in function.asks:
            unknown = set(SLOT.findall(ask.pattern.source)) - {item.slot for item in function.params}
            if unknown or ask.tag not in function.replies:
                raise LibraryError(f"{function.name}: {ask.pattern.source!r} wants {unknown or 'a reply'}")
        for replies in function.replies.values():
            unknown = {slot for reply in replies for slot in SLOT.findall(reply)} - slots
            if unknown:
                raise LibraryError(f"{function.name}: a reply wants {unknown}")
        if not function.does or not any(function.complete(ask) for ask in function.asks):
            raise LibraryError(f"{function.name}: wants `d` and something to say")

    def others(self, rng: random.Random, given: list[Function], count: int) -> list[Function]:
        """Functions beside the given ones: often of the same domain, and never the same thing under another name."""
        near = self.domains.get(given[0].domain, self.functions)
        chosen: list[Function] = []
        while len(chosen) < count:
            other = rng.choice(near if rng.random() < 0.5 else self.functions)
            if all(other.differs(one) for one in [*given, *chosen]):
                chosen.append(other)
            elif rng.random() < 0.05:
                count -= 1
        return chosen


def param(text: str) -> Param:
    """`place|town=city!` as a parameter."""
    required = text.endswith("!")
    names, _, values = text.removesuffix("!").partition("=")
    parts = tuple(names.split("|"))
    return Param(parts, values or parts[0], required)


def articles(text: str, values: dict[str, Value]) -> str:
    """`a {size}` as `an {size}` where the value wants it."""

    def chosen(found: re.Match[str]) -> str:
        value = values.get(found[1])
        return f"an {{{found[1]}}}" if value and value.said[:1] in "aeiou" else found[0]

    return re.sub(r"\ba \{(\w+)\}", chosen, text)


def split_outside(text: str) -> list[str]:
    """Cuts at spaces outside brackets."""
    return re.findall(r"(?:[^\s(]|\([^)]*\))+", text)


def reply(template: str, values: dict[str, Value], *, typed: bool = False) -> str:
    """A reply with its values, in words; or with digits, as a function's own text has them."""

    def chosen(found: re.Match[str]) -> str:
        name, _, limit = found[1].partition(">")
        given = values[name].given
        return found[2] if (given > int(limit) if limit else given) else found[3]

    text = re.sub(r"\[\[([a-z0-9_>]+)\?(.*?)\|(.*?)\]\]", chosen, template)
    text = SLOT.sub(lambda found: values[found[1]].typed if typed else values[found[1]].told, text)
    text = ONE.sub(r"\1 \2", ARTICLE.sub(r"\1n ", UNDATED.sub("", text)))
    return re.sub(r"(^|[.!?] )([a-z])", lambda found: found[1] + found[2].upper(), text)
