"""Only what is read is computed: slices move towards the inputs, through all that computes elements one by one.

From the outputs backwards, each value gets the part of it that its readers need, the hull of what each needs. Then the
graph is made once more, with operators that compute just these parts, and a slice wherever a reader needs less than
what is there. A slice may copy what it takes; where that costs more than it saves, the nodes behind it go on computing
all of their output.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aot.builder import Builder
from aot.ir import Graph, Node, prune
from aot.ops.average_pool2d import AveragePool2d
from aot.ops.concat import Concat
from aot.ops.max_pool2d import MaxPool2d
from aot.ops.pad import Pad
from aot.ops.reshape import Reshape
from aot.ops.slice import Slice
from aot.passes.parts import Part, Parts, hulls, whole
from aot.passes.reads import Reading, Windowed, candidates, cropped, everything, reading

#: What a layer costs, and an element that it computes or moves, in multiply-accumulates.
LAYER, ELEMENT = 100, 4
#: Where less than this share of an axis could be left out, it stays: kernels are made for the usual sizes.
MARGIN = 1 / 8


def crop(graph: Graph) -> Graph:
    """Parts of values that nobody reads are not computed, where that saves work."""
    stops: frozenset[str] = frozenset()
    best = _made(graph, stops)
    seen: set[str] = set()
    while begin := next((reader for reader, _ in best.copies if reader not in seen), None):
        seen.add(begin)
        tried, front, still = best, {begin}, stops
        while front:  # the slice moves back, a node at a time, as long as it copies
            still |= front
            tried = _made(graph, still)
            front = {reader for reader, value in tried.copies if value in still} - still
            if tried.effort < best.effort:
                best, stops = tried, still
    return best.graph if best.effort < _effort(graph) else graph


@dataclass(frozen=True, eq=False)
class _Made:
    """A cropped graph, and which nodes read which values through slices that copy; all by their outputs' old names."""

    graph: Graph
    copies: tuple[tuple[str, str], ...]
    effort: int


def _made(graph: Graph, stops: frozenset[str]) -> _Made:
    """The graph with all cropped but the nodes of ``stops``."""
    work = _Work(graph, _readings(graph, stops))
    for node in graph.nodes:
        if node.output in work.readings:
            work.take(node)
    made = prune(Graph(graph.name, graph.inputs, graph.outputs, tuple(work.b.nodes), work.b.values))
    return _Made(made, tuple(work.copies), _effort(made))


def _readings(graph: Graph, stops: frozenset[str]) -> dict[str, Reading]:
    """What each node computes and reads, from the outputs backwards; without those of which nothing is needed."""
    needs: dict[str, Parts] = {n: whole(graph.values[n].type.shape) for n in graph.outputs}
    found: dict[str, Reading] = {}
    for node in reversed(graph.nodes):
        if node.output not in needs:
            continue
        inputs, output = tuple(graph.values[i].type.shape for i in node.inputs), graph.values[node.output].type.shape
        need = needs[node.output]
        if not isinstance(node.op, Concat | Pad | Reshape | Slice):  # these get simpler by any element less
            need = tuple(n if size - n.count >= MARGIN * size else Part(0, size)
                         for n, size in zip(need, output, strict=True))
        found[node.output] = everything(inputs, output) if node.output in stops \
            else reading(node.op, inputs, output, need)
        for name, part in zip(node.inputs, found[node.output].needs, strict=True):
            if part is not None:
                needs[name] = hulls(needs[name], part) if name in needs else part
    return found


class _Work:
    """The graph as it is made, node by node."""

    def __init__(self, graph: Graph, readings: Mapping[str, Reading]) -> None:
        self.graph, self.readings = graph, readings
        self.b = Builder(graph.name)
        for value in graph.values.values():
            if value.data is not None or value.name in graph.inputs:
                self.b.keep(value)
        self.names: dict[str, str] = {}  # values that are others now
        self.parts: dict[str, Parts] = {}  # what there is of values of the old graph
        self.slices: dict[tuple[str, Parts], str] = {}
        self.copies: list[tuple[str, str]] = []

    def take(self, node: Node) -> None:
        """Bring a node into the new graph."""
        reads, b = self.readings[node.output], self.b
        b.origin = node.origin
        given = list(reads.needs)
        if isinstance(node.op, Slice):
            given[0] = self._have(node.inputs[0])
        elif isinstance(node.op, Windowed):
            given[0] = self._best(node, reads)
        shape = self.graph.values[node.inputs[0]].type.shape
        op = cropped(node.op, shape, reads.made, tuple(given))
        inputs = [self._part(node, i, g) for i, g in zip(node.inputs, given, strict=True) if g is not None]
        self.parts[node.output] = reads.made
        if op is None and node.output in self.graph.outputs:
            op = Reshape(tuple(m.count for m in reads.made))  # an output needs bytes of its own
        if op is None:
            self.names[node.output] = inputs[0]
        else:
            b.add(op, inputs, node.output)

    def _have(self, name: str) -> Parts:
        return self.parts.get(name) or whole(self.graph.values[name].type.shape)

    def _best(self, node: Node, reads: Reading) -> Parts:
        """The part of a window's input that is nearest at hand."""
        x = node.inputs[0]
        have = self._have(x)
        found = list(candidates(node.op, self.graph.values[x].type.shape, reads, have))
        return next((part for part in found if part == have or not self._copies(x, part)), found[-1])

    def _copies(self, name: str, part: Parts) -> bool:
        """Whether a part of a value is not in one piece in memory."""
        source = self.b.values[self.names.get(name, name)].type
        return _slice(part, self._have(name)).view((source,)) is None

    def _part(self, node: Node, name: str, part: Parts) -> str:
        """The name of a part of a value, which is sliced if it is not just that."""
        have, source = self._have(name), self.names.get(name, name)
        if part == have:
            return source
        if (name, part) not in self.slices:
            hint, count = f"{name}.part", 1
            while hint in self.graph.values or hint in self.b.values:
                hint, count = f"{name}.part.{count}", count + 1
            taken = _slice(part, have)
            self.slices[name, part] = self.b.add(taken, [source], hint) if self.graph.const(name) is None \
                else self.b.derived(source, lambda data: taken.reference(data), hint)
        if self.graph.const(name) is None and self._copies(name, part):
            self.copies.append((node.output, name))
        return self.slices[name, part]


def _slice(part: Parts, have: Parts) -> Slice:
    """The slice that takes a part of what there is."""
    places = [p.inside(h) for p, h in zip(part, have, strict=True)]
    return Slice(tuple(p.first for p in places), tuple(p.count for p in places), tuple(p.step for p in places))


def _effort(graph: Graph) -> int:
    """An estimate of what the graph costs, in multiply-accumulates."""
    total = 0
    for node in graph.nodes:
        types, output = tuple(graph.values[i].type for i in node.inputs), graph.values[node.output].type
        if node.op.view(types) is not None:
            continue
        each = ELEMENT
        if isinstance(node.op, AveragePool2d | MaxPool2d):
            each += node.op.window.kernel[0] * node.op.window.kernel[1]
        total += LAYER + node.op.macs(types, output) + each * output.size
    return total
