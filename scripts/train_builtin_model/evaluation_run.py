"""Puts the evaluation's conversations to a GGUF file through Parley's own llama-cpp engine."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.llm.llama_cpp import LlamaCpp
from pipeline.types import (
    Generated,
    GenerationRequest,
    Message,
    ModelOutput,
    Prompt,
    TextDelta,
    Tool,
    ToolCall,
    ToolCallDelta,
)
from pipeline.workers import CancelToken

from .dialogue import DEFAULT_INSTRUCTIONS
from .evaluation_cases import Case, Part, functions
from .evaluation_checks import Call, Reply, right

MAX_TOKENS = 240


@dataclass
class Answer:
    """What became of a case under certain instructions: the model's replies, and whether the last is right."""

    case: Case
    instructions: str | None
    replies: list[Reply] = field(default_factory=list)
    right: bool = False
    tokens: int = 0
    seconds: float = 0.0

    def line(self) -> str:
        """The conversation in one line."""
        said = " / ".join(part.text for part in self.case.parts)
        replies = " / ".join(shown(reply) for reply in self.replies)
        under = " {no instructions}" if self.instructions is None else f" {{{self.instructions}}}"
        told = "" if self.instructions == DEFAULT_INSTRUCTIONS else under
        return f"{'ok ' if self.right else 'BAD'} {self.case.category}: {said}{told} → {replies}   [{self.case.wanted}]"


def shown(reply: Reply) -> str:
    """A reply as one reads it."""
    calls = [f"{call.name}({json.dumps(call.arguments, ensure_ascii=False)})" for call in reply.calls]
    return " ".join([reply.text, *calls]).strip()


def asked_under(case: Case) -> list[str | None]:
    """The instructions that a case is asked under: its own; or else the usual ones, and none."""
    if case.instructions:
        return [None if case.instructions == "-" else case.instructions]
    return [DEFAULT_INSTRUCTIONS, None]


class Talker:
    """A model, loaded; `seconds_to_load` says how long that took, with the first reply."""

    def __init__(self, model: Path, sessions: int) -> None:
        begin = time.monotonic()
        self.engine = LlamaCpp(LlamaCpp.Options(model=str(model), sequences=sessions, max_tokens=MAX_TOKENS))
        self.engine.warm_up()
        self.seconds_to_load = time.monotonic() - begin
        self.sessions = sessions

    def close(self) -> None:
        """Frees the weights."""
        self.engine.close()

    def ask(self, cases: Sequence[Case], temperature: float, times: int = 1) -> list[Answer]:
        """Asks all cases, some at the same time; returns the answers in order."""
        jobs = [(case, under) for _ in range(times) for case in cases for under in asked_under(case)]
        with ThreadPoolExecutor(self.sessions) as pool:
            return list(pool.map(lambda job: self.answer(job[0], job[1], temperature), jobs))

    def answer(self, case: Case, instructions: str | None, temperature: float) -> Answer:
        """Goes through one conversation."""
        answer = Answer(case, instructions)
        messages = [Message("system", instructions)] if instructions else []
        tools = tuple(
            Tool(name, functions()[name]["description"], functions()[name]["parameters"]) for name in case.tools
        )
        stream = self.engine.open()
        try:
            for group in grouped(case.parts):
                messages += given(group, len(messages))
                if group.replies:
                    asked = GenerationRequest(Prompt(tuple(messages), tools), temperature=temperature)
                    begin = time.monotonic()
                    outputs = list(stream.generate(asked, CancelToken()))
                    answer.seconds += time.monotonic() - begin
                    answer.tokens += sum(made.output_tokens for made in outputs if isinstance(made, Generated))
                    answer.replies.append(read(outputs))
                    messages.append(Message("assistant", answer.replies[-1].text))
        finally:
            stream.close()
        answer.right = right(case.wanted, answer.replies)
        return answer


@dataclass(frozen=True)
class Group:
    """Parts of a conversation up to where the model speaks, or up to words that are given instead."""

    parts: tuple[Part, ...]
    replies: bool


def grouped(parts: tuple[Part, ...]) -> Iterator[Group]:
    """Divides a conversation: the model speaks after a user's words or results, unless other words are given."""
    waiting: list[Part] = []
    for at, part in enumerate(parts):
        waiting.append(part)
        following = parts[at + 1].role if at + 1 < len(parts) else None
        if part.role in ("user", "result") and following in ("user", None):
            yield Group(tuple(waiting), replies=True)
            waiting = []
    if waiting:
        yield Group(tuple(waiting), replies=False)


def given(group: Group, count: int) -> Iterator[Message]:
    """The messages of some parts; calls that stand in a row are made together. `count` makes their ids differ."""
    calls: list[ToolCall] = []
    answered = 0
    for at, part in enumerate(group.parts):
        if part.role == "call":
            name, _, arguments = part.text.partition(" ")
            calls.append(ToolCall(f"call_{count}_{len(calls)}", name, arguments or "{}"))
            if group.parts[at + 1].role == "result":
                yield Message("assistant", "", tuple(calls[answered:]))
        elif part.role == "result":
            yield Message("tool", part.text, call_id=calls[answered].id)
            answered += 1
        else:
            yield Message("assistant" if part.role == "assistant" else "user", part.text)


def read(outputs: list[ModelOutput]) -> Reply:
    """The reply that an engine's output is."""
    text = "".join(made.text for made in outputs if isinstance(made, TextDelta)).strip()
    names: dict[int, str] = {}
    arguments: dict[int, str] = {}
    for made in outputs:
        if isinstance(made, ToolCallDelta):
            names[made.index] = names.get(made.index, "") + made.name
            arguments[made.index] = arguments.get(made.index, "") + made.arguments
    return Reply(text, tuple(Call(name, _object(arguments[index])) for index, name in names.items()))


def _object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text or "{}")
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
