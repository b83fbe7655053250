"""Ranges of activations, from sample data run through the float graph."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from aot.errors import AotError
from aot.ir import Array, Graph, Node
from aot.numerics import dequantize, quantize
from aot.observe import Observations, observe
from aot.ops.base import NO_CLAMP, affine
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
#: By what share a range is wider than what was seen, for each time that as much again should have been; and at most.
#: (Of n numbers, the next one is beyond all of them once in n + 1 times.)
ROOM, MOST_ROOM = 0.04, 0.5


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
              progress: Callable[[], None] | None = None, known: Mapping[str, Range] | None = None) -> Calibration:
    """Run the float graph on every sample (inputs by name, in the model's shapes) and choose ranges."""
    check_method(method)
    return choose_ranges(graph, observe(graph, samples, progress), method, known=known)


def with_room(found: Calibration, graph: Graph, seen: Observations) -> Calibration:
    """Ranges with room for what samples as few as these did not show, but for those of inputs and outputs.

    Inputs are what the samples say. An activation's bounds are not passed.
    """
    ranges = dict(found.ranges)
    for node in graph.nodes:
        if node.output in graph.outputs:
            continue
        old, clamp = ranges[node.output], getattr(node.op, "clamp", NO_CLAMP)
        wider = 1.0 + min(ROOM * seen.lack(node.output), MOST_ROOM)
        low = old.low if clamp[0] is not None and old.low * wider < clamp[0] else old.low * wider
        high = old.high if clamp[1] is not None and old.high * wider > clamp[1] else old.high * wider
        ranges[node.output] = Range(low, high)
    return replace(found, ranges=ranges)


def check_method(method: str) -> None:
    """Refuse a method that is not one."""
    if method not in METHODS:
        raise AotError(f"unknown calibration method {method!r}", f"known methods: {', '.join(METHODS)}")


def choose_ranges(graph: Graph, seen: Observations, method: str = DEFAULT_METHOD,
                  whole: Collection[str] = (), known: Mapping[str, Range] | None = None) -> Calibration:
    """A range for every observed value.

    ``minmax`` takes the extremes; ``percentile`` cuts all but 99.99 % of the values; ``mse`` chooses the cut that
    minimizes the mean squared error of 8-bit quantization, and ``entropy`` the one whose distribution differs least
    from that of the values (Migacz, "8-bit Inference with TensorRT", 2017); ``auto`` takes of all these the one that
    makes the least error behind the layers that read the value. Behind a softmax, another function of one element or a
    sum that is clamped, ``mse`` and ``auto`` search for the range themselves. Inputs and what is in ``whole`` are
    covered whole. What is only read in slices has the range of those. Ranges in ``known`` are taken as they are.
    """
    consumers = graph.consumers()
    ranges: dict[str, Range] = {}
    for name in (*graph.inputs, *(n.output for n in reversed(graph.nodes))):
        if known is not None and name in known:
            ranges[name] = known[name]
            continue
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
        readers = _readers(graph, consumers, name)
        if method in ("auto", "mse") and (behind := _behind(readers, seen)) is not None:
            start = _RANGES["mse"](low, high, values)
            ranges[name] = _least_error_behind(behind, low, high, start, seen.rows[readers[0][1]])
        elif method == "auto":
            tries = dict.fromkeys(choose(low, high, values) for choose in _RANGES.values())
            weights = _weights(graph, [n for n, _ in readers], seen.rows[name].shape[1])
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
    """The cut with the least divergence of Kullback and Leibler between the values and what 256 steps leave of them.

    Values at zero are left out: there is a step for them whatever the cut. So is what a clamp holds at an extreme, as
    long as the range reaches that far.
    """
    inner = seen[(seen != 0) & (seen > low) & (seen < high)]
    ends = np.array([(seen <= low).sum() * (low < 0), (seen >= high).sum() * (high > 0)], np.float64)
    counts, edges = np.histogram(inner, bins=BINS, range=(low, high))
    centres = (edges[:-1] + edges[1:]) / 2
    best = (np.inf, low, high)
    for cut in CUTS:
        a, b = low * cut, high * cut
        inside = (centres >= a) & (centres <= b)
        first, last = np.flatnonzero(inside)[[0, -1]]
        kept = counts[inside].astype(np.float64)
        used = kept > 0
        steps = np.clip(np.floor((centres[inside] - a) / (b - a) * 256).astype(np.int64), 0, 255)
        share = np.bincount(steps, kept, 256) / np.maximum(np.bincount(steps, used, 256), 1)
        coarse = np.where(used, share[steps], 0.0)
        kept[[0, -1]] += counts[:first].sum() + ends[0], counts[last + 1:].sum() + ends[1]
        if cut == 1.0:
            coarse[[0, -1]] += ends
        both = (kept > 0) & (coarse > 0)
        if not both.any():
            continue
        p, q = kept / kept.sum(), coarse / coarse.sum()
        lost = float(p[(kept > 0) & ~both].sum())  # nothing stands for these
        divergence = float((p[both] * np.log(p[both] / q[both])).sum()) + 10.0 * lost
        best = min(best, (divergence, a, b))
    return Range(best[1], best[2])


def _behind(readers: Sequence[tuple[Node, str]], seen: Observations) -> Callable[[Array], Array] | None:
    """What the only reader of a value makes of kept rows, one in so many; None where that is no way to judge it."""
    if not readers or not all(n.op.judges_input() for n, _ in readers):
        return None
    node, name = readers[0]
    if len(node.inputs) == 1:
        return node.op.reference
    whole = [seen.rows.get(i) for i in node.inputs]
    if len(readers) > 1 or node.inputs.count(name) > 1 or any(w is None or w.shape != seen.rows[name].shape
                                                              for w in whole):
        return None
    parts = [_judged(w) for w in whole if w is not None]
    place = node.inputs.index(name)
    return lambda rows: node.op.reference(*parts[:place], rows, *parts[place + 1:])


def _readers(graph: Graph, consumers: Mapping[str, Sequence[Node]], name: str) -> list[tuple[Node, str]]:
    """Nodes that compute with a value, and its name there: it may have been moved, with all channels in place."""
    if name in graph.outputs:
        return []
    found: list[tuple[Node, str]] = []
    for node in consumers.get(name, []):
        before, after = graph.values[name].type, graph.values[node.output].type
        if node.op.same_quant and node.op.carries((before,), after) and before.shape[-1:] == after.shape[-1:]:
            found += _readers(graph, consumers, node.output)
        else:
            found.append((node, name))
    return found


def _judged(rows: Array) -> Array:
    """So many of the rows that judging them is quick."""
    return rows[::max(rows.size // MOST_JUDGED, 1)]


def _least_error_behind(behind: Callable[[Array], Array], low: float, high: float, start: Range, seen: Array) -> Range:
    """The range whose 8-bit quantization of the rows changes what is made of them least, in the mean square."""
    rows = _judged(seen)
    exact = behind(rows).astype(np.float64)

    def error(a: float, b: float) -> float:
        quant = affine(a, b, "s8")
        return float(((behind(dequantize(quantize(rows, quant, -128, 127), quant)) - exact) ** 2).mean())

    return descend(error, low, high, start)


def descend(error: Callable[[float, float], float], low: float, high: float, start: Range) -> Range:
    """The range of the least error, searched by cutting ``low`` .. ``high`` at one end after the other."""
    best = min((error(low, high), low, high), (error(start.low, start.high), start.low, start.high))
    for _ in range(2):
        _, a, b = best
        tries = [(low * cut, b) for cut in CUTS] + [(a, high * cut) for cut in CUTS]
        best = min([best, *((error(*r), *r) for r in tries if r[1] > r[0])])
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
