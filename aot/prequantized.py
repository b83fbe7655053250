"""Models that are quantized already become integer graphs: what they give is kept, what they do not is calibrated."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from aot.calibrate import DEFAULT_METHOD, Calibration, choose_ranges, with_room
from aot.data import Samples
from aot.errors import AotError
from aot.given import Given, Kept, prepare
from aot.interpret import site
from aot.ir import Graph
from aot.numerics import dequantize, span, stored
from aot.observe import learning_samples, observe
from aot.ops.base import Site
from aot.ops.quantize import Quantize
from aot.ops.unary import Unary
from aot.quantize import LayerError, quantize
from aot.recipe import Recipe

#: By how many steps of its output a layer of 16 bits may be off besides the rounding, to be computed in integers.
MOST_OFF = 0.5


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
            seen = observe(given.graph, samples, tick)
            calibration = choose_ranges(given.graph, seen, method, known=samples.bytes())
            if method == DEFAULT_METHOD:
                calibration = with_room(calibration, given.graph, seen)
        learned = learning_samples(given.graph, samples) if open_ranges and samples is not None else ()
        try:
            result = quantize(given.graph, calibration, weights, learned, given.recipe, given.types)
            _precise(result, given)
            return result, calibration, given.kept
        except LayerError as error:
            name = given.source(error.output)
            if name in failed:
                raise
            failed[name] = "; ".join(p.fact for p in error.problems)
        except KeyError as error:  # a range that nothing gives
            raise AotError(f"nothing gives the range of {error.args[0]!r}", "pass calibration data: --data") from error


def _precise(graph: Graph, given: Given) -> None:
    """Refuse a layer of 16 bits, all of whose quantization is given, that its integers would be visibly off for."""
    for node in graph.nodes:
        where = site(graph, node)
        if where.format != "s16" or node.output not in given.types or isinstance(node.op, Quantize) \
                or any(v.data is None and v.name not in given.types for v in where.inputs):
            continue
        off = _table_error(where) if isinstance(node.op, Unary) else node.op.error_bound(where) - 0.5
        if off > (1.0 if isinstance(node.op, Unary) else MOST_OFF):
            raise LayerError(node, AotError(f"32-bit integers would be off by up to {off:.2g} steps of its output"))


def _table_error(where: Site) -> float:
    """By how many steps a function of one 16-bit input errs at most, over all inputs."""
    low, high = span(where.inputs[0].type)
    q = np.arange(low, high + 1, dtype=np.int16)
    ideal = stored(where.node.op.reference(dequantize(q, where.inputs[0].quant)), where.output.type)
    return float(np.abs(where.node.op.simulate(where, q).astype(np.int64) - ideal).max(initial=0))


def _lacks(given: Given) -> bool:
    """Whether the quantization of a value is missing."""
    names = {*given.graph.inputs, *(n.output for n in given.graph.nodes if not n.op.same_quant)}
    return any(n not in given.types and given.recipe.of(n).activations != "f32" for n in names)
