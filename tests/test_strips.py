"""Stretches of layers in strips: the same bytes, in less memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import aot
from aot import data
from aot.bench import bench
from aot.builder import Builder
from aot.calibrate import calibrate
from aot.cut import cut
from aot.errors import AotError
from aot.interpret import run_quantized
from aot.ir import Graph, check
from aot.ops.add import Add
from aot.ops.average_pool2d import AveragePool2d
from aot.ops.conv2d import Conv2d
from aot.ops.depthwise_conv2d import DepthwiseConv2d
from aot.ops.max_pool2d import MaxPool2d
from aot.ops.reshape import Reshape
from aot.ops.unary import Unary
from aot.ops.window import Window
from aot.plan import plan
from aot.program import lower
from aot.quantize import prove, quantize
from aot.strips import arrange
from aot.targets import DSP
from aot.verify import verify

CNN = Path(__file__).parents[1] / "examples" / "digits_cnn"
KINDS = ("conv", "depthwise", "pool", "average", "add", "unary")


def chain(height: int, kinds: list[str], kernel: int, stride: int, dilation: int, pads: tuple[int, int, int, int],
          seed: int) -> Graph:
    """Layers of these kinds, one after the other; add takes the input of the layer before it if that fits."""
    rng = np.random.default_rng(seed)
    b = Builder("chain")
    x = before = b.input("x", (1, height, 7, 4))
    for i, kind in enumerate(kinds):
        window = Window((kernel, 3), (stride if i == 1 else 1, 1), (dilation, 1), pads)
        weights = rng.normal(size=(4, kernel, 3, 4)).astype(np.float32)
        if kind == "conv":
            after = b.add(Conv2d(window), [x, b.constant(weights, f"w{i}"), b.constant(np.ones(4), f"b{i}")], f"y{i}")
        elif kind == "depthwise":
            constants = [b.constant(weights[0], f"w{i}"), b.constant(np.ones(4), f"b{i}")]
            after = b.add(DepthwiseConv2d(window), [x, *constants], f"y{i}")
        elif kind == "pool":
            after = b.add(MaxPool2d(window), [x], f"y{i}")
        elif kind == "average":
            after = b.add(AveragePool2d(window, count_pad=i % 2 == 0), [x], f"y{i}")
        elif kind == "mean":
            after = b.add(AveragePool2d(Window(b.shape(x)[1:3]), clamp=(0.0, None)), [x], f"y{i}")
        elif kind == "add" and b.shape(before) == b.shape(x):
            after = b.add(Add(), [x, before], f"y{i}")
        else:
            after = b.add(Unary("tanh"), [x], f"y{i}")
        before, x = x, after
    return b.graph(["x"], [x])


def quantized(graph: Graph) -> Graph:
    rng = np.random.default_rng(0)
    shape = graph.values["x"].type.shape
    return quantize(graph, calibrate(graph, [{"x": rng.normal(size=shape).astype(np.float32)} for _ in range(3)]))


@settings(deadline=None, max_examples=60)
@given(st.integers(8, 23), st.lists(st.sampled_from(KINDS), min_size=2, max_size=5), st.integers(1, 4),
       st.integers(1, 2), st.integers(1, 2), st.tuples(*[st.integers(0, 2)] * 4), st.integers(2, 4),
       st.integers(0, 9))
def test_strips_compute_the_same(height: int, kinds: list[str], kernel: int, stride: int, dilation: int,
                                 pads: tuple[int, int, int, int], strips: int, seed: int) -> None:
    try:
        graph = quantized(chain(height, kinds, kernel, stride, dilation, pads, seed))
    except AotError:
        return  # a window larger than what is left
    made = cut(graph, 0, len(graph.nodes) - 1, strips)
    if made is None:
        return  # too few rows, or windows wholly in the padding
    check(made[0])
    x = {"x": np.random.default_rng(seed).integers(-128, 128, graph.values["x"].type.shape).astype(np.int8)}
    for name, y in run_quantized(graph, x).items():
        np.testing.assert_array_equal(run_quantized(made[0], x)[name], y)


@settings(deadline=None, max_examples=20)
@given(st.integers(8, 23), st.lists(st.sampled_from(KINDS), min_size=1, max_size=3), st.integers(1, 3),
       st.tuples(*[st.integers(0, 2)] * 4), st.integers(2, 4), st.integers(0, 9))
def test_a_mean_is_summed_up_strip_by_strip(height: int, kinds: list[str], kernel: int,
                                            pads: tuple[int, int, int, int], strips: int, seed: int) -> None:
    try:
        graph = quantized(chain(height, [*kinds, "mean"], kernel, 1, 1, pads, seed))
    except AotError:
        return
    made = cut(graph, 0, len(graph.nodes) - 1, strips)
    if made is None:
        return
    check(made[0])
    assert [n.op.name for n in made[0].nodes].count("pool_sum") == strips
    assert prove(made[0])
    x = {"x": np.random.default_rng(seed).integers(-128, 128, graph.values["x"].type.shape).astype(np.int8)}
    np.testing.assert_array_equal(*(next(iter(run_quantized(g, x).values())) for g in (graph, made[0])))


def separable(layers: int = 4, height: int = 24) -> onnx.ModelProto:
    """A network of depthwise and pointwise convolutions that ends in an average over the whole map."""
    rng = np.random.default_rng(0)

    def conv(i: int, x: str, kernel: int, group: int, channels: int = 16) -> list[onnx.NodeProto]:
        w = rng.normal(size=(channels, channels // group, kernel, kernel)).astype(np.float32)
        weights.append(onnx.numpy_helper.from_array(w, f"w{i}"))
        conv = onnx.helper.make_node("Conv", [x, f"w{i}"], [f"c{i}"], pads=[kernel // 2] * 4, group=group)
        return [conv, onnx.helper.make_node("Relu", [f"c{i}"], [f"r{i}"])]

    weights: list[onnx.TensorProto] = []
    nodes, x = [], "x"
    for i in range(2 * layers):
        nodes += conv(i, x, *((3, 16) if i % 2 else (1, 1)))
        x = f"r{i}"
    nodes += [onnx.helper.make_node("GlobalAveragePool", [x], ["mean"]),
              onnx.helper.make_node("Flatten", ["mean"], ["y"])]
    types = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, s)
             for n, s in (("x", (1, 16, height, 12)), ("y", (1, 16)))]
    return onnx.helper.make_model(onnx.helper.make_graph(nodes, "separable", types[:1], types[1:], weights),
                                  opset_imports=[onnx.helper.make_opsetid("", 17)])


@pytest.mark.parametrize("target", ["c99", "cortex-m4"])
def test_a_budget_below_every_map_is_met(target: str) -> None:
    """No map of the chain fits the budget whole: it is one stretch, longer than others, to the average at its end."""
    model = separable()
    samples = {"x": np.random.default_rng(0).normal(size=(6, 16, 24, 12)).astype(np.float32)}
    net = aot.compile(model, data=samples, target=target, ram=24 * 12 * 16 * 8 // 10)
    assert net.report.arena <= 24 * 12 * 16 * 8 // 10 < net.report.arena_lower_bound * 2
    assert any("average" in row.op or row.op == "pool_mean" for row in net.report.rows)
    result = verify(net, data.load(samples, net.float_graph))
    assert (result.mismatches, result.first_mismatch) == (0, None)


@pytest.mark.emulator
@pytest.mark.parametrize("target", ["cortex-m0", "cortex-m4", "cortex-m55"])
def test_sums_of_strips_on_boards(target: str) -> None:
    samples = {"x": np.random.default_rng(0).normal(size=(3, 16, 24, 12)).astype(np.float32)}
    net = aot.compile(separable(2), data=samples, target=target, ram=24 * 12 * 16 * 8 // 10)
    assert "pool_sum" in {row.op for row in net.report.rows}
    assert bench(net).elements > 0


def test_a_map_is_used_up_while_its_successor_is_written() -> None:
    """A residual block in strips: the result lies over the input, and the arena holds little more than one map."""
    b = Builder("residual")
    rng = np.random.default_rng(1)
    names = [b.input("x", (1, 33, 32, 4))]
    window = Window((3, 3), pads=(1, 1, 1, 1))
    for i in range(3):
        w = b.constant(rng.normal(size=(4, 3, 3, 4)).astype(np.float32), f"w{i}")
        names.append(b.add(Conv2d(window), [names[-1], w, b.constant(np.zeros(4), f"b{i}")], f"y{i}"))
    total = b.add(Add(), [names[1], names[3]], "sum")
    y = b.add(MaxPool2d(Window((33, 32))), [total], "y")
    graph = quantized(b.graph(["x"], [y]))
    one_map = 33 * 32 * 4
    made = cut(graph, 1, 2, 4)  # the sum is one layer with the last convolution
    assert made is not None
    (use,) = made[1]
    assert (use.input, use.output) == ("y0", "sum")
    program = lower(made[0], DSP, using=made[1])
    arena = plan(program.buffers, program.sharings)
    assert arena.size < 2 * one_map < plan((p := lower(graph, DSP)).buffers, p.sharings).size


def test_a_budget_is_met_by_strips() -> None:
    samples = dict(np.load(CNN / "calib.npz"))
    whole = aot.compile(CNN / "model.onnx", data=samples, name="digits", optimize="speed")
    budget = whole.report.arena * 7 // 10
    small = aot.compile(CNN / "model.onnx", data=samples, name="digits", optimize="speed", ram=budget)
    assert small.report.arena <= budget
    assert any("strips" in line for line in small.report.strips) and not whole.report.strips
    assert small.report.macs == whole.report.macs
    x = np.random.default_rng(0).integers(-128, 128, (5, *whole.graph.values[whole.graph.inputs[0]].type.shape[1:]))
    np.testing.assert_array_equal(small.run_quantized(x), whole.run_quantized(x))


def test_a_budget_that_cannot_be_met_is_refused_with_what_is_needed() -> None:
    with pytest.raises(AotError, match=r"the network needs [\d,]+ bytes of RAM, the budget is 100"):
        aot.compile(CNN / "model.onnx", data=dict(np.load(CNN / "calib.npz")), ram=100)


def test_speed_alone_pays_nothing_for_memory() -> None:
    graph = quantized(chain(20, ["conv", "conv", "pool"], 3, 2, 1, (1, 1, 1, 1), 0))
    assert not arrange(graph, DSP, "speed", None).cuts


def test_a_map_with_another_name_is_not_used_up() -> None:
    """It was taken for dead behind the strips, though a reshape of it was needed later."""
    b = Builder("names")
    rng = np.random.default_rng(1)
    x = b.add(Unary("tanh"), [b.input("x", (1, 16, 8, 4))], "first")
    w = b.constant(rng.normal(size=(4, 3, 3, 4)).astype(np.float32), "w")
    other = b.add(Reshape((1, 512)), [x], "other")
    y = b.add(Conv2d(Window((3, 3), pads=(1, 1, 1, 1))), [x, w, b.constant(np.zeros(4), "b")], "conv")
    total = b.add(Add(-1), [x, y], "sum")
    out = b.add(Add(), [b.add(Reshape((1, 512)), [total], "flat"), other], "out")
    graph = quantized(b.graph(["x"], [out]))
    made = cut(graph, 2, 3, 2)
    assert made is not None
    assert not any(s.progressive for s in lower(made[0], DSP, using=made[1]).sharings)
