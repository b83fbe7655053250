"""Which number formats a network computes in, layer by layer. Plain data, that can be kept as TOML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from aot.errors import AotError, Problem
from aot.ir import Graph

#: Formats of activations -> those of weights that go with them.
FITTING = {"s8": ("s8", "s4", "s16"), "s16": ("s16", "s8", "s4"), "f32": ("f32",)}
#: What a layer can favour, from fast to small.
GOALS = ("speed", "balanced", "size")


@dataclass(frozen=True)
class Formats:
    """What a layer's output and its weights are: ``s8``, ``s16`` or ``f32``; weights also ``s4``, two a byte."""

    activations: str = "s8"
    weights: str = "s8"

    def __post_init__(self) -> None:
        if self.activations not in FITTING:
            raise AotError(f"activations of {self.activations!r} are not supported", f"choose {', '.join(FITTING)}")
        if self.weights not in FITTING[self.activations]:
            known = "; ".join(f"{a} with weights of {' or '.join(w)}" for a, w in FITTING.items())
            raise AotError(f"activations of {self.activations!r} with weights of {self.weights!r} are not supported",
                           f"choose {known}")


@dataclass(frozen=True)
class Recipe:
    """The formats of every layer: those in ``layers`` by the name of the node's output, all others the ``default``.

    A layer computes in the format of its output; where its inputs have another one, they are converted. Inputs of the
    model may be in ``layers`` too: there ``activations`` is the format in which they are given. ``goals`` says what
    layers favour, by the same names: speed, balanced or size, where it is not what the whole network does. ``kernels``
    names kernels, which are taken where they fit.
    """

    default: Formats = Formats()
    layers: Mapping[str, Formats] = field(default_factory=dict)
    goals: Mapping[str, str] = field(default_factory=dict)
    kernels: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, goal in self.goals.items():
            if goal not in GOALS:
                raise AotError(f"layer {name!r} has the goal {goal!r}", f"choose from {', '.join(GOALS)}")

    def of(self, name: str) -> Formats:
        """The formats of the layer with that output."""
        return self.layers.get(name, self.default)

    @property
    def key(self) -> object:
        """The same for recipes that say the same."""
        return self.default, tuple(sorted(self.layers.items(), key=str)), *(
            tuple(sorted(words.items())) for words in (self.goals, self.kernels))

    def as_data(self) -> dict[str, Any]:
        """Tables of strings, as :func:`from_data` takes them."""
        def table(f: Formats) -> dict[str, str]:
            return {"activations": f.activations, "weights": f.weights}
        layers = {n: table(f) for n, f in self.layers.items()}
        for key, words in (("goal", self.goals), ("kernel", self.kernels)):
            for name, word in words.items():
                layers[name] = {**layers.get(name, {}), key: word}
        return {"default": table(self.default), "layers": layers}


def from_data(data: Mapping[str, Any], where: str = "a recipe") -> Recipe:
    """The recipe in tables of strings; an AotError if they say something else.

    What a layer leaves out, the default says. ``where`` is what messages call the recipe.
    """
    layers = data.get("layers", {})
    unknown = sorted(set(data) - {"default", "layers"})
    if unknown or not isinstance(layers, Mapping):
        raise AotError(f"{where} has no {', '.join(map(repr, unknown)) or 'such layers'}",
                       "it takes a table default, and in layers a table for each layer")
    problems: list[Problem] = []

    def formats(table: object, whose: str, keys: tuple[str, ...], otherwise: Formats) -> Formats:
        if not isinstance(table, Mapping):
            problems.append(Problem(f"{where}: {whose} is {table!r}", f"it takes a table of {', '.join(keys)}"))
            return otherwise
        if wrong := sorted(set(table) - set(keys)):
            problems.append(Problem(f"{where}: {whose} has no {', '.join(map(repr, wrong))}",
                                    f"it takes {', '.join(keys)}"))
        if words := [k for k in keys if not isinstance(table.get(k, ""), str)]:
            problems.append(Problem(f"{where}: {whose} has {words[0]} = {table[words[0]]!r}", "it takes a word"))
            return otherwise
        if "goal" in keys and table.get("goal", GOALS[0]) not in GOALS:
            problems.append(Problem(f"{where}: {whose} has the goal {table['goal']!r}",
                                    f"choose from {', '.join(GOALS)}"))
        activations = table.get("activations", otherwise.activations)
        fitting = FITTING.get(activations, ("",))
        weights = table.get("weights", otherwise.weights if otherwise.weights in fitting else fitting[0])
        try:
            return Formats(activations, weights)
        except AotError as error:
            problems.extend(Problem(f"{where}: {whose}: {p.fact}", p.hint) for p in error.problems)
            return otherwise

    default = formats(data.get("default", {}), "the default", ("activations", "weights"), Formats())
    keys = ("activations", "weights", "goal", "kernel")
    found = {str(n): formats(t, f"layer {n!r}", keys, default) for n, t in layers.items()}
    if problems:
        raise AotError(problems=tuple(problems))
    goals, kernels = ({str(n): str(t[key]) for n, t in layers.items() if key in t} for key in ("goal", "kernel"))
    return Recipe(default, {n: f for n, f in found.items() if set(layers[n]) - {"goal", "kernel"}}, goals, kernels)


#: ``--precision`` -> the recipe of a network with the same formats everywhere.
PRECISIONS = {
    "int8": Recipe(),
    "int16": Recipe(Formats("s16", "s16")),
    "int16x8": Recipe(Formats("s16", "s8")),
    "int4": Recipe(Formats("s8", "s4")),
    "float32": Recipe(Formats("f32", "f32")),
}

#: Layers with at most this share of a network's weights keep 8 bits where others get 4.
FEW = 0.01


def for_graph(recipe: Recipe, graph: Graph) -> Recipe:
    """The recipe of a precision, for a network. With 4-bit weights, layers that have few keep 8 bits.

    Those are depthwise layers, whose kernels read bytes anyway, and others with a hundredth of all weights or less,
    often the first one and the last one, where rounding harms most.
    """
    if recipe.default.weights != "s4":
        return recipe
    sizes = {n.output: graph.values[n.inputs[1]].type.size for n in graph.nodes if n.op.linear}
    few = {n.output for n in graph.nodes if n.op.linear
           and (n.op.channelwise or sizes[n.output] <= FEW * sum(sizes.values()))}
    eight = replace(recipe.default, weights="s8")
    return replace(recipe, layers={**dict.fromkeys(sorted(few), eight), **recipe.layers})
