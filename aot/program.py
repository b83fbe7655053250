"""The Program: which C function touches which bytes, in which order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod

from aot.interpret import site
from aot.ir import Array, Graph, Node, prune
from aot.kernels import choose
from aot.kernels.base import Kernel
from aot.ops.base import Overlap, Site
from aot.ops.concat import Concat
from aot.targets import Isa


@dataclass(frozen=True)
class Buffer:
    """A stretch of the arena, needed from step ``first`` to step ``last``, both included."""

    name: str
    nbytes: int
    align: int
    first: int
    last: int
    scratch: bool = False


@dataclass(frozen=True)
class Sharing:
    """Permission for buffer ``output`` to overlap buffer ``input``, whose last use is ``output``'s first step.

    Either they do not overlap at all, or ``offset(input) - offset(output) >= distance``; with ``exact``, only
    ``offset(input) == offset(output)``.
    """

    input: str
    output: str
    distance: int
    exact: bool


@dataclass(frozen=True)
class Place:
    """Where a value lives: ``space`` is input, output, constant or arena; ``name`` the pointer or buffer there."""

    space: str
    name: str
    offset: int = 0


@dataclass(frozen=True, eq=False)
class Step:
    """One call: a C function, its node, the kernel, where operands and output are, and the working memory."""

    function: str
    site: Site
    kernel: Kernel
    operands: tuple[Place, ...]
    output: Place
    scratch: Place | None


@dataclass(frozen=True, eq=False)
class Program:
    """Steps in order, arena buffers with permissions to share, packed constants by C name (without prefix)."""

    steps: tuple[Step, ...]
    buffers: tuple[Buffer, ...]
    sharings: tuple[Sharing, ...]
    constants: Mapping[str, Array]


def lower(graph: Graph, isa: Isa, goal: str = "balanced") -> Program:
    """The program of a quantized graph for an instruction set, favouring speed, size or a balance."""
    graph = prune(graph)
    places = _places(graph)
    nodes = [n for n in graph.nodes if not _is_free(n, graph, places)]
    tensors: dict[str, Buffer] = {}  # by the value that owns the memory

    def touch(place: Place, nbytes: int, step: int) -> Place:
        """Note a use of the place; answer it under the buffer's C name."""
        if place.space != "arena":
            return place
        known = tensors.get(place.name, Buffer(f"tensor_{len(tensors)}", 0, 4, step, step))
        tensors[place.name] = replace(known, nbytes=max(known.nbytes, place.offset + nbytes), last=step)
        return replace(place, name=known.name)

    steps: list[Step] = []
    constants: dict[str, Array] = {}
    buffers: list[Buffer] = []
    for i, node in enumerate(nodes):
        function = f"{node.op.name}_{i}"
        where = replace(site(graph, replace(node, name=function), isa), goal=goal)
        kernel = choose(where)
        operands = []
        for k in kernel.operands(where):
            value = where.inputs[k]
            place = places[value.name]
            if value.data is not None:
                place = Place("constant", f"{function}_input{k}")
                constants[place.name] = value.data
            operands.append(touch(place, value.type.nbytes, i))
        output = touch(places[node.output], where.output.type.nbytes, i)
        scratch = None
        if nbytes := kernel.scratch(where):
            scratch = Place("arena", f"{function}_scratch")
            buffers.append(Buffer(scratch.name, nbytes, 4, i, i, scratch=True))
        for name, data in kernel.constants(where).items():
            constants[f"{function}_{name}"] = data
        steps.append(Step(function, where, kernel, tuple(operands), output, scratch))
    buffers += tensors.values()
    return Program(tuple(steps), tuple(buffers), _sharings(steps, {b.name: b for b in buffers}), constants)


def _places(graph: Graph) -> dict[str, Place]:
    """Where every value lives. Reshapes share memory with their input; concatenations contain theirs if they can."""
    root: dict[str, str] = {n: n for n in graph.values}
    outputs = dict.fromkeys(graph.outputs)
    taken: set[str] = set()  # roots which are the memory of a graph output already
    for node in graph.nodes:
        if not node.op.alias:
            continue
        source = root[node.inputs[0]]
        if node.output in outputs and (source in graph.inputs or source in taken or source in outputs
                                       or graph.const(source) is not None):
            continue  # an output needs memory of its own: a copy
        root[node.output] = source
        if node.output in outputs:
            taken.add(source)
    named = {root[o]: o for o in graph.outputs}
    places: dict[str, Place] = {}
    inside = _contained(graph, root, named)
    for name in graph.values:
        source = root[name]
        if source in graph.inputs:
            places[name] = Place("input", source)
        elif graph.const(source) is not None:
            places[name] = Place("constant", source)
        elif source in named:
            places[name] = Place("output", named[source])
        elif source in inside:
            offset = 0
            while source in inside:
                source, step = inside[source]
                offset += step
            space, memory = ("output", named[source]) if source in named else ("arena", source)
            places[name] = Place(space, memory, offset)
        else:
            places[name] = Place("arena", source)
    return places


def _contained(graph: Graph, root: Mapping[str, str], named: Mapping[str, str]) -> dict[str, tuple[str, int]]:
    """Memory that is a part of a concatenation's: root -> (root of the concatenation, offset in bytes)."""
    producer = graph.producer()
    readers: dict[str, int] = {}
    for node in graph.nodes:
        for name in node.inputs:
            readers[root[name]] = readers.get(root[name], 0) + (0 if node.op.alias else 1)
    inside: dict[str, tuple[str, int]] = {}
    for node in graph.nodes:
        if not isinstance(node.op, Concat) or prod(graph.values[node.output].type.shape[:node.op.axis]) != 1:
            continue
        parts = [root[i] for i in node.inputs]
        free = all(p in producer and p not in named and p not in inside and readers[p] == 1
                   and graph.values[i].quant == graph.values[node.output].quant
                   and not isinstance(producer[p].op, Concat)
                   for p, i in zip(parts, node.inputs, strict=True))
        if free and len(set(parts)) == len(parts):
            offset = 0
            for part in parts:
                inside[part] = (root[node.output], offset)
                offset += graph.values[part].type.nbytes
    return inside


def _is_free(node: Node, graph: Graph, places: Mapping[str, Place]) -> bool:
    """Whether the node needs no code, because its output already lies where its inputs do."""
    out = places[node.output]
    if node.op.alias:
        return places[node.inputs[0]] == out
    if isinstance(node.op, Concat):
        offset = out.offset
        for name in node.inputs:
            if places[name] != replace(out, offset=offset):
                return False
            offset += graph.values[name].type.nbytes
        return True
    return False


def _sharings(steps: list[Step], buffers: Mapping[str, Buffer]) -> tuple[Sharing, ...]:
    """Which outputs may overlap inputs that die in the same step."""
    found = []
    for i, step in enumerate(steps):
        out = step.output
        if out.space != "arena" or buffers[out.name].first != i:
            continue
        if buffers[out.name].nbytes != step.site.output.type.nbytes:
            continue
        allowed: dict[str, list[Overlap | None]] = {}
        for k, place in zip(step.kernel.operands(step.site), step.operands, strict=True):
            if place.space != "arena" or place.name == out.name or buffers[place.name].last != i:
                continue
            whole = buffers[place.name].nbytes == step.site.inputs[k].type.nbytes
            allowed.setdefault(place.name, []).append(step.kernel.overlap(step.site, k) if whole else None)
        for name, overlaps in allowed.items():
            known = [o for o in overlaps if o is not None]
            if len(known) == len(overlaps):
                exact = any(o.exact for o in known)
                if exact and any(o.distance > 0 for o in known):
                    continue
                found.append(Sharing(name, out.name, 0 if exact else max(o.distance for o in known), exact))
    return tuple(found)
