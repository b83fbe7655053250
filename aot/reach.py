"""How large 16-bit activations become: 32-bit sums of products divide their bits between activations and weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from aot.calibrate import Calibration, Range
from aot.ir import Graph, Quant, TensorType
from aot.numerics import INT16_MAX, f32
from aot.recipe import Recipe

#: 16-bit activations have room for numbers this much larger than those which calibration saw: what is cut off would be
#: an error larger than any rounding. (Measured: of nine sets of samples, one loses a factor 10 with 1.25; with 2, most
#: lose up to a fifth.)
MARGIN = 1.5


def reaches(graph: Graph, calibration: Calibration, recipe: Recipe) -> dict[str, int]:
    """The largest magnitude of 16-bit values which layers with weights read, by name, where it is less than 32767.

    Every layer says what it wants of its input; a value with several readers gets the geometric mean. What only moves
    data wants what its output's readers want.
    """
    wanted: dict[str, list[float]] = {}
    producer = graph.producer()
    for node in reversed(graph.nodes):
        formats = recipe.of(node.output)
        if formats.activations != "s16" or node.inputs[0] not in calibration.ranges:
            continue
        if node.op.same_quant:
            wanted.setdefault(node.inputs[0], []).extend(wanted.get(node.output, []))
            continue
        inputs = tuple(graph.values[i] for i in node.inputs)
        best = node.op.reach(inputs, calibration.ranges[node.inputs[0]].low, formats.weights)
        if best is not None:
            wanted.setdefault(node.inputs[0], []).append(best)
    found = {}
    for name, each in wanted.items():
        fixed = name in producer and (producer[name].op.fixed_quant or producer[name].op.same_quant)
        if each and not fixed and (mean := int(np.exp(np.log(each).mean()))) < INT16_MAX:
            found[name] = mean
    return found


def narrowed(type: TensorType, reach: int | None) -> TensorType:
    """A 16-bit type that covers the same numbers by integers up to ``reach``."""
    if type.format != "s16" or reach is None or type.quant is None:
        return type
    scale = f32(type.quant.scale[0] * INT16_MAX / reach)
    return replace(type, quant=Quant((scale,)), limits=(-reach, reach))


def widened(range: Range, format: str) -> tuple[float, float]:
    """The range which a format shall cover."""
    margin = MARGIN if format == "s16" else 1.0
    return range.low * margin, range.high * margin
