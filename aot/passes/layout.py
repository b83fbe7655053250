"""Transposes vanish: each is pushed towards the outputs until it meets its inverse, a weight matrix, or nothing.

Exporters write NCHW, or NHWC with transposes around every layer; operators here are all NHWC, so both read as the
same graph once the transposes between neighbours have cancelled.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from math import prod

import numpy as np

from aot.builder import Builder
from aot.ir import Array, Graph, Node, prune
from aot.ops.add import Add
from aot.ops.base import Shape
from aot.ops.concat import Concat
from aot.ops.fully_connected import FullyConnected
from aot.ops.mul import Mul
from aot.ops.pad import Pad
from aot.ops.quantize import Quantize
from aot.ops.reshape import Reshape
from aot.ops.slice import Slice
from aot.ops.softmax import Softmax
from aot.ops.transpose import Transpose, inverse
from aot.ops.unary import Unary


def layout(graph: Graph) -> Graph:
    """Rewrite until no transpose moves any more."""
    for _ in range(4 * len(graph.nodes) + 4):
        text = str(graph)
        graph = prune(_sweep(graph))
        if str(graph) == text:
            break
    return graph


def _sweep(graph: Graph) -> Graph:
    """Rebuild the graph once, each node looking back at the transposes and reshapes right before it."""
    b = Builder(graph.name)
    for name, value in graph.values.items():
        if value.data is not None or name in graph.inputs:
            b.keep(value)
    made: dict[str, Node] = {}  # by output name in the new graph
    new: dict[str, str] = {}  # value of the old graph -> its equal in the new one
    for node in graph.nodes:
        b.origin = node.origin
        inputs = tuple(new.get(i, i) for i in node.inputs)
        made.update((n.output, n) for n in b.nodes[len(made):])
        out = _rewrite(b, node, inputs, made) or b.add(node.op, inputs, node.output)
        made.update((n.output, n) for n in b.nodes[len(made):])
        new[node.output] = out
    return _rename(b, graph, new)


def _rename(b: Builder, graph: Graph, new: dict[str, str]) -> Graph:
    """The built graph with the old graph's names for its outputs."""
    names: dict[str, str] = {}
    for wanted in graph.outputs:
        current = new.get(wanted, wanted)
        if current == wanted:
            continue
        if current in graph.inputs or current in names or current in graph.outputs or b.const(current) is not None:
            current = b.add(Reshape(b.shape(current)), [current], wanted)  # an output needs bytes of its own
        if current != wanted:
            names[current] = wanted
    def rename(name: str) -> str:
        return names.get(name, f"{name}.inner" if name in names.values() else name)
    nodes = tuple(replace(n, inputs=tuple(map(rename, n.inputs)), output=rename(n.output)) for n in b.nodes)
    values = {rename(n): replace(v, name=rename(n)) for n, v in b.values.items()}
    return Graph(graph.name, graph.inputs, graph.outputs, nodes, values)


def _rewrite(b: Builder, node: Node, inputs: tuple[str, ...], made: dict[str, Node]) -> str | None:
    """A cheaper equal of the node, or None."""
    op, x = node.op, inputs[0]
    before = made.get(x)
    shape = b.shape(x)
    if isinstance(op, Transpose):
        if op.perm == tuple(range(len(op.perm))):
            return x
        if before is not None and isinstance(before.op, Transpose):
            perm = tuple(before.op.perm[p] for p in op.perm)
            if perm == tuple(range(len(perm))):
                return before.inputs[0]
            return b.add(Transpose(perm), before.inputs, node.output)
        if _keeps_order(shape, op.perm):
            return b.add(Reshape(tuple(shape[p] for p in op.perm)), [x], node.output)
        return None
    if isinstance(op, Reshape):
        if op.shape == shape:
            return x
        if before is not None and isinstance(before.op, Reshape):
            return b.add(op, before.inputs, node.output)
        return _reshape_of_transpose(b, node, op, before)
    if isinstance(op, FullyConnected):
        return _fully_connected(b, node, op, inputs, made)
    if isinstance(op, Add | Mul | Concat):
        return _several(b, node, inputs, made)
    if before is None or not isinstance(before.op, Transpose):
        return None
    perm = before.op.perm
    if isinstance(op, Unary | Quantize):
        moved = b.add(op, before.inputs, node.output)
    elif isinstance(op, Pad):
        back = inverse(perm)
        moved = b.add(Pad(tuple(op.before[p] for p in back), tuple(op.after[p] for p in back), op.value),
                      before.inputs, node.output)
    elif isinstance(op, Slice):
        back = inverse(perm)
        moved = b.add(Slice(tuple(op.starts[p] for p in back), tuple(op.counts[p] for p in back),
                            tuple(op.steps[p] for p in back)), before.inputs, node.output)
    elif isinstance(op, Softmax) and perm[-1] == len(perm) - 1:
        moved = b.add(op, before.inputs, node.output)
    else:
        return None
    return b.add(Transpose(perm), [moved], node.output)


def _arranged(shape: Shape, perm: tuple[int, ...], data: Array) -> Array:
    return data.reshape(shape).transpose(perm)


def _keeps_order(shape: Shape, perm: tuple[int, ...]) -> bool:
    """Whether the permutation only moves axes of size 1, so that the bytes stay where they are."""
    moved = [p for p in perm if shape[p] != 1]
    return moved == sorted(moved)


def _reshape_of_transpose(b: Builder, node: Node, op: Reshape, before: Node | None) -> str | None:
    """A reshape that keeps the last axis, behind a transpose that does too, goes before it (batch, time, features)."""
    if before is None or not isinstance(before.op, Transpose):
        return None
    source = b.shape(before.inputs[0])
    perm = before.op.perm
    # only leading or trailing ones come or go: the transpose can be done on the other side
    squeezed = [i for i, s in enumerate(b.shape(node.inputs[0]) if node.inputs[0] in b.values else ()) if s != 1]
    kept = tuple(s for s in op.shape if s != 1)
    if kept != tuple(source[p] for p in perm if source[p] != 1) or not squeezed:
        return None
    order = [p for p in perm if source[p] != 1]  # source axes in the order of the result
    slots = [i for i, s in enumerate(op.shape) if s != 1]
    ranked = sorted(order)
    shape = [1] * len(op.shape)
    for slot, axis in zip(slots, ranked, strict=True):
        shape[slot] = source[axis]
    final = list(range(len(op.shape)))
    for slot, axis in zip(slots, order, strict=True):
        final[slot] = slots[ranked.index(axis)]
    flat = b.add(Reshape(tuple(shape)), before.inputs, node.output)
    return b.add(Transpose(tuple(final)), [flat], node.output)


def _fully_connected(b: Builder, node: Node, op: FullyConnected, inputs: tuple[str, ...],
                     made: dict[str, Node]) -> str | None:
    """A matrix behind transpose and flatten takes its columns in the transposed order instead."""
    flat = made.get(inputs[0])
    if flat is None or not isinstance(flat.op, Reshape):
        return None
    moved = made.get(flat.inputs[0])
    if moved is None or not isinstance(moved.op, Transpose):
        return None
    source, perm, out = b.shape(moved.inputs[0]), moved.op.perm, flat.op.shape
    # leading axes of the transpose that it leaves alone stay rows of the product; the rest becomes its columns
    fixed = 0
    while fixed < len(perm) and perm[fixed] == fixed and prod(source[:fixed + 1]) <= prod(out[:-1]):
        fixed += 1
    if prod(source[:fixed]) != prod(out[:-1]):
        return None
    weights = b.const(inputs[1])
    assert weights is not None
    inner = tuple(p - fixed for p in perm[fixed:])
    columns = np.arange(prod(source[fixed:])).reshape(source[fixed:]).transpose(inner).reshape(-1)
    places = np.argsort(columns)
    x = b.add(Reshape(out), moved.inputs, node.output + ".flat")
    return b.add(op, [x, b.derived(inputs[1], lambda w: w[:, places], inputs[1]), inputs[2]], node.output)


def _several(b: Builder, node: Node, inputs: tuple[str, ...], made: dict[str, Node]) -> str | None:
    """Element-wise operators and concatenation: the inputs' common transpose moves behind them."""
    perms = {n.op.perm for i in inputs if (n := made.get(i)) is not None and isinstance(n.op, Transpose)}
    if len(perms) != 1:
        return None
    perm = next(iter(perms))
    rank = len(perm)
    moved: list[str] = []
    for name in inputs:
        producer = made.get(name)
        shape = b.shape(name)
        if producer is not None and isinstance(producer.op, Transpose):
            moved.append(producer.inputs[0])
            continue
        if len(shape) > rank:
            return None
        full = (1,) * (rank - len(shape)) + shape
        data = b.const(name)
        back = inverse(perm)
        if data is not None:
            moved.append(b.derived(name, partial(_arranged, full, back), name))
        elif prod(shape) == 1 or _keeps_order(full, back):
            moved.append(b.add(Reshape(tuple(full[p] for p in back)), [name], name + ".nhwc"))
        else:
            return None
    op = node.op
    if isinstance(op, Concat):
        op = Concat(perm[op.axis])
    return b.add(Transpose(perm), [b.add(op, moved, node.output)], node.output)


