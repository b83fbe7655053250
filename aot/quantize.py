"""Float Graph and ranges to integer Graph: every operator says what its output and its constants become."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import numpy as np

from aot.calibrate import Calibration
from aot.errors import AotError
from aot.interpret import site
from aot.ir import Array, Graph, Node, Quant, TensorType, Value
from aot.ops.base import Op, affine, quantize_activation
from aot.ops.concat import Concat

FORMAT = "s8"
#: How many scales weights have: one for each output channel, or one in all.
WEIGHTS = ("per-channel", "per-tensor")


def quantize(graph: Graph, calibration: Calibration, weights: str = WEIGHTS[0]) -> Graph:
    """The graph with int8 activations and weights, and int32 biases. Proves that no accumulator can overflow.

    ``weights`` is one of :data:`WEIGHTS`.
    """
    values = {n: v for n, v in graph.values.items() if v.data is not None}
    for name in graph.inputs:
        quant = affine(calibration.ranges[name].low, calibration.ranges[name].high, FORMAT)
        values[name] = Value(name, TensorType(FORMAT, graph.values[name].type.shape, quant))
    shared = _concatenations(graph, calibration)
    nodes: list[Node] = []
    for node in graph.nodes:
        try:
            inputs = tuple(values[i] for i in node.inputs)
            out_type = graph.values[node.output].type
            found = calibration.ranges[node.output]
            if node.op.same_quant:
                quant = (inputs[0] if inputs[0].type.quant else quantize_activation(inputs[0])).quant
            elif node.output in shared:
                quant = shared[node.output]
            else:
                quant = node.op.output_quant(found.low, found.high, FORMAT)
            out = Value(node.output, TensorType(FORMAT, out_type.shape, quant))
            inputs = inputs if weights == WEIGHTS[0] else _of_one_scale(inputs)
            constants = node.op.quantize_constants(inputs, out, _mean(calibration, inputs[0]))
        except AotError as error:
            raise error.at(f"{node.op.name} from {' + '.join(node.origin)}") from error
        names = []
        for before, after in zip(inputs, constants, strict=True):
            if after is before:
                names.append(before.name)
                continue
            name = next(n for n in (f"{node.output}.{i}" for i in count(len(names)))
                        if n not in values and n not in graph.values)
            values[name] = replace(after, name=name)
            names.append(name)
        nodes.append(replace(node, inputs=tuple(names)))
        values[node.output] = out
    used = {i for n in nodes for i in n.inputs} | set(graph.inputs) | {n.output for n in nodes}
    quantized = replace(graph, nodes=tuple(nodes), values={n: v for n, v in values.items() if n in used})
    prove(quantized)
    return quantized


def _of_one_scale(inputs: tuple[Value, ...]) -> tuple[Value, ...]:
    """The same, with the wish for one scale in all channels on the float constants: see ``ops.linear``."""
    return tuple(
        replace(v, type=replace(v.type, quant=Quant((max(float(np.abs(v.data).max(initial=0)) / 127, 1e-30),))))
        if v.data is not None and v.type.format == "f32" and k else v for k, v in enumerate(inputs))


def _mean(calibration: Calibration, x: Value) -> Array:
    """Mean of a value along its last axis."""
    return calibration.means[x.name] if x.data is None else x.data.reshape(-1, x.type.shape[-1]).mean(axis=0)


def prove(graph: Graph) -> dict[str, int]:
    """Headroom in bits of every node's accumulators, by output name; an AotError where one could overflow."""
    bits = {}
    for node in graph.nodes:
        try:
            headroom = node.op.prove(site(graph, node))
        except AotError as error:
            raise error.at(f"{node.op.name} from {' + '.join(node.origin)}") from error
        if headroom is not None:
            bits[node.output] = headroom
    return bits


def _concatenations(graph: Graph, calibration: Calibration) -> dict[str, Quant]:
    """One quantization for each concatenation and those of its inputs whose range is much like its own.

    Such inputs can then be written straight into their part of the output.
    """
    shared: dict[str, Quant] = {}
    producer = graph.producer()
    for node in graph.nodes:
        if not isinstance(node.op, Concat):
            continue
        ranges = [calibration.ranges[i] for i in node.inputs if i in calibration.ranges]
        low, high = min(r.low for r in ranges), max(r.high for r in ranges)
        quant = shared.get(node.output) or affine(low, high, FORMAT)
        shared[node.output] = quant
        for name in node.inputs:
            found = calibration.ranges.get(name)
            if name not in producer or found is None or name in shared or found.high - found.low < 0.5 * (high - low):
                continue
            op = producer[name].op
            if not op.same_quant and type(op).output_quant is Op.output_quant:  # its output scale is free to choose
                shared[name] = quant
    return shared
