"""The rational quadratic splines of the flows in a duration predictor, run backwards."""

from __future__ import annotations

from math import exp, log

import numpy as np
from onnx import TensorProto

from .graph import GraphBuilder

BOUND = 5.0
"""Beyond, the spline is the identity."""

LEAST = 1e-3
"""The smallest width, height and slope of a piece."""


def add_inverse_spline(graph: GraphBuilder, at: str, y: str, parameters: str, bins: int) -> str:
    """Finds the x of which a spline is `y`; both are float32 [1, n, 1]. Equations 6 to 8 of
    https://arxiv.org/abs/1906.04032.

    `parameters`, [1, n, 3 · bins - 1], are the widths and heights of the pieces and the slopes between them, before
    they are made positive.
    """

    def op(kind: str, *inputs: str, **attributes: object) -> str:
        return graph.op(kind, *inputs, at=at, **attributes)

    def number(value: float) -> str:
        return graph.constant(value)

    sizes = graph.integers(bins, bins, bins - 1)
    widths, heights, slopes = graph.op("Split", parameters, sizes, at=at, outputs=3, axis=2)
    edges, sizes_x = _pieces(graph, at, widths, bins)
    levels, sizes_y = _pieces(graph, at, heights, bins)
    # At both ends the slope is 1.
    slopes = op("Pad", slopes, graph.integers(0, 0, 1, 0, 0, 1), number(log(exp(1 - LEAST) - 1)))
    slopes = op("Add", op("Softplus", slopes), number(LEAST))

    inside = op("Clip", y, number(-BOUND), number(BOUND))
    above = op("Cast", op("GreaterOrEqual", inside, levels), to=TensorProto.INT64)
    index = op("Sub", op("ReduceSum", above, graph.integers(2)), graph.integers(1))
    index = op("Clip", index, graph.constant(0, np.int64), graph.constant(bins - 1, np.int64))
    following = op("Add", index, graph.integers(1))
    x0, y0, width, height, slope0 = (
        op("GatherElements", each, index, axis=2) for each in (edges, levels, sizes_x, sizes_y, slopes)
    )
    slope1 = op("GatherElements", slopes, following, axis=2)

    steep = op("Div", height, width)
    up = op("Sub", inside, y0)
    bend = op("Sub", op("Add", slope0, slope1), op("Mul", number(2.0), steep))
    a = op("Add", op("Mul", up, bend), op("Mul", height, op("Sub", steep, slope0)))
    b = op("Sub", op("Mul", height, slope0), op("Mul", up, bend))
    c = op("Neg", op("Mul", steep, up))
    root = op("Sqrt", op("Sub", op("Mul", b, b), op("Mul", number(4.0), op("Mul", a, c))))
    part = op("Div", op("Mul", number(2.0), c), op("Neg", op("Add", b, root)))
    x = op("Add", op("Mul", part, width), x0)
    return op("Where", op("Equal", inside, y), x, y)


def _pieces(graph: GraphBuilder, at: str, sizes: str, bins: int) -> tuple[str, str]:
    """Returns where the pieces begin, with the end of the last, [1, n, bins + 1], and their sizes, [1, n, bins]."""

    def op(kind: str, *inputs: str, **attributes: object) -> str:
        return graph.op(kind, *inputs, at=at, **attributes)

    shares = op("Softmax", op("Div", sizes, graph.constant(192**0.5)), axis=2)
    shares = op("Add", op("Mul", shares, graph.constant(1 - LEAST * bins)), graph.constant(LEAST))
    ends = op("Pad", op("CumSum", shares, graph.constant(2, np.int64)), graph.integers(0, 0, 1, 0, 0, 0))
    edges = op("Sub", op("Mul", ends, graph.constant(2 * BOUND)), graph.constant(BOUND))
    after = graph.take(edges, graph.integers(1), graph.integers(bins + 1), 2, at)
    before = graph.take(edges, graph.integers(0), graph.integers(bins), 2, at)
    return edges, op("Sub", after, before)
