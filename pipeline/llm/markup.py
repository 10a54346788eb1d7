"""Keeps what is not meant for the ear out of a reply: reasoning, and the markup of tool calls.

Models mark these with tags, each family with its own. The filter knows the common ones, whether they come as text
or as control tokens (`MARKERS` is the list for the latter).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TypeAlias

from pipeline.llm.calls.parsing import parse_calls
from pipeline.types import TextDelta, ToolCallDelta

Visible: TypeAlias = TextDelta | ToolCallDelta

REASONING = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "<thought>": "</thought>",
    "<reasoning>": "</reasoning>",
    "<seed:think>": "</seed:think>",  # ByteDance Seed
    "<mm:think>": "</mm:think>",  # MiniMax
    "[THINK]": "[/THINK]",  # Mistral
    "<|START_THINKING|>": "<|END_THINKING|>",  # Cohere
    "<|channel>": "<channel|>",  # Gemma 4
    "<|inner_prefix|>": "<|inner_suffix|>",  # Apertus
}

_TOOLS = {
    "<tool_call>": "</tool_call>",  # Hermes, Qwen
    "<tool_calls>": "</tool_calls>",
    "<function_call>": "</function_call>",
    "<function=": "</function>",  # Llama 3
    "<seed:tool_call>": "</seed:tool_call>",
    "<minimax:tool_call>": "</minimax:tool_call>",
    "<|tool_call>": "<tool_call|>",  # Gemma 4
    "<|tool_call_start|>": "<|tool_call_end|>",  # LFM2
    "<|tool_calls_section_begin|>": "<|tool_calls_section_end|>",  # Kimi
    "<｜tool▁calls▁begin｜>": "<｜tool▁calls▁end｜>",  # DeepSeek
    "<|START_ACTION|>": "<|END_ACTION|>",  # Cohere
    "<|tools_prefix|>": "<|tools_suffix|>",  # Apertus
    "<|tools:begin|>": "<|tools:end|>",
}

_TOOLS_TO_THE_END = ("[TOOL_CALLS]", "<|python_tag|>", "<|tool_call|>")
"""Mistral, Llama 3.1 and Granite: whatever follows, to the end of the reply, is the call."""

# Harmony (gpt-oss): <|start|>assistant<|channel|>analysis<|message|>…<|end|>, and again with `final`.
_START, _CHANNEL, _MESSAGE = "<|start|>", "<|channel|>", "<|message|>"
_HARMONY_ENDS = ("<|end|>", "<|return|>", "<|call|>")
_RECIPIENT = re.compile(r"\bto=functions\.([\w.-]+)")


class _Content(Enum):
    """What becomes of the text that a state covers."""

    SPOKEN = auto()
    HIDDEN = auto()
    CALL = auto()
    CHANNEL = auto()


@dataclass(eq=False)
class _State:
    """Where in the reply the filter is. `exits` leads from each marker that counts here to the state behind it."""

    content: _Content
    exits: dict[str, "_State"] = field(default_factory=dict)
    pattern: re.Pattern[str] = re.compile("(?!)")
    beginnings: frozenset[str] = frozenset()
    longest: int = 0

    def lead(self, exits: Mapping[str, "_State"]) -> None:
        self.exits.update(exits)
        self.pattern = re.compile("|".join(map(re.escape, self.exits)))
        self.beginnings = frozenset(marker[:end] for marker in self.exits for end in range(1, len(marker)))
        self.longest = max(map(len, self.exits), default=0)

    def undecided(self, text: str) -> int:
        """How many characters at the end of `text` may be the beginning of a marker."""
        for size in range(min(self.longest - 1, len(text)), 0, -1):
            if text[-size:] in self.beginnings:
                return size
        return 0


def _build() -> tuple[_State, _State, _State, _State]:
    """Returns the states for speech, for what is behind `<|message|>` when it is to be hidden, for the name of a
    channel, and for a call behind `<|message|>`.
    """
    speech = _State(_Content.SPOKEN)
    channel = _State(_Content.CHANNEL)
    header, hidden = _State(_Content.HIDDEN), _State(_Content.HIDDEN)
    harmony = {_START: header, _CHANNEL: channel}
    exits = dict.fromkeys((*_HARMONY_ENDS, _MESSAGE), speech) | harmony
    for kind, pairs in ((_Content.HIDDEN, REASONING), (_Content.CALL, _TOOLS)):
        for opening, closing in pairs.items():
            exits[opening] = _State(kind)
            exits[opening].lead({closing: speech})
            exits[closing] = speech  # a closing tag by itself is no speech either
    to_the_end = _State(_Content.CALL)
    exits |= dict.fromkeys(_TOOLS_TO_THE_END, to_the_end)
    speech.lead(exits)
    header.lead({_CHANNEL: channel, _MESSAGE: speech})
    channel.lead({_MESSAGE: speech})
    call = _State(_Content.CALL)
    for state in (hidden, call):
        state.lead(dict.fromkeys(_HARMONY_ENDS, speech) | harmony)
    return speech, hidden, channel, call


_SPEECH, _OFF_CHANNEL, _NAMING, _CHANNEL_CALL = _build()

MARKERS = frozenset(_SPEECH.exits)
"""Every marker by which a block begins or ends."""

WITHIN_CALLS = frozenset(
    "[ARGS] [CALL_ID] <|tool_call_begin|> <|tool_call_argument_begin|> <|tool_call_end|> "
    "<｜tool▁call▁begin｜> <｜tool▁sep｜> <｜tool▁call▁end｜>".split()
)
"""What stands between the parts of calls. Like `MARKERS`, if these are control tokens they must reach the filter as
text.
"""


class MarkupFilter:
    """Turns the raw text of one reply, in pieces, into what may be shown and spoken, and into tool calls.

    Ordinary text passes at once: only what may be the beginning of a marker waits for the next piece. White space
    at the start of the reply, and where a hidden block has left two of them, is dropped. A block that is never
    closed is never shown; a call in it counts if it is whole.
    """

    def __init__(self, prompt_end: str = "") -> None:
        """`prompt_end` is the end of the prompt that the reply continues: it may have opened a block already."""
        self._state = _SPEECH
        self._held = ""
        self._body: list[str] = []
        self._opening = ""
        self._calls = 0
        self._trim = True
        self._spoke = False
        if prompt_end:
            self._walk(prompt_end)
            self._held = ""
            self._trim, self._spoke = True, False

    def feed(self, text: str) -> list[Visible]:
        """Takes the next piece. Returns what can be shown now; adjacent text comes as one delta."""
        return self._walk(text)

    def finish(self) -> list[Visible]:
        """Ends the reply. Returns what was held back."""
        shown: list[Visible] = []
        if self._state.content is _Content.SPOKEN:
            self._show(self._held, shown)
        elif self._state.content is _Content.CALL:
            self._body.append(self._held)
            self._leave("", shown)
        self._held = ""
        return shown

    def _walk(self, text: str) -> list[Visible]:
        shown: list[Visible] = []
        rest = self._held + text
        while match := self._marker(rest):
            self._take(rest[: match.start()], shown)
            self._leave(match.group(), shown)
            rest = rest[match.end() :]
        keep = len(rest) - self._state.undecided(rest)
        self._take(rest[:keep], shown)
        self._held = rest[keep:]
        return shown

    def _marker(self, rest: str) -> re.Match[str] | None:
        """The next marker in `rest`. In the arguments of a call one may be quoted: that is text."""
        match = self._state.pattern.search(rest)
        while (
            match and self._state.content is _Content.CALL and _in_string("".join(self._body) + rest[: match.start()])
        ):
            match = self._state.pattern.search(rest, match.end())
        return match

    def _take(self, text: str, shown: list[Visible]) -> None:
        match self._state.content:
            case _Content.SPOKEN:
                self._show(text, shown)
            case _Content.CALL | _Content.CHANNEL:
                self._body.append(text)
            case _Content.HIDDEN:
                pass

    def _leave(self, marker: str, shown: list[Visible]) -> None:
        """Goes where `marker` leads (the empty one: nowhere, the reply is over)."""
        body, self._body = "".join(self._body), []
        if self._state.content is _Content.CALL:
            for name, arguments in parse_calls(self._opening + body):
                shown.append(ToolCallDelta(self._calls, name, arguments))
                self._calls += 1
        if not marker:
            return
        self._opening = marker if marker == "<function=" else ""
        if self._state is _NAMING and (called := _RECIPIENT.search(body)):
            self._state, self._opening = _CHANNEL_CALL, f"<function={called[1]}>"
        elif self._state is _NAMING and not body.strip().startswith("final"):
            self._state = _OFF_CHANNEL
        else:
            self._state = self._state.exits[marker]
        self._trim = self._trim or not self._spoke

    def _show(self, text: str, shown: list[Visible]) -> None:
        if self._trim:
            text = text.lstrip()
        if not text:
            return
        # `_spoke` is true while a word was the last thing shown: white space behind a block then stays.
        self._trim, self._spoke = False, not text[-1].isspace()
        if shown and isinstance(shown[-1], TextDelta):
            shown[-1] = TextDelta(shown[-1].text + text)
        else:
            shown.append(TextDelta(text))


def unclosed_reasoning(prompt_end: str) -> str | None:
    """Returns the tag that would close the reasoning which the end of a prompt opens; None if it opens none."""
    state = MarkupFilter(prompt_end)._state
    return next(iter(state.exits)) if state.content is _Content.HIDDEN and len(state.exits) == 1 else None


def _in_string(text: str) -> bool:
    """Whether a text ends within a string of JSON, which no line break can be part of."""
    inside = escaped = False
    for character in text:
        if character == "\n":
            inside = escaped = False
        elif inside:
            inside = escaped or character != '"'
            escaped = character == "\\" and not escaped
        else:
            inside = character == '"'
    return inside
