"""What a model that is quantized already gives: formats and scales of its layers, before anything is calibrated.

A rounding (:class:`~aot.ops.quantize.Quantize` with a grid) is taken over by the layer that computes what it rounds:
the layer's output then has that scale. Where several roundings read one value, or a layer needs more room than 8 bits,
the value is kept in 16 bits, in steps so much finer that rounding twice is rounding once but for ties.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from aot.between import FINER, fine, reach, rounded_behind, term
from aot.ir import Graph, Node, TensorType, Value
from aot.names import comment
from aot.numerics import span
from aot.ops.add import Add
from aot.ops.pad import Pad
from aot.ops.quantize import Grid, Quantize
from aot.passes.grids import grids, moves
from aot.recipe import Formats, Recipe
from aot.repeat import repeated

#: The format of a value which nothing says how to quantize.
FLOAT = "f32"
#: What the name of a value ends in that has more bits than the model gives it.
WIDE = ".wide"
#: And of one in float32 between two roundings.
BETWEEN = ".float"


@dataclass(frozen=True)
class Kept:
    """A layer that computes in float32, where it came from, and why."""

    name: str
    op: str
    origin: str
    why: str


@dataclass(frozen=True, eq=False)
class Given:
    """A graph whose every layer has one format: conversions between them are nodes, ``types`` are what is given.

    ``recipe`` has the formats of all layers, ``kept`` the layers of the model that stay float32; ``sources`` the names
    which values had that have others here.
    """

    graph: Graph
    types: Mapping[str, TensorType]
    recipe: Recipe
    kept: tuple[Kept, ...]
    sources: Mapping[str, str]

    def source(self, output: str) -> str:
        """The name in the model's graph of what a node of this one computes."""
        return self.sources.get(output, output)


def has_grids(graph: Graph) -> bool:
    """Whether the model says how to quantize activations."""
    return any(isinstance(n.op, Quantize) and n.op.grid is not None for n in graph.nodes)


def has_steps(graph: Graph) -> bool:
    """Whether the model gives integers of weights."""
    return any(v.steps is not None for v in graph.values.values())


def prepare(graph: Graph, default: Formats, calibrated: bool, failed: Mapping[str, str] | None = None) -> Given:
    """Find the format of every layer.

    ``calibrated``: what has no given quantization can be calibrated, in the ``default`` formats; else it stays float32.
    Where the model gives nothing but 16 bits, the rest has 16 too.
    ``failed``: layers, by the name of their output, that cannot be computed in integers, and why.
    """
    if {n.op.grid.format for n in graph.nodes if isinstance(n.op, Quantize) and n.op.grid is not None} == {"s16"}:
        default = Formats("s16")
    work = _Work(graph, default, calibrated, failed or {}, _demands(graph))
    for name in graph.inputs:
        grid = work.wanted.get(name)
        if grid is not None and grid.format == "s16" and len(work.demands[name]) > 1:
            grid = None  # what is rounded to several grids is taken in as it is
        if grid is not None:
            work.types[name] = grid.type(graph.values[name].type.shape)
        elif not calibrated or len(work.demands.get(name, ())) > 1:
            work.why[name] = f"nothing in the model quantizes the input {name!r}, and there is no calibration data" \
                if len(work.demands.get(name, ())) < 2 else f"the input {name!r} is quantized in several ways"
        if name in work.why:
            work.layers[name] = Formats(FLOAT, FLOAT)
    for node in graph.nodes:
        work.take(node)
    result, types, layers = work.finish()
    result = repeated(result, types, layers)
    return Given(result, types, Recipe(default, layers), tuple(work.kept),
                 {new: old.removesuffix(WIDE) for old, new in work.final.items()}
                 | {n.output: n.output.removesuffix(WIDE) for n in result.nodes if n.output.endswith(WIDE)})


@dataclass
class _Work:
    """The graph as it is made, node by node."""

    graph: Graph
    default: Formats
    calibrated: bool
    failed: Mapping[str, str]
    demands: Mapping[str, frozenset[Grid | None]]
    nodes: list[Node] = field(default_factory=list)
    values: dict[str, Value] = field(default_factory=dict)
    types: dict[str, TensorType] = field(default_factory=dict)
    layers: dict[str, Formats] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)  # roundings that vanished, and what took them over
    final: dict[str, str] = field(default_factory=dict)  # values that took some over, and their names in the end
    why: dict[str, str] = field(default_factory=dict)  # values in float32, and why
    kept: list[Kept] = field(default_factory=list)

    def __post_init__(self) -> None:
        known = grids(self.graph)
        self.behind = rounded_behind(self.graph)
        lies = {n.output: g for n in self.graph.nodes if not isinstance(n.op, Quantize)
                and (g := known.get(n.output)) is not None}
        self.wanted = lies | {n: g for n, each in self.demands.items() if (g := _one(each)) is not None}

    def take(self, node: Node) -> None:
        """Bring a node into the new graph."""
        inputs = tuple(self.names.get(i, i) for i in node.inputs)
        if isinstance(node.op, Quantize) and node.op.grid is not None:
            self._round(node, node.op.grid, inputs[0])
            return
        run_time = [i for i in inputs if self.graph.const(i) is None]
        if node.op.same_quant:
            self._move(node, inputs)
            return
        grid = self.wanted.get(node.output) or self._between(node, inputs)
        reason = self._reason(node, run_time, grid)
        if reason:
            self._keep(node, inputs, reason)
            return
        format = self._format(node, run_time, grid)
        weights = self.default.weights if format == "s8" else "s8"
        if node.op.linear and self._exact(node, run_time, grid) and self.graph.values[node.inputs[1]].steps is None:
            weights = "s16"  # the model has them in float
        if not node.op.linear:
            weights = "s8"
        if isinstance(node.op, Add) and self._exact(node, run_time, grid):
            node = replace(node, op=replace(node.op, fine=True))
        shape = self.graph.values[node.output].type.shape
        if grid is None:
            self.layers[node.output] = Formats(format, weights)
            self._add(node, inputs, node.output)
        elif grid.format == format and node.op.takes(grid.quant, format):
            self.types[node.output] = grid.type(shape)
            self.layers[node.output] = Formats(format, weights)
            self._add(node, inputs, node.output)
        else:
            wide = node.output + WIDE
            self.layers[wide] = Formats(format, weights)
            if node.op.takes(_widened(grid).quant, format):
                self.types[wide] = _widened(grid).type(shape)
            self._add(node, inputs, wide)
            self._convert(node, wide, node.output, grid)

    def _keep(self, node: Node, inputs: tuple[str, ...], reason: str) -> None:
        """Leave a layer in float32."""
        self.why[node.output] = reason
        self.layers[node.output] = Formats(FLOAT, FLOAT)
        self.kept.append(Kept(node.output, node.op.name, comment(" + ".join(node.origin), 70), reason))
        self._add(node, inputs, node.output)

    def _round(self, node: Node, grid: Grid, x: str) -> None:
        """A rounding: it vanishes where its input is rounded like that already."""
        known = self.types.get(x)
        if known is None or known != grid.type(known.shape):
            self._convert(node, x, node.output, grid)
            return
        fixed = x in self.graph.inputs or x in self.graph.outputs or self.final.get(x) in self.graph.outputs
        if node.output in self.graph.outputs and fixed:
            self._convert(node, x, node.output, grid)  # an output needs bytes of its own
            return
        self.names[node.output] = x
        if not fixed:
            self.final[x] = node.output

    def finish(self) -> tuple[Graph, dict[str, TensorType], dict[str, Formats]]:
        """The graph, types and formats. Values have the names of the roundings that they took over.

        Those are the names under which the float graph has the rounded numbers.
        """
        def name(n: str) -> str:
            return self.final.get(n, n)
        nodes = tuple(replace(n, inputs=tuple(map(name, n.inputs)), output=name(n.output)) for n in self.nodes)
        values = {n: v for n, v in self.graph.values.items() if v.data is not None or n in self.graph.inputs}
        values |= {name(n): replace(v, name=name(n)) for n, v in self.values.items()}
        return (replace(self.graph, nodes=nodes, values=values), {name(n): t for n, t in self.types.items()},
                {name(n): f for n, f in self.layers.items()})

    def _convert(self, node: Node, x: str, output: str, grid: Grid) -> None:
        """A change of scale or format as a node of its own; by way of float32 where integers cannot do it."""
        shape = self.graph.values[node.output].type.shape
        if output in self.failed:
            between = output + BETWEEN
            self.types[between], self.layers[between] = TensorType(FLOAT, shape), Formats(FLOAT, FLOAT)
            self.kept.append(Kept(output, "quantize", comment(" + ".join(node.origin), 70), self.failed[output]))
            self._add(replace(node, op=Quantize(FLOAT)), (x,), between)
            x = between
        self.types[output] = grid.type(shape)
        self.layers[output] = Formats(grid.format, "s8")
        self._add(replace(node, op=Quantize(grid.format, grid)), (x,), output)

    def _move(self, node: Node, inputs: tuple[str, ...]) -> None:
        """Data movement: the output is like the input."""
        x = inputs[0]
        known = self.types.get(x)
        if known is not None and isinstance(node.op, Pad) and not grid_of(known).holds(node.op.value):
            self._keep(node, inputs, f"it pads by {node.op.value:g}, which lies on no step of its input's scale")
            return
        if known is not None:
            self.types[node.output] = replace(known, shape=self.graph.values[node.output].type.shape)
            self.layers[node.output] = Formats(known.format, "s8")
        elif x in self.layers:
            self.layers[node.output] = self.layers[x]
        if x in self.why:
            self.why[node.output] = self.why[x]
        self._add(node, inputs, node.output)

    def _add(self, node: Node, inputs: tuple[str, ...], output: str) -> None:
        kind = TensorType("f32", self.graph.values[node.output].type.shape)
        self.values[output] = Value(output, kind)
        self.nodes.append(replace(node, inputs=inputs, output=output, name=f"{node.op.name}_{len(self.nodes)}"))

    def _between(self, node: Node, inputs: tuple[str, ...]) -> Grid | None:
        """A grid for a value that only roundings follow, if 16 bits are enough."""
        step = self.behind.get(node.output)
        ends = None if step is None else reach(self.graph, node, inputs, self.types)
        if step is None or ends is None:
            return None
        found = fine(*ends)
        return found if FINER * found.scale <= step else None

    def _reason(self, node: Node, run_time: list[str], grid: Grid | None) -> str:
        """Why a layer has to compute in float32; "" if it has not."""
        if node.output in self.failed:
            return self.failed[node.output]
        for name in run_time:
            if name in self.why:
                return f"its input is float32: {self.why[name]}" if not self.why[name].startswith("its input") \
                    else self.why[name]
        if self.calibrated or node.op.fixed_quant or grid is not None:
            return ""
        if node.output in self.behind:
            return "16 bits are too few for what it can be, as finely as it is rounded behind it"
        return "no QuantizeLinear follows that gives its output a scale, and there is no calibration data"

    def _exact(self, node: Node, run_time: list[str], grid: Grid | None) -> bool:
        """Whether the model gives the quantization of all that the layer reads and of what it computes."""
        return grid is not None and all(i in self.types for i in run_time)

    def _format(self, node: Node, run_time: list[str], grid: Grid | None) -> str:
        """The integer format in which a layer computes: 16 bits if anything around it has them, or 8 are too few."""
        found = {self.types[i].format if i in self.types else self.layers.get(i, self.default).activations
                 for i in run_time}
        if grid is None and node.output in self.behind and node.op.fixed_quant:
            found.add("s16")
        elif grid is None:
            found |= set() if node.op.fixed_quant and found else {self.default.activations}
        else:
            found.add(grid.format)
            if not node.op.takes(grid.quant, grid.format):
                found.add("s16")
            if not node.op.linear and self._exact(node, run_time, grid) and any(
                    self._coarse(i) for i in node.inputs if self.graph.const(i) is not None):
                found.add("s16")
        return "s16" if "s16" in found else "s8"

    def _coarse(self, name: str) -> bool:
        """Whether a constant would lose something in 8 bits: several numbers whose integers are not given."""
        value = self.graph.values[name]
        return value.steps is None and value.data is not None and np.unique(value.data[value.data != 0]).size > 1


def _one(demands: frozenset[Grid | None]) -> Grid | None:
    """The one grid that all readers agree with: theirs, or one of 16 bits which is finer than each."""
    each = [g for g in demands if g is not None]
    if len(each) < len(demands) or not each:
        return None
    if len(each) == 1:
        return each[0]
    ends = [e for g in each for e in g.ends]
    return fine(min(ends), max(ends))


def grid_of(type: TensorType) -> Grid:
    """The grid on which values of an integer type lie."""
    assert type.quant is not None
    return Grid(type.format, type.quant.scale[0], type.quant.zero, *span(type))


def _widened(grid: Grid) -> Grid:
    """The same numbers in 16 bits."""
    return Grid("s16", grid.scale, 0, grid.low - grid.zero, grid.high - grid.zero)


def _demands(graph: Graph) -> dict[str, frozenset[Grid | None]]:
    """The grids to which readers round each value; None among them for readers that want it as it is."""
    found: dict[str, set[Grid | None]] = {n: {None} for n in graph.outputs}
    lies, producer = grids(graph), graph.producer()

    def settled(name: str) -> bool:
        """Whether the value is rounded where it is computed, so that readers cannot choose."""
        node = producer.get(name)
        while node is not None and node.op.same_quant:
            node = producer.get(node.inputs[0])
        return node is not None and isinstance(node.op, Quantize)

    for node in reversed(graph.nodes):
        if isinstance(node.op, Quantize) and node.op.grid is not None:
            found.setdefault(node.inputs[0], set()).add(node.op.grid)
            continue
        own = found.get(node.output, {None})
        grid = _one(frozenset(own))
        for i, name in enumerate(node.inputs):
            if graph.const(name) is not None:
                continue
            if node.op.same_quant and all(g is not None and moves(node.op, g) for g in own):
                found.setdefault(name, set()).update(own)
            else:
                found.setdefault(name, set()).add(term(grid, lies.get(node.inputs[1 - i]))
                                                  if isinstance(node.op, Add) else None)
    return {n: frozenset(g) for n, g in found.items() if not settled(n)}

