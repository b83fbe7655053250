"""Execution in strips: a stretch of layers is run for some rows of its output after the other.

So the maps between never exist whole. This is a rewriting of the integer graph: every layer of the stretch becomes one
for each strip, whose input is a view of the rows it needs, and the strips of the last layer are concatenated where they
lie. Rows at the seams are computed twice (Lin et al., "MCUNetV2: Memory-Efficient Patch-based Inference for Tiny Deep
Learning", section 3).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from aot.ir import Graph, Node, Value
from aot.kernels import PRICE, PRICE_OF_MEMORY
from aot.kernels.base import Kernel
from aot.ops.add import Add
from aot.ops.base import Rows, Strip
from aot.ops.concat import Concat
from aot.ops.slice import Slice
from aot.plan import Plan, plan
from aot.program import Program, Step, Using, lower, sameness
from aot.targets import Isa

#: Strips that are tried, the longest stretch of layers, and how far it may start before the layer that needs most.
COUNTS = (2, 3, 4, 6, 8, 12)
LONGEST = 8
#: So many stretches are cut at most.
ROUNDS = 3
#: So many of the best by a rough plan are planned exactly.
FINALISTS = 8
#: Bytes of code of a layer, roughly; strips of other sizes need functions of their own.
CODE_OF_LAYER = 200


@dataclass(frozen=True)
class Cut:
    """A stretch of nodes, by the outputs of its first and last, in so many strips."""

    first: str
    last: str
    strips: int


@dataclass(frozen=True, eq=False)
class Arrangement:
    """A program with its plan; ``cost`` in instructions, memory and constants priced by the goal."""

    program: Program
    plan: Plan
    instructions: float
    cost: float
    cuts: tuple[Cut, ...] = ()
    whole: Arrangement | None = None

    def described(self) -> tuple[str, ...]:
        """A line for each stretch in strips, and one for what they cost."""
        if self.whole is None:
            return ()
        lines = [f"in {c.strips} strips: {c.first} .. {c.last}" for c in self.cuts]
        more = 100 * (self.instructions / max(self.whole.instructions, 1.0) - 1)
        return (*lines, f"strips: {self.whole.plan.size:,} bytes of arena become {self.plan.size:,}, "
                        f"for an estimated {more:.1f} % more instructions")


class _Judge:
    """Lowers and prices graphs that share constants; remembers what it knows of single layers."""

    def __init__(self, isa: Isa, goal: str, ram: int | None) -> None:
        self.isa, self.goal, self.ram = isa, goal, ram
        self._kernels: dict[object, Kernel] = {}
        self._costs: dict[object, float] = {}

    def arrange(self, graph: Graph, using: tuple[Using, ...], cuts: tuple[Cut, ...], exact: bool) -> Arrangement:
        """The graph's program, planned and priced."""
        program = lower(graph, self.isa, self.goal, using, self._kernels)
        arena = plan(program.buffers, program.sharings, exact=exact)
        instructions = sum(map(self._instructions, program.steps))
        cost = (instructions + PRICE_OF_MEMORY[self.goal] * arena.size
                + PRICE[self.goal] * CODE_OF_LAYER * len(program.functions))
        return Arrangement(program, arena, instructions, cost, cuts)

    def _instructions(self, step: Step) -> float:
        key = sameness(step.site)
        if key not in self._costs:
            self._costs[key] = step.kernel.instructions(step.site)
        return self._costs[key]

    def rank(self, a: Arrangement) -> tuple[float, float]:
        """What is smaller is better: bytes over the budget first, then cost."""
        return (0.0 if self.ram is None else max(a.plan.size - self.ram, 0), a.cost)


def arrange(graph: Graph, isa: Isa, goal: str, ram: int | None) -> Arrangement:
    """The cheapest program found for a quantized graph that needs at most ``ram`` bytes of arena.

    If none is found that small, the smallest.
    """
    judge = _Judge(isa, goal, ram)
    whole = best = judge.arrange(graph, (), (), exact=True)
    using: tuple[Using, ...] = ()
    for _ in range(ROUNDS):
        if not (PRICE_OF_MEMORY[goal] or (ram is not None and best.plan.size > ram)):
            break
        rough = sorted(_tries(graph, using, best, judge), key=lambda f: judge.rank(f[0]))[:FINALISTS]
        found = [(judge.arrange(g, u, c, exact=True), g, u) for _, g, u, c in rough]
        better = min(found, key=lambda f: judge.rank(f[0]), default=None)
        if better is None or judge.rank(better[0]) >= judge.rank(best):
            break
        best, graph, using = better
    return replace(best, whole=whole) if best.cuts else best


def _tries(graph: Graph, using: tuple[Using, ...], best: Arrangement,
           judge: _Judge) -> Iterator[tuple[Arrangement, Graph, tuple[Using, ...], tuple[Cut, ...]]]:
    """Arrangements in which one more stretch, around the layer that needs most, is cut."""
    index = {n.output: i for i, n in enumerate(graph.nodes)}
    middle = index[best.program.steps[_peak(best.program)].site.output.name]
    for first in range(max(middle - LONGEST + 1, 0), middle + 1):
        for last in range(max(first + 1, middle), min(first + LONGEST, len(graph.nodes))):
            if not _closed(graph, first, last):
                continue
            for strips in COUNTS:
                made = cut(graph, first, last, strips)
                if made is None:
                    break
                more = (*using, *made[1])
                cuts = (*best.cuts, Cut(graph.nodes[first].output, graph.nodes[last].output, strips))
                yield judge.arrange(made[0], more, cuts, exact=False), made[0], more, cuts


def _peak(program: Program) -> int:
    """The step with the most bytes alive."""
    return max(range(len(program.steps)),
               key=lambda i: sum(b.nbytes for b in program.buffers if b.first <= i <= b.last))


def _closed(graph: Graph, first: int, last: int) -> bool:
    """Whether nothing between the two nodes is used behind the last, whose output is one NHWC map."""
    inside = {n.output for n in graph.nodes[first:last]}
    outer = {i for n in graph.nodes[last + 1:] for i in n.inputs} | set(graph.outputs)
    shape = graph.values[graph.nodes[last].output].type.shape
    return not inside & outer and len(shape) == 4 and shape[0] == 1


def cut(graph: Graph, first: int, last: int, strips: int) -> tuple[Graph, tuple[Using, ...]] | None:
    """The graph with nodes ``first`` to ``last`` in strips, and which maps are used up as the result is written.

    None if some operator between them cannot be cut, or there are too few rows.
    """
    nodes = graph.nodes[first:last + 1]
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
    whole = Node(nodes[-1].name, Concat(1), tuple(parts), output.name, nodes[-1].origin)
    inside = {n.output for n in nodes}
    after = {i for n in graph.nodes[last + 1:] for i in n.inputs} | set(graph.outputs)
    done = tuple(
        Using(name, output.name, distance) for name in needs[0]
        if name not in inside and name not in after and name not in graph.inputs
        and (distance := _distance(name, nodes[-1], graph, needs)) is not None)
    return replace(graph, nodes=(*graph.nodes[:first], *made, whole, *graph.nodes[last + 1:]), values=values), done


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
                return None
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
        made.append(Node(f"{node.name}.strip{number}", strip.op, inputs, output, node.origin))
    return f"{nodes[-1].output}.strip{number}"


def _distance(name: str, final: Node, graph: Graph, needs: list[Mapping[str, Rows]]) -> int | None:
    """How many bytes before a map the result must start, if it takes over its memory from the first row on."""
    source, output = graph.values[name].type, graph.values[final.output].type
    row_in, row_out = (t.nbytes // t.shape[1] for t in (source, output))
    if any(name not in need for need in needs):
        return None
    ends = [need[final.output][1] * row_out for need in needs]
    distances = [end - min(n[name][0] for n in needs[k + 1:]) * row_in for k, end in enumerate(ends[:-1])]
    if name in final.inputs:  # read while the output is written
        if not isinstance(final.op, Add) or source.shape != output.shape:
            return None
        distances.append(0)
    return max(distances)
