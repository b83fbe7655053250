"""Which layers lose what in quantization, and the options that mend it: the data behind ``aot doctor``.

The quantized network is walked in float with its roundings put in (:mod:`aot.batch`), so that single weights and
outputs can be rounded alone, or put back to float alone. What that does to the network's outputs is a layer's harm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np

from aot.batch import Batch, Stack, stack
from aot.calibrate import METHODS
from aot.compiler import Net, compile
from aot.data import Config, DataLike, Samples, class_labels, load
from aot.errors import AotError
from aot.given import has_grids, has_steps
from aot.health import Answers, Channel, Diagnosis, Layer, Part, Recipe, Restored
from aot.ir import Array, Graph, Node
from aot.names import comment
from aot.numerics import decibels
from aot.prepare import CORRECTIONS, prepare
from aot.quantize import WEIGHTS, prove
from aot.recipe import Recipe as FormatRecipe

#: Samples on which answers are judged, and on which layers are.
JUDGED, WALKED, FEWEST_WALKED = 256, 48, 8
#: Samples from which weights are learned when a recipe is tried first.
LEARNED = 32
#: Multiplications (and tenths of elements) which all walks may cost together, and elements held at a time.
MOST_WORK, MOST_ELEMENTS = 3e10, 1 << 25
#: Walks for each layer: weights and output alone; weights, output and both put back.
WALKS = 5
#: The layers to blame are those without which this share of the error is left; never more than this share of all.
LEFT, BLAMED = 0.25, 0.25
#: A recipe is worth its change if the error falls below this share.
WORTH = 0.9
#: A channel with smaller weights, relative to the largest, does nothing.
DEAD = 1e-6

Progress = Callable[[str, int, int], None]


def diagnose(net: Net, samples: Samples, calib: Samples, progress: Progress | None = None) -> Diagnosis:
    """Examine a compiled network on samples; ``calib`` are those it was calibrated with, to try other options."""
    tell = progress or (lambda stage, done, total: None)
    batch = Batch(net.float_graph, net.graph)
    judged = _spread(samples, JUDGED)
    truth = _outputs(batch, samples, judged, False)
    found = class_labels(samples, net.graph.values[net.graph.outputs[0]].type.size, "the data")
    labels = None if found is None else found[judged]
    answers = _answers(truth, _outputs(batch, samples, judged, True), labels)
    walked = _spread(samples, _affordable(net.float_graph))
    x = stack([samples.sample(int(i)) for i in walked])
    layers, restored = _walk(net, batch, x, tell)
    few = next((k + 1 for k, r in enumerate(restored) if r.left <= LEFT), len(restored))
    blamed = tuple(r.name for r in restored[:few]) if few <= max(1, BLAMED * len(restored)) else ()
    tried, best = _recipes(net, samples, calib, judged, truth, labels, tell)
    better = best if best is not None and best.answers.error < WORTH * answers.error else None
    options = {name: getattr(net.options, name) for name in _WHY}
    return Diagnosis(net.name, options, answers, layers, restored, blamed, tried, better, net.report.warnings,
                     len(walked))


def doctor(model: Any, data: DataLike, *, calib: DataLike | None = None, data_config: Config | None = None,
           progress: Progress | None = None, **options: Any) -> Diagnosis:
    """Compile a model and examine it on samples: where it loses what, and the options that mend it.

    ``data``: the samples, with labels ``y`` if there are any; ``calib``: calibration samples, by default the same.
    ``options`` are those of :func:`aot.compile`; ``progress`` is called with a stage's name, steps done and in all.
    """
    if options.get("precision", "int8") != "int8":
        raise AotError(f"precision {options['precision']!r} is not examined", "the doctor knows int8 networks only")
    data = list(data) if isinstance(data, Iterator) else data  # used twice
    source = data if calib is None else list(calib) if isinstance(calib, Iterator) else calib
    net = compile(model, source, data_config=data_config, progress=progress, **options)
    if has_grids(net.float_graph):
        raise AotError("the model is quantized already, so that no option changes what it loses",
                       "examine the float model, or quantize that with aot")
    samples = load(data, net.float_graph, "the data", data_config)
    return diagnose(net, samples, load(source, net.float_graph, "the calibration data", data_config), progress)


# --- answers -----------------------------------------------------------------------------------------------------

def _spread(samples: Samples, most: int) -> Array:
    """Indices of at most so many samples, spread over the set."""
    return np.unique(np.linspace(0, len(samples) - 1, min(most, len(samples))).round().astype(int))


def _affordable(graph: Graph) -> int:
    """How many samples can be walked as often as needed."""
    values = graph.values
    elements = sum(v.type.size for v in values.values() if v.data is None)
    macs = sum(n.op.macs(tuple(values[i].type for i in n.inputs), values[n.output].type) for n in graph.nodes)
    walks = WALKS * max(len(graph.nodes), 1) / 2
    return int(np.clip(min(MOST_WORK / (walks * (macs + 10 * elements + 1)), MOST_ELEMENTS / elements),
                       FEWEST_WALKED, WALKED))


def _outputs(batch: Batch, samples: Samples, indices: Array, rough: bool) -> dict[str, Array]:
    """Every output, [samples, elements]."""
    parts: dict[str, list[Array]] = {n: [] for n in batch.graph.outputs}
    for chunk in np.array_split(indices, -(-len(indices) // 16)):
        x = stack([samples.sample(int(i)) for i in chunk])
        values = {**x, **batch.run(x, rough, rough)}
        for name, kept in parts.items():
            kept.append(values[name].reshape(len(chunk), -1))
    return {n: np.concatenate(p).astype(np.float64) for n, p in parts.items()}


def _answers(truth: Mapping[str, Array], found: Mapping[str, Array], labels: Array | None) -> Answers:
    """The comparison."""
    name = next(iter(truth))
    exact, rough = truth[name], found[name]
    classes = exact.shape[1] > 1
    signal = sum(float((t ** 2).sum()) for t in truth.values())
    noise = sum(float(((t - found[n]) ** 2).sum()) for n, t in truth.items())
    top1 = labels is not None and classes
    return Answers(
        len(exact), float((exact.argmax(1) == rough.argmax(1)).mean()) if classes else None,
        float((exact.argmax(1) == labels).mean()) if top1 else None,
        float((rough.argmax(1) == labels).mean()) if top1 else None,
        float(np.mean([np.abs(t - found[n]).mean() for n, t in truth.items()])), decibels(signal, noise))


def _ratio(exact: Array, rough: Array) -> float:
    real = exact.astype(np.float64)
    return decibels(float((real ** 2).sum()), float(((real - rough) ** 2).sum()))


# --- layers ------------------------------------------------------------------------------------------------------

def _walk(net: Net, batch: Batch, x: Stack, tell: Progress) -> tuple[tuple[Layer, ...], tuple[Restored, ...]]:
    """Every layer's health and harm, and what is left of the error as layers are put back to float, worst first."""
    graph = batch.graph
    exact = {**x, **batch.run(x)}
    rough = {**x, **batch.run(x, True, True)}
    everything = {*graph.inputs, *(n.output for n in graph.nodes)}
    names = [n for n in graph.inputs if batch.rounds(n)]
    names += [n.output for n in graph.nodes if batch.rounds(n.output) or batch.constants(n)]
    power = {n: max(float((exact[n].astype(np.float64) ** 2).sum()), 1e-30) for n in graph.outputs}

    def error(values: Stack, otherwise: Stack) -> float:
        return sum(float(((exact[n].astype(np.float64) - values.get(n, otherwise[n])) ** 2).sum()) / power[n]
                   for n in graph.outputs)

    total = max(error(rough, rough), 1e-30)
    producer = graph.producer()
    headroom = prove(net.graph)
    layers = []
    for k, name in enumerate(names):
        tell("examining", k, 2 * len(names))
        node = producer.get(name)
        weighted, rounded = node is not None and bool(batch.constants(node)), batch.rounds(name)

        def part(weights: bool, output: bool, name: str = name) -> Part:
            others = everything - {name}
            alone = batch.run(x, {name} if weights else False, {name} if output else False, exact, {name})
            back = batch.run(x, others if weights else True, others if output else True, rough, {name})
            return Part(error(alone, exact) / total, 1 - error(back, rough) / total)

        none = Part(None, None)
        own = batch.run(x, {name}, {name}, exact, {name}, name)[name]
        layers.append(_layer(net, batch, name, node, exact[name], rough[name], own, headroom.get(name),
                             part(True, False) if weighted else none, part(False, True) if rounded else none,
                             part(weighted, rounded)))
    order = sorted(layers, key=lambda layer: -layer.harm)
    restored, current, gone = [], dict(rough), set[str]()
    for k, layer in enumerate(order):
        tell("examining", len(names) + k, 2 * len(names))
        gone.add(layer.name)
        current.update(batch.run(x, everything - gone, everything - gone, current, {layer.name}))
        flat = {n: (exact[n].reshape(len(exact[n]), -1), current[n].reshape(len(exact[n]), -1)) for n in graph.outputs}
        first, second = flat[graph.outputs[0]]
        restored.append(Restored(layer.name, error(current, current) / total,
                                 float((first.argmax(1) == second.argmax(1)).mean()) if first.shape[1] > 1 else None))
    return tuple(layers), tuple(restored)


def _layer(net: Net, batch: Batch, name: str, node: Node | None, exact: Array, rough: Array, own: Array,
           headroom: int | None, weights: Part, output: Part, both: Part) -> Layer:
    """What the arrays of one layer say."""
    low, high = float(exact.min()), float(exact.max())
    limits = batch.limits(name)
    clipped, unused = _use(exact.reshape(-1, 1), limits)
    pairs = batch.constants(node) if node is not None else ()
    weight, sizes = _weight_channels(net.graph, node, pairs)
    return Layer(
        name, node.op.name if node is not None else "input",
        comment(" + ".join(node.origin), 70) if node is not None else name,
        str(net.graph.values[name].type) if name in net.graph.values else str(batch.graph.values[name].type),
        _ratio(exact, rough), _ratio(exact, own), _ratio(*pairs[0]) if pairs else None, low, high, limits,
        float(clipped[0]), float(unused[0]), headroom,
        round(max(sizes) / min(s for s in sizes if s > DEAD * max(sizes)), 2) if any(sizes) else None,
        weights, output, both, _channels(exact, rough, limits, weight, sizes) if node is not None else ())


def _use(columns: Array, limits: tuple[float, float] | None) -> tuple[Array, Array]:
    """Of each column: the share of values beyond the limits, and how many bits of what they span are not used."""
    if limits is None:
        return np.zeros(columns.shape[1]), np.zeros(columns.shape[1])
    slack = 0.5 * (limits[1] - limits[0]) / 255  # what rounding may cost in any case
    reached = (np.clip(columns.max(axis=0), 0, limits[1]).astype(np.float64)
               - np.clip(columns.min(axis=0), limits[0], 0))
    bits = np.log2((limits[1] - limits[0]) / np.maximum(reached, 1e-6 * (limits[1] - limits[0])))
    return (((columns < limits[0] - slack) | (columns > limits[1] + slack)).mean(axis=0),
            np.round(np.maximum(bits, 0.0), 2))


def _weight_channels(graph: Graph, node: Node | None, pairs: Iterable[tuple[Array, Array]]
                     ) -> tuple[list[float], list[float]]:
    """Signal-to-noise ratio and largest magnitude of the weights of each output channel."""
    mates = {n.output: n for n in graph.nodes}
    if node is None or node.output not in mates:
        return [], []
    quants = [graph.values[i].type.quant for i in mates[node.output].inputs if graph.values[i].data is not None]
    for (exact, rough), quant in zip(pairs, quants, strict=False):
        if quant is not None and quant.axis is not None and exact.ndim > 1:
            rows = [np.moveaxis(a, quant.axis, 0).reshape(exact.shape[quant.axis], -1) for a in (exact, rough)]
            return ([_ratio(a, b) for a, b in zip(*rows, strict=True)],
                    [float(v) for v in np.abs(rows[0]).max(axis=1)])
    return [], []


def _channels(exact: Array, rough: Array, limits: tuple[float, float] | None, weights: list[float],
              sizes: list[float]) -> tuple[Channel, ...]:
    """Along the last axis."""
    if exact.ndim < 2:
        return ()
    a, b = (v.reshape(-1, v.shape[-1]).astype(np.float64) for v in (exact, rough))
    signal, noise, low, high = (a ** 2).sum(axis=0), ((a - b) ** 2).sum(axis=0), a.min(axis=0), a.max(axis=0)
    clipped, unused = _use(a, limits)
    fits = len(weights) == a.shape[1]
    return tuple(
        Channel(decibels(float(signal[i]), float(noise[i])), float(low[i]), float(high[i]), float(clipped[i]),
                float(unused[i]), weights[i] if fits else None, sizes[i] if fits else None)
        for i in range(a.shape[1]))


# --- recipes -----------------------------------------------------------------------------------------------------

def _recipes(net: Net, samples: Samples, calib: Samples, judged: Array, truth: Mapping[str, Array],
             labels: Array | None, tell: Progress) -> tuple[tuple[Recipe, ...], Recipe | None]:
    """Other options, each tried on the judged samples, and the best: of weights and corrections, then of ranges.

    All are tried with weights learned from few samples, and the best once more as a compilation would have it.
    """
    current = {name: getattr(net.options, name) for name in _WHY}
    given = has_steps(net.float_graph)  # weights that are left alone
    mended = (current["corrections"],) if given else CORRECTIONS
    ways = [{**current, "weights": w, "corrections": c} for w, c in product(WEIGHTS, mended)
            if w in (current["weights"], WEIGHTS[0]) and c in (current["corrections"], CORRECTIONS[0])]
    tries = [w for w in ways if w != current]
    tries += [{**ways[0], "calibration": m} for m in METHODS if m != current["calibration"]]

    def tried(options: Mapping[str, str], learned: int) -> Recipe | None:
        prepared = prepare(net.float_graph, calib, options["calibration"], options["weights"],
                           CORRECTIONS[1] if given else options["corrections"],
                           equalized=current["corrections"] == CORRECTIONS[0])
        few = prepared.samples[::max(-(-len(prepared.samples) // learned), 1)]
        try:
            graph = replace(prepared, samples=few).quantize(FormatRecipe())
        except AotError:  # a range which the layers' accumulators do not allow
            return None
        found = _outputs(Batch(prepared.graph, graph), samples, judged, True)
        changed = {name: value for name, value in options.items() if value != current[name]}
        return Recipe(changed, "; ".join(_WHY[name] for name in changed), _answers(truth, found, labels))

    found = []
    for k, options in enumerate(tries):
        tell("trying recipes", k, len(tries))
        found.append(tried(options, LEARNED))
    kept = [r for r in found if r is not None]
    best = min(kept, key=lambda r: r.answers.error, default=None)
    if best is not None:
        again = tried({**current, **best.options}, len(calib))
        kept = [again if r is best and again is not None else r for r in kept]
        best = again
    return tuple(kept), best


_WHY = {"weights": "a scale for each output channel instead of one for all, so that small channels keep their digits",
        "calibration": "another choice of ranges, which weighs clipping against resolution differently",
        "corrections": "channels equalized, weights fitted and rounded by what samples show, biases corrected"}
