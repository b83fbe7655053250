"""Ranges of activations, from sample data run through the float graph."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from aot.errors import AotError
from aot.interpret import walk_float
from aot.ir import Array, Graph

#: How a range is chosen from what was observed.
METHODS = ("mse", "minmax", "percentile")
DEFAULT_METHOD = "mse"
#: At most this many elements of each tensor are kept per sample for percentiles and MSE.
KEPT_PER_SAMPLE = 4096
PERCENTILE = 99.99


@dataclass(frozen=True)
class Range:
    """Smallest and largest value which the quantization of a tensor must cover."""

    low: float
    high: float


@dataclass(frozen=True)
class Calibration:
    """A range for every value computed at run time, and how many samples it came from.

    ``means`` holds the mean of every value along its last axis (channels, features).
    """

    ranges: Mapping[str, Range]
    means: Mapping[str, Array]
    samples: int
    method: str


def calibrate(graph: Graph, samples: Iterable[Mapping[str, Array]], method: str = DEFAULT_METHOD,
              progress: Callable[[], None] | None = None, whole: Collection[str] = ()) -> Calibration:
    """Run the float graph on every sample (inputs by name, in the model's shapes) and choose ranges.

    ``minmax`` takes the extremes; ``percentile`` cuts all but 99.99 % of the values; ``mse`` chooses the cut that
    minimizes the mean squared error of 8-bit quantization. Nothing is cut from those in ``whole``.
    """
    if method not in METHODS:
        raise AotError(f"unknown calibration method {method!r}", f"known methods: {', '.join(METHODS)}")
    low: dict[str, float] = {}
    high: dict[str, float] = {}
    totals: dict[str, Array] = {}
    kept: dict[str, list[Array]] = {}
    count = 0

    def observe(name: str, data: Array) -> None:
        smallest, largest = float(data.min()), float(data.max())
        if not (np.isfinite(smallest) and np.isfinite(largest)):
            raise AotError(f"sample {count} makes {name!r} reach {smallest} .. {largest}",
                           "the data is in another range than the model expects, or the model overflows", name)
        low[name] = min(smallest, low.get(name, smallest))
        high[name] = max(largest, high.get(name, largest))
        rows = data.reshape(-1, data.shape[-1] if data.ndim else 1)
        totals[name] = totals.get(name, np.float64(0)) + rows.mean(axis=0, dtype=np.float64)
        if method != "minmax":
            step = -(-data.size // KEPT_PER_SAMPLE)
            kept.setdefault(name, []).append(data.reshape(-1)[count % step::step])

    for sample in samples:
        for name, data in sample.items():
            observe(name, data)
        for name, data in walk_float(graph, sample):
            observe(name, data)
        count += 1
        if progress is not None:
            progress()
    if not count:
        raise AotError("there is no calibration sample", "give data with at least one sample; 100 or more are better")
    ranges = {}
    for name in low:
        seen = np.concatenate(kept[name]) if name in kept else np.empty(0)
        ranges[name] = _choose(method, low[name], high[name], seen, is_input=name in graph.inputs or name in whole)
    return Calibration(ranges, {n: t / count for n, t in totals.items()}, count, method)


def _choose(method: str, low: float, high: float, seen: Array, is_input: bool) -> Range:
    """The range of one tensor; inputs are always covered whole."""
    if method == "minmax" or is_input or high <= low:
        return Range(low, high)
    if method == "percentile":
        return Range(min(float(np.percentile(seen, 100 - PERCENTILE)), 0.0),
                     max(float(np.percentile(seen, PERCENTILE)), 0.0))
    return _least_error(min(low, 0.0), max(high, 0.0), seen)


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
