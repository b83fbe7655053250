"""Fusions: padding, per-channel scale and offset, and activations disappear into the layers next to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from aot.builder import Builder
from aot.ir import Array, Graph, Node, TensorType, Value, prune
from aot.ops.add import Add
from aot.ops.average_pool2d import AveragePool2d
from aot.ops.base import NO_CLAMP, Clamp, merge_clamps
from aot.ops.conv2d import Conv2d
from aot.ops.depthwise_conv2d import DepthwiseConv2d
from aot.ops.fully_connected import FullyConnected
from aot.ops.mul import Mul
from aot.ops.pad import Pad
from aot.ops.reshape import Reshape
from aot.ops.transpose import Transpose
from aot.ops.unary import Unary
from aot.ops.window import Window

Linear = Conv2d | DepthwiseConv2d | FullyConnected
Clamped = Conv2d | DepthwiseConv2d | FullyConnected | Add | Mul | AveragePool2d


def fuse_pads(graph: Graph) -> Graph:
    """A zero Pad before a convolution becomes the convolution's own padding."""
    def rewrite(node: Node, first: Node, graph: Graph) -> tuple[Node, dict[str, Value]] | None:
        op, pad = node.op, first.op
        if not isinstance(op, Conv2d | DepthwiseConv2d) or not isinstance(pad, Pad) or pad.value != 0.0:
            return None
        if len(pad.before) != 4 or any(pad.before[i] or pad.after[i] for i in (0, 3)):
            return None
        top, left, bottom, right = op.window.pads
        pads = (top + pad.before[1], left + pad.before[2], bottom + pad.after[1], right + pad.after[2])
        return _merge(node, first, replace(op, window=replace(op.window, pads=pads))), {}
    return _fuse(_pads_behind_transposes(graph), rewrite, keep_first=True)


def _pads_behind_transposes(graph: Graph) -> Graph:
    """A Pad that a transpose parts from its convolutions, as at the input of an NCHW model, moves behind it."""
    producer, consumers, values = graph.producer(), graph.consumers(), dict(graph.values)
    nodes = list(graph.nodes)
    for k, node in enumerate(graph.nodes):
        first = producer.get(node.inputs[0])
        if not isinstance(node.op, Transpose) or first is None or not isinstance(first.op, Pad) \
                or len(consumers[first.output]) > 1 or first.output in graph.outputs or node.output in graph.outputs \
                or not all(isinstance(n.op, Conv2d | DepthwiseConv2d) for n in consumers.get(node.output, ())):
            continue
        perm, source = node.op.perm, graph.values[first.inputs[0]].type
        moved = replace(source, shape=tuple(source.shape[p] for p in perm))
        values[first.output] = Value(first.output, moved)
        nodes[nodes.index(first)] = replace(first, op=node.op, origin=node.origin)
        nodes[k] = replace(node, op=replace(first.op, before=tuple(first.op.before[p] for p in perm),
                                            after=tuple(first.op.after[p] for p in perm)), origin=first.origin)
    return replace(graph, nodes=tuple(nodes), values=values)


def fuse_scales(graph: Graph) -> Graph:
    """Multiplication and addition of constants per channel, such as batch normalization, go into weights and bias.

    Source: Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
    Inference", section 3.2 (batch normalization folding).
    """
    def rewrite(node: Node, first: Node, graph: Graph) -> tuple[Node, dict[str, Value]] | None:
        op, linear = node.op, first.op
        if not isinstance(op, Add | Mul) or not isinstance(linear, Linear) or linear.clamp != NO_CLAMP:
            return None
        channels = graph.values[first.output].type.shape[-1]
        at, constant = _constant_operand(graph, node)
        if constant is None:
            return None
        per_channel = _per_channel(constant, graph.values[node.output].type, channels)
        if per_channel is None or graph.values[node.output].type.shape != graph.values[first.output].type.shape:
            return None
        weights, bias = (graph.values[first.inputs[i]] for i in (1, 2))
        assert weights.data is not None and bias.data is not None
        factor, offset = _affine(op, at, per_channel)
        axis = 2 if isinstance(linear, DepthwiseConv2d) else 0
        along = [-1 if i == axis else 1 for i in range(weights.data.ndim)]
        new_weights = (weights.data * factor.reshape(along)).astype(np.float32)
        new_bias = (bias.data * factor + offset).astype(np.float32)
        steps = None if weights.steps is None else weights.steps * np.abs(factor).reshape(along)
        fresh = {n: Value(n, TensorType("f32", data.shape), data, given)
                 for n, data, given in ((f"{node.output}.weights", new_weights, steps),
                                        (f"{node.output}.bias", new_bias, None))}
        merged = _merge(node, first, replace(linear, clamp=op.clamp))
        return replace(merged, inputs=(first.inputs[0], *fresh)), fresh
    return _fuse(graph, rewrite)


def fuse_clamps(graph: Graph) -> Graph:
    """ReLU, ReLU6 and Clip become the output bounds of the layer before them."""
    def rewrite(node: Node, first: Node, graph: Graph) -> tuple[Node, dict[str, Value]] | None:
        if not isinstance(node.op, Unary) or not isinstance(first.op, Clamped):
            return None
        clamp: Clamp = node.op.as_clamp()
        if clamp == NO_CLAMP:
            return None
        return _merge(node, first, replace(first.op, clamp=merge_clamps(first.op.clamp, clamp))), {}
    return _fuse(graph, rewrite)


def scales_to_depthwise(graph: Graph) -> Graph:
    """What is left of per-channel scales and offsets becomes a 1x1 depthwise convolution.

    So each channel keeps a scale of its own, and the offset is exact to 32 bits. A factor and an offset that follow
    each other become one.
    """
    b = Builder(graph.name)
    for value in graph.values.values():
        if value.data is not None or value.name in graph.inputs:
            b.keep(value)
    new: dict[str, str] = {}
    scaled: dict[str, tuple[str, Array, Array, tuple[str, ...]]] = {}  # value -> what it is a multiple of, and how
    consumers = graph.consumers()
    for node in graph.nodes:
        b.origin = node.origin
        inputs = [new.get(i, i) for i in node.inputs]
        at, constant = _constant_operand(graph, node)
        out = graph.values[node.output].type
        x = None if constant is None else graph.values[node.inputs[1 - at]].type
        per_channel = None if constant is None or not out.shape else _per_channel(constant, out, out.shape[-1])
        if not isinstance(node.op, Add | Mul) or per_channel is None or x is None or x.shape != out.shape \
                or np.all(per_channel == per_channel[0]):
            new[node.output] = b.add(node.op, inputs, node.output)
            continue
        channels = out.shape[-1]
        factor, offset = _affine(node.op, at, per_channel)
        source, before = inputs[1 - at], node.inputs[1 - at]
        if before in scaled and len(consumers[before]) == 1 and before not in graph.outputs:
            source, first, start, origin = scaled[before]
            factor, offset, b.origin = first * factor, start * factor + offset, (*origin, *b.origin)
        if node.op.clamp == NO_CLAMP:
            scaled[node.output] = source, factor, offset, b.origin
        flat = b.add(Reshape((1, out.size // channels, 1, channels)), [source], node.output + ".map")
        weights = b.constant(factor.reshape(1, 1, channels), node.output + ".weights")
        bias = b.constant(offset, node.output + ".bias")
        moved = b.add(DepthwiseConv2d(Window((1, 1)), node.op.clamp), [flat, weights, bias], node.output + ".scaled")
        new[node.output] = b.add(Reshape(out.shape), [moved], node.output)
    return prune(Graph(graph.name, graph.inputs, graph.outputs, tuple(b.nodes), b.values))


Rewrite = Callable[[Node, Node, Graph], tuple[Node, dict[str, Value]] | None]


def _fuse(graph: Graph, rewrite: Rewrite, keep_first: bool = False) -> Graph:
    """Merge nodes with the producer of a run-time input, as long as ``rewrite`` says how.

    The producer must have no other reader, unless ``keep_first`` (it is then simply bypassed).
    """
    while True:
        producer, consumers = graph.producer(), graph.consumers()
        for i, node in enumerate(graph.nodes):
            found = None
            for name in node.inputs:
                first = producer.get(name)
                if first is None or (not keep_first and (len(consumers[name]) > 1 or name in graph.outputs)):
                    continue
                found = rewrite(node, first, graph)
                if found is not None:
                    break
            if found is not None:
                merged, fresh = found
                nodes = (*graph.nodes[:i], merged, *graph.nodes[i + 1:])
                graph = prune(replace(graph, nodes=nodes, values={**graph.values, **fresh}))
                break
        else:
            return graph


def _merge(node: Node, first: Node, op: Clamped | Linear) -> Node:
    """A node that does ``op`` on the first node's inputs and stands for both."""
    inputs = (first.inputs[0], *node.inputs[1:]) if isinstance(first.op, Pad) else first.inputs
    return Node(node.name, op, inputs, node.output, (*first.origin, *(o for o in node.origin if o not in first.origin)))


def _constant_operand(graph: Graph, node: Node) -> tuple[int, Array | None]:
    """Index and data of the constant operand of a binary node, if there is exactly one."""
    data = [graph.const(i) for i in node.inputs]
    if len(data) != 2 or (data[0] is None) == (data[1] is None):
        return 0, None
    return (0, data[0]) if data[0] is not None else (1, data[1])


def _per_channel(constant: Array, out: TensorType, channels: int) -> Array | None:
    """The constant as one number per channel (last axis), or None if it varies along another axis."""
    if constant.size == 1:
        return np.full(channels, constant.reshape(-1)[0], np.float64)
    if constant.ndim <= len(out.shape) and constant.shape[-1] == channels and constant.size == channels:
        return constant.reshape(-1).astype(np.float64)
    return None


def _affine(op: Add | Mul, at: int, constant: Array) -> tuple[Array, Array]:
    """Factor and offset per channel of an Add or Mul whose operand ``at`` is constant."""
    if isinstance(op, Mul):
        return constant, np.zeros_like(constant)
    if op.sign > 0:
        return np.ones_like(constant), constant
    return (np.ones_like(constant), -constant) if at == 1 else (-np.ones_like(constant), constant)
