"""What a recipe says of single layers: refused if there is no such layer or kernel, told if a kernel was not taken."""

from __future__ import annotations

from collections.abc import Iterator

from aot.errors import AotError, Problem
from aot.ir import Graph
from aot.kernels import KERNELS
from aot.ops import OPS
from aot.program import Program
from aot.recipe import Recipe
from aot.sums import sums


def check_layers(recipe: Recipe, graph: Graph, where: str) -> None:
    """Refuse names of layers and kernels that there are not, and kernels of other operators; all of them at once."""
    nodes, computes = graph.producer(), {**{k.name: k.op for k in KERNELS}, **{op.name: op.name for op in OPS}}
    joined = {s.total: s.products for s in sums(graph).values()}
    named = sorted({*recipe.layers, *recipe.goals, *recipe.kernels} - set(nodes) - set(graph.inputs))
    problems = [Problem(f"{where}: the network has no layer {name!r}",
                        "layers go by the names of their outputs, as `aot verify` lists them") for name in named]
    for layer, kernel in recipe.kernels.items():
        hint = "the report of a compilation names those of all layers; without one, the layer's goal decides"
        if kernel not in computes:
            problems.append(Problem(f"{where}: there is no kernel {kernel!r}, which layer {layer!r} shall have", hint))
        elif layer in nodes and computes[kernel] not in {nodes[n].op.name for n in (layer, joined.get(layer, layer))}:
            problems.append(Problem(f"{where}: layer {layer!r} is {nodes[layer].op.name}, and {kernel!r} computes "
                                    f"{computes[kernel]}", hint))
    if problems:
        raise AotError(problems=tuple(problems))


def passed_over(recipe: Recipe, program: Program, graph: Graph) -> Iterator[Problem]:
    """Kernels of the recipe which their layers do not have, because they do not fit there."""
    taken: dict[str, set[str]] = {}
    for step in program.steps:
        taken.setdefault(step.layer, set()).add(step.kernel.name)
    joined = {s.products: s.total for s in sums(graph).values()}
    for layer, kernel in recipe.kernels.items():
        found = taken.get(layer) or taken.get(joined.get(layer, layer), set())
        if kernel not in found:
            yield Problem(f"layer {layer!r} has no kernel {kernel!r}, as the configuration says: "
                          f"{' and '.join(sorted(found)) or 'nothing'} computes it",
                          "a kernel is taken where it fits the layer's shape and formats, and the target; "
                          "`aot verify` lists the layers that are left")
