"""What layers can be: formats and goals, with their instructions and bytes by estimate; and what a choice costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from aot import costs
from aot.errors import AotError
from aot.flash import safe
from aot.interpret import site
from aot.ir import Node, TensorType, Value
from aot.kernels import candidates, choose, code_size, judge
from aot.numerics import LIMITS
from aot.ops.base import Site, affine
from aot.ops.quantize import Quantize
from aot.prepare import Prepared
from aot.recipe import GOALS, Formats, Recipe
from aot.sums import sums
from aot.targets import Isa

#: What is tried for each layer, and 8 bits first.
FORMATS = (Formats(), Formats("s8", "s4"), Formats("s16", "s8"), Formats("s16", "s16"), Formats("f32", "f32"))


@dataclass(frozen=True)
class Option:
    """A layer in formats, for a goal: ``instructions``, bytes of ``constants`` and of its ``own`` code.

    ``parts`` is code which it shares with others: names, and bytes of each. ``named``: the goal would choose another
    kernel.
    """

    formats: Formats
    goal: str
    kernel: str
    instructions: float
    constants: int
    own: int
    parts: tuple[tuple[str, int], ...]
    named: bool = False

    def with_more(self, other: Option) -> Option:
        """Together with another layer that it needs in these formats."""
        return replace(self, instructions=self.instructions + other.instructions,
                       constants=self.constants + other.constants, own=self.own + other.own,
                       parts=(*self.parts, *other.parts))


@dataclass(frozen=True)
class Cost:
    """Estimated instructions of an inference and bytes of flash, code as large as it may be."""

    instructions: float
    flash: int


@dataclass(frozen=True, eq=False)
class Space:
    """All options of all layers, in order of execution; the first of each is 8 bits as the whole network's goal has it.

    ``inputs`` of each layer are values computed at run time; ``converters`` price a change of format.
    """

    layers: tuple[str, ...]
    options: tuple[tuple[Option, ...], ...]
    inputs: tuple[tuple[str, ...], ...]
    converters: Mapping[tuple[str, str, str], Option]
    given: Mapping[str, str]
    calls: int
    isa: Isa
    goal: str

    def recipe(self, picks: tuple[int, ...]) -> Recipe:
        """The choice as a recipe, every layer by its name."""
        chosen = [(n, o[k]) for n, o, k in zip(self.layers, self.options, picks, strict=True)]
        return Recipe(Formats(), {n: o.formats for n, o in chosen}, {n: o.goal for n, o in chosen},
                      {n: o.kernel for n, o in chosen if o.named})


class Tally:
    """The cost of a choice, kept up to date as single layers change."""

    def __init__(self, space: Space, picks: tuple[int, ...]) -> None:
        self.space, self.picks = space, list(picks)
        self._readers: dict[str, list[int]] = {}
        for i, names in enumerate(space.inputs):
            for name in names:
                self._readers.setdefault(name, []).append(i)
        self._index = {name: i for i, name in enumerate(space.layers)}
        self._parts: Counter[tuple[str, int]] = Counter()
        self._instructions = self._constants = self._code = 0.0
        for i, k in enumerate(picks):
            self._add(space.options[i][k], 1)
        for name in self._values():
            self._convert(name, 1)

    @property
    def cost(self) -> Cost:
        """Of the present choice."""
        start, call = costs.run_code(self.space.isa.name, self.space.goal)
        code = self._code + start + call * self.space.calls
        return Cost(self._instructions, round(self._constants + safe(round(code), self.space.goal)))

    def set(self, layer: int, option: int) -> None:
        """Change a layer."""
        around = dict.fromkeys((self.space.layers[layer], *self.space.inputs[layer]))
        for name in around:
            self._convert(name, -1)
        self._add(self.space.options[layer][self.picks[layer]], -1)
        self.picks[layer] = option
        self._add(self.space.options[layer][option], 1)
        for name in around:
            self._convert(name, 1)

    def _values(self) -> Iterator[str]:
        yield from self.space.given
        yield from self.space.layers

    def _format(self, name: str) -> str:
        if name in self.space.given:
            return self.space.given[name]
        i = self._index[name]
        return self.space.options[i][self.picks[i]].formats.activations

    def _convert(self, name: str, sign: int) -> None:
        own = self._format(name)
        wanted = {self.space.options[i][self.picks[i]].formats.activations for i in self._readers.get(name, ())}
        for format in sorted(wanted - {own}):
            self._add(self.space.converters[name, own, format], sign)

    def _add(self, option: Option, sign: int) -> None:
        self._instructions += sign * option.instructions
        self._constants += sign * option.constants
        self._code += sign * option.own
        for part in option.parts:
            before = self._parts[part]
            self._parts[part] += sign
            if not (before and self._parts[part]):
                self._code += sign * part[1]


def space(prepared: Prepared, isa: Isa, goal: str) -> Space:
    """What a network's layers can be on an instruction set; the whole favours a goal."""
    graph, inner = prepared.layers, sums(prepared.graph)
    found: dict[str, dict[object, Option]] = {n.output: {} for n in graph.nodes}
    wide: set[Formats] = set()
    for formats in FORMATS:
        try:
            made = prepared.quantize(Recipe(formats), learn=False)
        except AotError:
            if formats == Formats():
                raise
            continue  # some layer cannot compute in it
        wide.add(formats)
        nodes = made.producer()
        for node in graph.nodes:
            if not node.op.linear and formats.weights in ("s4", "s16"):
                continue  # without weights, it is the same as with those of 8 bits
            where, rest = site(made, nodes[node.output], isa), None
            if node.output in inner and inner[node.output].products in nodes:  # the sum is a layer of its own here
                rest = _option(where, formats, goal)
                where = site(made, nodes[inner[node.output].products], isa)
            for option in _options(where, formats, goal):
                option = option if rest is None else option.with_more(rest)
                if formats.weights != "s4" or option.constants < min(o.constants for o in found[node.output].values()):
                    found[node.output].setdefault(
                        (formats, option.kernel, option.constants, round(option.instructions)), option)
    run_time = {*graph.inputs, *found}
    inputs = tuple(tuple(dict.fromkeys(i for i in n.inputs if i in run_time)) for n in graph.nodes)
    formats_used = sorted({f.activations for f in wide})
    converters = {(name, a, b): _converter(prepared, name, a, b, isa, goal) for name in run_time
                  for a in formats_used for b in formats_used if a != b}
    free = sum(n.op.view(tuple(graph.values[i].type for i in n.inputs)) is not None for n in graph.nodes)
    return Space(tuple(n.output for n in graph.nodes), tuple(tuple(o.values()) for o in found.values()), inputs,
                 converters, dict.fromkeys(graph.inputs, "s8"), len(graph.nodes) - free, isa, goal)


def _options(where: Site, formats: Formats, whole: str) -> Iterator[Option]:
    """What the goals choose, that of the whole network first; and other kernels that fit."""
    chosen = [_option(replace(where, goal=goal), formats, whole) for goal in (whole, *(g for g in GOALS if g != whole))]
    yield from chosen
    for other in candidates(replace(where, goal=whole)):
        if other.kernel.name not in {o.kernel for o in chosen}:
            node = replace(where.node, kernel=other.kernel.name)
            yield replace(_option(replace(where, node=node, goal=whole), formats, whole), named=True)


def _option(where: Site, formats: Formats, whole: str) -> Option:
    """For the site's goal, in a network that is compiled for another one."""
    types = tuple(v.type for v in where.inputs)
    if where.node.op.view(types) is not None:  # needs no code
        return Option(formats, where.goal, where.node.op.name, 0.0, 0, 0, ())
    made = judge(choose(where), where)
    if made.kernel is where.node.op:  # nothing but C, and as fast as the compiler makes it
        made = judge(made.kernel, replace(where, goal=whole))
    size = code_size(made.kernel, where, whole)
    return Option(formats, where.goal, made.kernel.name, made.instructions, made.constants, size.own,
                  tuple(size.shared.items()))


def _converter(prepared: Prepared, name: str, before: str, after: str, isa: Isa, goal: str) -> Option:
    """A change of format of a value."""
    seen = prepared.narrow.ranges[name]

    def kind(format: str) -> TensorType:
        quant = affine(seen.low, seen.high, format) if format in LIMITS else None
        return TensorType(format, prepared.graph.values[name].type.shape, quant)
    node = Node("converted", Quantize(after), (name,), "converted")
    where = Site(node, (Value(name, kind(before)),), Value("converted", kind(after)), isa, goal)
    return _option(where, Formats(), goal)
