"""Ends a reply where one of a number of strings comes."""

from collections.abc import Sequence


class StopStrings:
    """Lets text through up to a stop string, which is never shown. What may be the beginning of one is held back."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = stops
        self._held = ""
        self.hit = False
        """Whether a stop string has come. Nothing is let through any more."""

    def feed(self, text: str) -> str:
        """Takes the next piece. Returns what can be shown of it, and of what was held back."""
        if self.hit or not self._stops:
            return "" if self.hit else text
        text = self._held + text
        found = [(at + len(stop), at) for stop in self._stops if (at := text.find(stop)) >= 0]
        self.hit = bool(found)
        # The one that was complete first: then it makes no difference in which pieces the text comes.
        shown = min(found)[1] if found else len(text) - self._undecided(text)
        self._held = "" if found else text[shown:]
        return text[:shown]

    def finish(self) -> str:
        """Returns what was held back: no stop string came of it."""
        held, self._held = self._held, ""
        return held

    def _undecided(self, text: str) -> int:
        """How many characters at the end of `text` may be the beginning of a stop string."""
        longest = min(max(map(len, self._stops)) - 1, len(text))
        ends = (size for size in range(longest, 0, -1) if any(stop.startswith(text[-size:]) for stop in self._stops))
        return next(ends, 0)
