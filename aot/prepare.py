"""A float graph with all that is needed to quantize it by one recipe after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from aot.calibrate import DEFAULT_METHOD, Calibration, choose_ranges, with_room
from aot.data import Samples
from aot.equalize import equalize
from aot.ir import Array, Graph
from aot.observe import learning_samples, observe
from aot.quantize import Trial, quantize
from aot.recipe import Recipe
from aot.sums import favoured, fused, spread

#: Whether what can be lost by 8 bits is made good where it can: channels are equalized, weights fitted and rounded by
#: what samples show, biases corrected. Without, there is only rounding to the nearest, as a comparison.
CORRECTIONS = ("all", "none")


@dataclass(frozen=True, eq=False)
class Prepared:
    """The graph, equalized; ranges for 8 bits and whole ones for 16; ``samples`` tell how to round weights."""

    graph: Graph
    narrow: Calibration
    whole: Calibration
    weights: str
    samples: tuple[Mapping[str, Array], ...]

    @cached_property
    def layers(self) -> Graph:
        """The graph with those sums as one layer with a convolution that are so in 8 bits."""
        return fused(self.graph, Recipe())[0]

    def ranges(self, recipe: Recipe) -> Calibration:
        """The range of each value in the format which the recipe gives it."""
        fine = {n.output for n in self.graph.nodes if recipe.of(n.output).activations == "s16"}
        return replace(self.narrow, ranges={n: (self.whole if n in fine else self.narrow).ranges[n]
                                            for n in self.narrow.ranges})

    def quantize(self, recipe: Recipe, learn: bool = True, trial: Trial | None = None) -> Graph:
        """The graph in the recipe's formats, with its goals and kernels.

        ``learn``: weights are rounded by what the samples show; ``trial``: see :func:`aot.quantize.quantize`.
        """
        recipe = spread(recipe, self.graph)
        graph = quantize(self.graph, self.ranges(recipe), self.weights, self.samples if learn else (), recipe,
                         trial=trial)
        return favoured(graph, recipe, self.graph)


def prepare(graph: Graph, samples: Samples, calibration: str, weights: str,
            corrections: str = CORRECTIONS[0], progress: Callable[[], None] | None = None,
            equalized: bool = False) -> Prepared:
    """Equalize a float graph, unless it is ``equalized`` already, and calibrate it on samples.

    ``corrections`` is one of :data:`CORRECTIONS`.
    """
    seen = observe(graph, samples, progress)
    if corrections == CORRECTIONS[0] and not equalized:
        graph, seen = equalize(graph, seen)
    narrow = whole = choose_ranges(graph, seen, calibration, known=samples.bytes())
    if calibration == DEFAULT_METHOD:
        whole = with_room(choose_ranges(graph, seen, "minmax", known=samples.bytes()), graph, seen)
        narrow = with_room(narrow, graph, seen)
    return Prepared(graph, narrow, whole, weights,
                    learning_samples(graph, samples) if corrections == CORRECTIONS[0] else ())
