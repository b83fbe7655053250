"""Ranges of activations, from sample data run through the float graph."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from aot.errors import AotError
from aot.ir import Array, Graph
from aot.numerics import dequantize, quantize
from aot.observe import Observations, observe
from aot.ops.base import Op, affine
from aot.ops.slice import Slice

#: How a range is chosen from what was observed.
METHODS = ("mse", "minmax", "percentile")
DEFAULT_METHOD = "mse"
PERCENTILE = 99.99
#: Elements on which a range is judged by what comes out behind it, and the parts of the whole range that are tried.
MOST_JUDGED = 100_000
CUTS = tuple(np.linspace(1.0, 0.2, 33).tolist())


@dataclass(frozen=True)
class Range:
    """Smallest and largest value which the quantization of a tensor must cover."""

    low: float
    high: float


@dataclass(frozen=True)
class Calibration:
    """A range for every value computed at run time, and how many samples it came from."""

    ranges: Mapping[str, Range]
    samples: int
    method: str


def calibrate(graph: Graph, samples: Iterable[Mapping[str, Array]], method: str = DEFAULT_METHOD,
              progress: Callable[[], None] | None = None) -> Calibration:
    """Run the float graph on every sample (inputs by name, in the model's shapes) and choose ranges."""
    check_method(method)
    return choose_ranges(graph, observe(graph, samples, progress), method)


def check_method(method: str) -> None:
    """Refuse a method that is not one."""
    if method not in METHODS:
        raise AotError(f"unknown calibration method {method!r}", f"known methods: {', '.join(METHODS)}")


def choose_ranges(graph: Graph, seen: Observations, method: str = DEFAULT_METHOD,
                  whole: Collection[str] = ()) -> Calibration:
    """A range for every observed value.

    ``minmax`` takes the extremes; ``percentile`` cuts all but 99.99 % of the values; ``mse`` chooses the cut that
    minimizes the mean squared error of 8-bit quantization, behind a softmax or another function of one element if that
    is all that reads the value. What is only read in slices has the range of those. Nothing is cut from those in
    ``whole``.
    """
    consumers = graph.consumers()
    ranges: dict[str, Range] = {}
    for name in (*graph.inputs, *(n.output for n in reversed(graph.nodes))):
        users = consumers.get(name, [])
        read = [name]
        if name not in graph.inputs and name not in graph.outputs and users \
                and all(isinstance(n.op, Slice) for n in users):
            read = [n.output for n in users]
        low = min(float(seen.low[n].min()) for n in read)
        high = max(float(seen.high[n].max()) for n in read)
        rows = np.concatenate([seen.rows[n] for n in read]) if len({seen.rows[n].shape[1] for n in read}) == 1 \
            else np.concatenate([seen.rows[n].reshape(-1) for n in read])
        judge = None
        if name not in graph.outputs and users and all(n.op.judges_input() for n in users):
            judge = users[0].op
        ranges[name] = _choose(method, low, high, rows, name in graph.inputs or name in whole, judge)
    return Calibration(ranges, seen.samples, method)


def _choose(method: str, low: float, high: float, seen: Array, is_input: bool, judge: Op | None) -> Range:
    """The range of one tensor; inputs are always covered whole."""
    if method == "minmax" or is_input or high <= low:
        return Range(low, high)
    if method == "percentile":
        return Range(min(float(np.percentile(seen, 100 - PERCENTILE)), 0.0),
                     max(float(np.percentile(seen, PERCENTILE)), 0.0))
    found = _least_error(min(low, 0.0), max(high, 0.0), seen)
    return found if judge is None else _least_error_behind(judge, min(low, 0.0), max(high, 0.0), found, seen)


def _least_error_behind(op: Op, low: float, high: float, start: Range, seen: Array) -> Range:
    """The range whose 8-bit quantization of the rows changes the operator's output least, in the mean square."""
    rows = seen[::max(seen.size // MOST_JUDGED, 1)]
    exact = op.reference(rows).astype(np.float64)

    def error(a: float, b: float) -> float:
        quant = affine(a, b, "s8")
        return float(((op.reference(dequantize(quantize(rows, quant, -128, 127), quant)) - exact) ** 2).mean())

    best = min((error(low, high), low, high), (error(start.low, start.high), start.low, start.high))
    for _ in range(2):
        _, a, b = best
        tries = [(low * cut, b) for cut in CUTS] + [(a, high * cut) for cut in CUTS]
        best = min(best, *((error(*r), *r) for r in tries if r[1] > r[0]))
    return Range(best[1], best[2])


def _least_error(low: float, high: float, seen: Array) -> Range:
    """The range whose 8-bit quantization has the least mean squared error on a histogram of the values."""
    counts, edges = np.histogram(seen, bins=2048, range=(low, high))
    used = counts > 0
    centres, weights = ((edges[:-1] + edges[1:]) / 2)[used], counts[used].astype(np.float64)
    best = (np.inf, low, high)
    for cut in np.linspace(1.0, 0.3, 71):
        for a, b in {(low * cut, high * cut), (low, high * cut), (low * cut, high)}:
            scale = (b - a) / 255
            if scale <= 0:
                continue
            clipped = np.clip(centres, a, b)
            rounded = np.floor((clipped - a) / scale + 0.5) * scale + a
            # values inside one bin differ by more than the step only if the bin is wide; those outside are clipped
            error = float(((rounded - centres) ** 2 * weights).sum())
            if error < best[0]:
                best = (error, a, b)
    return Range(best[1], best[2])
