"""The figures of an evaluation: by category, by aim, as text, as JSON and as a table for the model card."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .evaluation_cases import Aim
from .evaluation_run import Answer, shown

WANTED: dict[Aim, float] = {"in-domain": 95.0, "tools": 90.0, "refusals": 90.0}
"""The least percentage of right answers that issue 4 asks for."""

SAID: dict[Aim, str] = {
    "in-domain": "in-domain answers right",
    "tools": "tool calls right in name and arguments",
    "refusals": "honest refusals outside",
    "heard": "answers right to what a transcriber heard",
}


@dataclass(frozen=True)
class Figure:
    """How many of some answers are right."""

    name: str
    right: int
    total: int

    @property
    def percent(self) -> float:
        """The right ones of a hundred."""
        return 100 * self.right / max(self.total, 1)

    def line(self) -> str:
        """The figure as a line of text."""
        return f"{self.name:28} {self.right:4} of {self.total:4}  {self.percent:5.1f} %"


@dataclass(frozen=True)
class Speed:
    """How fast one session is: tokens a second of replies, prompts included, and seconds to load."""

    tokens_a_second: float
    seconds_to_load: float

    def line(self) -> str:
        """The speed as a line of text."""
        return f"{self.tokens_a_second:.0f} tokens a second in one session, {self.seconds_to_load:.2f} s to load"


def figures(answers: Sequence[Answer], keys: Sequence[str]) -> list[Figure]:
    """Figures of groups of answers: `keys` names the group of each, and groups come in order of their first."""
    found: dict[str, list[bool]] = {}
    for key, answer in zip(keys, answers, strict=True):
        found.setdefault(key, []).append(answer.right)
    return [Figure(key, sum(results), len(results)) for key, results in found.items()]


def by_category(answers: Sequence[Answer]) -> list[Figure]:
    """A figure for each category of each aim."""
    return figures(answers, [f"{answer.case.aim}: {answer.case.category}" for answer in answers])


def by_aim(answers: Sequence[Answer]) -> list[Figure]:
    """A figure for each aim."""
    return figures(answers, [answer.case.aim for answer in answers])


def missed(answers: Sequence[Answer]) -> list[str]:
    """The aims that are not reached, each with its figure."""
    return [
        f"{figure.name}: {figure.percent:.1f} % where {least:g} % are wanted"
        for figure in by_aim(answers)
        for name, least in WANTED.items()
        if figure.name == name and figure.percent < least
    ]


def as_text(answers: Sequence[Answer], speed: Speed | None) -> str:
    """The figures to read in a terminal."""
    lines = [figure.line() for figure in by_category(answers)]
    lines += ["", *(f"{figure.line()}   {_wish(figure.name)}" for figure in by_aim(answers))]
    return "\n".join([*lines, *([speed.line()] if speed else [])])


def _wish(name: str) -> str:
    least = next((value for aim, value in WANTED.items() if aim == name), None)
    said = next(text for aim, text in SAID.items() if aim == name)
    return said if least is None else f"{said} (wanted: {least:g} %)"


def as_markdown(answers: Sequence[Answer], speed: Speed | None) -> str:
    """The tables for the model card."""
    rows = ["| What | Right | Asked | Share |", "|---|---:|---:|---:|"]
    rows += [
        f"| **{SAID[answer_aim]}** | {figure.right} | {figure.total} | **{figure.percent:.1f} %** |"
        for figure in by_aim(answers)
        for answer_aim in SAID
        if answer_aim == figure.name
    ]
    rows += [
        f"| {figure.name} | {figure.right} | {figure.total} | {figure.percent:.1f} % |"
        for figure in by_category(answers)
    ]
    return "\n".join([*rows, *(["", speed.line() + "."] if speed else [])])


def as_json(answers: Sequence[Answer], speed: Speed | None) -> str:
    """Everything, for other programs."""
    listed: list[dict[str, Any]] = [
        {
            "aim": answer.case.aim,
            "category": answer.case.category,
            "right": answer.right,
            "instructions": answer.instructions,
            "tools": answer.case.tools,
            "said": [f"{part.role}: {part.text}" for part in answer.case.parts],
            "wanted": answer.case.wanted,
            "replies": [shown(reply) for reply in answer.replies],
        }
        for answer in answers
    ]
    totals = {figure.name: figure.percent for figure in [*by_aim(answers), *by_category(answers)]}
    return json.dumps(
        {"percent": totals, "speed": speed.__dict__ if speed else None, "answers": listed},
        ensure_ascii=False,
        indent=1,
    )
