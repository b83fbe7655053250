"""Weights beyond 8 bits in fully connected layers: the inputs that meet them are read once more, with what is left.

``x * 143 = x * 127 + x * 16``: exact, and for the few such weights that uint8 models have, cheaper than 16-bit weights.
Likewise where -128 does not fit beside its neighbour (:func:`aot.ops.exact.packable`).
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import replace

import numpy as np

from aot.ir import Graph, Node, TensorType, Value
from aot.ops.concat import Concat
from aot.ops.exact import spread
from aot.ops.fully_connected import FullyConnected
from aot.ops.slice import Slice
from aot.recipe import Formats

#: The largest share of a layer's inputs that is worth reading more than once.
MOST_REPEATED = 0.25
#: The largest weight which that is tried for.
LARGEST = 4 * 127


def repeated(graph: Graph, types: MutableMapping[str, TensorType], layers: MutableMapping[str, Formats]) -> Graph:
    """The graph with such inputs repeated; what it adds is entered in ``types`` and ``layers``."""
    values, nodes = dict(graph.values), list[Node]()
    for node in graph.nodes:
        x = node.inputs[0]
        if isinstance(node.op, FullyConnected) and x in types and types[x].format == "s8" \
                and layers[node.output].activations == "s8" and (found := _columns(graph.values[node.inputs[1]])):
            inputs, added = _widened(node, graph.values, found)
            for value in added.values():
                if value.data is None:
                    types[value.name] = replace(types[x], shape=value.type.shape)
                    layers[value.name] = Formats("s8", "s8")
            values |= added
            rank = len(graph.values[x].type.shape)
            for i, part in enumerate(inputs[1:-2]):
                nodes.append(Node(part, _one(graph.values[x].type.shape, found[i]), (x,), part, node.origin))
            joined = f"{node.output}.repeated"
            nodes.append(Node(joined, Concat(rank - 1), inputs[:-2], joined, node.origin))
            node = replace(node, inputs=(joined, *inputs[-2:]))
        nodes.append(node)
    return replace(graph, nodes=tuple(nodes), values=values)


def _columns(w: Value) -> tuple[int, ...]:
    """The columns of weights beyond 8 bits, as often as they are to be repeated; none if that is not worth it."""
    if w.steps is None or w.data is None:
        return ()
    whole = np.rint(w.data / w.steps)
    if np.abs(whole).max(initial=0) > LARGEST:
        return ()
    columns = spread(whole)[0]
    return columns if len(columns) <= max(MOST_REPEATED * w.data.shape[1], 1) else ()


def _one(shape: tuple[int, ...], column: int) -> Slice:
    return Slice.along(shape, len(shape) - 1, column, 1)


def _widened(node: Node, values: Mapping[str, Value],
             columns: tuple[int, ...]) -> tuple[tuple[str, ...], dict[str, Value]]:
    """Inputs of a concatenation, weights and bias of the layer behind it; and the new values among them."""
    x, w = values[node.inputs[0]], values[node.inputs[1]]
    assert w.data is not None and w.steps is not None
    steps = np.concatenate([w.steps, w.steps[:, list(columns)]], axis=1)
    data = (spread(np.rint(w.data / w.steps))[1] * steps).astype(np.float32)
    lead = x.type.shape[:-1]
    added = {name: Value(name, TensorType("f32", (*lead, 1)))
             for name in (f"{node.output}.again{i}" for i in range(len(columns)))}
    names = (x.name, *added)
    wide = f"{node.output}.repeated"
    added[wide] = Value(wide, TensorType("f32", (*lead, x.type.shape[-1] + len(columns))))
    weights = f"{node.output}.split"
    added[weights] = Value(weights, TensorType("f32", data.shape), data, steps)
    return (*names, weights, node.inputs[2]), added
