"""The results as a table in the terminal and as JSON."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from server.bench.bench import Plan, Result
from server.bench.statistics import stage_medians, summaries
from server.bench.turn import METRICS
from server.timings import STAGES


def tables(results: Sequence[Result]) -> RenderableType:
    """Returns the metrics side by side, what went wrong, and the stages of the servers that tell them."""
    parts: list[RenderableType] = [_metrics(results)]
    for result in results:
        parts.append(Text(result.told(), style="dim"))
        parts += [Text(f"{result.server.label}: {turn.question}: {turn.problem}", "red") for turn in result.failed]
        if stages := stage_medians(result.turns):
            parts.append(_waterfall(result.server.label, stages))
    return Group(*parts)


def as_json(results: Sequence[Result], plan: Plan) -> dict[str, Any]:
    """Returns everything that was measured; times in milliseconds, memory in MB."""
    return {
        "plan": {
            "questions": [question.name for question in plan.questions],
            "rounds": plan.rounds,
            "sessions": plan.sessions,
            "silence_ms": plan.silence_ms,
            "interruption": plan.interruption.name if plan.interruption else None,
        },
        "servers": [
            {
                "label": result.server.label,
                "url": str(result.server.address),
                "summaries": {name: dataclasses.asdict(each) for name, each in summaries(result.turns).items()},
                "stages": stage_medians(result.turns),
                "turns_a_minute": round(result.turns_a_minute, 2),
                "memory_mb": result.memory_mb,
                "turns": [dataclasses.asdict(turn) for turn in result.turns],
            }
            for result in results
        ],
    }


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
                first = found[0].get(name)
                row.append(f"{here.p50 / first.p50:.2f}" if here and first and first.p50 > 0 else "–")
        table.add_row(*row)
    return table


def _waterfall(label: str, stages: dict[str, float]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title=f"{label}: ms after the end of speech (medians)", title_justify="left")
    table.add_column("stage")
    table.add_column("ms", justify="right")
    table.add_column("")
    latest = max(stages.values()) or 1.0
    for name, at in stages.items():
        table.add_row(STAGES.get(name, name), f"{at:.0f}", " " * round(30 * max(at, 0.0) / latest) + "▏")
    return table
