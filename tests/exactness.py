"""How far the integers of a compiled network are from the roundings which its model gives, operator by operator."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aot.compiler import Net
from aot.interpret import site, walk_float
from aot.ir import Array
from aot.numerics import stored
from aot.ops.quantize import Quantize


@dataclass(frozen=True)
class Off:
    """A layer whose integers differ from the model's: share of them, most steps, and how far from a tie at most."""

    name: str
    op: str
    share: float
    steps: int
    tie: float


def off(net: Net, x: dict[str, Array]) -> list[Off]:
    """Every layer on what the float graph computes before it, with the model's own roundings."""
    graph, floats = net.graph, dict(walk_float(net.float_graph, x)) | x
    producer, found = net.float_graph.producer(), []
    for node in graph.nodes:
        values = [graph.values[i] for i in node.inputs]
        kind = graph.values[node.output].type
        if node.output not in floats or kind.format == "f32" or any(
                v.data is None and v.name not in floats for v in values):
            continue
        y = node.op.simulate(site(graph, node), *(v.data if v.data is not None else stored(floats[v.name], v.type)
                                                  for v in values)).astype(np.int64)
        ideal = stored(floats[node.output], kind).astype(np.int64)
        wrong = y != ideal
        if wrong.any():
            op, tie = producer[node.output].op, 0.5
            if isinstance(op, Quantize) and op.grid is not None:
                exact = floats[producer[node.output].inputs[0]].astype(np.float64) / op.grid.scale
                tie = float(np.abs(exact - np.floor(exact) - 0.5)[wrong].max())
            found.append(Off(node.output, node.op.name, float(wrong.mean()), int(np.abs(y - ideal).max()), tie))
    return found
