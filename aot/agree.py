"""Proof on samples that the float graph means what the model means to ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from aot.data import Samples
from aot.errors import AotError
from aot.frontend import showing
from aot.given import has_grids
from aot.interpret import run_float
from aot.ir import Array, Graph
from aot.ops.quantize import Grid, Quantize
from aot.ops.unary import Unary
from aot.oracle import Oracle

#: The float graph must agree with ONNX Runtime on this many calibration samples, within this share of the range.
CHECKED_SAMPLES = 3
FLOAT_TOLERANCE = 1e-3
#: Roundings may fall to different sides of a tie: so near to it (in steps, and in float32's of the largest number).
TIE, TIE_FLOATS = 1e-2, 64.0


def agree(read: Graph, graph: Graph, model: bytes, samples: Samples) -> None:
    """Compare the graph as it was ``read``, and after all passes, with the model; an AotError where they differ.

    In models that are quantized already, each rounding is compared by itself, on what ONNX Runtime computed before it.
    """
    if not has_grids(read):
        _compare(graph, Oracle(model), samples)
        return
    oracle = Oracle(showing(model, _roundings(read)), exact=True)
    smooth = _without_roundings(read), _without_roundings(graph)
    for i in range(min(CHECKED_SAMPLES, len(samples))):
        x = samples.sample(i)
        _step_by_step(read, x, oracle.run_whole(x), i)
        before, after = (run_float(g, x) for g in smooth)
        for name, expected in before.items():
            _near(name, after[name], expected, i)


def _compare(graph: Graph, oracle: Oracle, samples: Samples) -> None:
    for i in range(min(CHECKED_SAMPLES, len(samples))):
        x = samples.sample(i)
        ours, theirs = run_float(graph, x), oracle.run(x)
        for name, expected in theirs.items():
            _near(name, ours[name], expected, i)


def _near(name: str, ours: Array, expected: Array, sample: int) -> None:
    """Outputs as near to each other as float32 is."""
    _finite(name, expected, sample)
    span = float(np.ptp(expected)) + float(np.abs(expected).max(initial=0)) + 1e-6
    _judge(name, float(np.abs(ours.reshape(expected.shape) - expected).max(initial=0)), FLOAT_TOLERANCE * span, sample)


def _judge(name: str, worst: float, allowed: float, sample: int) -> None:
    if not worst <= allowed:
        raise AotError(f"sample {sample}: output {name!r} differs from ONNX Runtime's by {worst:.3g}",
                       "this is an error in the compiler's reading of the model; please report it")


def _finite(name: str, expected: Array, sample: int) -> None:
    if not np.isfinite(expected).all():
        raise AotError(f"sample {sample} of the calibration data makes the float model's output {name!r} NaN or "
                       f"infinite", "give data in the range which the model was trained for", name)


def drawn(graph: Graph, count: int) -> dict[str, Array]:
    """Random inputs, to check the reading of a model with and to make golden vectors of."""
    rng = np.random.default_rng(0)
    return {n: rng.normal(size=(count, *graph.values[n].type.shape)).astype(np.float32) for n in graph.inputs}


# --- models that are quantized already -----------------------------------------------------------------------------

def _roundings(graph: Graph) -> tuple[str, ...]:
    """Names of what QuantizeLinear computes, in whole bytes."""
    return tuple(n.output for n in graph.nodes if isinstance(n.op, Quantize) and n.op.grid is not None
                 and n.op.grid.high - n.op.grid.low in (255, 65535))


def _without_roundings(graph: Graph) -> Graph:
    """The graph with clips in place of roundings: smooth, so that small differences stay small."""
    return replace(graph, nodes=tuple(
        replace(n, op=Unary("clip", n.op.grid.ends)) if isinstance(n.op, Quantize) and n.op.grid is not None else n
        for n in graph.nodes))


def _step_by_step(graph: Graph, x: Mapping[str, Array], theirs: Mapping[str, Array], sample: int) -> None:
    """Every node on what ONNX Runtime computed before it; each rounding may differ on ties, by one step.

    Roundings to less than a byte are not shown. Behind one that may have fallen to another side, up to the next that
    is shown, nothing can be told.
    """
    unsure: set[str] = set()
    data = {n: np.asarray(v.data, np.float64) for n, v in graph.values.items() if v.data is not None}
    data |= {n: np.asarray(a, np.float64) for n, a in x.items()}
    for node in graph.nodes:
        y = np.asarray(node.op.reference(*(data[i] for i in node.inputs)), np.float64)
        grid = node.op.grid if isinstance(node.op, Quantize) else None
        follows = not unsure.isdisjoint(node.inputs)
        if grid is not None:
            exact = np.asarray(data[node.inputs[0]], np.float64) / grid.scale
            noise = TIE + TIE_FLOATS * float(np.finfo(np.float32).eps) * float(np.abs(exact).max(initial=0))
            tie = np.abs(exact - np.floor(exact) - 0.5) <= noise
            follows = follows or (node.output not in theirs and bool(tie.any()))
        if grid is not None and node.output in theirs:
            expected = _real(theirs[node.output], grid).reshape(y.shape)
            steps = np.abs(y - expected) / grid.scale
            wrong = steps > np.where(tie, max(1.0, noise), 0.0) + 1e-2
            if wrong.any() and not follows:
                raise AotError(f"sample {sample}: {int(wrong.sum())} of {y.size} roundings {node.output!r} differ from "
                               f"ONNX Runtime's, by up to {steps.max():.3g} steps",
                               "this is an error in the compiler's reading of the model; please report it")
            y = expected
        elif follows:
            unsure.add(node.output)
        data[node.output] = y
    for name in graph.outputs:
        if name in unsure:
            continue
        _near(name, data[name], theirs[name].astype(np.float64), sample)


def _real(shown: Array, grid: Grid) -> Array:
    """What ONNX Runtime shows of a rounding: integers as the model has them, or what they stand for."""
    if shown.dtype.kind == "f":
        return shown.astype(np.float64)
    smallest = int(np.iinfo(shown.dtype).min)
    return (shown.astype(np.float64) - smallest + grid.low - grid.zero) * grid.scale
