"""Reshapes step aside: what works on single elements or channels moves in front of them, next to the layer it can join.

One-dimensional convolutions are layers of height 1 between two reshapes, which part them from their activations.
"""

from __future__ import annotations

from dataclasses import replace

from aot.ir import Graph, Node, TensorType, Value, prune
from aot.ops.add import Add
from aot.ops.conv2d import Conv2d
from aot.ops.mul import Mul
from aot.ops.pad import Pad
from aot.ops.quantize import Quantize
from aot.ops.reshape import Reshape
from aot.ops.unary import Unary


def lift(graph: Graph) -> Graph:
    """Functions of one element, sums, and constants per channel, go before a reshape whose output nobody else reads."""
    while True:
        producer, consumers = graph.producer(), graph.consumers()
        for at, node in enumerate(graph.nodes):
            for side, name in enumerate(node.inputs):
                first = producer.get(name)
                if first is None or not (_parts(first, producer) or _pads(node, first)):
                    continue
                if len(consumers[name]) == 1 and name not in graph.outputs and _may_go(node, side, first, graph):
                    graph = _swap(graph, at, side, first)
                    break
            else:
                continue
            break
        else:
            return graph


def _parts(first: Node, producer: dict[str, Node]) -> bool:
    """Whether it is a reshape behind a layer."""
    return isinstance(first.op, Reshape) and first.inputs[0] in producer


def _pads(node: Node, first: Node) -> bool:
    """Whether it pads by a number that the quantization behind it does not change."""
    return (isinstance(first.op, Pad) and isinstance(node.op, Quantize) and node.op.grid is not None
            and node.op.grid.holds(first.op.value))


def _may_go(node: Node, side: int, reshape: Node, graph: Graph) -> bool:
    """Whether the node means the same on the data before the reshape."""
    if isinstance(node.op, Unary | Quantize):
        return True
    if not isinstance(node.op, Add | Mul):
        return False
    constant = graph.const(node.inputs[1 - side])
    if constant is None:
        return _sums(node, side, reshape, graph)
    before, after = graph.values[reshape.inputs[0]].type.shape, graph.values[node.output].type.shape
    if graph.values[reshape.output].type.shape != after:
        return False
    per_channel = constant.size == 1 or (constant.size == constant.shape[-1] and before[-1:] == after[-1:])
    return per_channel and constant.ndim <= len(before)


def _sums(node: Node, side: int, reshape: Node, graph: Graph) -> bool:
    """Whether it adds to what a convolution computes, so that the two can be one layer (see :mod:`aot.sums`)."""
    shapes = {graph.values[i].type.shape for i in (*node.inputs, node.output)}
    producer, consumers = graph.producer(), graph.consumers()
    first = producer.get(reshape.inputs[0])
    while first is not None and isinstance(first.op, Unary | Add | Mul) and len(consumers[first.output]) == 1:
        computed = [i for i in first.inputs if graph.const(i) is None]
        first = producer.get(computed[0]) if len(computed) == 1 else None
    return (isinstance(node.op, Add) and len(shapes) == 1 and node.inputs[0] != node.inputs[1]
            and first is not None and isinstance(first.op, Conv2d))


def _swap(graph: Graph, at: int, side: int, reshape: Node) -> Graph:
    """The graph with the node before the reshape; both keep the names of their outputs' places."""
    node, source = graph.nodes[at], graph.values[reshape.inputs[0]].type
    inner = reshape.output
    values = {**graph.values, inner: Value(inner, TensorType("f32", source.shape))}
    inputs, beside = [reshape.inputs[0] if i == side else n for i, n in enumerate(node.inputs)], list[Node]()
    if len(inputs) == 2 and graph.const(inputs[1 - side]) is None:
        other = graph.producer().get(inputs[1 - side])
        if other is not None and isinstance(other.op, Reshape) \
                and graph.values[other.inputs[0]].type.shape == source.shape:
            inputs[1 - side] = other.inputs[0]
        else:
            name = f"{inner}.beside"
            values[name] = Value(name, TensorType("f32", source.shape))
            beside.append(Node(name, Reshape(source.shape), (inputs[1 - side],), name, reshape.origin))
            inputs[1 - side] = name
    lifted = replace(node, inputs=tuple(inputs), output=inner)
    moved = replace(reshape, inputs=(inner,), output=node.output)
    nodes = [n for n in graph.nodes[:at] if n is not reshape] + [*beside, lifted, moved, *graph.nodes[at + 1:]]
    return prune(replace(graph, nodes=tuple(nodes), values=values))
