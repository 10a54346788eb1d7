"""The results as a table in the terminal and as JSON (docs/bench.md says what is in it)."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from server.bench.bench import Plan, Result
from server.bench.memory import Memory
from server.bench.statistics import ratio, stage_medians, summaries
from server.bench.turn import METRICS, Interruption
from server.bench.waterfall import Span, scale, spans

_INTERRUPTIONS: Final[dict[Interruption, str]] = {
    "cut": "cut off",
    "over": "all there before the voice",
    "ignored": "went on all the same",
}
_BAR: Final = 20
"""Characters of the longest line of a waterfall."""


def tables(results: Sequence[Result], plan: Plan) -> RenderableType:
    """Returns the metrics side by side, what went wrong, and the stages of the servers that tell them."""
    parts: list[RenderableType] = [_metrics(results), _load(results, plan)]
    for result in results:
        parts += [Text(line, "red") for line in facts(result)]
    told = {result.server.label: found for result in results if (found := spans(result.turns))}
    ends = scale(span for found in told.values() for span in found)
    parts += [_waterfall(label, found, *ends) for label, found in told.items()]
    return Group(*parts)


def facts(result: Result) -> list[str]:
    """Returns what went wrong, a line each; turns that failed for the same reason share one."""
    label = result.server.label
    lines = [] if result.problem is None else [f"{label}: {result.problem}"]
    reasons = Counter((turn.question, turn.problem) for turn in result.failed)
    for (question, problem), count in reasons.items():
        times = f" ({count} times)" if count > 1 else ""
        lines.append(f"{label}: {question}: {problem}{times}")
    return lines


def load_rows(results: Sequence[Result], plan: Plan) -> list[tuple[str, list[str]]]:
    """Returns what each server did and took, a row a fact, a value a server."""
    rows = [
        ("turns answered", [f"{each.answered} of {len(each.turns)}" for each in results]),
        ("turns a minute", [f"{each.turns_a_minute:.1f}" for each in results]),
        ("sound of the replies", [f"{each.reply_seconds:.0f} s in {each.seconds:.0f} s" for each in results]),
    ]
    if plan.interruptions:
        rows.append(("replies interrupted", [_interrupted(each) for each in results]))
    if any(turn.counts for each in results for turn in each.turns):
        rows += [
            ("prefills while one speaks", [_counted(each, "prefills") for each in results]),
            ("replies begun for nothing", [_counted(each, "abandoned") for each in results]),
            ("tokens of prompts", [_counted(each, "input_tokens") for each in results]),
            ("of them computed before", [_counted(each, "cached_tokens") for each in results]),
        ]
    if any(each.busy for each in results):
        rows += [
            ("memory before the first question", [_told(each.idle, _total) for each in results]),
            ("the most with all sessions open", [_told(each.busy, _total) for each in results]),
            (
                "of it the content of files",
                [_told(each.busy, lambda all: f"{all.files_mb:.0f} MB") for each in results],
            ),
            ("of it shared by its processes", [_told(each.busy, _shared) for each in results]),
            ("more for each session", [_per_session(each, plan.sessions) for each in results]),
        ]
    return rows


def as_json(results: Sequence[Result], plan: Plan) -> dict[str, Any]:
    """Returns everything that was measured; times in milliseconds, memory in MB."""
    return {
        "plan": {
            "questions": [question.name for question in plan.questions],
            "rounds": plan.rounds,
            "warm_up": plan.warm_up,
            "sessions": plan.sessions,
            "silence_ms": plan.silence_ms,
            "interruptions": [interruption.name for interruption in plan.interruptions],
        },
        "servers": [_server_json(result, plan) for result in results],
    }


def _server_json(result: Result, plan: Plan) -> dict[str, Any]:
    return {
        "label": result.server.label,
        "url": str(result.server.address),
        "problem": result.problem,
        "summaries": {name: dataclasses.asdict(each) for name, each in summaries(result.turns).items()},
        "stages": stage_medians(result.turns),
        "spans": [dataclasses.asdict(span) for span in spans(result.turns)],
        "seconds": round(result.seconds, 3),
        "turns_a_minute": round(result.turns_a_minute, 2),
        "reply_seconds": round(result.reply_seconds, 2),
        "memory": {
            "idle": dataclasses.asdict(result.idle) if result.idle else None,
            "busy": dataclasses.asdict(result.busy) if result.busy else None,
            "per_session_mb": result.memory_per_session_mb(plan.sessions),
        },
        "turns": [dataclasses.asdict(turn) for turn in result.turns],
    }


def _interrupted(result: Result) -> str:
    count = Counter(turn.interruption for turn in result.turns if turn.interruption)
    return ", ".join(f"{count[name]} {told}" for name, told in _INTERRUPTIONS.items() if count[name]) or "none"


def _counted(result: Result, name: str) -> str:
    counts = [turn.counts[name] for turn in result.turns if name in turn.counts]
    return f"{sum(counts):.0f}" if counts else "–"


def _told(memory: Memory | None, tell: Callable[[Memory], str]) -> str:
    return "–" if memory is None else tell(memory)


def _total(memory: Memory) -> str:
    return f"{memory.total_mb:.0f} MB"


def _shared(memory: Memory) -> str:
    return f"{memory.shared_mb:.0f} MB, {memory.processes} of them" if memory.processes > 1 else "–"


def _per_session(result: Result, sessions: int) -> str:
    added = result.memory_per_session_mb(sessions)
    return "–" if added is None else f"{added:.1f} MB"


def _metrics(results: Sequence[Result]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title="milliseconds: p50 / p95 / max", title_justify="left")
    table.add_column("")
    for result in results:
        table.add_column(result.server.label, justify="right")
        if result is not results[0]:
            table.add_column(f"÷ {results[0].server.label}", justify="right", style="dim")
    found = [summaries(result.turns) for result in results]
    for name, told in METRICS.items():
        if not any(name in each for each in found):
            continue
        row = [told]
        for each in found:
            here = each.get(name)
            row.append(str(here) if here else "–")
            if each is not found[0]:
                row.append(ratio(here, found[0].get(name)))
        table.add_row(*row)
    return table


def _load(results: Sequence[Result], plan: Plan) -> Table:
    table = Table(box=None, style="dim", header_style="dim")
    table.add_column("")
    for result in results:
        table.add_column(result.server.label, justify="left")
    for name, values in load_rows(results, plan):
        table.add_row(name, *values)
    return table


def _waterfall(label: str, found: Sequence[Span], low: float, high: float) -> Table:
    title = f"{label}: the stages of a turn, ms after the last speech it heard (medians)"
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left")
    table.add_column("stage", no_wrap=True)
    for name in ("from", "to"):
        table.add_column(name, justify="right", no_wrap=True, min_width=5)
    table.add_column("", no_wrap=True)
    for span in found:
        left, right = (round(_BAR * (max(at, low) - low) / (high - low)) for at in (span.start, span.end))
        table.add_row(
            span.name,
            f"{span.start:.0f}",
            f"{span.end:.0f}",
            " " * left + ("━" * (right - left) if right > left else "╸"),
        )
    return table
