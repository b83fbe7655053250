"""Execution in strips: a stretch of layers is run for some rows of its output after the other.

So the maps between never exist whole. This is a rewriting of the integer graph: every layer of the stretch becomes one
for each strip, whose input is a view of the rows it needs, and the strips of the last layer are concatenated where they
lie, or summed up at once if an average over the whole map is what follows. Rows at the seams are computed twice (Lin et
al., "MCUNetV2: Memory-Efficient Patch-based Inference for Tiny Deep Learning", section 3).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from aot.ir import Graph, Node, Quant, TensorType, Value
from aot.ops.add import Add
from aot.ops.base import RESIDUAL, Accumulation, Rows, Strip
from aot.ops.concat import Concat
from aot.ops.slice import Slice
from aot.program import Using


def closed(graph: Graph, first: int, last: int) -> bool:
    """Whether nothing between the two nodes is used behind the last, whose output is one NHWC map."""
    inside = {n.output for n in graph.nodes[first:last]}
    outer = {i for n in graph.nodes[last + 1:] for i in n.inputs} | set(graph.outputs)
    shape = graph.values[graph.nodes[last].output].type.shape
    return not inside & outer and len(shape) == 4 and shape[0] == 1


def cut(graph: Graph, first: int, last: int, strips: int) -> tuple[Graph, tuple[Using, ...]] | None:
    """The graph with nodes ``first`` to ``last`` in strips, and which maps are used up as the result is written.

    None if some operator between them cannot be cut, or there are too few rows. Where the last node averages whole
    maps, the strips are those of its input.
    """
    nodes, final = graph.nodes[first:last + 1], graph.nodes[last]
    sums = final.op.accumulate(tuple(graph.values[i].type for i in final.inputs)) if last > first else None
    if sums is not None:
        nodes = nodes[:-1]
    output = graph.values[nodes[-1].output]
    height = output.type.shape[1]
    if height < 2 * strips:
        return None
    values = dict(graph.values)
    made: list[Node] = []
    parts: list[str] = []
    needs: list[Mapping[str, Rows]] = []
    for k in range(strips):
        rows = (height * k // strips, height * (k + 1) // strips)
        planned = _plan_strip(nodes, graph, rows)
        if planned is None:
            return None
        parts.append(_build_strip(nodes, planned, k, values, made))
        needs.append(planned[1])
        if sums is not None:
            parts = [_add_up(final, sums, rows[1] * output.type.shape[2], parts, values, made)]
    before, after = graph.nodes[:first], graph.nodes[last + 1:]
    if sums is not None:
        made.append(replace(final, op=sums.finish, inputs=tuple(parts)))
        return replace(graph, nodes=(*before, *made, *after), values=values), ()
    made.append(replace(final, op=Concat(1), inputs=tuple(parts)))
    inside = {n.output for n in nodes}
    later = {i for n in after for i in n.inputs} | set(graph.outputs)
    done = tuple(
        Using(name, output.name, distance) for name in needs[0]
        if name not in inside and name not in later and name not in graph.inputs
        and (distance := _distance(name, final, graph, needs)) is not None)
    return replace(graph, nodes=(*before, *made, *after), values=values), done


def _add_up(final: Node, sums: Accumulation, pixels: int, parts: list[str], values: dict[str, Value],
            made: list[Node]) -> str:
    """Add the last of the parts, a strip, to the sums before it; answer their new name."""
    strip, channels = values[parts[-1]], values[final.output].type.shape[3]
    name = f"{final.output}.sums{pixels}"
    quant = Quant(strip.quant.scale, pixels * strip.zero)
    values[name] = Value(name, TensorType("s32", (1, 1, 1, channels), quant))
    made.append(Node(name, sums.strip(pixels), tuple(reversed(parts)), name, final.origin, final.goal))
    return name


def _plan_strip(nodes: tuple[Node, ...], graph: Graph,
                rows: Rows) -> tuple[dict[str, Strip], dict[str, Rows]] | None:
    """Operators by output, and rows of every value, which the rows of the last node's output need."""
    rows_of = {nodes[-1].output: rows}
    strips: dict[str, Strip] = {}
    for node in reversed(nodes):
        wanted = rows_of.get(node.output)
        types = tuple(graph.values[i].type for i in node.inputs)
        if wanted is None or any(len(t.shape) != 4 or t.shape[0] != 1 for i, t in zip(node.inputs, types, strict=True)
                                 if graph.const(i) is None):
            return None
        strip = node.op.strip(types, graph.values[node.output].type, wanted)
        if strip is None:
            return None
        strips[node.output] = strip
        for name, need in zip(node.inputs, strip.inputs, strict=True):
            if graph.const(name) is not None:
                if need is not None:
                    return None
            elif need is None:
                if any(n.output == name for n in nodes):
                    return None  # the whole of a map that comes in strips
            else:
                known = rows_of.get(name, need)
                rows_of[name] = (min(known[0], need[0]), max(known[1], need[1]))
    return strips, rows_of


def _build_strip(nodes: tuple[Node, ...], planned: tuple[Mapping[str, Strip], Mapping[str, Rows]], number: int,
                 values: dict[str, Value], made: list[Node]) -> str:
    """Add one strip's nodes and values; answer the name of its output."""
    strips, rows_of = planned
    inside = {n.output for n in nodes}

    def value(name: str, like: str, rows: Rows) -> str:
        t = values[like].type
        shape = (t.shape[0], rows[1] - rows[0], *t.shape[2:])
        values[name] = Value(name, replace(t, shape=shape), None)
        return name

    def part(name: str, rows: Rows) -> str:
        """The wanted rows of a value."""
        there = rows_of[name] if name in inside else (0, values[name].type.shape[1])
        source = f"{name}.strip{number}" if name in inside else name
        if there == rows:
            return source
        view = f"{source}.rows{rows[0]}_{rows[1]}.of{number}"
        if view not in values:
            value(view, name, rows)
            op = Slice.along(values[source].type.shape, 1, rows[0] - there[0], rows[1] - rows[0])
            made.append(Node(view, op, (source,), view, ()))
        return view

    for node in nodes:
        strip = strips[node.output]
        inputs = tuple(name if need is None else part(name, need)
                       for name, need in zip(node.inputs, strip.inputs, strict=True))
        output = value(f"{node.output}.strip{number}", node.output, rows_of[node.output])
        made.append(Node(f"{node.name}.strip{number}", strip.op, inputs, output, node.origin, node.goal, node.kernel))
    return f"{nodes[-1].output}.strip{number}"


def _distance(name: str, final: Node, graph: Graph, needs: list[Mapping[str, Rows]]) -> int | None:
    """How many bytes before a map the result must start, if it takes over its memory from the first row on.

    At least; the kernel that writes the result may need more.
    """
    source, output = graph.values[name].type, graph.values[final.output].type
    row_in, row_out = (t.nbytes // t.shape[1] for t in (source, output))
    if any(name not in need for need in needs):
        return None
    ends = [need[final.output][1] * row_out for need in needs]
    distances = [end - min(n[name][0] for n in needs[k + 1:]) * row_in for k, end in enumerate(ends[:-1])]
    if name in final.inputs:  # read while the output is written
        residual = final.op.linear and final.inputs[RESIDUAL:] == (name,) and name != final.inputs[0]
        if source.shape != output.shape or not (residual or isinstance(final.op, Add)):
            return None
        distances.append(0)
    return max(distances)
