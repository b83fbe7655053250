"""Values between two roundings that a model gives, which it does not round itself: what they can be, in which steps.

Such a value is kept in 16 bits, over the range which its operator can reach from inputs whose ranges are given. No data
is needed, and nothing is cut off.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from aot.ir import Array, Graph, Node, TensorType
from aot.numerics import INT16_MAX, dequantize, f32, span
from aot.ops.add import Add
from aot.ops.average_pool2d import AveragePool2d
from aot.ops.base import Op, apply_clamp
from aot.ops.concat import Concat
from aot.ops.conv2d import Conv2d
from aot.ops.depthwise_conv2d import DepthwiseConv2d
from aot.ops.fully_connected import FullyConnected
from aot.ops.mul import Mul
from aot.ops.quantize import Grid, Quantize
from aot.ops.unary import Unary

#: Smallest and largest number.
Ends = tuple[float, float]
#: Steps of 16 bits must be this much finer than the finest rounding behind them.
FINER = 4.0


def fine(low: float, high: float) -> Grid:
    """The grid of 16 bits that reaches from ``low`` to ``high``."""
    return Grid("s16", f32(max(-low, high, 1e-12) / INT16_MAX), 0, -INT16_MAX, INT16_MAX)


def rounded_behind(graph: Graph) -> dict[str, float]:
    """Of each value that only roundings follow, sooner or later, the finest step among them."""
    found: dict[str, float] = {}
    readers = graph.consumers()
    for name in (*reversed([n.output for n in graph.nodes]), *graph.inputs):
        each = [n.op.grid.scale if isinstance(n.op, Quantize) and n.op.grid is not None else found.get(n.output)
                for n in readers.get(name, ())]
        known = [step for step in each if step is not None]
        if name not in graph.outputs and each and len(known) == len(each):
            found[name] = min(known)
    return found


def reach(graph: Graph, node: Node, inputs: tuple[str, ...], types: Mapping[str, TensorType]) -> Ends | None:
    """What the node can compute from inputs of given types; None where that is not known."""
    ends: list[Ends] = []
    for name in inputs:
        data, kind = graph.const(name), types.get(name)
        if data is not None:
            ends.append((float(data.min(initial=np.inf)), float(data.max(initial=-np.inf))))
        elif kind is not None and kind.quant is not None:
            low, high = span(kind)
            ends.append((kind.quant.scale[0] * (low - kind.quant.zero), kind.quant.scale[0] * (high - kind.quant.zero)))
        else:
            return None
    found = _reach(graph, node, inputs, types, ends)
    return found if found is None or np.all(np.isfinite(found)) else None


def _reach(graph: Graph, node: Node, inputs: tuple[str, ...], types: Mapping[str, TensorType],
           ends: list[Ends]) -> Ends | None:
    op = node.op
    match op:
        case Add():
            terms = np.array(ends[0])[:, None] + op.sign * np.array(ends[1])
            return _clamped(op, terms)
        case Mul():
            return _clamped(op, np.array(ends[0])[:, None] * np.array(ends[1]))
        case AveragePool2d():
            return _clamped(op, np.array([min(ends[0][0], 0.0), max(ends[0][1], 0.0)]))
        case Concat():
            return min(e[0] for e in ends), max(e[1] for e in ends)
        case Unary():
            kind = types[inputs[0]]
            assert kind.quant is not None
            low, high = span(kind)
            y = op.reference(dequantize(np.arange(low, high + 1), kind.quant))
            return float(y.min()), float(y.max())
        case Conv2d() | DepthwiseConv2d() | FullyConnected():
            w, b = graph.const(inputs[1]), graph.const(inputs[2])
            assert w is not None and b is not None
            rows = np.moveaxis(w.astype(np.float64), op.output_axis, 0).reshape(len(b), -1)
            x = min(ends[0][0], 0.0), max(ends[0][1], 0.0)  # padding is 0
            up, down = np.maximum(rows, 0).sum(axis=1), np.minimum(rows, 0).sum(axis=1)
            return _clamped(op, np.concatenate([b + up * x[1] + down * x[0], b + up * x[0] + down * x[1]]))
    return None


def _clamped(op: Op, y: Array) -> Ends:
    y = apply_clamp(y, getattr(op, "clamp", (None, None)))
    return float(y.min()), float(y.max())


def term(total: Grid | None, other: Grid | None) -> Grid | None:
    """A grid for one term of a sum: beyond what it reaches, the sum lies beyond its own, whatever the other term is."""
    if total is None or other is None:
        return None
    most = max(map(abs, total.ends)) + max(map(abs, other.ends))
    return fine(-most, most)
