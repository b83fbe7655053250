"""What depends on no input is computed now."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from aot.ir import Graph, Node, TensorType, Value, prune


def fold_constants(graph: Graph) -> Graph:
    """Nodes whose inputs are all constants become constants; graph outputs keep their node."""
    values = dict(graph.values)
    nodes: list[Node] = []
    for node in graph.nodes:
        data = [values[i].data for i in node.inputs]
        known = [d for d in data if d is not None]
        if len(known) < len(data) or node.output in graph.outputs:
            nodes.append(node)
            continue
        result = np.asarray(node.op.reference(*known), np.float32)
        given = [values[i].steps for i in node.inputs]
        first = given[0] if len(given) == 1 and node.op.same_quant else None
        steps = None if first is None else np.asarray(node.op.reference(first))
        values[node.output] = Value(node.output, TensorType("f32", result.shape), result, steps)
    return prune(replace(graph, nodes=tuple(nodes), values=values))
