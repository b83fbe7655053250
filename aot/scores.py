"""Outputs that hold scores of classes: which value decides, and the range in which scores lose least."""

from __future__ import annotations

import numpy as np

from aot.calibrate import Range, descend
from aot.ir import Array, Graph
from aot.numerics import dequantize, quantize
from aot.ops.base import Op, affine
from aot.ops.reshape import Reshape
from aot.ops.softmax import Softmax

#: The most classes.
MOST_CLASSES = 4096
#: An answer is clear that leads by so many steps of the whole range.
CLEAR_STEPS = 2.0


def decisive(graph: Graph) -> str:
    """The value by which to judge: the main output, or what goes into the softmax that makes it."""
    producer, name = graph.producer(), graph.outputs[0]
    while name in producer and isinstance(producer[name].op, Softmax | Reshape):
        if graph.const(producer[name].inputs[0]) is not None:
            break
        name = producer[name].inputs[0]
    return name if graph.values[name].type.size == graph.values[graph.outputs[0]].type.size else graph.outputs[0]


def classifies(graph: Graph, labels: Array | None) -> bool:
    """Whether the main output holds scores of classes: if there are labels, or a softmax of it all, or few numbers."""
    output = graph.values[graph.outputs[0]].type
    if not 2 <= output.size <= MOST_CLASSES or output.size != output.shape[-1]:
        return False
    if labels is not None:
        return labels.ndim == 1 and labels.dtype.kind in "iu"
    largest = max(graph.values[n].type.size for n in graph.inputs)
    return decisive(graph) != graph.outputs[0] or output.size < largest


def scores(graph: Graph) -> str | None:
    """The value that gets the scale of the main output, if that holds scores of classes and only the caller reads it.

    It is the output itself, or what is reshaped to it. None where an operator says the scale itself, as Softmax does.
    """
    if not classifies(graph, None):
        return None
    producer, consumers, name = graph.producer(), graph.consumers(), graph.outputs[0]
    while name in producer and producer[name].op.same_quant:
        name = producer[name].inputs[0]
        if len(consumers[name]) > 1 or name in graph.outputs:
            return None
    if name not in producer or (name == graph.outputs[0] and consumers.get(name)):
        return None
    return name if type(producer[name].op).output_quant is Op.output_quant else None


def scores_range(exact: Array, rough: Array, start: Range) -> Range:
    """The range of 8 bits that brings ``rough`` scores nearest to the ``exact`` ones, by the mean absolute difference.

    Rough ones carry the errors of all layers before, beside which finer steps may gain little. A mean of squares would
    count most how far off hopeless classes are. No range is taken by which a clear answer is lost that the whole one
    keeps: scores that are cut off alike cannot be told apart.
    """
    answers = exact.reshape(len(exact), -1).argmax(axis=1)
    ordered = np.sort(exact.reshape(len(exact), -1), axis=1)

    def held(low: float, high: float) -> Array:
        quant = affine(low, high, "s8")
        return dequantize(quantize(rough, quant, -128, 127), quant)

    def kept(scores: Array) -> Array:
        return np.asarray(scores.reshape(len(scores), -1).argmax(axis=1) == answers)

    low, high = min(float(exact.min()), 0.0), max(float(exact.max()), 0.0)
    clear = kept(held(low, high)) & (ordered[:, -1] - ordered[:, -2] > CLEAR_STEPS * (high - low) / 255)

    def error(low: float, high: float) -> float:
        found = held(low, high)
        return float(np.abs(found - exact).mean()) if kept(found)[clear].all() else float("inf")

    return descend(error, low, high, start)
