"""Float model, numpy twin and compiled C side by side, layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from aot import host
from aot.compiler import Net
from aot.data import Samples, class_labels
from aot.errors import AotError
from aot.given import has_grids
from aot.interpret import walk_float, walk_quantized
from aot.ir import Array, Value
from aot.numerics import decibels, real, span, stored
from aot.oracle import Oracle

#: Layer by layer comparison runs on this many samples at most; the outputs are compared on all of them.
LAYER_SAMPLES = 32


@dataclass(frozen=True)
class Layer:
    """A layer's signal-to-quantization-noise ratio in dB against the float model, and its type."""

    name: str
    sqnr_db: float
    type: str


@dataclass(frozen=True)
class Verification:
    """The result of :func:`verify`; fields as in the JSON of ``aot verify``.

    ``clipped``: how many of the ``inputs`` (elements of all inputs, all samples) lie outside of the calibrated range.
    """

    samples: int
    metric: str | None
    float_: float | None
    quantized: float | None
    agreement: float | None
    mean_abs_error: float
    sqnr_db: float
    elements: int
    mismatches: int
    first_mismatch: str | None
    inputs: int
    clipped: int
    layers: tuple[Layer, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain data under the documented names."""
        return {
            "samples": self.samples, "metric": self.metric, "float": self.float_, "quantized": self.quantized,
            "agreement": self.agreement, "mean_abs_error": self.mean_abs_error, "sqnr_db": self.sqnr_db,
            "bit_exact": {"elements": self.elements, "mismatches": self.mismatches,
                          "first_mismatch": self.first_mismatch},
            "clipped": {"elements": self.inputs, "outside": self.clipped},
            "layers": [{"name": x.name, "sqnr_db": x.sqnr_db, "type": x.type} for x in self.layers],
        }


def verify(net: Net, samples: Samples, progress: Callable[[int, int], None] | None = None) -> Verification:
    """Run every sample through the float model (ONNX Runtime), the numpy twin and the compiled C.

    The C must equal the twin in every byte of every output, and on the first samples of every layer.
    """
    graph = net.graph
    class_labels(samples, graph.values[graph.outputs[0]].type.size, "the evaluation data")
    oracle = Oracle(net.model, exact=has_grids(net.float_graph))
    steps = host.step_runner(net.name, net.files, graph, net.program, net.plan)
    noise = _Noise()
    floats: dict[str, list[Array]] = {n: [] for n in graph.outputs}
    ours: dict[str, list[Array]] = {n: [] for n in graph.outputs}
    elements = mismatches = inputs = clipped = 0
    first: str | None = None
    for i, x in enumerate(samples):
        q = {n: stored(a, graph.values[n].type) for n, a in x.items()}
        twin = dict(walk_quantized(graph, q)) | q
        inputs += sum(a.size for a in x.values())
        clipped += sum(_outside(a, graph.values[n]) for n, a in x.items())
        if i < LAYER_SAMPLES:
            known = all(s.site.output.name in twin for s in net.program.steps)
            executed = twin if known else dict(walk_quantized(net.program.graph, q))
            where, count, wrong = _compare_layers(net, steps, q, executed)
            elements, mismatches = elements + count, mismatches + wrong
            first = first or where
            for name, y in walk_float(net.float_graph, x):
                if name in twin:
                    noise.add(name, y, real(twin[name], graph.values[name].type))
        expected, result = oracle.run(x), steps.run(q)
        for name in graph.outputs:
            wrong = int((result[name] != twin[name]).sum())
            elements, mismatches = elements + result[name].size, mismatches + wrong
            first = first or (f"output {name}" if wrong else None)
            floats[name].append(expected[name])
            ours[name].append(real(result[name], graph.values[name].type).reshape(expected[name].shape))
        if progress is not None:
            progress(i + 1, len(samples))
    main = graph.outputs[0]
    reference, answer = np.stack(floats[main]), np.stack(ours[main])
    metric, before, after = _metric(samples.y, reference, answer)
    everything = [(np.stack(floats[n]), np.stack(ours[n])) for n in graph.outputs]
    layers = tuple(Layer(n.output, noise.ratio(n.output), str(graph.values[n.output].type)) for n in graph.nodes)
    return Verification(
        len(samples), metric, before, after, _agreement(reference, answer),
        float(np.mean([np.abs(a - b).mean() for a, b in everything])),
        decibels(sum(float((a.astype(np.float64) ** 2).sum()) for a, _ in everything),
                  sum(float(((a.astype(np.float64) - b) ** 2).sum()) for a, b in everything)),
        elements, mismatches, first, inputs, clipped, layers)


def _compare_layers(net: Net, steps: host.Runner, q: Mapping[str, Array],
                    twin: Mapping[str, Array]) -> tuple[str | None, int, int]:
    """Name of the first layer whose bytes differ (if any), bytes compared, bytes that differ."""
    types = [s.site.output.type for s in net.program.steps]
    first, elements, mismatches = None, 0, 0
    for step, result in zip(net.program.steps, steps.run_steps(q, types), strict=True):
        wrong = int((result != twin[step.site.output.name].reshape(-1)).sum())
        if wrong and first is None:
            first = f"layer {step.function} from {' + '.join(step.site.node.origin)}"
        elements, mismatches = elements + result.size, mismatches + wrong
    return first, elements, mismatches


def _outside(x: Array, value: Value) -> int:
    """How many elements differ by more than a step from the nearest number that the quantized value can hold."""
    if value.type.quant is None:
        return 0
    low, high = ((q - value.zero) * value.scale for q in span(value.type))
    return int(((x < low - value.scale) | (x > high + value.scale)).sum())


class _Noise:
    """Signal and noise power per layer, summed over samples."""

    def __init__(self) -> None:
        self._power: dict[str, tuple[float, float]] = {}

    def add(self, name: str, real: Array, approximate: Array) -> None:
        signal, noise = self._power.get(name, (0.0, 0.0))
        exact = real.astype(np.float64)
        self._power[name] = (signal + float((exact**2).sum()), noise + float(((exact - approximate) ** 2).sum()))

    def ratio(self, name: str) -> float:
        return decibels(*self._power.get(name, (0.0, 0.0)))


def _metric(y: Array | None, reference: Array, answer: Array) -> tuple[str | None, float | None, float | None]:
    """top1 for integer labels of several outputs, mse for a target array of the output's size."""
    if y is None:
        return None, None, None
    if y.ndim == 1 and y.dtype.kind in "iu" and reference[0].size > 1:
        def top1(out: Array) -> float:
            return float((out.reshape(len(out), -1).argmax(axis=1) == y).mean())
        return "top1", top1(reference), top1(answer)
    if y.size == reference.size:
        target = y.reshape(len(y), -1).astype(np.float64)

        def mse(out: Array) -> float:
            return float(((out.reshape(len(out), -1) - target) ** 2).mean())
        return "mse", mse(reference), mse(answer)
    raise AotError(f"y of shape {list(y.shape)} is neither one integer label a sample nor a target for the output",
                   "leave y out, or make it fit")


def _agreement(reference: Array, answer: Array) -> float | None:
    """Share of samples whose largest output is the same one; None for outputs of a single number."""
    flat = reference.reshape(len(reference), -1)
    if flat.shape[1] < 2:
        return None
    return float((flat.argmax(axis=1) == answer.reshape(len(answer), -1).argmax(axis=1)).mean())
