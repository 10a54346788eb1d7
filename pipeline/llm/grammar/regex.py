"""Regular expressions of JSON schemas (`pattern`) as GBNF that matches JSON strings.

Knows what patterns are made of as a rule: characters, classes, groups, alternatives, quantifiers, `^` and `$` at the
ends. `char` is the rule for any character of a JSON string.
"""

import re

MAX_REPEAT = 1000
"""Most repetitions that are written out: llama.cpp refuses grammars beyond 2000."""

_CLASSES = {"d": "0-9", "w": "a-zA-Z0-9_", "s": " "}
"""The shorthands; of white space only the space can stand in a JSON string as it is."""

_QUANTIFIER = re.compile(r"(?:[*+?]|\{(\d+)(,?)(\d*)\})\??")
_ESCAPES = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}


class PatternError(ValueError):
    """The pattern uses something that is not known here."""


def pattern_grammar(pattern: str) -> str:
    """Returns an expression for the JSON strings that a pattern matches, without their quotes.

    Raises:
        PatternError: it has something in it that cannot be converted.
    """
    reader = _Reader(pattern)
    expression = reader.alternatives(outermost=True)
    if not reader.at_end:
        raise PatternError(pattern)
    return expression


class _Reader:
    def __init__(self, pattern: str) -> None:
        self._text = pattern
        self._at = 0

    @property
    def at_end(self) -> bool:
        return self._at >= len(self._text)

    def _next(self) -> str:
        if self.at_end:
            raise PatternError(self._text)
        self._at += 1
        return self._text[self._at - 1]

    def _take(self, text: str) -> bool:
        found = self._text.startswith(text, self._at)
        self._at += len(text) if found else 0
        return found

    def alternatives(self, *, outermost: bool = False) -> str:
        branches = [self._sequence(outermost)]
        while self._take("|"):
            branches.append(self._sequence(outermost))
        return " | ".join(branches)

    def _sequence(self, outermost: bool) -> str:
        """What is not anchored may have anything before and behind it."""
        items = [] if not outermost or self._take("^") else ["char*"]
        while not self.at_end and self._text[self._at] not in "|)":
            if outermost and self._take("$"):
                if not self.at_end and self._text[self._at] != "|":
                    raise PatternError(self._text)
                return " ".join(items) or '""'
            items.append(self._quantified(self._atom()))
        if outermost:
            items.append("char*")
        return " ".join(items) or '""'

    def _quantified(self, atom: str) -> str:
        match = _QUANTIFIER.match(self._text, self._at)
        if match is None:
            return atom
        self._at = match.end()
        if match[1] is None:
            return f"{atom}{match[0][0]}"
        least = int(match[1])
        most = int(match[3]) if match[3] else (None if match[2] else least)
        if least > MAX_REPEAT or (most is not None and most < least):
            raise PatternError(self._text)
        return f"{atom}{{{least},{'' if most is None else min(most, MAX_REPEAT)}}}"

    def _atom(self) -> str:
        character = self._next()
        match character:
            case "(":
                if self._text.startswith("?", self._at) and not self._take("?:"):
                    raise PatternError(self._text)
                inner = self.alternatives()
                if not self._take(")"):
                    raise PatternError(self._text)
                return f"({inner})"
            case "[":
                return self._class()
            case ".":
                return "char"
            case "\\":
                escaped = self._next()
                return f"[{_CLASSES[escaped]}]" if escaped in _CLASSES else _literal(self._escape(escaped))
            case "^" | "$" | "*" | "+" | "?" | "{":
                raise PatternError(self._text)
        return _literal(character)

    def _escape(self, escaped: str) -> str:
        if escaped in _ESCAPES:
            return _ESCAPES[escaped]
        if escaped.isalnum():
            raise PatternError(self._text)
        return escaped

    def _class(self) -> str:
        """A class; quotes and backslashes, which JSON escapes, are alternatives beside it."""
        negated = self._take("^")
        body, escaped = "", []
        while (character := self._next()) != "]":
            if character == "\\" and self._text[self._at : self._at + 1] in _CLASSES:
                body += _CLASSES[self._next()]
                continue
            if character == "\\":
                character = self._escape(self._next())
            if self._take("-"):
                if (end := self._next()) == "]":
                    body += _in_class(character) + "\\-"
                    break
                end = self._escape(self._next()) if end == "\\" else end
                if not negated and (character <= '"' <= end or character <= "\\" <= end):
                    escaped += [each for each in '"\\' if character <= each <= end]
                body += f"{_in_class(character)}-{_in_class(end)}"
            elif character in '"\\' or character < " ":
                escaped.append(character)
            else:
                body += _in_class(character)
        if negated:
            return f'[^{body}"\\\\\\x00-\\x1F]'
        if any(start <= each <= end for each in '"\\' for start, end in re.findall(r"(.)-(.)", body)):
            raise PatternError(self._text)
        return f"({' | '.join([f'[{body}]'] * bool(body) + [_literal(each) for each in escaped])})"


def _in_class(character: str) -> str:
    return f"\\{character}" if character in "[]\\^-" else character


def _literal(character: str) -> str:
    """A character as it is written in a JSON string, in GBNF's quotes."""
    plain = {'"': '\\\\\\"', "\\": "\\\\\\\\", "\n": "\\\\n", "\r": "\\\\r", "\t": "\\\\t", "\f": "\\\\f"}
    return f'"{plain.get(character, character)}"'
