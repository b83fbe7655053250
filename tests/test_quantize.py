"""From float to integers: scales, zero points, biases; and the proof that no accumulator overflows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from kernels import graph_of, project
from sketch import Sketch, random

from aot.calibrate import Calibration, Range, calibrate
from aot.errors import AotError
from aot.interpret import run_float, run_quantized, site
from aot.ir import Array, Graph, Quant, TensorType, Value
from aot.numerics import INT32_MAX, real, stored
from aot.ops import linear
from aot.ops.add import Add
from aot.ops.base import Case, affine
from aot.ops.concat import Concat
from aot.ops.conv2d import Conv2d
from aot.ops.depthwise_conv2d import DepthwiseConv2d
from aot.ops.fully_connected import FullyConnected
from aot.ops.max_pool2d import MaxPool2d
from aot.ops.softmax import Softmax
from aot.ops.unary import Unary
from aot.ops.window import Window
from aot.quantize import prove, quantize


def ranged(graph: Graph, **ranges: tuple[float, float]) -> Graph:
    """The graph quantized with these ranges; -1 .. 1 for values not named."""
    names = [*graph.inputs, *(n.output for n in graph.nodes)]
    return quantize(graph, Calibration({n: Range(*ranges.get(n, (-1, 1))) for n in names}, 1, "minmax"))


def constants(graph: Graph) -> list[Array]:
    """Integer weights and bias of the first node."""
    return [np.asarray(graph.values[i].data) for i in graph.nodes[0].inputs[1:]]


def dense(w: Array, b: Array) -> Graph:
    return graph_of(Case(FullyConnected(), ((1, w.shape[1]),), {1: w.astype(np.float32), 2: b.astype(np.float32)}))


# --- activations -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("low", "high", "zero"), [
    (0, 1, -128), (-1, 0, 127), (-128, 127, 0), (0.5, 1, -128), (-3, -1, 127), (0, 0, 0), (-64, 191, -64)])
def test_zero_is_exact_and_the_range_is_covered(low: float, high: float, zero: int) -> None:
    quant = affine(low, high, "s8")
    assert quant.zero == zero
    assert quant.scale[0] * (-128 - quant.zero) <= min(low, 0) + quant.scale[0]
    assert quant.scale[0] * (127 - quant.zero) >= max(high, 0) - quant.scale[0]
    assert quant.scale[0] == float(np.float32(quant.scale[0]))


@pytest.mark.parametrize(("low", "high"), [(0, np.inf), (np.nan, 1)])
def test_ranges_are_finite(low: float, high: float) -> None:
    with pytest.raises(AotError, match="not finite"):
        affine(low, high, "s8")


def test_moving_data_keeps_its_scale() -> None:
    b = Sketch()
    b.input("x", (1, 4, 4, 2))
    y = b.then(MaxPool2d(Window((2, 2))), "x", "pool")
    graph = ranged(b.graph(["x"], [y]), x=(-2, 6), pool=(0, 1))
    assert graph.values["pool"].quant == graph.values["x"].quant


def test_softmax_has_a_scale_of_its_own() -> None:
    graph = ranged(graph_of(Case(Softmax(), ((1, 4),), {})), out=(0, 0.3))
    assert graph.values["out"].quant == Quant((1 / 256,), -128)


def test_sigmoids_and_tanhs_use_the_range_of_the_function() -> None:
    graph = ranged(graph_of(Case(Unary("sigmoid"), ((4,),), {})), out=(0.2, 0.3))
    assert graph.values["out"].quant == affine(0, 1, "s8")


@pytest.mark.parametrize(("narrow", "shared"), [(0.9, True), (0.1, False)])
def test_parts_of_a_concatenation_share_its_scale_if_alike(narrow: float, shared: bool) -> None:
    b = Sketch()
    b.input("x", (1, 3))
    parts = [b.then(Add(), ["x", "x"], "wide"), b.then(Add(-1), ["x", "x"], "narrow")]
    graph = ranged(b.graph(["x"], [b.then(Concat(1), parts, "y")]), wide=(-1, 1), narrow=(-narrow, narrow))
    assert graph.values["wide"].quant == graph.values["y"].quant
    assert (graph.values["narrow"].quant == graph.values["y"].quant) is shared


# --- weights and biases ------------------------------------------------------------------------------------------

def test_every_channel_has_the_finest_scale_that_holds_it() -> None:
    w = np.array([[1.0, -0.5], [0.01, 0.002], [-300.0, 300.0]])
    graph = ranged(dense(w, np.zeros(3)), out=(-400, 400))
    q = graph.values[graph.nodes[0].inputs[1]]
    assert q.data is not None and q.data.dtype == np.int8 and q.quant.axis == 0
    assert np.abs(q.data).max(axis=1)[::2].tolist() == [126, 127]  # small ones are coarser, by 2**-14 of the largest
    np.testing.assert_allclose(np.array(q.quant.scale)[::2], [1 / 127, 300 / 127], atol=2.0**-14 * 300 / 127)
    steps = np.array(q.quant.scale)[:, None]
    assert (np.abs(q.data * steps - w) <= 0.5001 * steps).all()


def test_weights_never_are_minus_128() -> None:
    w = np.random.default_rng(0).normal(size=(8, 50))
    q, _ = constants(ranged(dense(w, np.zeros(8))))
    assert np.abs(q.astype(int)).max(axis=1).tolist() == [127] * 8


def test_channels_of_zeros_and_huge_biases_keep_16_bits_of_multiplier() -> None:
    w = np.array([[0.0, 0.0], [1e-12, 0.0], [1.0, 1.0]])
    graph = ranged(dense(w, np.array([0.5, -0.25, 1000.0])), out=(-1, 1))
    node = graph.nodes[0]
    made = node.op.constants(site(graph, node))
    assert made["multipliers"].min() >= 2**15
    y = node.op.simulate(site(graph, node), np.zeros((1, 2), np.int8), *(graph.values[i].data for i in node.inputs[1:]))
    quant = graph.values["out"].quant
    np.testing.assert_allclose((y[0].astype(int) - quant.zero) * quant.scale[0], [0.5, -0.25, 1.0], atol=quant.scale[0])


def test_the_mean_of_what_rounding_shifts_is_in_the_bias() -> None:
    """With the mean input, every channel's output is right to the bias's own precision."""
    rng = np.random.default_rng(3)
    w, mean = rng.normal(size=(6, 40)), rng.integers(0, 256, 40) / 255  # a sample which int8 holds exactly
    graph = dense(w, np.zeros(6))
    found = Calibration({"in0": Range(0, 1), "out": Range(-20, 20)}, 1, "minmax")
    made = quantize(graph, found, samples=[{"in0": mean.astype(np.float32)[None]}])
    q, b = (made.values[i] for i in made.nodes[0].inputs[1:])
    assert q.data is not None and b.data is not None
    real = (q.data * np.array(q.quant.scale)[:, None]) @ mean + b.data * np.array(b.quant.scale)
    np.testing.assert_allclose(real, w.astype(np.float32) @ mean, atol=1e-3)
    assert np.abs((q.data * np.array(q.quant.scale)[:, None] - w) @ mean).max() > 1e-3, "there was nothing to correct"


@pytest.mark.parametrize("seed", range(6))
def test_weights_are_fitted_only_where_outputs_come_nearer_to_the_float_networks(
        seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network of two layers: of fitted weights and others, those are taken that err less on the samples."""
    b, rng = Sketch(), np.random.default_rng(seed)
    b.input("x", (1, 6, 6, 3))
    graph = b.graph(["x"], [b.conv(b.conv("x", "one", 8), "two", 4)])
    samples = [{"x": x} for x in (rng.normal(size=(16, 1, 6, 6, 3)) ** 3).astype(np.float32)]
    found = calibrate(graph, samples)

    def error() -> tuple[Graph, float]:
        made = quantize(graph, found, samples=samples)
        kinds = {n: made.values[n].type for n in ("x", "two")}
        lost = [real(run_quantized(made, {"x": stored(s["x"], kinds["x"])})["two"], kinds["two"])
                - run_float(graph, s)["two"] for s in samples]
        return made, float(np.abs(lost).mean())

    def unlike(one: Graph, other: Graph) -> bool:
        return any(not np.array_equal(np.asarray(one.values[n].data), np.asarray(other.values[n].data))
                   for n in one.values if one.values[n].data is not None)

    chosen, least = error()
    monkeypatch.setattr(linear, "fit_filters", lambda filters, moments: filters)
    plain, other = error()
    assert least <= other
    assert unlike(chosen, plain) == (least < other)


# --- proofs ------------------------------------------------------------------------------------------------------

def stuffed(graph: Graph, weights: Array, bias: Array) -> Graph:
    """A quantized graph whose first node has other integer constants."""
    values = dict(graph.values)
    for name, array in zip(graph.nodes[0].inputs[1:], (weights, bias), strict=True):
        old = values[name]
        values[name] = Value(name, TensorType(old.type.format, array.shape, old.type.quant), array)
    return replace(graph, values=values)


@pytest.mark.parametrize(("op", "shape", "w"), [
    (FullyConnected(), (1, 4), np.ones((2, 4))), (Conv2d(Window((1, 1))), (1, 2, 2, 4), np.ones((2, 1, 1, 4))),
    (DepthwiseConv2d(Window((2, 1))), (1, 2, 2, 2), np.ones((2, 1, 2)))], ids=lambda v: getattr(v, "name", None))
@pytest.mark.parametrize("over", [False, True])
def test_a_sum_that_could_leave_32_bits_is_refused(op: object, shape: tuple[int, ...], w: Array, over: bool) -> None:
    """One more than what fits is too much; the largest that fits passes, and the twin agrees with both."""
    case = Case(op, (shape,), {1: w.astype(np.float32), 2: np.zeros(2, np.float32)})  # type: ignore[arg-type]
    graph = ranged(graph_of(case), in0=(-1, 127 / 128), out=(-100, 100))
    assert graph.values["in0"].zero == 0
    weights, _ = constants(graph)
    reach = 128 * 127 * (w.size // 2)
    assert np.abs(weights.astype(int)).sum() == 127 * w.size
    bias = np.array([INT32_MAX - reach + over, 0], np.int32)
    full = stuffed(graph, -np.abs(weights), bias)
    node = full.nodes[0]
    x = np.full(shape, -128, np.int8)
    if over:
        with pytest.raises(AotError, match=r"conv2d from|fully_connected from|more than 32 bits hold"):
            prove(full)
        with pytest.raises((AssertionError, AotError)):
            node.op.simulate(site(full, node), x, *(full.values[i].data for i in node.inputs[1:]))
    else:
        assert prove(full) == {"out": 0}
        node.op.simulate(site(full, node), x, *(full.values[i].data for i in node.inputs[1:]))


def test_a_folded_bias_that_does_not_fit_is_refused() -> None:
    graph = ranged(dense(np.ones((1, 4)), np.zeros(1)), in0=(0, 1), out=(-9, 9))
    assert graph.values["in0"].zero == -128
    with pytest.raises(AotError, match="does not fit 32 bits after folding"):
        prove(stuffed(graph, constants(graph)[0], np.array([INT32_MAX - 100], np.int32)))


def test_headroom_is_what_is_left() -> None:
    graph = ranged(dense(np.ones((1, 8)), np.zeros(1)), in0=(-1, 127 / 128), out=(-9, 9))
    assert prove(graph) == {"out": 31 - (128 * 127 * 8).bit_length()}


def test_huge_biases_are_quantized_into_their_room() -> None:
    """The scale grows with the bias, so that the proof holds; the sum still is right."""
    made = project(dense(np.full((2, 3), 1e-3), np.array([1e6, -1e6])), calibration=Calibration(
        {"in0": Range(-1, 1), "out": Range(-1e6, 1e6)}, 1, "minmax"))
    quant = made.graph.values["out"].quant
    for y in made.outputs:
        np.testing.assert_allclose((y["out"][0].astype(int) - quant.zero) * quant.scale[0], [1e6, -1e6], rtol=0.01)


def test_too_fine_an_output_is_refused_with_its_layer() -> None:
    with pytest.raises(AotError, match="may overflow 32 bits") as caught:
        project(dense(np.ones((1, 100)), np.zeros(1)), calibration=Calibration(
            {"in0": Range(-1, 1), "out": Range(0, 1e-9)}, 1, "minmax"))
    assert "calibrate with data" in str(caught.value)


def test_refusals_name_the_layer() -> None:
    b = Sketch()
    b.input("x", (1, 3))
    graph = b.graph(["x"], [b.then(Softmax(), b.dense("x", "layer_7", 70_000), "y")])
    with pytest.raises(AotError, match="softmax from y: Softmax over 70000"):
        quantize(graph, calibrate(graph, [{"x": random(1, 3)}], "minmax"))
