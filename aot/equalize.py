"""Channels of one tensor share a scale: factors that let small channels use more of its range, at no cost at run time.

Source: Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", section 4.1; here
the factors come from the activations that calibration saw, and reach over additions, pooling and reshapes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from aot.ir import Array, Graph, Node, Value, prune
from aot.observe import Observations
from aot.ops.base import NO_CLAMP
from aot.ties import Ties

#: How far a channel is taken towards the range of its tensor (as an exponent). All the way where only depthwise layers
#: read it, whose weights have a scale for each channel: it costs nothing there. But an activation's upper bound would
#: then cut whatever exceeds what calibration saw, so some room is left below one.
TOWARDS, TOWARDS_DEPTHWISE, TOWARDS_BOUND = 0.5, 1.0, 0.8
#: The largest factor.
LARGEST = 64.0
#: A channel of which too few numbers were seen may reach farther than they show: by this share of what it lacks to the
#: range of its tensor, for each time that as much again should have been seen.
UNSEEN = 0.12


def equalize(graph: Graph, seen: Observations) -> tuple[Graph, Observations]:
    """A graph of the same meaning for data like the observed, and the observations of its values.

    All factors are 1 or more, so that no activation's upper bound cuts what it did not cut before: a channel is
    never scaled beyond the range of its tensor.
    """
    if not any(node.op.linear for node in graph.nodes):
        return graph, seen
    factors = {name: f for name, f in _factors(graph, _tied(graph), seen).items() if not np.all(f == 1.0)}
    values = dict(graph.values)
    nodes = tuple(_rescaled(node, factors, values) for node in graph.nodes)
    return prune(replace(graph, nodes=nodes, values=values)), seen.scaled(factors)


def _tied(graph: Graph) -> dict[str, Array]:
    """Numbers of the channels of every value computed at run time, by name; those with one number have one factor."""
    ties = Ties()
    numbers: dict[str, Array] = {}

    for name in (*graph.inputs, *(n.output for n in graph.nodes)):
        shape = graph.values[name].type.shape
        numbers[name] = ties.new(shape[-1] if shape else 1)
    for node in graph.nodes:
        run_time = [i for i in node.inputs if graph.const(i) is None]
        out = numbers[node.output]
        if node.op.linear and graph.const(node.inputs[0]) is None:
            continue  # its weights take any factors, before and behind
        carried = node.op.carries(tuple(graph.values[i].type for i in node.inputs), graph.values[node.output].type)
        for name in run_time:
            if carried and len(out) % len(numbers[name]) == 0:
                ties.tie(out, np.tile(numbers[name], len(out) // len(numbers[name])))
            else:
                ties.fix(numbers[name])
                ties.fix(out)
    for name in (*graph.inputs, *graph.outputs):
        ties.fix(numbers[name])
    return {name: ties.settled(n) for name, n in numbers.items()}


def _factors(graph: Graph, numbers: Mapping[str, Array], seen: Observations) -> dict[str, Array]:
    """Factors, 1 or more, of every value's channels, shape [channels]."""
    count = 1 + max((int(n.max()) for n in numbers.values()), default=0)
    share = np.zeros(count)  # the largest part of its tensor's range that a channel takes
    power = np.full(count, TOWARDS_DEPTHWISE)
    for name, n in numbers.items():
        doubt = min(UNSEEN * seen.lack(name), 1.0)
        low, high = np.minimum(seen.low[name], 0.0), np.maximum(seen.high[name], 0.0)
        for part, whole in ((low, low.min(initial=0.0)), (high, high.max(initial=0.0))):
            if whole != 0.0:
                known = part / whole
                np.maximum.at(share, n, np.where(known > 0.0, known + doubt * (1.0 - known), 0.0))
    for node in graph.nodes:
        if getattr(node.op, "clamp", NO_CLAMP)[1] is not None:
            power[numbers[node.output]] = np.minimum(power[numbers[node.output]], TOWARDS_BOUND)
        if node.op.linear and not node.op.channelwise and node.inputs[0] in numbers:
            power[numbers[node.inputs[0]]] = TOWARDS
    factors = np.ones(count)
    used = share > 0
    factors[used] = np.minimum(1.0 / share[used], LARGEST) ** power[used]
    factors[0] = 1.0
    return {name: factors[n] for name, n in numbers.items()}


def _rescaled(node: Node, factors: Mapping[str, Array], values: dict[str, Value]) -> Node:
    """The node with constants that suit the factors; new constants are added to ``values``."""
    before, after = factors.get(node.inputs[0]), factors.get(node.output)
    if before is None and after is None:
        return node
    inputs = list(node.inputs)
    constants = tuple(values[i].data for i in inputs)
    for i, data in enumerate(node.op.rescale(constants, before, after)):
        old = constants[i]
        if data is None or old is None or data is old:
            continue
        name = f"{node.output}.equalized{i}"
        while name in values:
            name += "'"
        values[name] = replace(values[inputs[i]], name=name, data=np.asarray(data, np.float32),
                               type=replace(values[inputs[i]].type, shape=data.shape))
        inputs[i] = name
    return replace(node, inputs=tuple(inputs))
