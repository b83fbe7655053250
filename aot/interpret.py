"""Runs a Graph in numpy: by its meaning in float, or as the bit-exact integer twin of the generated C."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from aot.ir import Array, Graph, Node
from aot.ops.base import Site
from aot.targets import C99, Isa


def site(graph: Graph, node: Node, isa: Isa = C99) -> Site:
    """The node with its typed inputs and output."""
    return Site(node, tuple(graph.values[i] for i in node.inputs), graph.values[node.output], isa)


def walk_float(graph: Graph, inputs: Mapping[str, Array]) -> Iterator[tuple[str, Array]]:
    """Name and float32 data of every node's output, in order, for one sample in the inputs' own shapes.

    Each operator computes in float64 and is then rounded: the order in which a machine adds, which depends on its
    processor and on the number of threads, stays invisible.
    """
    data: dict[str, Array] = {n: np.asarray(v.data, np.float64) for n, v in graph.values.items() if v.data is not None}
    data.update({n: np.asarray(x, np.float32) for n, x in inputs.items()})
    last = {i: k for k, node in enumerate(graph.nodes) for i in node.inputs}
    for k, node in enumerate(graph.nodes):
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is told by its name later
            y = np.asarray(node.op.reference(*(np.asarray(data[i], np.float64) for i in node.inputs)), np.float32)
        data[node.output] = y
        yield node.output, y
        for name in node.inputs:
            if last[name] == k:
                data.pop(name, None)


def walk_quantized(graph: Graph, inputs: Mapping[str, Array]) -> Iterator[tuple[str, Array]]:
    """Name and integer data of every node's output, in order, for one sample in the inputs' own shapes."""
    data = {n: v.data for n, v in graph.values.items() if v.data is not None}
    data.update(inputs)
    for node in graph.nodes:
        y = node.op.simulate(site(graph, node), *(data[i] for i in node.inputs))
        data[node.output] = y
        yield node.output, y


def run_float(graph: Graph, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The graph's outputs in float32 for one sample."""
    values = dict(inputs)
    values.update((n, y) for n, y in walk_float(graph, inputs) if n in graph.outputs)
    return {n: np.asarray(values[n]) for n in graph.outputs}


def run_quantized(graph: Graph, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The graph's outputs as integers for one sample of integers."""
    values = dict(inputs)
    values.update((n, y) for n, y in walk_quantized(graph, inputs) if n in graph.outputs)
    return {n: np.asarray(values[n]) for n in graph.outputs}
