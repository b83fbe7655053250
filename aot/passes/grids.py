"""Roundings that a model gives itself: those that change nothing vanish, and bounds on integers become their limits."""

from __future__ import annotations

from dataclasses import replace

from aot.ir import Graph, Node, prune
from aot.ops.base import Op
from aot.ops.concat import Concat
from aot.ops.pad import Pad
from aot.ops.quantize import Grid, Quantize
from aot.ops.unary import Unary


def settle(graph: Graph) -> Graph:
    """Quantization of what lies on the same grid already is left out; a clip right behind one narrows its grid."""
    while True:
        lies, producer, consumers = grids(graph), graph.producer(), graph.consumers()
        alias: dict[str, str] = {}
        nodes: list[Node] = []
        changed = False
        for node in graph.nodes:
            x = node.inputs[0]
            first = producer.get(x)
            if isinstance(node.op, Quantize) and node.op.grid is not None and within(lies.get(x), node.op.grid) \
                    and _left_out(graph, node, alias):
                changed = True
                continue
            if isinstance(node.op, Unary) and first is not None and isinstance(first.op, Quantize) \
                    and len(consumers[x]) == 1 and x not in graph.outputs \
                    and (narrow := clipped(lies.get(x), node.op)) is not None:
                node = Node(node.name, Quantize(narrow.format, narrow), first.inputs, node.output,
                            (*first.origin, *node.origin))
                changed = True
            nodes.append(node)
        if not changed:
            return graph
        graph = prune(_renamed(replace(graph, nodes=tuple(nodes)), alias))


def grids(graph: Graph) -> dict[str, Grid]:
    """The grids on which values are known to lie."""
    found: dict[str, Grid] = {}
    for node in graph.nodes:
        each = {found.get(i) for i in node.inputs}
        grid = node.op.grid if isinstance(node.op, Quantize) else \
            found.get(node.inputs[0]) if moves(node.op, found.get(node.inputs[0])) else \
            clipped(found.get(node.inputs[0]), node.op) if isinstance(node.op, Unary) else \
            each.pop() if isinstance(node.op, Concat) and len(each) == 1 else None
        if grid is not None:
            found[node.output] = grid
    return found


def moves(op: Op, grid: Grid | None) -> bool:
    """Whether the operator takes numbers on the grid to the same numbers, and rounding may come before or behind it."""
    return grid is not None and op.same_quant and (not isinstance(op, Pad) or grid.holds(op.value))


def within(part: Grid | None, whole: Grid) -> bool:
    """Whether all numbers of one grid are on the other, by the same integers."""
    return (part is not None and (part.format, part.scale, part.zero) == (whole.format, whole.scale, whole.zero)
            and whole.low <= part.low and part.high <= whole.high)


def clipped(grid: Grid | None, op: Unary) -> Grid | None:
    """The part of a grid that is left between the bounds of a clip; None where they are not on it."""
    low, high = op.as_clamp()
    if grid is None or (low is None and high is None):
        return None
    first, last = grid.ends
    if (low is not None and low > first and not grid.holds(low)) or \
            (high is not None and high < last and not grid.holds(high)):
        return None

    def place(bound: float | None, default: int) -> int:
        return default if bound is None else min(max(round(bound / grid.scale) + grid.zero, grid.low), grid.high)
    return replace(grid, low=place(low, grid.low), high=place(high, grid.high))


def _left_out(graph: Graph, node: Node, alias: dict[str, str]) -> bool:
    """Note what stands for the output of a node that changes nothing; False where that needs a node of its own."""
    x, y = node.inputs[0], node.output
    if y not in graph.outputs:
        alias[y] = x
        return True
    if x in graph.inputs or x in graph.outputs or x in alias or graph.const(x) is not None:
        return False
    alias[x] = y
    return True


def _renamed(graph: Graph, alias: dict[str, str]) -> Graph:
    """The graph with names replaced by those that stand for them."""
    def name(n: str) -> str:
        while n in alias:
            n = alias[n]
        return n
    nodes = tuple(replace(n, inputs=tuple(map(name, n.inputs)), output=name(n.output)) for n in graph.nodes)
    values = {n: v for n, v in graph.values.items() if n not in alias}
    values |= {name(n): replace(graph.values[n], name=name(n)) for n in alias if name(n) in graph.outputs}
    return replace(graph, nodes=nodes, values=values)
