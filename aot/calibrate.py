"""Ranges of activations, from sample data run through the float graph."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from aot.errors import AotError
from aot.ir import Array, Graph, Node
from aot.numerics import dequantize, quantize
from aot.observe import Observations, observe
from aot.ops.base import Op, affine
from aot.ops.slice import Slice

#: How a range is chosen from what was observed.
METHODS = ("auto", "mse", "minmax", "percentile", "entropy")
DEFAULT_METHOD = "auto"
PERCENTILE = 99.99
#: Bins of the histogram on which entropies are compared.
BINS = 2048
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
    minimizes the mean squared error of 8-bit quantization, and ``entropy`` the one whose distribution differs least
    from that of the values (Migacz, "8-bit Inference with TensorRT", 2017); ``auto`` takes of all these the one that
    makes the least error behind the layers that read the value. Behind a softmax or another function of one element,
    ``mse`` and ``auto`` search for the range themselves. Inputs and what is in ``whole`` are covered whole. What is
    only read in slices has the range of those.
    """
    consumers = graph.consumers()
    ranges: dict[str, Range] = {}
    for name in (*graph.inputs, *(n.output for n in reversed(graph.nodes))):
        users = [] if name in graph.outputs else consumers.get(name, [])
        read = [name]
        if name not in graph.inputs and users and all(isinstance(n.op, Slice) for n in users):
            read = [n.output for n in users]
        low = min(float(seen.low[n].min()) for n in read)
        high = max(float(seen.high[n].max()) for n in read)
        if method == "minmax" or name in graph.inputs or name in whole or high <= low:
            ranges[name] = Range(low, high)
            continue
        low, high = min(low, 0.0), max(high, 0.0)
        values = np.concatenate([seen.rows[n].reshape(-1) for n in read])
        if method in ("auto", "mse") and users and all(n.op.judges_input() for n in users):
            start = _RANGES["mse"](low, high, values)
            ranges[name] = _least_error_behind(users[0].op, low, high, start, seen.rows[name])
        elif method == "auto":
            tries = dict.fromkeys(choose(low, high, values) for choose in _RANGES.values())
            weights = _weights(graph, users, seen.rows[name].shape[1])
            rows = seen.rows[name] if read == [name] else values[:, None]
            ranges[name] = min((_error(r, rows, weights), i, r) for i, r in enumerate(tries))[2]
        else:
            ranges[name] = _RANGES[method](low, high, values)
    return Calibration(ranges, seen.samples, method)


def _weights(graph: Graph, users: Sequence[Node], channels: int) -> Array:
    """How much an error in each channel counts: the squares of all weights that it meets; the same where none are."""
    total = np.zeros(channels)
    for node in users:
        weights = graph.const(node.inputs[1]) if node.op.linear else None
        total += 0.0 if weights is None else node.op.sensitivity(weights, channels)
    return total if total.any() and all(n.op.linear for n in users) else np.ones(channels)


def _error(found: Range, rows: Array, weights: Array) -> float:
    """Mean squared error of 8-bit quantization, weighted by channel."""
    quant = affine(found.low, found.high, "s8")
    error = ((dequantize(quantize(rows, quant, -128, 127), quant) - rows.astype(np.float64)) ** 2).mean(axis=0)
    return float((error * weights).sum()) if len(error) == len(weights) else float(error.sum())


def _extremes(low: float, high: float, seen: Array) -> Range:
    return Range(low, high)


def _percentile(low: float, high: float, seen: Array) -> Range:
    return Range(min(float(np.percentile(seen, 100 - PERCENTILE)), 0.0),
                 max(float(np.percentile(seen, PERCENTILE)), 0.0))


def _least_entropy(low: float, high: float, seen: Array) -> Range:
    """The cut with the least divergence of Kullback and Leibler between the values and what 256 steps leave of them."""
    counts, edges = np.histogram(seen, bins=BINS, range=(low, high))
    centres = (edges[:-1] + edges[1:]) / 2
    best = (np.inf, low, high)
    for cut in CUTS:
        a, b = low * cut, high * cut
        inside = (centres >= a) & (centres <= b)
        clipped = np.where(inside, counts, 0).astype(np.float64)
        first, last = np.flatnonzero(inside)[[0, -1]]
        clipped[first] += counts[:first].sum()
        clipped[last] += counts[last + 1:].sum()
        steps = np.clip(np.floor((centres[inside] - a) / (b - a) * 256).astype(np.int64), 0, 255)
        kept = counts[inside].astype(np.float64)
        used = kept > 0
        share = np.bincount(steps, kept, 256) / np.maximum(np.bincount(steps, used, 256), 1)
        coarse = np.where(used, share[steps], 0.0)
        true = clipped[inside]
        both = (true > 0) & (coarse > 0)
        if not both.any():
            continue
        p, q = true / true.sum(), coarse / coarse.sum()
        lost = float(p[(true > 0) & ~both].sum())  # nothing stands for these
        divergence = float((p[both] * np.log(p[both] / q[both])).sum()) + 10.0 * lost
        best = min(best, (divergence, a, b))
    return Range(best[1], best[2])


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


#: Method -> the range of values between two extremes, which embrace zero.
_RANGES: Mapping[str, Callable[[float, float, Array], Range]] = {
    "mse": _least_error, "minmax": _extremes, "percentile": _percentile, "entropy": _least_entropy}
