"""The results as one HTML file: no script, nothing from elsewhere, light and dark."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

from server.bench import charts
from server.bench.bench import Plan, Result
from server.bench.report import facts, load_rows
from server.bench.statistics import Summary, ratio, summaries
from server.bench.turn import METRICS
from server.bench.waterfall import scale, spans

_STYLE: Final = """
:root { color-scheme: light dark; --page: #fbfbfa; --card: #fff; --ink: #1d2126; --dim: #626b76; --line: #e3e5e8;
  --bad: #b3261e; --s0: #2563c9; --s1: #c2571a; --s2: #1f8a5b; --s3: #8a45b8; --s4: #97760a; --s5: #56687a; }
@media (prefers-color-scheme: dark) { :root { --page: #14171b; --card: #1b1f25; --ink: #e6e9ed; --dim: #98a2ae;
  --line: #2d333b; --bad: #ff8f85; --s0: #6ea3ff; --s1: #ff9a5c; --s2: #57c896; --s3: #c792ea; --s4: #d9b640;
  --s5: #9fb2c5; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 2rem 1.2rem 4rem; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.15rem; margin: 2.5rem 0 .8rem; }
h3 { font-size: .95rem; font-weight: 600; margin: 0 0 .6rem; } p { margin: .3rem 0; } .dim { color: var(--dim); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1rem 1.2rem;
  margin: 0 0 1rem; overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
td, th { padding: .35rem .7rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
tr:last-child td { border-bottom: 0; } th { font-weight: 600; }
td:first-child, th:first-child { text-align: left; padding-left: 0; white-space: normal; } td b { font-weight: 650; }
i.key { display: inline-block; width: .7em; height: .7em; border-radius: 50%; margin-right: .45em; }
.bad { color: var(--bad); } ul { margin: 0; padding-left: 1.2rem; }
svg { display: block; width: 100%; min-width: 36rem; height: auto; }
svg text { fill: var(--ink); font-size: 12.5px; } svg .tick { fill: var(--dim); font-size: 11px; }
svg line { stroke: var(--line); } svg .zero { stroke: var(--dim); } svg .value { fill: var(--dim); }
svg circle { fill: var(--c); fill-opacity: .4; } svg .p50 { stroke: var(--c); stroke-width: 3; }
svg .p95 { stroke: var(--c); stroke-width: 1.5; stroke-dasharray: 3 2; }
svg .bar { fill: var(--c); } svg .waits { fill-opacity: .3; stroke: var(--c); }
""" + "".join(f".s{each} {{ --c: var(--s{each}); }} i.s{each} {{ background: var(--s{each}); }}\n" for each in range(6))
_COLOURS: Final = 6


def page(results: Sequence[Result], plan: Plan) -> str:
    """Returns the page: a table of all metrics, each metric's values as dots, and the stages of a turn."""
    found = {result.server.label: summaries(result.turns) for result in results}
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>parley bench</title><style>{_STYLE}</style>",
        '<meta name=viewport content="width=device-width">',
        f"<h1>parley bench</h1><p class=dim>{_asked(plan)}</p>",
        f"<h2>Medians and tails</h2><div class=card>{_table(found)}</div>",
        _problems(results),
        *_waterfalls(results),
        *_distributions(results),
        f"<h2>Load</h2><div class=card>{_load(results, plan)}</div>",
    ]
    return "\n".join(parts) + "\n"


def _asked(plan: Plan) -> str:
    silence = f"{plan.silence_ms} ms of silence end a turn" if plan.silence_ms else "turns end as the server has it"
    interrupted = "; each reply is interrupted" if plan.interruptions else ""
    count = len(plan.questions)
    questions = f"{count} question{'s' if count > 1 else ''}, {plan.rounds} round{'s' if plan.rounds > 1 else ''}"
    return f"{questions}, {plan.sessions} at once; {silence}{interrupted}."


def _key(number: int) -> str:
    return f'<i class="key s{number % _COLOURS}"></i>'


def _table(found: Mapping[str, Mapping[str, Summary]]) -> str:
    first = next(iter(found.values()))
    against = next(iter(found))
    head = []
    for number, label in enumerate(found):
        head.append(f"<th>{_key(number)}{escape(label)}")
        if number:
            head.append(f"<th class=dim>÷ {escape(against)}")
    rows = []
    for name, told in METRICS.items():
        cells = []
        for number, each in enumerate(found.values()):
            here = each.get(name)
            cells.append(f"<td><b>{here.p50:.0f}</b> / {here.p95:.0f} / {here.max:.0f}" if here else "<td class=dim>–")
            if number:
                cells.append(f"<td class=dim>{ratio(here, first.get(name))}")
        if any(name in each for each in found.values()):
            rows.append(f"<tr><td>{escape(told)}{''.join(cells)}")
    return f"<table><tr><th class=dim>ms: p50 / p95 / max{''.join(head)}{''.join(rows)}</table>"


def _load(results: Sequence[Result], plan: Plan) -> str:
    head = "".join(f"<th>{_key(number)}{escape(each.server.label)}" for number, each in enumerate(results))
    rows = "".join(
        f"<tr><td>{escape(name)}{''.join(f'<td>{escape(value)}' for value in values)}"
        for name, values in load_rows(results, plan)
    )
    return f"<table><tr><th>{head}{rows}</table>"


def _problems(results: Sequence[Result]) -> str:
    lines = [f"<li>{escape(line)}" for result in results for line in facts(result)]
    return f"<h2>What went wrong</h2><div class='card bad'><ul>{''.join(lines)}</ul></div>" if lines else ""


def _distributions(results: Sequence[Result]) -> list[str]:
    parts = []
    for name, told in METRICS.items():
        values = {
            each.server.label: [turn.measures[name] for turn in each.turns if name in turn.measures] for each in results
        }
        if any(values.values()):
            parts.append(f"<div class=card><h3>{escape(told)}</h3>{charts.dots(values)}</div>")
    told = "Every turn is a dot; the thick stroke is the median, the dashed one p95; milliseconds."
    return [f"<h2>Distributions</h2><p class=dim>{told}</p>", *parts] if parts else []


def _waterfalls(results: Sequence[Result]) -> list[str]:
    found = {number: stages for number, result in enumerate(results) if (stages := spans(result.turns))}
    low, high = scale(span for stages in found.values() for span in stages)
    parts = []
    for number, stages in found.items():
        title = f"<h3>{_key(number)}{escape(results[number].server.label)}</h3>"
        parts.append(f"<div class=card>{title}{charts.waterfall(stages, number % _COLOURS, low, high)}</div>")
    told = "What the server says of its stages: milliseconds after the last frame it took for speech. Pale bars wait."
    return [f"<h2>Where the time goes</h2><p class=dim>{told}</p>", *parts] if parts else []
