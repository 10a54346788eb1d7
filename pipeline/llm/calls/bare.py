"""Tells tool calls from text in the replies of models that mark them by nothing, such as Llama 3's."""

import json

from pipeline.llm.calls.parsing import parse_calls
from pipeline.llm.markup import Visible
from pipeline.types import TextDelta, ToolCallDelta

_HEADS = ('{"name":', '{"type":"function"', '{"function":', '{"parameters":', '{"arguments":')
"""How such a call may begin, white space left out."""


class BareCalls:
    """Holds a reply back while it may be a call: it begins like one, and its JSON is not whole yet.

    A reply that is cut off amid a call is never shown.
    """

    def __init__(self) -> None:
        self._held = ""
        self._calls = 0
        self._is_text = False

    def feed(self, text: str) -> list[Visible]:
        """Takes the next text. Returns what is decided."""
        if self._is_text:
            return [TextDelta(text)]
        self._held += text
        decided: list[Visible] = []
        while (rest := self._held.lstrip(" \n;,")) and not self._is_text:
            head = "".join(rest[:64].split())
            if not any(head.startswith(known) or known.startswith(head) for known in _HEADS):
                return decided + self._give_up()
            try:
                _, end = json.JSONDecoder().raw_decode(rest)
            except (ValueError, RecursionError):
                return decided  # not whole yet
            calls = parse_calls(rest[:end])
            if not calls:
                return decided + self._give_up()
            decided += [ToolCallDelta(self._calls + at, *call) for at, call in enumerate(calls)]
            self._calls += len(calls)
            self._held = rest[end:]
        return decided

    def _give_up(self) -> list[Visible]:
        self._is_text = True
        return [TextDelta(self._held)]
