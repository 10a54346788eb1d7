"""The evaluation's cases, read from `evaluation/*.tsv`, and the functions of `evaluation/functions.json`.

A file is tab-separated; its first line names the columns, of which only `wanted` and `said` must be there:

- `category`: the line of figures that the case counts in.
- `wanted`: what the last reply must be like (see evaluation_checks.py).
- `instructions`: the system prompt; empty: once with the usual ones and once with none; `-`: none.
- `tools`: the names of the functions that the model is given, with commas in between.
- `said`: the conversation, with ` / ` between its parts. A part is what the user says, unless it begins with `!`
  (words of the assistant that are given instead of its own), `>` (a call that it made: a name, a blank and
  arguments in JSON) or `<` (what that call returned).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from .sources import read_table

EVALUATION = Path(__file__).parent / "evaluation"
Aim = Literal["in-domain", "tools", "refusals", "heard"]
MARKS = {"!": "assistant", ">": "call", "<": "result"}


class Part(NamedTuple):
    """One part of a conversation: who (`user`, `assistant`, `call`, `result`), and what."""

    role: str
    text: str


@dataclass(frozen=True)
class Case:
    """One question, or one conversation that ends in a question."""

    file: str
    category: str
    wanted: str
    instructions: str
    tools: tuple[str, ...]
    parts: tuple[Part, ...]

    @property
    def said(self) -> tuple[str, ...]:
        """What the user says."""
        return tuple(part.text for part in self.parts if part.role == "user")

    @property
    def aim(self) -> Aim:
        """Which of the figures the case counts in."""
        if self.file.startswith("heard"):
            return "heard"
        if self.tools:
            return "tools"
        return "refusals" if self.file.startswith("outside") else "in-domain"


def read_parts(said: str) -> tuple[Part, ...]:
    """The parts of a conversation in the notation of the column `said`."""
    return tuple(
        Part(MARKS[text[0]], text[1:].strip()) if text[0] in MARKS else Part("user", text)
        for text in (part.strip() for part in said.split(" / "))
    )


def read_file(path: Path) -> Iterator[Case]:
    """The cases of a file.

    Raises:
        ValueError: a row has too few or too many columns.
        KeyError: a column is missing.
    """
    for row in read_table(path):
        tools = tuple(name.strip() for name in row.get("tools", "").split(",") if name.strip())
        yield Case(
            path.stem,
            row.get("category") or path.stem,
            row["wanted"],
            row.get("instructions", ""),
            tools,
            read_parts(row["said"]),
        )


@cache
def cases() -> tuple[Case, ...]:
    """All cases, in the order of the files' names."""
    return tuple(case for path in sorted(EVALUATION.glob("*.tsv")) for case in read_file(path))


@cache
def functions() -> dict[str, dict[str, Any]]:
    """The functions by name, each in the form of the Realtime API."""
    path = EVALUATION / "functions.json"
    listed: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    return {function["name"]: function for function in listed}


@cache
def names() -> frozenset[str]:
    """The people that occur in the evaluation, in lower case; none of them may be in training's tables."""
    path = EVALUATION / "names.txt"
    return frozenset(path.read_text(encoding="utf-8").lower().split()) if path.exists() else frozenset()
