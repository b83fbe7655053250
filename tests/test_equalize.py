"""Factors for channels: the network's meaning stays, small channels get more of their tensor's range."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sketch import Sketch, graphs

from aot.equalize import LARGEST, equalize
from aot.interpret import run_float
from aot.ir import Array, Graph, check
from aot.observe import ENOUGH, observe
from aot.ops.add import Add
from aot.ops.average_pool2d import AveragePool2d
from aot.ops.base import Op
from aot.ops.conv2d import Conv2d
from aot.ops.depthwise_conv2d import DepthwiseConv2d
from aot.ops.fully_connected import FullyConnected
from aot.ops.max_pool2d import MaxPool2d
from aot.ops.reshape import Reshape
from aot.ops.softmax import Softmax
from aot.ops.unary import Unary
from aot.ops.window import Window

SAME = Window((3, 3), pads=(1, 1, 1, 1))


def uneven(rng: np.random.Generator, *shape: int, axis: int = 0) -> Array:
    """Weights whose output channels differ in size by orders of magnitude."""
    size = 10.0 ** rng.uniform(-2, 1, shape[axis])
    sizes = size.reshape([-1 if i == axis else 1 for i in range(len(shape))])
    return np.asarray(rng.normal(size=shape) * sizes, np.float32)


def network(seed: int, clamp: tuple[float | None, float | None] = (0.0, None)) -> Graph:
    """Convolutions, a depthwise one, a residual addition, pooling, and two dense layers behind a reshape."""
    rng, b = np.random.default_rng(seed), Sketch()

    def layer(op: Op, x: str, name: str, w: Array, outputs: int) -> str:
        bias = rng.normal(size=outputs).astype(np.float32)
        return b.then(op, [x, b.constant(w, f"{name}.w"), b.constant(bias, f"{name}.b")], name)

    b.input("x", (1, 6, 4, 3))
    a = layer(Conv2d(SAME, clamp=clamp), "x", "a", uneven(rng, 8, 3, 3, 3), 8)
    d = layer(DepthwiseConv2d(SAME, clamp=clamp), a, "d", uneven(rng, 3, 3, 16, axis=2), 16)
    p = layer(Conv2d(Window((1, 1))), d, "p", uneven(rng, 8, 1, 1, 16), 8)
    s = b.then(Add(clamp=clamp), [a, p], "s")
    g = layer(Conv2d(SAME, groups=2), s, "g", uneven(rng, 4, 3, 3, 4), 4)
    m = b.then(MaxPool2d(Window((2, 2), (2, 2))), [g], "m")
    v = b.then(AveragePool2d(Window((1, 2))), [m], "v")
    r = b.then(Reshape((1, 12)), [v], "r")
    f = layer(FullyConnected((0.0, None)), r, "f", uneven(rng, 5, 12), 5)
    o = layer(FullyConnected(), f, "o", uneven(rng, 4, 5), 4)
    return b.graph(["x"], [b.then(Softmax(), [o], "y"), o])


def samples(seed: int, count: int = 12) -> list[dict[str, Array]]:
    rng = np.random.default_rng(seed)
    return [{"x": rng.normal(size=(1, 6, 4, 3)).astype(np.float32)} for _ in range(count)]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), clamp=st.sampled_from([(0.0, None), (0.0, 6.0), (None, None), (-1.0, 1.0)]))
def test_the_meaning_stays(seed: int, clamp: tuple[float | None, float | None]) -> None:
    graph, data = network(seed, clamp), samples(seed)
    after, seen = equalize(graph, observe(graph, data))
    check(after)
    for x in data:
        before, now = run_float(graph, x), run_float(after, x)
        for name in graph.outputs:
            span = np.abs(before[name]).max() + 1e-6
            np.testing.assert_allclose(now[name], before[name], atol=5e-4 * span)
    again = observe(after, data)
    for name in seen.low:
        np.testing.assert_allclose(seen.high[name], again.high[name], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(seen.low[name], again.low[name], rtol=1e-4, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(graph=graphs(), seed=st.integers(0, 99))
def test_the_meaning_of_any_graph_stays(graph: Graph, seed: int) -> None:
    rng = np.random.default_rng(seed)
    data = [{"x": rng.normal(size=graph.values["x"].type.shape).astype(np.float32)} for _ in range(3)]
    after, _ = equalize(graph, observe(graph, data))
    check(after)
    for x in data:
        before, now = run_float(graph, x), run_float(after, x)
        for name in graph.outputs:
            np.testing.assert_allclose(now[name], before[name], rtol=1e-3, atol=1e-4 * (np.abs(before[name]).max() + 1))


def used(seen: Array) -> float:
    """How much of the largest channel's range the others take, on average."""
    return float(np.mean(seen / seen.max()))


def test_channels_come_closer_and_never_exceed_their_tensor() -> None:
    graph, data = network(1), samples(1, 20)
    before = observe(graph, data)
    after, now = equalize(graph, before)
    for name in ("a", "d"):
        assert used(now.high[name]) > used(before.high[name]) + 0.02
        assert now.high[name].max() == pytest.approx(before.high[name].max(), rel=1e-5)
    for name in before.high:
        ratio = now.high[name].max() / before.high[name].max() if before.high[name].max() > 0 else 1.0
        assert ratio <= 1.0 + 1e-5
    assert str(after).replace(".equalized1", ".w").replace(".equalized2", ".b") == str(graph)


def test_few_numbers_bring_channels_less_far() -> None:
    b, rng = Sketch(), np.random.default_rng(0)
    b.input("x", (1, 8))
    w = [b.constant(uneven(rng, 8, 8), f"w{i}") for i in range(2)]
    z = [b.constant(np.zeros(8, np.float32), f"z{i}") for i in range(2)]
    a = b.then(FullyConnected(), ["x", w[0], z[0]], "a")
    graph = b.graph(["x"], [b.then(FullyConnected(), [a, w[1], z[1]], "y")])
    data = [{"x": rng.normal(size=(1, 8)).astype(np.float32)} for _ in range(ENOUGH)]
    gains = []
    for count in (ENOUGH, ENOUGH // 4, 4):
        before = observe(graph, data[:count])
        gains.append(used(equalize(graph, before)[1].high["a"]) - used(before.high["a"]))
    assert gains[0] > gains[1] > gains[2] == pytest.approx(0.0, abs=1e-6)


def test_both_sides_of_an_addition_have_the_same_factors() -> None:
    graph, data = network(2), samples(2)
    before = observe(graph, data)
    _, now = equalize(graph, before)
    seen = (before.high["a"] > 0) & (before.high["s"] > 0)
    factors = [now.high[n][seen] / before.high[n][seen] for n in ("a", "s")]
    np.testing.assert_allclose(factors[0], factors[1], rtol=1e-6)
    assert 1.0 - 1e-6 <= factors[0].min() < factors[0].max() <= LARGEST


def test_inputs_outputs_and_what_bends_are_left_alone() -> None:
    b, rng = Sketch(), np.random.default_rng(0)
    b.input("x", (1, 4))
    w = [b.constant(uneven(rng, 4, 4), f"w{i}") for i in range(3)]
    z = [b.constant(np.zeros(4, np.float32), f"z{i}") for i in range(3)]
    first = b.then(FullyConnected(), ["x", w[0], z[0]], "first")
    bent = b.then(Unary("tanh"), [first], "bent")
    last = b.then(FullyConnected(), [bent, w[1], z[1]], "last")
    graph = b.graph(["x"], [last])
    after, _ = equalize(graph, observe(graph, [{"x": rng.normal(size=(1, 4))} for _ in range(4)]))
    assert str(after) == str(graph)
    assert all(after.values[n].data is graph.values[n].data for n in ("w0", "w1"))


def test_dead_channels_are_left_alone() -> None:
    b, rng = Sketch(), np.random.default_rng(0)
    b.input("x", (1, 4))
    w = uneven(rng, 4, 4)
    w[2] = 0.0
    none = b.constant(np.zeros(4, np.float32), "none")
    hidden = b.then(FullyConnected((0.0, None)), ["x", b.constant(w, "w"), none], "h")
    out = b.then(FullyConnected(), [hidden, b.constant(uneven(rng, 4, 4), "v"), none], "y")
    graph = b.graph(["x"], [out])
    _, now = equalize(graph, observe(graph, [{"x": rng.normal(size=(1, 4))} for _ in range(9)]))
    assert np.isfinite(now.high["h"]).all() and now.high["h"][2] == 0.0
