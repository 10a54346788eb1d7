"""What was measured as tables for docs/performance.md."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from server.bench.report import facts, load_rows
from server.bench.statistics import Summary, ratio, summaries
from server.bench.turn import METRICS

from .cases import Measured

_TURNS = (
    "end_to_audible",
    "stopped_to_audible",
    "end_to_stopped",
    "end_to_first_words",
    "end_to_transcript",
    "end_to_text",
    "leading_silence",
)
_INTERRUPTIONS = ("voice_to_started", "voice_to_last_delta", "started_to_last_delta")
_FACTS = ("turns answered", "replies interrupted", "replies begun for nothing")
_SHOWN = {"turns": _TURNS, "interruptions": _INTERRUPTIONS, "load": ("end_to_audible", "stopped_to_audible")}


def machine() -> str:
    """Returns what this was measured on, and how busy that was."""
    return (
        f"{os.cpu_count()} cores of {_processor()}, {datetime.now(UTC):%d %B %Y}; "
        f"load average before: {os.getloadavg()[0]:.1f}"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def table(measured: Measured) -> str:
    """Returns the table with its title, and below it what was answered and what went wrong."""
    found = [summaries(result.turns) for result in measured.results]
    labels = [result.server.label for result in measured.results]
    head = ["ms", *(f"{label}: {column}" for label in labels for column in ("p50", "p95", "max"))]
    head += [f"p50 ÷ {label}" for label in labels[1:]]
    rows = [_row(name, found) for name in _SHOWN[measured.kind] if any(name in each for each in found)]
    lines = [f"**{measured.title}**", "", *_markdown(head, rows), ""]
    told = load_rows(measured.results, measured.plan)
    if measured.kind != "load":  # of servers side by side memory says little: they share pages with each other
        told = [(name, values) for name, values in told if name in _FACTS]
    lines += [f"- {name}: {'; '.join(values)}" for name, values in told]
    lines += [f"- {line}" for result in measured.results for line in facts(result)]
    return "\n".join([*lines, *(f"- {note}" for note in measured.notes)])


def _row(name: str, found: Sequence[dict[str, Summary]]) -> list[str]:
    here = [each.get(name) for each in found]
    row = [METRICS[name]]
    for each in here:
        row += [f"{each.p50:.0f}", f"{each.p95:.0f}", f"{each.max:.0f}"] if each else ["–"] * 3
    return row + [ratio(here[0], each) for each in here[1:]]


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return [f"| {' | '.join(line)} |" for line in lines]
