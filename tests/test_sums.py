"""Sums behind convolutions: which become one layer with them, in which formats, and what the road makes of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import battery
import numpy as np
import pytest
from frontend.models import model
from onnx import ModelProto, helper
from passes.rewriting import same_meaning
from road import draws, golden
from sketch import Sketch, random

import aot
from aot import host
from aot.calibrate import calibrate
from aot.interpret import run_float, run_quantized
from aot.ir import Graph
from aot.numerics import real, stored
from aot.ops.add import Add
from aot.ops.conv2d import Conv2d
from aot.ops.reshape import Reshape
from aot.ops.unary import Unary
from aot.ops.window import Window
from aot.passes.fuse import fuse_clamps
from aot.passes.lift import lift
from aot.quantize import quantize
from aot.recipe import Formats, Recipe
from aot.sums import fused, fused_as, spread, sums

RELU, RELU6 = Unary("clip", (0.0, np.inf)), Unary("clip", (0.0, 6.0))
SAME = Window((3, 3), pads=(1, 1, 1, 1))


def block(between: Unary | None = None, sign: int = 1, **more: bool) -> Graph:
    """x [1, 6, 5, 4]: a convolution "c", perhaps an activation, and its sum "y" with the tangent of x."""
    b = Sketch()
    b.input("x", (1, 6, 5, 4))
    other = b.then(Unary("tanh"), "x", "t")
    products = b.conv("x", "c", 4, SAME)
    if between is not None:
        products = b.then(between, products, "a")
    b.then(Add(sign), [other, products], "y")
    return fuse_clamps(b.graph(["x"], ["y", *(["c"] if more.get("seen") else [])]))


def residuals(graph: Graph) -> list[Conv2d]:
    return [n.op for n in graph.nodes if isinstance(n.op, Conv2d) and n.op.residual]


@pytest.mark.parametrize(("between", "rectify"), [(None, False), (RELU, True)])
def test_a_sum_becomes_one_layer(between: Unary | None, rectify: bool) -> None:
    before = block(between)
    after = fused(before, Recipe())[0]
    assert [n.output for n in after.nodes] == ["t", "y"]
    assert [op.rectify for op in residuals(after)] == [rectify]
    same_meaning(before, after)
    assert after.nodes[-1].origin == before.nodes[-2].origin + before.nodes[-1].origin


def test_relu_behind_the_sum_is_a_clamp() -> None:
    b = Sketch()
    b.input("x", (1, 6, 5, 4))
    b.then(RELU, [b.then(Add(), [b.conv("x", "c", 4, SAME), b.then(Unary("tanh"), "x", "t")], "s")], "y")
    before = fuse_clamps(b.graph(["x"], ["y"]))
    (op,) = residuals(fused(before, Recipe())[0])
    assert (op.clamp, op.rectify) == ((0.0, None), False)
    same_meaning(before, fused(before, Recipe())[0])


def test_of_two_convolutions_the_later_one_takes_the_sum() -> None:
    b = Sketch()
    b.input("x", (1, 6, 5, 4))
    b.then(Add(), [b.conv("x", "first", 4, SAME), b.conv("x", "second", 4, SAME)], "y")
    before = b.graph(["x"], ["y"])
    assert sums(before)["y"].products == "second"
    after = fused(before, Recipe())[0]
    assert [n.output for n in after.nodes] == ["first", "y"]
    same_meaning(before, after)


def twice() -> Graph:
    b = Sketch()
    b.input("x", (1, 6, 5, 4))
    c = b.conv("x", "c", 4, SAME)
    b.then(Add(), [c, c], "y")
    return b.graph(["x"], ["y"])


def broadcast() -> Graph:
    b = Sketch()
    b.input("x", (1, 6, 5, 4))
    b.input("z", (1, 1, 1, 4))
    b.then(Add(), [b.conv("x", "c", 4, SAME), "z"], "y")
    return b.graph(["x", "z"], ["y"])


@pytest.mark.parametrize("make", [
    lambda: block(sign=-1), lambda: block(RELU6), lambda: block(seen=True), lambda: block(Unary("sigmoid")), twice,
    broadcast], ids=["difference", "another clamp", "products are an output", "function between", "twice", "broadcast"])
def test_what_stays_as_it_is(make: Callable[[], Graph]) -> None:
    graph = make()
    assert not sums(graph)
    assert fused(graph, Recipe())[0] == graph or str(fused(graph, Recipe())[0]) == str(graph)


@pytest.mark.parametrize("layer", ["c", "y"])
@pytest.mark.parametrize("formats", [Formats("s8", "s4"), Formats("s16", "s8"), Formats("f32", "f32")], ids=str)
def test_only_in_8_bits(layer: str, formats: Formats) -> None:
    """Another format for the convolution keeps both apart; for the sum, another one of activations does."""
    graph, recipe = block(), Recipe(layers={layer: formats})
    apart = layer == "c" or formats.activations != "s8"
    assert bool(residuals(fused(graph, recipe)[0])) != apart
    calibration = calibrate(graph, [{"x": random(1, 6, 5, 4, seed=i)} for i in range(4)])
    made = quantize(graph, calibration, recipe=recipe)
    assert bool(residuals(made)) != apart
    assert [n.output for n in fused_as(graph, made).nodes] == (["t", "c", "y"] if apart else ["t", "y"])


def test_formats_of_a_sum_hold_for_its_convolution() -> None:
    four = Formats("s8", "s4")
    assert spread(Recipe(layers={"y": four}), block()).layers == {"y": four, "c": four}
    kept = spread(Recipe(layers={"y": four, "c": Formats()}), block())
    assert kept.layers == {"y": four, "c": Formats()}


def test_goals_and_kernels_of_a_sum() -> None:
    """What is said of the sum, or of its convolution, holds for the one layer; a kernel that was not taken is told."""
    weights = {"w0": random(8, 8, 3, 3), "w1": random(8, 8, 3, 3)}
    nodes = [helper.make_node("Conv", ["x", "w0"], ["h"], pads=[1] * 4),
             helper.make_node("Conv", ["h", "w1"], ["c"], pads=[1] * 4), helper.make_node("Add", ["c", "h"], ["y"])]
    proto = model(nodes, {"x": [1, 8, 7, 6]}, {"y": [1, 8, 7, 6]}, weights)
    data = draws(proto, 30)
    plain = aot.compile(proto, data, target="cortex-m4")
    (found,) = sums(plain.float_graph).values()
    (layer,) = [s for s in plain.program.steps if s.site.residual is not None]
    other = next(k for k in ("conv2d.dsp", "conv2d.dsp_small", "conv2d.dsp_winograd") if k != layer.kernel.name)
    for name in (found.total, found.products):
        net = aot.compile(proto, data, target="cortex-m4", config={"layers": {name: {"kernel": other, "goal": "size"}}})
        (step,) = [s for s in net.program.steps if s.site.residual is not None]
        assert (step.kernel.name, step.site.goal) == (other, "size")
        assert not any("kernel" in w.fact for w in net.report.warnings)
    for name, kernel in ((found.total, "add.dsp"), (found.products, "conv2d.mve")):
        net = aot.compile(proto, data, target="cortex-m4", config={"layers": {name: {"kernel": kernel}}})
        (warning,) = [w for w in net.report.warnings if "kernel" in w.fact]
        assert kernel in warning.fact and layer.kernel.name in warning.fact


def test_given_products_keep_their_rounding() -> None:
    graph = block()
    assert not residuals(fused(graph, Recipe(), given={"c": graph.values["c"].type})[0])
    weights = graph.values[graph.producer()["c"].inputs[1]]
    stepped = replace(graph, values={**graph.values, weights.name: replace(
        weights, steps=np.full(weights.type.shape, 0.01))})
    assert not sums(stepped)


def test_the_residual_is_exact_in_steps_of_the_sum() -> None:
    graph = block()
    made = quantize(graph, calibrate(graph, [{"x": random(1, 6, 5, 4, seed=i)} for i in range(4)]))
    x, w, _, r = (made.values[i] for i in made.nodes[-1].inputs)
    factors = r.scale / (x.scale * np.asarray(w.quant.scale))
    np.testing.assert_allclose(factors, np.rint(factors), rtol=1e-9)
    assert factors.min() > 1


@pytest.mark.parametrize("between", [None, RELU], ids=["plain", "behind ReLU"])
def test_one_rounding_errs_less_than_two(between: Unary | None) -> None:
    graph = block(between)
    samples = [{"x": random(1, 6, 5, 4, seed=i)} for i in range(30)]
    calibration = calibrate(graph, samples, "minmax")

    def error(made: Graph) -> float:
        differences = []
        for x in samples:
            q = run_quantized(made, {n: stored(a, made.values[n].type) for n, a in x.items()})
            differences.append(real(q["y"], made.values["y"].type) - run_float(graph, x)["y"])
        return float(np.square(differences).mean())

    together, products = quantize(graph, calibration), sums(graph)["y"].products
    coarse = quantize(graph, calibration, recipe=Recipe(layers={products: Formats("s8", "s4")}))
    apart = quantize(graph, calibration, given={products: coarse.values[products].type})
    assert residuals(together) and not residuals(apart)
    assert error(together) < 0.9 * error(apart)


def test_sums_go_in_front_of_reshapes() -> None:
    """Those of one-dimensional convolutions too become one layer with these."""
    net = aot.compile(tcn(), data=draws(tcn(), 20))
    assert len(residuals(net.graph)) == 2


def tcn() -> ModelProto:
    """x [1, 6, 20]: dilated convolutions in residual blocks; the second block adds its own input."""
    rng = np.random.default_rng(3)
    nodes, constants, last = [], {}, "x"
    for i, (inner, dilation) in enumerate(((6, 1), (8, 2))):
        constants |= {f"w{i}": random(8, inner, 3, seed=i), f"v{i}": random(8, inner, 1, seed=9 + i),
                      f"b{i}": rng.normal(size=8).astype(np.float32)}
        nodes += [helper.make_node("Conv", [last, f"w{i}", f"b{i}"], [f"c{i}"], dilations=[dilation],
                                   pads=[dilation, dilation]),
                  helper.make_node("Relu", [f"c{i}"], [f"r{i}"])]
        other = last
        if i == 0:
            nodes.append(helper.make_node("Conv", [last, f"v{i}"], [f"short{i}"]))
            other = f"short{i}"
        nodes.append(helper.make_node("Add", [f"r{i}", other], [f"s{i}"]))
        last = f"s{i}"
    nodes.append(helper.make_node("Relu", [last], ["y"]))
    used = {n: a for n, a in constants.items() if any(n in node.input for node in nodes)}
    return model(nodes, {"x": [1, 6, 20]}, {"y": [1, 8, 20]}, used)


def own_input(kernel: int = 3) -> ModelProto:
    """x [1, 4, 9, 8]: a convolution, then two that add their own inputs, and one whose sum is read twice."""
    pads = [kernel // 2] * 4
    weights = {f"w{i}": random(8, 4 if i == 0 else 8, kernel, kernel, seed=i) / (3 * kernel) for i in range(4)}
    nodes = [helper.make_node("Conv", ["x", "w0"], ["h0"], pads=pads)]
    for i in (1, 2, 3):
        nodes += [helper.make_node("Conv", [f"h{i - 1}", f"w{i}"], [f"c{i}"], pads=pads),
                  helper.make_node("Add", [f"c{i}", f"h{i - 1}"] if i < 3 else ["c3", "h1"], [f"h{i}"])]
    return model(nodes, {"x": [1, 4, 9, 8]}, {"h3": [1, 8, 9, 8]}, weights)


@pytest.mark.parametrize("optimize", ["speed", "balanced", "size"])
@pytest.mark.parametrize("target", battery.ISAS.values())
def test_c_equals_the_twin(target: str, optimize: str) -> None:
    """Also where a layer adds what it reads, and where what it adds is read again."""
    for proto in (own_input(3), own_input(1), tcn()):
        net = aot.compile(proto, data=draws(proto, 20), target=target, optimize=optimize)
        assert residuals(net.graph)
        runner = host.runner(net.name, net.files, net.graph)
        for q, expected in golden(net):
            for name, y in runner.run(q).items():
                np.testing.assert_array_equal(y, expected[name], str(net.graph))


def test_a_strip_has_its_rows_of_the_residual() -> None:
    """Where memory is short, a wide map between two narrow ones is made and used up row by row."""
    weights = {"w0": random(4, 4, 1, 1), "w1": random(32, 4, 3, 3) / 6, "w2": random(4, 32, 1, 1) / 6}
    nodes = [helper.make_node("Conv", ["x", "w0"], ["h"]),
             helper.make_node("Conv", ["h", "w1"], ["wide"], pads=[1, 1, 1, 1]),
             helper.make_node("Relu", ["wide"], ["r"]), helper.make_node("Conv", ["r", "w2"], ["c"]),
             helper.make_node("Add", ["c", "h"], ["y"])]
    proto = model(nodes, {"x": [1, 4, 16, 12]}, {"y": [1, 4, 16, 12]}, weights)
    net = aot.compile(proto, data=draws(proto, 20), target="cortex-m4", ram=4500)
    strips = [s.site.node.op for s in net.program.steps]
    assert sum(isinstance(op, Conv2d) and op.residual for op in strips) > 1
    runner = host.runner(net.name, net.files, net.graph)
    for q, expected in golden(net):
        np.testing.assert_array_equal(runner.run(q)["y"], expected["y"])


def test_lift_keeps_the_meaning_of_a_sum() -> None:
    b = Sketch()
    b.input("x", (1, 1, 6, 4))
    b.input("z", (1, 6, 4))
    flat = b.then(Reshape((1, 6, 4)), b.conv("x", "c", 4, Window((1, 3), pads=(0, 1, 0, 1))), "flat")
    b.then(Add(), [flat, "z"], "y")
    before = b.graph(["x", "z"], ["y"])
    after = lift(before)
    same_meaning(before, after)
    assert len(residuals(fused(after, Recipe())[0])) == 1
