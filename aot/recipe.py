"""Which number formats a network computes in, layer by layer. Plain data, that can be kept as TOML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aot.errors import AotError

#: Formats of activations -> those of weights that go with them.
FITTING = {"s8": ("s8", "s4", "s16"), "s16": ("s16", "s8", "s4"), "f32": ("f32",)}


@dataclass(frozen=True)
class Formats:
    """What a layer's output and its weights are: ``s8``, ``s16`` or ``f32``; weights also ``s4``, two a byte."""

    activations: str = "s8"
    weights: str = "s8"

    def __post_init__(self) -> None:
        if self.weights not in FITTING.get(self.activations, ()):
            known = "; ".join(f"{a} with weights of {' or '.join(w)}" for a, w in FITTING.items())
            raise AotError(f"activations of {self.activations!r} with weights of {self.weights!r} are not supported",
                           f"choose {known}")


@dataclass(frozen=True)
class Recipe:
    """The formats of every layer: those in ``layers`` by the name of the node's output, all others the ``default``.

    A layer computes in the format of its output; where its inputs have another one, they are converted. Inputs of the
    model may be in ``layers`` too: there ``activations`` is the format in which they are given.
    """

    default: Formats = Formats()
    layers: Mapping[str, Formats] = field(default_factory=dict)

    def of(self, name: str) -> Formats:
        """The formats of the layer with that output."""
        return self.layers.get(name, self.default)

    def as_data(self) -> dict[str, Any]:
        """Tables of strings, as :func:`from_data` takes them."""
        def table(f: Formats) -> dict[str, str]:
            return {"activations": f.activations, "weights": f.weights}
        return {"default": table(self.default), "layers": {n: table(f) for n, f in self.layers.items()}}


def from_data(data: Mapping[str, Any]) -> Recipe:
    """The recipe in tables of strings; an AotError if they say something else."""
    def formats(table: object, where: str) -> Formats:
        if not isinstance(table, Mapping) or set(table) - {"activations", "weights"}:
            raise AotError(f"{where} of a recipe is {table!r}", "it takes activations and weights")
        return Formats(**{k: str(v) for k, v in table.items()})
    if set(data) - {"default", "layers"} or not isinstance(data.get("layers", {}), Mapping):
        raise AotError(f"a recipe has no {', '.join(sorted(set(data) - {'default', 'layers'})) or 'such layers'}",
                       "it takes a table default, and in layers a table for each layer")
    return Recipe(formats(data.get("default", {}), "the default"),
                  {str(n): formats(t, f"layer {n!r}") for n, t in data.get("layers", {}).items()})


#: ``--precision`` -> the recipe of a network with the same formats everywhere.
PRECISIONS = {
    "int8": Recipe(),
    "int16": Recipe(Formats("s16", "s16")),
    "int16x8": Recipe(Formats("s16", "s8")),
    "int4": Recipe(Formats("s8", "s4")),
    "float32": Recipe(Formats("f32", "f32")),
}
