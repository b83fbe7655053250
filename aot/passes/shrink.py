"""Channels that carry nothing vanish: those which are constant, and those which nobody reads.

Training leaves them where weights decayed to nothing, and pruning makes them. A filter without weights computes
``clamp(bias)`` everywhere; a layer that reads it can have that in its own bias instead, unless it pads: then its sums
differ at the border. What is left out has to be left out at both ends: filters where it was computed, weights where it
was read, and everywhere on the way (depthwise layers, activations, pooling, additions, reshapes).

Everything is decided by how float32 rounds, so that the network means the same to the last bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

import numpy as np

from aot.ir import Array, Graph, Node, TensorType, Value, prune
from aot.ops.add import Add
from aot.ops.average_pool2d import AveragePool2d
from aot.ops.base import Clamp, apply_clamp
from aot.ops.concat import Concat
from aot.ops.conv2d import Conv2d
from aot.ops.depthwise_conv2d import DepthwiseConv2d
from aot.ops.fully_connected import FullyConnected
from aot.ops.max_pool2d import MaxPool2d
from aot.ops.mul import Mul
from aot.ops.pad import Pad
from aot.ops.quantize import Quantize
from aot.ops.reshape import Reshape
from aot.ops.slice import Slice
from aot.ops.transpose import Transpose
from aot.ops.unary import Unary
from aot.ties import Ties

#: Weights are as good as zero if float32 loses what they contribute beside the bias (a 2**25th of it), even where
#: their inputs are as large as 2**20.
LOST = 2.0**-45
#: Kernels take so many channels at once; what would be left over costs more than channels that carry nothing.
AT_ONCE = 4


def shrink(graph: Graph, at_once: int = AT_ONCE) -> Graph:
    """The graph without channels that are constant or unread; ``at_once``: some stay, to fill up a multiple of that.

    Inputs and outputs keep all of theirs, every value keeps one at least.
    Graphs with quantization of their own are left as they are: their roundings, and integers of weights, are given.
    """
    if any(isinstance(n.op, Quantize) for n in graph.nodes) or any(v.steps is not None for v in graph.values.values()):
        return graph
    known, numbers = constant_channels(graph), _tied(graph)
    live = _live(graph, numbers, known, at_once)
    keep = {name: live[n] for name, n in numbers.items()}
    return graph if all(k.all() for k in keep.values()) else without(graph, keep, known)


def without(graph: Graph, keep: Mapping[str, Array], known: Mapping[str, Array]) -> Graph:
    """The graph with those channels of run-time values only which ``keep`` marks (bool, [channels], by name).

    What layers lose of ``known`` inputs (:func:`constant_channels`) goes into their biases.
    """
    values = {n: v if v.data is not None else replace(v, type=_narrow(v.type, keep[n])) for n, v in graph.values.items()
              if v.data is not None or n in keep}
    nodes = tuple(_narrowed(node, graph, keep, known, values) for node in graph.nodes)
    return prune(replace(graph, nodes=nodes, values=values))


# --- what is constant --------------------------------------------------------------------------------------------

def constant_channels(graph: Graph) -> dict[str, Array]:
    """What each channel of each value is, [channels], if it is one number everywhere and for all inputs; else NaN."""
    known = {name: np.full(_channels(graph, name), np.nan) for name in graph.inputs}
    for node in graph.nodes:
        result = _filters(node, graph, known) if _is_dense(node, graph) else _evaluated(node, graph, known)
        known[node.output] = np.where(np.isfinite(result), result, np.nan)
    return known


def _filters(node: Node, graph: Graph, known: Mapping[str, Array]) -> Array:
    """Constant filters of a layer that reads all its channels; NaN for the others."""
    weights, bias = _constant(graph, node, 1), _constant(graph, node, 2).astype(np.float64)
    foldable = _foldable(node, known)
    lost = _lost(_by_channel(np.abs(weights)), bias)
    filters = (lost | foldable).all(axis=1)
    result = np.full(len(bias), np.nan)
    result[filters] = apply_clamp(_folded(weights[filters], bias[filters], foldable, node, known), _clamp(node))
    return result


def _folded(weights: Array, bias: Array, channels: Array, node: Node, known: Mapping[str, Array]) -> Array:
    """Biases with what constant ``channels`` (bool) of the input add to each sum."""
    terms = _by_channel(weights[..., channels]) * known[node.inputs[0]][channels]
    return np.asarray(bias + terms.sum(axis=1), np.float32)


def _evaluated(node: Node, graph: Graph, known: Mapping[str, Array]) -> Array:
    """What the operator makes of constant channels, borders included, where that is constant; NaN elsewhere."""
    channels = _channels(graph, node.output)
    sources, fixed = _sources(node, graph), np.ones(channels, bool)
    x: list[Array] = []
    for name, source in zip(node.inputs, sources or (), strict=False):
        data = graph.const(name)
        if data is None:
            numbers = known[name]
            fixed &= (source < 0) | ~np.isnan(numbers[source])
            data = np.broadcast_to(np.nan_to_num(numbers), graph.values[name].type.shape)
        x.append(np.asarray(data, np.float64))
    if isinstance(node.op, DepthwiseConv2d):
        weights, bias = _constant(graph, node, 1), _constant(graph, node, 2)
        lost = _lost(np.abs(weights).sum(axis=(0, 1), dtype=np.float64)[:, None], bias)[:, 0]
        fixed |= lost
        x += [np.where(lost, 0.0, weights), bias]
    if sources is None or not fixed.any():
        return np.full(channels, np.nan)
    with np.errstate(all="ignore"):
        y = np.asarray(node.op.reference(*x), np.float32).reshape(-1, channels)
    return np.where(fixed & (y == y[0]).all(axis=0), y[0], np.nan)


def _lost(sizes: Array, bias: Array) -> Array:
    """Which inputs float32 loses beside the bias, all together; ``sizes``: sums of |weight|, [filters, channels]."""
    order = np.argsort(sizes, axis=1, kind="stable")
    sums = np.cumsum(np.take_along_axis(sizes, order, axis=1), axis=1)
    lost = np.zeros(sizes.shape, bool)
    np.put_along_axis(lost, order, sums <= LOST * np.abs(bias.astype(np.float64))[:, None], axis=1)
    return lost


def _foldable(node: Node, known: Mapping[str, Array]) -> Array:
    """Which channels of its input a layer can have in its bias: at the border of a map it sees zeros."""
    x = known[node.inputs[0]]
    padded = isinstance(node.op, Conv2d) and any(node.op.window.pads)
    return (x == 0.0) if padded else ~np.isnan(x)


# --- what is needed ----------------------------------------------------------------------------------------------

def _tied(graph: Graph) -> dict[str, Array]:
    """Numbers of the channels of every run-time value, by name: those with one number stay or go together."""
    ties = Ties()
    numbers = {name: ties.new(_channels(graph, name)) for name in (*graph.inputs, *(n.output for n in graph.nodes))}
    for node in graph.nodes:
        if _is_dense(node, graph):
            continue
        sources = _sources(node, graph)
        if sources is None:
            ties.fix(numbers[node.output])
        for i, name in enumerate(node.inputs):
            if name in numbers and sources is None:
                ties.fix(numbers[name])
            elif name in numbers and sources is not None:
                here = sources[i] >= 0
                ties.tie(numbers[node.output][here], numbers[name][sources[i][here]])
    for name in (*graph.inputs, *graph.outputs):
        if name in numbers:
            ties.fix(numbers[name])
    return {name: ties.settled(n) for name, n in numbers.items()}


def _live(graph: Graph, numbers: Mapping[str, Array], known: Mapping[str, Array], at_once: int) -> Array:
    """Which numbers stay: what graph outputs need, and what fills up every value, constants first."""
    live = np.zeros(1 + max((int(n.max()) for n in numbers.values()), default=0), bool)
    live[0] = True
    reads: list[tuple[Array, Array, Array]] = []
    for node in reversed(graph.nodes):
        if _is_dense(node, graph):
            lost = _lost(_by_channel(np.abs(_constant(graph, node, 1))), _constant(graph, node, 2))
            reads.append((numbers[node.output], numbers[node.inputs[0]], ~(lost | _foldable(node, known))))

    def spread() -> None:
        """What is read by filters that stay has to stay, too."""
        count = 0
        while count != live.sum():
            count = live.sum()
            for filters, channels, needs in reads:
                live[channels[needs[live[filters]].any(axis=0)]] = True

    spread()
    for name, n in reversed(list(numbers.items())):
        for number in n[np.argsort(np.isnan(known[name]), kind="stable")]:
            if live[n].any() and live[n].sum() % at_once == 0:
                break
            live[number] = True
            spread()
    return live


# --- operators ---------------------------------------------------------------------------------------------------

def _is_dense(node: Node, graph: Graph) -> bool:
    """Whether each channel of the output is a sum over all channels of a run-time input."""
    return graph.const(node.inputs[0]) is None and (
        isinstance(node.op, FullyConnected) or (isinstance(node.op, Conv2d) and node.op.groups == 1))


def _sources(node: Node, graph: Graph) -> list[Array] | None:
    """For each input (but weights), the channel of it that each output channel is made from; -1: it is not.

    None if it is made from several.
    """
    op, out = node.op, graph.values[node.output].type.shape
    each, channels = np.arange(_channels(graph, node.output)), [_channels(graph, i) for i in node.inputs]
    match op:
        case Add() | Mul() | Unary() | MaxPool2d() | AveragePool2d():
            return [each % c for c in channels]
        case DepthwiseConv2d():
            return [each // (len(each) // channels[0])]
        case Concat(axis) if axis == len(out) - 1:
            starts = np.cumsum([0, *channels])
            return [np.where((each >= a) & (each < b), each - a, -1) for a, b in pairwise(starts)]
        case Concat():
            return [each] * len(channels)
        case Reshape() if len(each) % channels[0] == 0:
            return [each % channels[0]]
        case Transpose(perm) if perm[-1:] == (len(perm) - 1,):
            return [each]
        case Pad(before, after) if before[-1:] == after[-1:] == (0,):
            return [each]
        case Slice(_, counts, steps) if counts[-1:] == (channels[0],) and steps[-1:] == (1,):
            return [each]
    return None


def _narrowed(node: Node, graph: Graph, keep: Mapping[str, Array], known: Mapping[str, Array],
              values: dict[str, Value]) -> Node:
    """The node on the channels that are kept; new constants are added to ``values``."""
    after = keep[node.output]
    fresh: dict[int, Array] = {}
    if _is_dense(node, graph):
        before = keep[node.inputs[0]]
        weights, bias = _constant(graph, node, 1), _constant(graph, node, 2)
        fresh = {1: weights[after][..., before],
                 2: _folded(weights, bias, _foldable(node, known) & ~before, node, known)[after]}
    for i, source in enumerate(_sources(node, graph) or ()):
        data = graph.const(node.inputs[i])
        if data is not None and data.ndim:
            fresh[i] = data[..., np.unique(source[after & (source >= 0)])]
    if isinstance(node.op, DepthwiseConv2d):
        fresh |= {i: _constant(graph, node, i)[..., after] for i in (1, 2)}
    inputs = list(node.inputs)
    for i, data in fresh.items():
        old = _constant(graph, node, i)
        if data.shape == old.shape and np.array_equal(data, old):
            continue
        name = f"{node.output}.shrunk{i}"
        while name in values:
            name += "'"
        values[name] = Value(name, TensorType("f32", data.shape), np.ascontiguousarray(data))
        inputs[i] = name
    op = node.op
    if isinstance(op, Reshape) and not after.all():
        op = replace(op, shape=(*op.shape[:-1], int(after.sum())))
    elif isinstance(op, Slice) and not after.all():
        op = replace(op, counts=(*op.counts[:-1], int(after.sum())))
    return replace(node, op=op, inputs=tuple(inputs))


def _narrow(type: TensorType, keep: Array) -> TensorType:
    return type if keep.all() else replace(type, shape=(*type.shape[:-1], int(keep.sum())))


def _channels(graph: Graph, name: str) -> int:
    shape = graph.values[name].type.shape
    return shape[-1] if shape else 1


def _clamp(node: Node) -> Clamp:
    assert isinstance(node.op, Conv2d | FullyConnected)
    return node.op.clamp


def _constant(graph: Graph, node: Node, index: int) -> Array:
    data = graph.const(node.inputs[index])
    assert data is not None
    return data


def _by_channel(weights: Array) -> Array:
    """Sums over the taps of each filter, [filters, channels], from weights [O, I] or [O, KH, KW, I]."""
    return np.asarray(weights.sum(axis=tuple(range(1, weights.ndim - 1)), dtype=np.float64))
