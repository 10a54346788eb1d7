"""The results as one HTML file: no script, nothing from elsewhere, light and dark."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

from server.bench.bench import Plan, Result
from server.bench.statistics import Summary, stage_medians, summaries
from server.bench.turn import METRICS
from server.timings import STAGES

_WIDTH: Final = 640
_ROW: Final = 22
_COLOURS: Final = ("#2f6fde", "#d9622b", "#2c9a62", "#9a4fc4", "#b08a00", "#5a6a7a")
"""One a server, in turn."""

_STYLE: Final = """
:root { color-scheme: light dark; --line: #8886; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; }
td, th { padding: .25rem .8rem; text-align: right; border-bottom: 1px solid var(--line); }
td:first-child, th:first-child { text-align: left; } svg { max-width: 100%; height: auto; display: block; }
svg text { fill: currentColor; font-size: 12px; } svg line { stroke: var(--line); } .dim { opacity: .7; }
"""


def page(results: Sequence[Result], plan: Plan) -> str:
    """Returns the page: a table of all metrics, each metric's values as dots, and the stages of a turn."""
    colours = {result.server.label: _COLOURS[at % len(_COLOURS)] for at, result in enumerate(results)}
    found = {result.server.label: summaries(result.turns) for result in results}
    asked = f"{len(plan.questions)} questions, {plan.rounds} rounds, {plan.sessions} at once"
    silence = f"{plan.silence_ms} ms of silence end a turn" if plan.silence_ms else "turns end as the server has it"
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>parley bench</title><style>{_STYLE}</style>",
        '<meta name=viewport content="width=device-width">',
        f"<h1>parley bench</h1><p class=dim>{asked}; {silence}.</p>",
        _table(found),
        _facts(results),
    ]
    for name, told in METRICS.items():
        values = {
            result.server.label: [turn.measures[name] for turn in result.turns if name in turn.measures]
            for result in results
        }
        if any(values.values()):
            parts.append(f"<h2>{escape(told)}</h2>{_dots(values, colours)}")
    for result in results:
        if stages := stage_medians(result.turns):
            title = f"{escape(result.server.label)}: stages of a turn, ms after the end of speech (medians)"
            parts.append(f"<h2>{title}</h2>{_waterfall(stages, colours[result.server.label])}")
    return "\n".join(parts) + "\n"


def _table(found: Mapping[str, Mapping[str, Summary]]) -> str:
    head = "".join(f"<th>{escape(label)}" for label in found)
    rows = []
    for name, told in METRICS.items():
        cells = [each.get(name) for each in found.values()]
        if any(cells):
            shown = [str(cell) if cell else "–" for cell in cells]
            rows.append(f"<tr><td>{escape(told)}" + "".join(f"<td>{each}" for each in shown))
    return f"<table><tr><th>ms: p50 / p95 / max{head}{''.join(rows)}</table>"


def _facts(results: Sequence[Result]) -> str:
    lines = []
    for result in results:
        lines.append(f"<li>{escape(result.told())}")
        lines += [f"<li>{escape(turn.question)}: {escape(turn.problem or '')}" for turn in result.failed]
    return f"<ul>{''.join(lines)}</ul>"


def _dots(values: Mapping[str, Sequence[float]], colours: Mapping[str, str]) -> str:
    """Every value as a dot on a line, a server a line."""
    every = [value for each in values.values() for value in each]
    low, high = min(0.0, *every), max(0.0, *every) or 1.0
    height = _ROW * len(values) + 24
    parts = [f'<svg viewBox="0 0 {_WIDTH + 200} {height}" role=img>']
    for row, (label, each) in enumerate(values.items()):
        y = _ROW * row + 14
        parts.append(f'<text x=0 y="{y + 4}">{escape(label)}</text>')
        parts.append(f'<line x1=150 x2="{150 + _WIDTH}" y1="{y}" y2="{y}"/>')
        for value in each:
            x = 150 + _WIDTH * (value - low) / (high - low)
            told = f"<title>{value:.0f} ms</title>"
            parts.append(f'<circle cx="{x:.1f}" cy="{y}" r=4 fill="{colours[label]}" fill-opacity=.55>{told}</circle>')
    parts.append(f'<text x=150 y="{height - 2}">{low:.0f} ms</text>')
    parts.append(f'<text x="{150 + _WIDTH}" y="{height - 2}" text-anchor=end>{high:.0f} ms</text></svg>')
    return "".join(parts)


def _waterfall(stages: Mapping[str, float], colour: str) -> str:
    """A bar from each stage's moment to the next one's."""
    moments = list(stages.items())
    low, high = min(0.0, moments[0][1]), max(moments[-1][1], 1.0)
    scale = _WIDTH / 2 / (high - low)
    parts = [f'<svg viewBox="0 0 {_WIDTH + 200} {_ROW * len(moments) + 6}" role=img>']
    before = 0.0
    for row, (name, at) in enumerate(moments):
        y = _ROW * row + 4
        start, width = 400 + scale * (min(before, at) - low), max(scale * abs(at - before), 1.0)
        parts.append(f'<text x=0 y="{y + 12}">{escape(STAGES.get(name, name))}</text>')
        parts.append(f'<rect x="{start:.1f}" y="{y}" width="{width:.1f}" height=14 fill="{colour}"/>')
        parts.append(f'<text x="{start + width + 6:.1f}" y="{y + 12}">{at:.0f}</text>')
        before = at
    return "".join(parts) + "</svg>"
