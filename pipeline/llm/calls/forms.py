"""How families of models write tool calls, and the reading of calls that a grammar has forced into such a form."""

import re
from dataclasses import dataclass

from pipeline.types import ToolCallDelta


@dataclass(frozen=True, slots=True)
class CallForm:
    """`start head NAME middle ARGUMENTS tail`, for further calls `separator head NAME …`, and `end`.

    `opening` comes before it all, where the reply turns to calls: a marker that the model need not write itself when
    it has to call. Without a separator there is one call in a reply.
    """

    opening: str
    head: str
    middle: str
    tail: str
    start: str = ""
    separator: str = ""
    end: str = ""

    @property
    def is_bare(self) -> bool:
        """Whether nothing but its JSON tells a call from text."""
        return not self.opening


HERMES = CallForm(
    opening="<tool_call>\n",
    head='{"name": "',
    middle='", "arguments": ',
    tail="}",
    separator="\n</tool_call>\n<tool_call>\n",
    end="\n</tool_call>",
)
LLAMA_3 = CallForm(opening="", head='{"name": "', middle='", "parameters": ', tail="}")
MISTRAL_LIST = CallForm(
    opening="[TOOL_CALLS]",
    start="[",
    head='{"name": "',
    middle='", "arguments": ',
    tail="}",
    separator=", ",
    end="]",
)
MISTRAL = CallForm(opening="[TOOL_CALLS]", head="", middle="[ARGS]", tail="", separator="[TOOL_CALLS]")


def form_of(call_text: str) -> CallForm | None:
    """Returns the form in which a chat template writes calls (`ChatTemplate.call_text`); None if it is another."""
    if "[TOOL_CALLS]" in call_text:
        return MISTRAL if "[ARGS]" in call_text else MISTRAL_LIST
    if re.search(r'<tool_call>\s*\{"name": ?"probe", ?"arguments": ?\{', call_text):
        return HERMES
    if re.search(r'\{"name": ?"probe", ?"parameters": ?\{', call_text):
        return LLAMA_3
    return None


class ForcedCalls:
    """Reads calls as they are written, one piece of text after the other. A grammar vouches for their form.

    The name comes as soon as it is whole, the arguments as they come.
    """

    def __init__(self, form: CallForm) -> None:
        self._form = form
        self._index = 0
        self._skip = len(form.start + form.head)
        self._name: str | None = ""
        self._held = ""
        self._depth = 0
        self._in_string = self._escaped = False
        self.finished = 0
        """How many calls are whole."""

    def feed(self, text: str) -> list[ToolCallDelta]:
        """Takes the next text. Returns what is new of the calls."""
        deltas: list[ToolCallDelta] = []
        while text:
            if self._skip:
                skipped = min(self._skip, len(text))
                text, self._skip = text[skipped:], self._skip - skipped
            elif self._name is not None:
                text = self._read_name(text, deltas)
            else:
                text = self._read_arguments(text, deltas)
        return deltas

    def _read_name(self, text: str, deltas: list[ToolCallDelta]) -> str:
        self._held += text
        name, found, rest = self._held.partition(self._form.middle)
        if not found:
            return ""
        self._name, self._held = None, ""
        deltas.append(ToolCallDelta(self._index, name, ""))
        return rest

    def _read_arguments(self, text: str, deltas: list[ToolCallDelta]) -> str:
        """Reads up to the end of the object, or of the text. Returns what is behind it."""
        for position, character in enumerate(text, start=1):
            if self._in_string:
                self._in_string = self._escaped or character != '"'
                self._escaped = character == "\\" and not self._escaped
            elif character == '"':
                self._in_string = True
            elif character in "{}[]":
                self._depth += 1 if character in "{[" else -1
                if self._depth == 0:
                    deltas.append(ToolCallDelta(self._index, "", text[:position]))
                    self._next()
                    return text[position:]
        deltas.append(ToolCallDelta(self._index, "", text))
        return ""

    def _next(self) -> None:
        self._index += 1
        self.finished += 1
        self._name = ""
        # Where the calls end there is less than this: then nothing follows it.
        self._skip = len(self._form.tail + self._form.separator + self._form.head)
