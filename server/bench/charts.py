"""The drawings of the report as SVG, coloured by the page's style: distributions as dots, stages as bars."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

from server.bench.statistics import summary
from server.bench.waterfall import Span

_LABEL: Final = 150
"""Width of the names at the left of the dots."""
_STAGE_LABEL: Final = 240
_PLOT: Final = 560
_END: Final = 60
"""Width of the figures at the right."""
_ROW: Final = 30
_BAR_ROW: Final = 26
_AXIS: Final = 26
_TICKS: Final = 6


def dots(values: Mapping[str, Sequence[float]]) -> str:
    """Returns every value as a dot on a line, a server a line, with a stroke at the median and one at p95."""
    every = [value for each in values.values() for value in each]
    scale = _Scale(min(0.0, *every), max(0.0, *every), _LABEL)
    parts = [_open(_LABEL, _ROW * len(values) + _AXIS), scale.grid(_ROW * len(values))]
    for row, (label, each) in enumerate(values.items()):
        y = _ROW * row + _ROW // 2
        parts.append(f'<text x=0 y="{y + 4}">{escape(_short(label, 20))}</text><g class="s{row}">')
        for number, value in enumerate(each):
            height = y + (number % 5 - 2) * 2  # those that lie on each other show
            told = f"<title>{escape(label)}: {value:.1f} ms</title>"
            parts.append(f'<circle cx="{scale(value):.1f}" cy="{height}" r=4>{told}</circle>')
        if found := summary(each):
            for name, at in (("p50", found.p50), ("p95", found.p95)):
                x, told = f"{scale(at):.1f}", f"<title>{escape(label)}: {name} {at:.1f} ms</title>"
                parts.append(f'<line class={name} x1="{x}" x2="{x}" y1="{y - 11}" y2="{y + 11}">{told}</line>')
            parts.append(f'<text class=value x="{_LABEL + _PLOT + 10}" y="{y + 4}">{found.p50:.0f}</text>')
        parts.append("</g>")
    return "".join(parts) + "</svg>"


def waterfall(spans: Sequence[Span], colour: int, low: float, high: float) -> str:
    """Returns a bar for each stage, from its beginning to its end, in the colour of the server of that number.

    `low` and `high` are the ends of the scale in milliseconds, so that servers can share one.
    """
    scale = _Scale(low, high, _STAGE_LABEL)
    height = _BAR_ROW * len(spans)
    parts = [_open(_STAGE_LABEL, height + _AXIS), scale.grid(height), f'<g class="s{colour}">']
    for row, span in enumerate(spans):
        y = _BAR_ROW * row + 4
        left, right = scale(max(span.start, low)), scale(max(span.end, low))
        took = span.end - span.start
        shown = f"{took:.0f}" if took or span.start >= 0 else f"at {span.start:.0f}"
        told = f"<title>{escape(span.name)}: {span.start:.1f} to {span.end:.1f} ms, {took:.1f} ms</title>"
        waits = " waits" if span.name.startswith(("endpointing", "held")) else ""
        parts.append(f'<text x=0 y="{y + 13}">{escape(span.name)}</text>')
        place = f'x="{left:.1f}" y="{y}" width="{max(right - left, 2):.1f}" height=18 rx=3'
        parts.append(f'<rect class="bar{waits}" {place}>{told}</rect>')
        parts.append(f'<text class=value x="{right + 6:.1f}" y="{y + 13}">{shown}</text>')
    return "".join(parts) + "</g></svg>"


class _Scale:
    """Milliseconds → the place in the drawing."""

    def __init__(self, low: float, high: float, left: int) -> None:
        self._step = _nice((high - low) / _TICKS)
        self._low = self._step * (low // self._step)
        self._high = max(high, self._low + self._step)
        self._left = left

    def __call__(self, value: float) -> float:
        return self._left + _PLOT * (value - self._low) / (self._high - self._low)

    def grid(self, height: int) -> str:
        """Returns the lines of the round values, and below each what it is."""
        parts, value = [], self._low
        while value <= self._high:
            x = f"{self(value):.1f}"
            axis = " class=zero" if abs(value) < self._step / 2 else ""
            parts.append(f'<line{axis} x1="{x}" x2="{x}" y1=0 y2="{height}"/>')
            parts.append(f'<text class=tick x="{x}" y="{height + 16}" text-anchor=middle>{value:.0f}</text>')
            value += self._step
        return "".join(parts)


def _nice(rough: float) -> float:
    """Returns the next of 1, 2, 5, 10, 20, 50, … from a value up."""
    power = 1.0
    while rough > 10 * power:
        power *= 10
    return next(power * each for each in (1, 2, 5, 10) if rough <= power * each)


def _open(left: int, height: int) -> str:
    return f'<svg viewBox="-4 -2 {left + _PLOT + _END} {height + 4}" role=img>'


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
