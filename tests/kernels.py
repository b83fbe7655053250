"""One operator as a whole generated project: what the kernel tests share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from aot.builder import Builder
from aot.calibrate import Calibration, calibrate
from aot.emit import emit
from aot.interpret import run_float, run_quantized, site
from aot.ir import FORMATS, Array, Graph, TensorType, Value
from aot.numerics import LIMITS, dequantize, real, span, stored
from aot.ops.base import Case
from aot.ops.unary import Unary
from aot.plan import Plan, check, plan
from aot.program import Program, lower
from aot.quantize import quantize as quantize_graph
from aot.recipe import Formats, Recipe
from aot.targets import TARGETS, Target

INT8 = Formats()


@dataclass(frozen=True, eq=False)
class Project:
    """A generated project with inputs (quantized, with extremes among them) and the twin's outputs."""

    graph: Graph
    float_graph: Graph
    files: dict[str, str]
    layers: tuple[str, ...]
    inputs: tuple[dict[str, Array], ...]
    outputs: tuple[dict[str, Array], ...]


def graph_of(case: Case) -> Graph:
    """A graph with just this operator."""
    b = Builder("case")
    shapes = iter(case.shapes)
    names, inputs = [], []
    for i in range(len(case.shapes) + len(case.constants)):
        if i in case.constants:
            names.append(b.constant(case.constants[i], f"constant{i}"))
        else:
            names.append(b.input(f"in{i}", next(shapes)))
            inputs.append(names[-1])
    return b.graph(inputs, [b.add(case.op, names, "out")])


def with_given_weights(graph: Graph) -> Graph:
    """The graph with weights whose integers are given, as quantized models have them: a few are beyond 8 bits."""
    rng = np.random.default_rng(0)
    name = graph.nodes[0].inputs[1]
    weights = graph.const(name)
    assert weights is not None
    step = float(np.abs(weights).max(initial=0)) / 127 or 1.0
    whole = np.rint(weights.astype(np.float64) / step)
    few = rng.integers(0, whole.size, 2)
    whole.flat[few] = rng.choice((-1, 1), 2) * rng.integers(128, 255, 2)
    value = replace(graph.values[name], data=(whole * step).astype(np.float32), steps=np.full(whole.shape, step))
    return replace(graph, values={**graph.values, name: value})


def wrapped(case: Case) -> Graph:
    """The same between element-wise functions, so that its inputs and its output lie in the arena."""
    b = Builder("case")
    shapes = iter(case.shapes)
    names, inputs = [], []
    for i in range(len(case.shapes) + len(case.constants)):
        if i in case.constants:
            names.append(b.constant(case.constants[i], f"constant{i}"))
        else:
            inputs.append(b.input(f"in{i}", next(shapes)))
            names.append(b.add(Unary("leakyrelu", (0.5,)), [inputs[-1]], f"front{i}"))
    return b.graph(inputs, [b.add(Unary("leakyrelu", (0.5,)), [b.add(case.op, names, "middle")], "out")])


def project(graph: Graph, target: Target = TARGETS["c99"], name: str = "case", seed: int = 0, spread: float = 1.0,
            samples: int = 6, optimize: str = "balanced", calibration: Calibration | None = None,
            place: Callable[[Program], Plan] | None = None, formats: Formats = INT8,
            recipe: Recipe | None = None, kernel: str = "") -> Project:
    """Calibrate on random data, quantize and generate; extreme inputs come on top of the random ones.

    A given ``calibration`` is taken instead; ``place`` makes the memory plan instead of the planner; ``formats`` are
    those of all operators, unless a whole ``recipe`` is given; ``kernel`` is to compute what is called "middle".
    """
    rng = np.random.default_rng(seed)

    def draw() -> dict[str, Array]:
        return {n: (spread * rng.normal(size=graph.values[n].type.shape)).astype(np.float32) for n in graph.inputs}

    found = calibration or calibrate(graph, [draw() for _ in range(samples)], "minmax")
    quantized = quantize_graph(graph, found, recipe=recipe or Recipe(formats))
    quantized = replace(quantized, nodes=tuple(
        replace(n, kernel=kernel) if n.output == "middle" else n for n in quantized.nodes))
    program = lower(quantized, target.isa, optimize)
    arena = place(program) if place else plan(program.buffers, program.sharings)
    check(program.buffers, program.sharings, arena.offsets, arena.size)
    inputs = [quantize_inputs(quantized, draw()) for _ in range(2)]
    for fill in ((0, 0), (1, 1), (0, 1)):
        inputs.append({n: ends(quantized.values[n].type)[rng.choice(fill, size=quantized.values[n].type.shape)]
                       for n in quantized.inputs})
    outputs = [run_quantized(quantized, q) for q in inputs]
    files = emit(quantized, program, arena, target, name, optimize, list(zip(inputs, outputs, strict=True)), {})
    return Project(quantized, graph, files, tuple(s.function for s in program.steps), tuple(inputs), tuple(outputs))


def quantize_inputs(graph: Graph, x: dict[str, Array]) -> dict[str, Array]:
    """Float inputs in the graph's input quantization."""
    return {n: stored(a, graph.values[n].type) for n, a in x.items()}


def ends(kind: TensorType) -> Array:
    """The smallest and the largest number of an input."""
    return np.array(LIMITS.get(kind.format, (-100.0, 100.0)), FORMATS[kind.format])


def worst_steps(made: Project, sample: int = 0) -> float:
    """Largest difference between twin and float meaning of the same (dequantized) inputs, in output steps."""
    x = {n: real(q, made.graph.values[n].type) for n, q in made.inputs[sample].items()}
    exact = run_float(made.float_graph, x)
    worst = 0.0
    for name, value in exact.items():
        quant = made.graph.values[name].quant
        low, high = span(made.graph.values[name].type)
        ideal = np.clip(value, (low - quant.zero) * quant.scale[0], (high - quant.zero) * quant.scale[0])
        worst = max(worst, float(np.abs(ideal - dequantize(made.outputs[sample][name], quant)).max()) / quant.scale[0])
    return worst


def steps_from_reference(made: Project, sample: int = 0) -> tuple[float, float]:
    """Largest difference between twin and float meaning of the one node, in steps of its output; and what may be.

    Both get the same inputs and, other than in :func:`worst_steps`, the same rounded constants: what is left is the
    error of the integer arithmetic. A 16-bit input that is narrowed first is taken as it is then.
    """
    if len(made.graph.nodes) == 2:
        first, last = made.graph.nodes
        narrow = first.op.simulate(site(made.graph, first), *(made.inputs[sample][i] for i in first.inputs))
        made = replace(made, graph=replace(made.graph, nodes=(last,)),
                       inputs=tuple({**x, first.output: narrow} for x in made.inputs))
    (node,) = made.graph.nodes
    values = [made.graph.values[i] for i in node.inputs]
    given = [made.inputs[sample][v.name] if v.data is None else v.data for v in values]
    output = made.graph.values[node.output]
    if output.type.format == "f32":
        exact = node.op.reference(*(q.astype(np.float64) for q in given))
        found = made.outputs[sample][node.output]
        size = np.maximum(np.abs(exact), np.abs(exact).max(initial=1e-30))
        usable = np.isfinite(exact) & (np.abs(exact) < 3e38)
        return float((np.abs(exact - found) / size)[usable].max(initial=0)), 1e-4
    quant = output.quant

    def exactly(q: Array, value: Value) -> Array:
        """Inputs as float32, which is what functions see; of linear operators, and constants, in 64 bits."""
        if value.data is None and not node.op.linear:
            return dequantize(q, value.quant).astype(np.float64)
        axis = value.quant.axis
        scale = np.asarray(value.quant.scale).reshape([-1 if i == axis else 1 for i in range(q.ndim)])
        return (q.astype(np.float64) - value.quant.zero) * scale

    exact = node.op.reference(*(exactly(q, v) for q, v in zip(given, values, strict=True)))
    ideal = np.clip(np.where(np.isnan(exact), 0.0, exact) / quant.scale[0] + quant.zero,
                    *span(made.graph.values[node.output].type))
    return (float(np.abs(ideal - made.outputs[sample][node.output]).max(initial=0)),
            node.op.error_bound(site(made.graph, node)))


def labels(cases: Sequence[tuple[str, Case]]) -> list[str]:
    """Test identifiers."""
    return [f"{name}-{i}" for i, (name, _) in enumerate(cases)]
