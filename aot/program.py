"""The Program: which C function touches which bytes, in which order."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod

from aot.interpret import site
from aot.ir import Array, Graph, Node, TensorType, prune
from aot.kernels import choose
from aot.kernels.base import Kernel
from aot.numerics import inside as holds
from aot.ops.base import Overlap, Site
from aot.ops.concat import Concat
from aot.targets import Isa

_STRIP = re.compile(r"\.strip\d+$")


@dataclass(frozen=True)
class Buffer:
    """A stretch of the arena, needed from step ``first`` to step ``last``, both included.

    ``bytes_only``: it holds int8 elements; if not, C sees no more than its address.
    """

    name: str
    nbytes: int
    align: int
    first: int
    last: int
    bytes_only: bool = True


@dataclass(frozen=True)
class Sharing:
    """Permission for buffer ``output`` to overlap buffer ``input``, whose last use is ``output``'s first step.

    A ``progressive`` one holds while both live: the input is used up from its start as the output is written.
    Either they do not overlap at all, or ``offset(input) - offset(output) >= distance``; with ``exact``, only
    ``offset(input) == offset(output)``.
    """

    input: str
    output: str
    distance: int
    exact: bool
    progressive: bool = False


@dataclass(frozen=True)
class Place:
    """Where a value lives: ``space`` is input, output, constant or arena; ``name`` the pointer or buffer there."""

    space: str
    name: str
    offset: int = 0


@dataclass(frozen=True, eq=False)
class Step:
    """One call: a C function, its node, the kernel, where operands and output are, and the working memory.

    Steps which do the same with other data call the same function; the first of them is the one it is named after.
    """

    function: str
    site: Site
    kernel: Kernel
    operands: tuple[Place, ...]
    output: Place
    scratch: Place | None

    @property
    def layer(self) -> str:
        """The name of the layer's output; strips of a layer (:mod:`aot.cut` numbers them) have it in common."""
        return _STRIP.sub("", self.site.node.output)


@dataclass(frozen=True)
class Using:
    """A value of the graph that is used up from its first row on as another one is written.

    The other one may start up to ``-distance`` bytes behind it, or must start ``distance`` bytes before it.
    """

    input: str
    output: str
    distance: int


@dataclass(frozen=True, eq=False)
class Program:
    """Steps in order, arena buffers with permissions to share; ``graph`` is what they execute."""

    graph: Graph
    steps: tuple[Step, ...]
    buffers: tuple[Buffer, ...]
    sharings: tuple[Sharing, ...]

    @cached_property
    def functions(self) -> tuple[Step, ...]:
        """The first step of each function."""
        first: dict[str, Step] = {}
        for step in self.steps:
            first.setdefault(step.function, step)
        return tuple(first.values())

    @cached_property
    def constants(self) -> Mapping[str, Array]:
        """Packed constants by C name (without prefix); of equal ones the first."""
        return {name: data for name, data in self._arrays.items() if self.symbols[name] == name}

    @cached_property
    def symbols(self) -> Mapping[str, str]:
        """``<function>_<name of the constant>`` to the C name of the array that holds it."""
        first: dict[tuple[str, bytes], str] = {}
        return {name: first.setdefault((str(a.dtype), a.tobytes()), name) for name, a in self._arrays.items()}

    @cached_property
    def _arrays(self) -> Mapping[str, Array]:
        arrays: dict[str, Array] = {}
        for step in self.functions:
            for k, place in zip(step.kernel.operands(step.site), step.operands, strict=True):
                data = step.site.inputs[k].data
                if data is not None:
                    arrays[place.name] = data
            arrays.update({f"{step.function}_{n}": d for n, d in step.kernel.constants(step.site).items()})
        return arrays


def lower(graph: Graph, isa: Isa, goal: str = "balanced", using: tuple[Using, ...] = (),
          chosen: dict[object, Kernel] | None = None) -> Program:
    """The program of a quantized graph for an instruction set, favouring speed, size or a balance.

    ``using``: values whose memory may be taken over row by row. ``chosen`` remembers kernels from one program of the
    same constants to the next.
    """
    chosen = {} if chosen is None else chosen
    graph = prune(graph)
    places = _places(graph)
    nodes = [n for n in graph.nodes if not _is_free(n, graph, places)]
    tensors: dict[str, Buffer] = {}  # by the value that owns the memory

    def touch(place: Place, type: TensorType, step: int) -> Place:
        """Note a use of the place; answer it under the buffer's C name."""
        if place.space != "arena":
            return place
        known = tensors.get(place.name, Buffer(f"tensor_{len(tensors)}", 0, 4, step, step, type.format == "s8"))
        tensors[place.name] = replace(known, nbytes=max(known.nbytes, place.offset + type.nbytes), last=step)
        return replace(place, name=known.name)

    steps: list[Step] = []
    buffers: list[Buffer] = []
    functions: dict[object, str] = {}
    for i, node in enumerate(nodes):
        where = replace(site(graph, node, isa), goal=node.goal or goal)
        same = sameness(where)
        function = functions.setdefault(same, f"{node.op.name}_{i}")
        where = replace(where, node=replace(node, name=function))
        kernel = chosen[same] = chosen.get(same) or choose(where)
        operands = []
        for k in kernel.operands(where):
            value = where.inputs[k]
            place = places[value.name]
            if value.data is not None:
                place = Place("constant", f"{function}_input{k}")
            operands.append(touch(place, value.type, i))
        output = touch(places[node.output], where.output.type, i)
        scratch = None
        if nbytes := kernel.scratch(where):
            scratch = Place("arena", f"scratch_{i}")
            buffers.append(Buffer(scratch.name, nbytes, 4, i, i, bytes_only=False))
        steps.append(Step(function, where, kernel, tuple(operands), output, scratch))
    buffers += tensors.values()
    sharings = _sharings(steps, {b.name: b for b in buffers})
    for use in using:
        before, after = tensors.get(places[use.input].name), tensors.get(places[use.output].name)
        if before is None or after is None or before.nbytes != graph.values[use.input].type.nbytes:
            continue
        # the input may have other names, under which it may be needed later
        written = max((i for i, s in enumerate(steps) if s.output == Place("arena", after.name, s.output.offset)),
                      default=-1)
        if before.last <= written and places[use.input].offset == places[use.output].offset == 0:
            behind = [n for s in steps if s.output.name == after.name for n in _behind(s, before.name)]
            distance = max([use.distance, *behind])
            sharings.append(Sharing(before.name, after.name, distance, exact=False, progressive=True))
    return Program(graph, tuple(steps), tuple(buffers), tuple(sharings))


def _behind(step: Step, name: str) -> Iterator[int]:
    """How many bytes behind the output a residual in that buffer must start, if there is one, so that the output can
    take over its memory while it is read."""
    for k, place in zip(step.kernel.operands(step.site), step.operands, strict=True):
        if step.site.residual is step.site.inputs[k] and place.name == name:
            yield step.kernel.pixels_at_once(step.site) * step.site.output.type.shape[-1]


def sameness(where: Site) -> object:
    """What two uses of an operator have in common if one C function can stand for both."""
    inputs = ((v.type, v.name if v.data is not None else None) for v in where.inputs)
    return (where.goal, where.node.kernel, where.node.op, *inputs, where.output.type)


def _places(graph: Graph) -> dict[str, Place]:
    """Where every value lives. Views are parts of their input; concatenations contain theirs if they can."""
    root = {n: Place("value", n) for n in graph.values}  # the value that owns the memory, and where in it
    outputs = dict.fromkeys(graph.outputs)
    taken: set[str] = set()  # roots which are the memory of a graph output already
    for node in graph.nodes:
        offset = _view(node, graph)
        if offset is None:
            continue
        source = root[node.inputs[0]]
        part = graph.values[source.name].type.nbytes != graph.values[node.output].type.nbytes
        if node.output in outputs and (source.name in graph.inputs or source.name in taken or source.name in outputs
                                       or graph.const(source.name) is not None or part):
            continue  # an output needs memory of its own: a copy
        root[node.output] = replace(source, offset=source.offset + offset)
        if node.output in outputs:
            taken.add(source.name)
    named = {root[o].name: o for o in graph.outputs}
    places: dict[str, Place] = {}
    inside = _contained(graph, root, named)
    for name in graph.values:
        owner, offset = root[name].name, root[name].offset
        while owner in inside:
            owner, step = inside[owner]
            offset += step
        if owner in graph.inputs:
            places[name] = Place("input", owner, offset)
        elif graph.const(owner) is not None:
            places[name] = Place("constant", owner, offset)
        elif owner in named:
            places[name] = Place("output", named[owner], offset)
        else:
            places[name] = Place("arena", owner, offset)
    return places


def _view(node: Node, graph: Graph) -> int | None:
    """Where the node's output starts in its first input, if it needs no code."""
    return node.op.view(tuple(graph.values[i].type for i in node.inputs))


def _contained(graph: Graph, root: Mapping[str, Place], named: Mapping[str, str]) -> dict[str, tuple[str, int]]:
    """Memory that is a part of a concatenation's: root -> (root of the concatenation, offset in bytes)."""
    producer = graph.producer()
    readers: dict[str, int] = {}
    for node in graph.nodes:
        for name in node.inputs:
            owner = root[name].name
            readers[owner] = readers.get(owner, 0) + (0 if root[node.output].name == owner else 1)
    inside: dict[str, tuple[str, int]] = {}
    for node in graph.nodes:
        if not isinstance(node.op, Concat) or prod(graph.values[node.output].type.shape[:node.op.axis]) != 1:
            continue
        parts = [root[i].name for i in node.inputs]
        free = all(root[i].offset == 0 and graph.values[p].type.nbytes == graph.values[i].type.nbytes
                   and p in producer and p not in named and p not in inside and readers[p] == 1
                   and graph.values[i].type.quant == graph.values[node.output].type.quant
                   and holds(graph.values[i].type, graph.values[node.output].type)
                   and not isinstance(producer[p].op, Concat)
                   for p, i in zip(parts, node.inputs, strict=True))
        if free and len(set(parts)) == len(parts):
            offset = 0
            for part in parts:
                inside[part] = (root[node.output].name, offset)
                offset += graph.values[part].type.nbytes
    return inside


def _is_free(node: Node, graph: Graph, places: Mapping[str, Place]) -> bool:
    """Whether the node needs no code, because its output already lies where its inputs do."""
    out = places[node.output]
    start = _view(node, graph)
    if start is not None:
        there = places[node.inputs[0]]
        return replace(there, offset=there.offset + start) == out
    if isinstance(node.op, Concat):
        offset = out.offset
        for name in node.inputs:
            if places[name] != replace(out, offset=offset):
                return False
            offset += graph.values[name].type.nbytes
        return True
    return False


def _sharings(steps: list[Step], buffers: Mapping[str, Buffer]) -> list[Sharing]:
    """Which outputs may overlap inputs that die in the same step."""
    found: list[Sharing] = []
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
    return found
