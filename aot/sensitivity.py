"""What each layer's formats do to the network's outputs: measured one layer at a time, on a few samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from aot.batch import Batch, stack
from aot.data import Samples, class_labels
from aot.ir import Array, Graph, Node, Value
from aot.judge import Judge
from aot.numerics import dequantize
from aot.ops.base import Moments, WeightForm
from aot.prepare import Prepared
from aot.quantize import WEIGHTS
from aot.recipe import Formats, Recipe
from aot.scores import classifies, decisive
from aot.workers import Map

#: Multiplications (and tenths of elements) which all walks may cost together, elements held at a time, and samples.
MOST_WORK, MOST_ELEMENTS = 6e10, 1 << 25
MOST_SAMPLES, FEWEST_SAMPLES = 256, 48
#: Walks for each layer.
WALKS = 3
#: Layers that are walked through in one job.
TOGETHER = 4
#: A layer -> a choice for it -> the change of the outputs which that makes, beside 8 bits for all.
Shifts = Mapping[str, Mapping[Formats, Array]]


@dataclass(frozen=True, eq=False)
class Court:
    """A prepared network, samples to judge it by, and the float outputs' judge. ``value`` is what is judged."""

    prepared: Prepared
    samples: Samples
    value: str
    judge: Judge

    def outputs(self, batch: Batch, rough: bool = True, indices: Array | None = None) -> Array:
        """Of the judged value, [samples, elements]; of the measured samples unless others are named."""
        chosen = self.judge.measured if indices is None else indices
        return _outputs(batch, self.samples, self.value, rough, chosen)


def court(prepared: Prepared, samples: Samples, learned: bool) -> Court:
    """The judge for these samples. ``learned``: weights are rounded by some of them, which tell less than others."""
    graph, value = prepared.graph, decisive(prepared.graph)
    exact = _outputs(Batch(graph), samples, value, False, np.arange(len(samples)))
    taken = {i * len(samples) // len(prepared.samples) for i in range(len(prepared.samples))} if learned else set()
    free = np.array([i for i in range(len(samples)) if i not in taken], int)
    if len(free) < min(FEWEST_SAMPLES, len(samples)):
        free = np.arange(len(samples))
    chosen = np.unique(np.linspace(0, len(free) - 1, min(_affordable(graph), len(free))).round().astype(int))
    labels = class_labels(samples, graph.values[graph.outputs[0]].type.size, "the data to judge by")
    return Court(prepared, samples, value, Judge(exact, classifies(graph, samples.y), labels, free[chosen]))


def shifts(case: Court, apply: Map, done: Callable[[int, int], None] | None = None) -> tuple[Array, Shifts]:
    """The change of the outputs that 8 bits for all make, and what each layer's other formats change besides."""
    graph = case.prepared.graph
    tried: dict[str, tuple[Array, ...]] = {}

    def attempt(node: Node, inputs: tuple[Value, ...], out: Value, moments: Moments | None) -> None:
        form = WeightForm(case.prepared.weights == WEIGHTS[0], moments, "s4")
        constants = node.op.quantize_constants(inputs, out, form)[1:]
        tried[node.output] = tuple(dequantize(v.data, v.quant) for v in constants if v.data is not None)

    quantized = case.prepared.quantize(Recipe(), trial=attempt)
    base = Batch(graph, quantized)
    names = [n.output for n in base.graph.nodes if base.rounds(n.output) or base.constants(n)]
    groups = [tuple(names[i:i + TOGETHER]) for i in range(0, len(names), TOGETHER)]
    found = apply(_walk, [Walk(case, quantized, group, {n: tried[n] for n in group if n in tried}) for group in groups],
                  done)
    whole = case.judge.changes(case.outputs(base))
    return whole, {name: choices for group in found for name, choices in group.items()}


@dataclass(frozen=True, eq=False)
class Walk:
    """Some layers to walk through; ``coarse``: constants with 4-bit weights of those that have weights."""

    case: Court
    quantized: Graph
    names: tuple[str, ...]
    coarse: Mapping[str, tuple[Array, ...]]


def _walk(job: Walk) -> dict[str, dict[Formats, Array]]:
    """For each layer and each choice of formats: what it changes."""
    case, graph = job.case, job.case.prepared.graph
    base = Batch(graph, job.quantized)
    found: dict[tuple[str, str], list[Array]] = {}
    everything = {*graph.inputs, *(n.output for n in graph.nodes)}
    for chunk in _chunks(graph, case.judge.measured):
        x = stack([case.samples.sample(int(i)) for i in chunk])
        known = {**x, **base.run(x, True, True)}
        for name in job.names:
            for way, batch, values in _ways(base, job, name, everything):
                fresh = batch.run(x, True, values, known, {name})
                y = fresh.get(case.value, known[case.value]) - known[case.value]
                found.setdefault((name, way), []).append(y.reshape(len(chunk), -1))
    exact = case.judge.exact[case.judge.measured]
    change = {key: case.judge.changes(np.concatenate(parts) + exact) for key, parts in found.items()}
    none = case.judge.changes(exact)

    def choices(name: str) -> dict[Formats, Array]:
        fine = change.get((name, "fine output"), none)
        whole = change.get((name, "all exact"), fine)
        return {Formats("s8", "s4"): change.get((name, "coarse"), none), Formats("s16", "s8"): fine,
                Formats("s16", "s16"): whole, Formats("f32", "f32"): whole}

    return {name: choices(name) for name in job.names}


def _ways(base: Batch, job: Walk, name: str, everything: set[str]) -> Iterator[tuple[str, Batch, set[str]]]:
    """What is tried with a layer: a batch with its constants, and the values that are rounded."""
    if base.rounds(name):
        yield "fine output", base, everything - {name}
    if name in job.coarse:
        yield "coarse", base.replaced({name: (None, *job.coarse[name])}), everything
        yield "all exact", base.replaced({name: ()}), everything - {name}


def _chunks(graph: Graph, indices: Array) -> list[Array]:
    elements = sum(v.type.size for v in graph.values.values() if v.data is None)
    return np.array_split(indices, -(-len(indices) * elements // MOST_ELEMENTS))


def _outputs(batch: Batch, samples: Samples, name: str, rough: bool, indices: Array) -> Array:
    """A value of every sample, [samples, elements]."""
    parts = []
    for chunk in _chunks(batch.graph, indices):
        x = stack([samples.sample(int(i)) for i in chunk])
        values = {**x, **batch.run(x, rough, rough)}
        parts.append(values[name].reshape(len(chunk), -1))
    return np.concatenate(parts)


def _affordable(graph: Graph) -> int:
    """How many samples can be walked as often as needed."""
    values = graph.values
    elements = sum(v.type.size for v in values.values() if v.data is None)
    macs = sum(n.op.macs(tuple(values[i].type for i in n.inputs), values[n.output].type) for n in graph.nodes)
    walks = WALKS * max(len(graph.nodes), 1) / 2
    return int(np.clip(MOST_WORK / (walks * (macs + 10 * elements + 1)), FEWEST_SAMPLES, MOST_SAMPLES))
