"""Medians and tails."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from server.bench.turn import METRICS, Turn


@dataclass(frozen=True, slots=True)
class Summary:
    """What the values of one metric were like, in milliseconds."""

    count: int
    p50: float
    p95: float
    max: float

    def __str__(self) -> str:
        return f"{self.p50:.0f} / {self.p95:.0f} / {self.max:.0f}"


def summary(values: Iterable[float]) -> Summary | None:
    """Returns the median, the 95th percentile (linear between neighbours) and the maximum; None for no values."""
    found = np.array(list(values), dtype=np.float64)
    if not len(found):
        return None
    p50, p95 = np.percentile(found, [50, 95])
    return Summary(len(found), round(float(p50), 1), round(float(p95), 1), round(float(found.max()), 1))


def ratio(here: Summary | None, first: Summary | None) -> str:
    """Returns by how much a median differs from the first server's; a dash where that says nothing."""
    return f"{here.p50 / first.p50:.2f}" if here and first and here.p50 >= 0 < first.p50 else "–"


def summaries(turns: Iterable[Turn]) -> dict[str, Summary]:
    """Returns a summary of each metric that was measured at all."""
    turns = list(turns)
    made = {name: summary(turn.measures[name] for turn in turns if name in turn.measures) for name in METRICS}
    return {name: found for name, found in made.items() if found is not None}


def stage_medians(turns: Iterable[Turn]) -> dict[str, float]:
    """Returns the median of each stage of the servers' own timings, in the order of their moments."""
    found: dict[str, list[float]] = {}
    for turn in turns:
        for name, value in turn.stages.items():
            found.setdefault(name, []).append(value)
    medians = {name: float(np.median(values)) for name, values in found.items()}
    return dict(sorted(medians.items(), key=lambda each: each[1]))
