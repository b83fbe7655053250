"""What sample data shows: extremes and rows of values of the float graph, and moments of what its layers read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from aot.errors import AotError
from aot.interpret import site, walk_float
from aot.ir import Array, Graph, Node, Value
from aot.numerics import real, stored
from aot.ops.base import Fold, Moments

#: About this many elements of each tensor are kept per sample, in whole rows (all channels at one place).
KEPT_PER_SAMPLE = 4096
#: So many numbers of a channel tell how far it reaches. (Measured: room for more takes 5 to 25 % of the error of small
#: networks away where 32 to 64 were seen, and nothing where there are 200.)
ENOUGH = 200
#: Larger numbers have no place in a network: float32 loses their squares and the width of their range.
LARGEST = 1e30
#: Multiply-accumulates, and samples, that learning the rounding of weights may take.
MOST_MACS, FEWEST_SAMPLES, MOST_SAMPLES = 2_000_000_000, 16, 256
#: Columns of one group that moments are taken from, elements of all of them, and the longest column.
FEWEST_COLUMNS, MOST_COLUMNS, MOST_ELEMENTS, LONGEST_COLUMN = 1024, 16384, 1 << 24, 4096
#: Parts of the samples that check each other, the longest column of which that is done, and how many columns there
#: must be for each of its elements. (Measured: fitted to fewer, an autoencoder finds anomalies less well, whatever its
#: error on normal samples.)
FOLDS, LONGEST_CHECKED, COLUMNS_EACH = 4, 2048, 16
#: Parts of an integer's step in which the float network's numbers are held, so that sums of products are exact.
FINE = 4096


@dataclass(frozen=True)
class Observations:
    """Of every value computed at run time, by name: extremes per channel (index of the last axis), and kept rows.

    ``low`` and ``high`` have shape [channels], ``rows`` [rows, channels]; ``samples`` is how many were seen.
    """

    low: Mapping[str, Array]
    high: Mapping[str, Array]
    rows: Mapping[str, Array]
    samples: int

    def lack(self, name: str) -> float:
        """How many more numbers of each channel should have been seen, as a share of those that were."""
        return max(ENOUGH / len(self.rows[name]) - 1.0, 0.0)

    def scaled(self, factors: Mapping[str, Array]) -> Observations:
        """The same of a graph whose values are larger by a positive factor for each channel."""
        def times(data: Mapping[str, Array]) -> dict[str, Array]:
            return {n: a * factors[n] if n in factors else a for n, a in data.items()}
        return replace(self, low=times(self.low), high=times(self.high), rows=times(self.rows))


def observe(graph: Graph, samples: Iterable[Mapping[str, Array]],
            progress: Callable[[], None] | None = None) -> Observations:
    """Run the float graph on every sample (inputs by name, in the model's shapes)."""
    low: dict[str, Array] = {}
    high: dict[str, Array] = {}
    kept: dict[str, list[Array]] = {}
    count = 0

    def see(name: str, data: Array) -> None:
        rows = data.reshape(-1, data.shape[-1] if data.ndim else 1)
        smallest, largest = rows.min(axis=0), rows.max(axis=0)
        if not (np.abs(smallest) <= LARGEST).all() or not (np.abs(largest) <= LARGEST).all():
            raise AotError(f"sample {count} makes {name!r} reach {smallest.min()} .. {largest.max()}",
                           "the data is in another range than the model expects, or the model overflows", name)
        low[name] = np.minimum(smallest, low.get(name, smallest))
        high[name] = np.maximum(largest, high.get(name, largest))
        step = -(-data.size // KEPT_PER_SAMPLE)
        kept.setdefault(name, []).append(rows[count % step::step])

    for sample in samples:
        for name, data in sample.items():
            see(name, data)
        for name, data in walk_float(graph, sample):
            see(name, data)
        count += 1
        if progress is not None:
            progress()
    if not count:
        raise AotError("there is no calibration sample", "give data with at least one sample; 100 or more are better")
    return Observations(low, high, {n: np.concatenate(parts) for n, parts in kept.items()}, count)


class Comparison:
    """Some samples on their way through the float graph and, beside it, through the integer graph as it is made.

    Inputs are given at once; :meth:`advance` takes the next node of both.
    """

    def __init__(self, graph: Graph, samples: Sequence[Mapping[str, Array]]) -> None:
        self._float = [dict(s) for s in samples]
        self._whole: list[dict[str, Array]] = [{} for _ in samples]
        self._last = {i: node for node in graph.nodes for i in node.inputs}

    def begin(self, value: Value) -> None:
        """Quantize an input of the graph."""
        for exact, whole in zip(self._float, self._whole, strict=True):
            whole[value.name] = _integers(exact[value.name], value)

    def convert(self, graph: Graph, node: Node, values: Mapping[str, Value]) -> None:
        """Compute a node which only the integer graph has."""
        where = site(replace(graph, values=values), node)
        for whole in self._whole:
            whole[node.output] = node.op.simulate(where, whole[node.inputs[0]])

    def advance(self, graph: Graph, before: Node, after: Node, values: Mapping[str, Value]) -> None:
        """Compute the outputs of a node in float and of what became of it in integers."""
        where = site(replace(graph, values=values), after)
        for exact, whole in zip(self._float, self._whole, strict=True):
            inputs = [graph.const(i) if graph.const(i) is not None else exact[i] for i in before.inputs]
            y = before.op.reference(*(np.asarray(x, np.float64) for x in inputs))
            exact[before.output] = np.asarray(y, np.float32)
            data = {i: whole[i] if values[i].data is None else values[i].data for i in after.inputs}
            whole[after.output] = after.op.simulate(where, *(np.asarray(data[i]) for i in after.inputs))
            for name in before.inputs:
                if self._last[name] is before and graph.const(name) is None and name not in graph.outputs:
                    exact.pop(name, None)
                    whole.pop(name, None)

    def unrounded(self, graph: Graph, node: Node, inputs: Sequence[Value]) -> tuple[Array, Array]:
        """A node's outputs in float, and what integer inputs and constants make of them before they are rounded.

        Both are of shape [samples, *shape]; to be called before :meth:`advance`.
        """
        exact, rough = [], []
        for before, whole in zip(self._float, self._whole, strict=True):
            operands = [graph.const(i) if graph.const(i) is not None else before[i] for i in node.inputs]
            exact.append(node.op.reference(*(np.asarray(x, np.float64) for x in operands)))
            rough.append(node.op.reference(*(real(whole[v.name] if v.data is None else v.data, v.type)
                                             for v in inputs)))
        return np.stack(exact), np.stack(rough)

    def error(self, graph: Graph, values: Mapping[str, Value]) -> float:
        """Mean absolute difference of the outputs, once all nodes are computed, as a share of their mean size."""
        total = 0.0
        for name in graph.outputs:
            exact = np.stack([f[name] for f in self._float]).astype(np.float64)
            rough = np.stack([real(whole[name], values[name].type) for whole in self._whole])
            size = float(np.abs(exact).mean())
            total += float(np.abs(exact - rough).mean()) / (size if size > 0 else 1.0)
        return total

    def moments(self, graph: Graph, node: Node, inputs: tuple[Value, ...], fit: bool = True) -> Moments | None:
        """Of the columns which the node's weights meet; None without samples. Without folds if they shall not fit.

        ``inputs`` are the node's in the integer network, quantized as far as they are computed.
        """
        x, name = inputs[0], node.inputs[0]
        if not self._float or x.data is not None:
            return None
        count = len(self._float)
        means, whole, lost, beside = [], [], [], []
        for i in range(count):
            columns = node.op.columns(self._float[i][name], 0.0)
            most = int(np.clip(MOST_ELEMENTS // (len(columns) * columns.shape[2]), FEWEST_COLUMNS, MOST_COLUMNS))
            step = max(columns.shape[1] * count // most, 1)
            some = slice(i % step, None, step)
            exact = np.asarray(columns[:, some], np.float64)
            means.append(exact.mean(axis=1))
            # integers, so that every sum is exact whatever order a machine adds them in
            whole.append(node.op.columns(self._whole[i][x.name].astype(np.float64) - x.zero, 0.0)[:, some])
            lost.append(np.floor(exact / x.scale * FINE + 0.5) - FINE * whole[-1])
            if (r := node.op.added(inputs)) is not None:
                groups = len(columns)
                missed = self._float[i][node.inputs[3]].astype(np.float64) - real(self._whole[i][r.name], r.type)
                fine = np.floor(missed / x.scale * FINE + 0.5).reshape(-1, groups, missed.shape[-1] // groups)
                beside.append(fine.transpose(1, 0, 2)[:, some])
        rows = sum(w.shape[1] for w in whole)
        depth = whole[0].shape[2]
        mean = sum(w.sum(axis=1) for w in whole) / rows
        second, folds = None, []
        if depth <= LONGEST_COLUMN:
            seen = np.concatenate(whole, axis=1)
            second = _covariance(seen, seen, mean, mean)
        if fit and count >= 2 * FOLDS and depth <= min(LONGEST_CHECKED, rows // COLUMNS_EACH):
            for k in range(FOLDS):
                seen = np.concatenate(whole[k::FOLDS], axis=1)
                gone = [_covariance(np.concatenate(part[k::FOLDS], axis=1), seen,
                                    sum(a.sum(axis=1) for a in part) / rows, mean) / FINE
                        for part in (lost, beside) if part]
                folds.append(Fold(_covariance(seen, seen, mean, mean), *gone))
        return Moments(np.mean(means, axis=0), x.scale * np.mean([w.mean(axis=1) for w in whole], axis=0), second, rows,
                       tuple(folds))


def _covariance(a: Array, b: Array, mean_a: Array, mean_b: Array) -> Array:
    """Of integer columns, [groups, columns, depth], about given means, [groups, depth, depth]."""
    sum_a, sum_b = a.sum(axis=1)[:, :, None], b.sum(axis=1)[:, None, :]
    mean_a, mean_b, count = mean_a[:, :, None], mean_b[:, None, :], a.shape[1]
    products = np.matmul(a.transpose(0, 2, 1), b)
    return np.asarray((products - sum_a * mean_b - mean_a * sum_b + count * mean_a * mean_b) / count)


def _integers(x: Array, value: Value) -> Array:
    return stored(x, value.type)


def learning_samples(graph: Graph, samples: Iterable[Mapping[str, Array]]) -> tuple[Mapping[str, Array], ...]:
    """Samples, evenly spread over all, that learning the rounding of weights can afford."""
    values = graph.values
    macs = sum(n.op.macs(tuple(values[i].type for i in n.inputs), values[n.output].type) for n in graph.nodes)
    given = tuple(samples)
    count = min(len(given), int(np.clip(MOST_MACS // max(macs, 1), FEWEST_SAMPLES, MOST_SAMPLES)))
    return tuple(given[i * len(given) // count] for i in range(count))
