"""Models that are quantized already become integer graphs: what they give is kept, what they do not is calibrated."""

from __future__ import annotations

from collections.abc import Callable

from aot.calibrate import Calibration, choose_ranges
from aot.data import Samples
from aot.errors import AotError
from aot.given import Given, Kept, prepare
from aot.ir import Graph
from aot.observe import learning_samples, observe
from aot.ops.quantize import Quantize
from aot.quantize import LayerError, quantize
from aot.recipe import Recipe


def quantize_given(graph: Graph, samples: Samples | None, method: str, weights: str, recipe: Recipe,
                   tick: Callable[[], None] | None = None) -> tuple[Graph, Calibration, tuple[Kept, ...]]:
    """The integer graph, the ranges of what the model does not give, and the layers that stay float32.

    ``samples``: calibration data, None without any: then only what the model gives is computed in integers. A layer
    whose integers do not fit 32 bits stays float32 too, with the reason.
    """
    failed: dict[str, str] = {}
    while True:
        given = prepare(graph, recipe.default, samples is not None, failed)
        calibration = Calibration({}, 0, "none")
        open_ranges = samples is not None and _lacks(given)
        if open_ranges and samples is not None:
            calibration = choose_ranges(given.graph, observe(given.graph, samples, tick), method)
        learned = learning_samples(given.graph, samples) if open_ranges and samples is not None else ()
        try:
            return (quantize(given.graph, calibration, weights, learned, given.recipe, given.types), calibration,
                    given.kept)
        except LayerError as error:
            name = error.output.removesuffix(".wide")
            if name in failed or isinstance(_op(given, error.output), Quantize):
                raise
            failed[name] = "; ".join(p.fact for p in error.problems)
        except KeyError as error:  # a range that nothing gives
            raise AotError(f"nothing gives the range of {error.args[0]!r}", "pass calibration data: --data") from error


def _lacks(given: Given) -> bool:
    """Whether the quantization of a value is missing."""
    names = {*given.graph.inputs, *(n.output for n in given.graph.nodes if not n.op.same_quant)}
    return any(n not in given.types and given.recipe.of(n).activations != "f32" for n in names)


def _op(given: Given, output: str) -> object:
    return next((n.op for n in given.graph.nodes if n.output == output), None)
