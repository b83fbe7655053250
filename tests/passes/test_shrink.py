"""Channels that are constant or that nobody reads: text in and text out, and the meaning of whatever is left."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import battery
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels import project
from rewriting import becomes, same_meaning
from sketch import Sketch, graphs, random

from aot import build
from aot.interpret import run_float, walk_float
from aot.ir import Graph
from aot.ops.add import Add
from aot.ops.average_pool2d import AveragePool2d
from aot.ops.base import NO_CLAMP, Clamp
from aot.ops.concat import Concat
from aot.ops.conv2d import Conv2d
from aot.ops.depthwise_conv2d import DepthwiseConv2d
from aot.ops.fully_connected import FullyConnected
from aot.ops.max_pool2d import MaxPool2d
from aot.ops.mul import Mul
from aot.ops.pad import Pad
from aot.ops.quantize import Grid, Quantize
from aot.ops.reshape import Reshape
from aot.ops.slice import Slice
from aot.ops.softmax import Softmax
from aot.ops.transpose import Transpose
from aot.ops.unary import Unary
from aot.ops.window import Window
from aot.passes import run_passes
from aot.passes.shrink import shrink as shrink_to_fours
from aot.targets import TARGETS

#: Without regard to what kernels would like.
shrink = partial(shrink_to_fours, at_once=1)

RELU, RELU6 = (0.0, None), (0.0, 6.0)
SAME, POINT = Window((3, 3), pads=(1, 1, 1, 1)), Window((1, 1))


class Net(Sketch):
    """Layers with constant or unread channels: ``dead`` filters by number, with the biases that they have."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.input("x", shape)

    def layer(self, x: str, name: str, outputs: int, dead: Mapping[int, float] | None = None,
              unread: Sequence[int] = (), window: Window = POINT, clamp: Clamp = RELU, size: float = 0.0) -> str:
        """A convolution, or on rows a fully connected layer; ``size`` is that of the weights of dead filters."""
        rows = len(self.shape(x)) < 4
        kernel = () if rows else window.kernel
        w, bias = random(outputs, *kernel, self.shape(x)[-1]), random(outputs, seed=2)
        for o, b in (dead or {}).items():
            w[o], bias[o] = size, b
        w[..., list(unread)] = 0.0
        inputs = [x, self.constant(w, f"{name}.w"), self.constant(bias, f"{name}.b")]
        return self.then(FullyConnected(clamp) if rows else Conv2d(window, clamp=clamp), inputs, name)

    def each(self, x: str, name: str, dead: Mapping[int, float] | None = None, times: int = 1,
             window: Window = SAME, clamp: Clamp = RELU) -> str:
        """A depthwise convolution with so many filters for each channel."""
        outputs = self.shape(x)[-1] * times
        w, bias = random(*window.kernel, outputs), random(outputs, seed=3)
        for o, b in (dead or {}).items():
            w[..., o], bias[o] = 0.0, b
        inputs = [x, self.constant(w, f"{name}.w"), self.constant(bias, f"{name}.b")]
        return self.then(DepthwiseConv2d(window, clamp), inputs, name)


def channels(graph: Graph) -> dict[str, int]:
    """How many channels the nodes compute."""
    return {n.output: graph.values[n.output].type.shape[-1] for n in graph.nodes}


def shrunk(graph: Graph) -> dict[str, int]:
    """How many channels are left, if the meaning is."""
    after = shrink(graph)
    same_meaning(graph, after)
    assert [(n.name, n.output, n.origin) for n in after.nodes] == [(n.name, n.output, n.origin) for n in graph.nodes]
    return channels(after)


# --- constant channels -------------------------------------------------------------------------------------------

def test_dead_filters_go_from_all_layers_on_the_way() -> None:
    b = Net(1, 6, 6, 3)
    a = b.layer("x", "a", 8, {1: -1.0, 6: 0.0})
    b.layer(b.each(a, "d", {1: -0.5, 6: -1.0}), "y", 4, clamp=NO_CLAMP)
    becomes(b.graph(["x"], ["y"]), shrink, """
        input %x : f32[1,6,6,3]
        %a = conv2d(%x, %a.shrunk1, %a.shrunk2) window=1x1 clamp=0,None : f32[1,6,6,6]  # a
        %d = depthwise_conv2d(%a, %d.shrunk1, %d.shrunk2) window=3x3/pads:1,1,1,1 clamp=0,None : f32[1,6,6,6]  # d
        %y = conv2d(%d, %y.shrunk1, %y.b) window=1x1 : f32[1,6,6,4]  # y
        output %y""")


@pytest.mark.parametrize(("clamp", "bias", "value"), [
    (RELU, 0.75, 0.75), (RELU6, 9.0, 6.0), (NO_CLAMP, -0.75, -0.75), (RELU, -3.0, 0.0)])
def test_the_constant_goes_into_the_biases_of_the_readers(clamp: Clamp, bias: float, value: float) -> None:
    b = Net(1, 5, 5, 3)
    b.layer(b.layer("x", "a", 4, {2: bias}, clamp=clamp), "y", 3, window=Window((3, 2)), clamp=NO_CLAMP)
    graph = b.graph(["x"], ["y"])
    assert shrunk(graph) == {"a": 3, "y": 3}
    after = shrink(graph)
    was, now = (g.const(g.nodes[1].inputs[2]) for g in (graph, after))
    weights = graph.const("y.w")
    assert was is not None and now is not None and weights is not None
    np.testing.assert_allclose(now, was + value * weights[..., 2].sum(axis=(1, 2)), rtol=1e-6, atol=1e-6)


def test_a_layer_that_pads_sees_other_numbers_at_the_border() -> None:
    """A channel that is 0 may go; any other has to stay, for the depthwise layer and for the convolution."""
    for window, left in ((SAME, 5), (Window((3, 3)), 4), (Window((3, 3), pads=(0, 0, 1, 0)), 5)):
        b = Net(1, 6, 6, 3)
        b.layer(b.layer("x", "a", 6, {1: 0.5, 4: -0.5}), "y", 2, window=window)
        assert shrunk(b.graph(["x"], ["y"]))["a"] == left
        b = Net(1, 6, 6, 3)
        b.layer(b.each(b.layer("x", "a", 6, {1: 0.5, 4: -0.5}), "d", window=window, clamp=NO_CLAMP), "y", 2)
        assert shrunk(b.graph(["x"], ["y"])) == {"a": left, "d": left, "y": 2}


def test_what_comes_out_of_a_depthwise_layer_decides() -> None:
    """Its border may be cut off by an activation, or have no weights."""
    b = Net(1, 6, 6, 3)
    d = b.each(b.layer("x", "a", 4, {0: 0.5, 1: 0.5, 2: 0.5}), "d", {2: 3.0})
    graph = b.graph(["x"], [b.layer(d, "y", 2)])
    weights, bias = (np.array(graph.const(n)) for n in ("d.w", "d.b"))
    weights[..., 0], weights[1, 1, 0], bias[1] = 0.0, 2.0, -100.0
    graph = replace(graph, values=dict(graph.values) | {n: replace(graph.values[n], data=data)
                                                        for n, data in (("d.w", weights), ("d.b", bias))})
    assert shrunk(graph) == {"a": 1, "d": 1, "y": 2}


def test_several_filters_for_a_channel_go_together() -> None:
    b = Net(1, 6, 6, 3)
    a = b.layer("x", "a", 4, {1: -1.0, 2: -1.0})
    b.layer(b.each(a, "d", {2: 1.0, 0: 1.0, 6: 1.0, 7: 1.0}, times=2), "y", 2, unread=[4])
    assert shrunk(b.graph(["x"], ["y"])) == {"a": 1, "d": 2, "y": 2}


def test_constants_go_through_functions_pooling_and_products() -> None:
    b = Net(1, 6, 6, 3)
    a = b.layer("x", "a", 6, {0: 1.5, 1: -2.0, 5: 0.25}, clamp=NO_CLAMP)
    h = b.then(Unary("tanh"), a, "h")
    h = b.then(Mul(), [h, b.constant(random(6), "p")], "scaled")
    h = b.then(Add(-1), [b.constant(np.float32(0.5), "half"), h], "less")
    h = b.then(MaxPool2d(Window((2, 2), (1, 1), pads=(1, 0, 0, 0))), h, "largest")
    h = b.then(Slice.along(b.shape(h), 1, 1, 4, 1), h, "part")
    h = b.then(AveragePool2d(Window((3, 3), pads=(1, 1, 1, 1)), clamp=(-0.1, 0.1)), h, "mean")
    h = b.then(Transpose((0, 2, 1, 3)), h, "turned")
    becomes(b.graph(["x"], [b.layer(h, "y", 2)]), shrink, """
        input %x : f32[1,6,6,3]
        %a = conv2d(%x, %a.shrunk1, %a.shrunk2) window=1x1 : f32[1,6,6,3]  # a
        %h = unary(%a) function=tanh : f32[1,6,6,3]  # h
        %scaled = mul(%h, %scaled.shrunk1) : f32[1,6,6,3]  # scaled
        %less = add(%half, %scaled) sign=-1 : f32[1,6,6,3]  # less
        %largest = max_pool2d(%less) window=2x2/pads:1,0,0,0 : f32[1,6,5,3]  # largest
        %part = slice(%largest) starts=0,1,0,0 counts=1,4,5,3 steps=1,1,1,1 : f32[1,4,5,3]  # part
        %mean = average_pool2d(%part) window=3x3/pads:1,1,1,1 clamp=-0.1,0.1 : f32[1,4,5,3]  # mean
        %turned = transpose(%mean) perm=0,2,1,3 : f32[1,5,4,3]  # turned
        %y = conv2d(%turned, %y.shrunk1, %y.shrunk2) window=1x1 clamp=0,None : f32[1,5,4,2]  # y
        output %y""")


@pytest.mark.parametrize(("op", "left"), [
    (Pad((0, 1, 1, 0), (0, 1, 1, 0)), 5), (Pad((0, 1, 1, 0), (0, 1, 1, 0), 0.5), 5), (Pad((0, 0, 0, 1), (0,) * 4), 6),
    (AveragePool2d(SAME, count_pad=True), 5), (AveragePool2d(SAME), 4), (MaxPool2d(SAME), 4)])
def test_borders_of_padding_and_pooling(op: Pad | AveragePool2d | MaxPool2d, left: int) -> None:
    b = Net(1, 6, 6, 3)
    b.layer(b.then(op, b.layer("x", "a", 6, {1: 0.5, 4: -0.5}), "p"), "y", 2)
    assert shrunk(b.graph(["x"], ["y"]))["a"] == left


def test_a_channel_behind_flatten_is_many_columns() -> None:
    b = Net(1, 3, 2, 3)
    flat = b.then(Reshape((1, 24)), b.layer("x", "a", 4, {1: 0.5, 3: -0.5}), "flat")
    b.layer(b.layer(flat, "h", 5, {2: 1.0}), "y", 2)
    becomes(b.graph(["x"], ["y"]), shrink, """
        input %x : f32[1,3,2,3]
        %a = conv2d(%x, %a.shrunk1, %a.shrunk2) window=1x1 clamp=0,None : f32[1,3,2,2]  # a
        %flat = reshape(%a) shape=1,12 : f32[1,12]  # flat
        %h = fully_connected(%flat, %h.shrunk1, %h.shrunk2) clamp=0,None : f32[1,4]  # h
        %y = fully_connected(%h, %y.shrunk1, %y.shrunk2) clamp=0,None : f32[1,2]  # y
        output %y""")


def test_a_sum_loses_a_channel_if_both_sides_do() -> None:
    """Channel 1 is constant on both sides, 2 and 3 on one, 4 is read by nobody."""
    b = Net(1, 4, 4, 3)
    a = b.layer("x", "a", 6, {1: 0.5, 2: 0.5})
    p = b.layer(a, "p", 6, {1: -0.25, 3: 0.5}, unread=[4], clamp=NO_CLAMP)
    b.layer(b.then(Add(clamp=RELU), [a, p], "s"), "y", 2, unread=[4])
    assert shrunk(b.graph(["x"], ["y"])) == {"a": 4, "p": 4, "s": 4, "y": 2}


def test_a_channel_that_only_itself_reads_goes() -> None:
    """The block behind a sum reads it to compute the same channel of the next sum, which nobody else reads."""
    b = Net(1, 4, 4, 3)
    a = b.layer("x", "a", 4)
    p = b.layer(a, "p", 4, unread=[1], clamp=NO_CLAMP)
    graph = b.graph(["x"], [b.layer(b.then(Add(), [a, p], "s"), "y", 2, unread=[1])])
    weights = np.array(graph.const("p.w"))
    weights[1, ..., 1] = 2.0
    graph = replace(graph, values={**graph.values, "p.w": replace(graph.values["p.w"], data=weights)})
    assert shrunk(graph) == {"a": 3, "p": 3, "s": 3, "y": 2}


def test_concatenation_loses_what_its_parts_lose() -> None:
    b = Net(1, 4, 4, 3)
    parts = [b.layer("x", "a", 3, {0: 0.5}), b.constant(random(1, 4, 4, 2), "k"), b.layer("x", "c", 2, {1: 0.5})]
    h = b.then(Concat(3), parts, "h")
    becomes(b.graph(["x"], [b.layer(h, "y", 2, unread=[4])]), shrink, """
        input %x : f32[1,4,4,3]
        %a = conv2d(%x, %a.shrunk1, %a.shrunk2) window=1x1 clamp=0,None : f32[1,4,4,2]  # a
        %c = conv2d(%x, %c.shrunk1, %c.shrunk2) window=1x1 clamp=0,None : f32[1,4,4,1]  # c
        %h = concat(%a, %h.shrunk1, %c) axis=3 : f32[1,4,4,4]  # h
        %y = conv2d(%h, %y.shrunk1, %y.shrunk2) window=1x1 clamp=0,None : f32[1,4,4,2]  # y
        output %y""")


# --- channels that nobody reads -----------------------------------------------------------------------------------

def test_unread_channels_go_with_all_that_only_they_need() -> None:
    b = Net(1, 4, 4, 3)
    a = b.layer("x", "a", 5)
    c = b.layer(b.each(a, "d"), "c", 4)
    graph = b.graph(["x"], [b.layer(c, "y", 2, unread=[0, 3])])
    weights = np.array(graph.const("c.w"))
    weights[1:3, ..., 4] = 0.0  # only filters 0 and 3 read it
    graph = replace(graph, values={**graph.values, "c.w": replace(graph.values["c.w"], data=weights)})
    assert shrunk(graph) == {"a": 4, "d": 4, "c": 2, "y": 2}


def test_every_reader_counts() -> None:
    b = Net(1, 4, 4, 3)
    a = b.layer("x", "a", 5)
    y, z = b.layer(a, "y", 2, unread=[0, 1, 2]), b.layer(a, "z", 2, unread=[2, 3])
    assert shrunk(b.graph(["x"], [y, z]))["a"] == 4


# --- what stays --------------------------------------------------------------------------------------------------

def test_inputs_outputs_and_layers_that_mix_keep_all() -> None:
    b = Net(1, 4, 4, 4)
    a = b.layer("x", "a", 4, {1: 0.5}, unread=[2])
    g = b.then(Conv2d(POINT, groups=2), [b.layer("x", "c", 4, {1: 0.5}), b.constant(random(4, 1, 1, 2), "g.w"),
                                         b.constant(random(4), "g.b")], "g")
    s = b.then(Softmax(), b.layer("x", "e", 4, {1: 0.5}), "s")
    t = b.then(Transpose((0, 1, 3, 2)), b.layer("x", "f", 4, {1: 0.5}), "t")
    ends = [b.layer(a, "y", 2), *(b.layer(n, f"{n}.y", 2, {0: 1.0}) for n in (g, s, t))]
    graph = b.graph(["x"], ["a", *ends])
    assert shrunk(graph) == channels(graph)


def test_one_channel_stays() -> None:
    b = Net(1, 4, 4, 3)
    a = b.layer("x", "a", 3, {0: 0.5, 1: -1.0, 2: -1.0})
    h = b.then(Reshape((1, 48)), b.each(a, "d"), "flat")
    b.layer(b.layer(h, "h", 3), "y", 2, {0: 1.0, 1: 2.0})
    assert shrunk(b.graph(["x"], ["y"])) == {"a": 1, "d": 1, "flat": 16, "h": 1, "y": 2}


def test_whole_fours_stay() -> None:
    """As many of the channels that could go, constants first, as fill up the last four; all, if that is not enough."""
    b = Net(1, 4, 4, 3)
    a = b.layer("x", "a", 16, {3: -1.0, 5: -1.0, 11: -1.0, 12: -1.0, 13: -1.0, 14: -1.0})
    c = b.layer(b.each(a, "d"), "c", 10, {9: 0.5})
    graph = b.graph(["x"], [b.layer(c, "y", 3, unread=[0])])
    after = shrink_to_fours(graph)
    same_meaning(graph, after)
    assert channels(after) == {"a": 12, "d": 12, "c": 8, "y": 3}
    kept, was = after.const("a.shrunk2"), graph.const("a.b")
    assert kept is not None and was is not None
    np.testing.assert_array_equal(kept, np.delete(was, [11, 12, 13, 14]))
    b = Net(1, 4, 4, 3)
    graph = b.graph(["x"], [b.layer(b.layer("x", "a", 7, {3: -1.0}), "y", 3)])
    assert channels(shrink_to_fours(graph)) == {"a": 7, "y": 3}


@pytest.mark.parametrize(("size", "bias", "left"), [
    (1e-20, 0.5, 3), (1e-20, -0.5, 3), (1e-6, 0.5, 4), (1e-20, 0.0, 4), (1e-20, 1e-18, 4)])
def test_weights_that_float32_loses_are_none(size: float, bias: float, left: int) -> None:
    """Beside the bias; where there is none, they are small weights like others, which a scale may make large."""
    b = Net(1, 4, 4, 3)
    b.layer(b.layer("x", "a", 4, {1: bias}, size=size), "y", 2, clamp=NO_CLAMP)
    graph = b.graph(["x"], ["y"])
    assert shrunk(graph)["a"] == left
    x = {"x": 2.0**19 * random(1, 4, 4, 3)}
    np.testing.assert_allclose(run_float(shrink(graph), x)["y"], run_float(graph, x)["y"], rtol=1e-5)


def test_columns_that_float32_loses_are_none() -> None:
    b = Net(1, 4, 4, 3)
    graph = b.graph(["x"], [b.layer(b.layer("x", "a", 4), "y", 2, clamp=NO_CLAMP)])
    weights = np.array(graph.const("y.w"))
    weights[..., 2] = 1e-25
    graph = replace(graph, values={**graph.values, "y.w": replace(graph.values["y.w"], data=weights)})
    assert shrunk(graph) == {"a": 3, "y": 2}


def test_quantized_models_are_left_alone() -> None:
    b = Net(1, 3)
    a = b.layer("x", "a", 4, {1: 0.5})
    plain = b.graph(["x"], [b.layer(a, "y", 2)])
    assert shrunk(plain)["a"] == 3
    given = replace(plain, values={**plain.values, "y.w": replace(plain.values["y.w"], steps=np.ones((2, 4)))})
    assert shrink(given) is given
    b.then(Quantize("s8", Grid("s8", 0.5, 0, -128, 127)), "y", "q")
    rounded = b.graph(["x"], ["q"])
    assert shrink(rounded) is rounded


# --- any graph ---------------------------------------------------------------------------------------------------

def faded(graph: Graph, seed: int) -> Graph:
    """The graph with filters and columns of its layers lost, exactly or all but, and with activations."""
    rng = np.random.default_rng(seed)
    values, nodes = dict(graph.values), []
    for node in graph.nodes:
        if not isinstance(node.op, Conv2d | DepthwiseConv2d | FullyConnected):
            nodes.append(node)
            continue
        w, bias = (np.array(graph.const(node.inputs[i])) for i in (1, 2))
        filters = np.moveaxis(w, node.op.output_axis, 0)
        filters[rng.random(len(filters)) < 0.5] = rng.choice([0.0, 1e-25])
        if not node.op.channelwise:
            w[..., rng.random(w.shape[-1]) < 0.3] = 0.0
        bias[rng.random(len(bias)) < 0.1] = 0.0
        values |= {n: replace(values[n], data=d) for n, d in zip(node.inputs[1:], (w, bias), strict=True)}
        clamps: list[Clamp] = [NO_CLAMP, RELU, RELU6, (-0.5, 0.5)]
        nodes.append(replace(node, op=replace(node.op, clamp=clamps[rng.integers(len(clamps))])))
    return replace(graph, nodes=tuple(nodes), values=values)


def network(seed: int) -> Graph:
    """Blocks as networks for microcontrollers have them, with lost filters: on average a third of all channels."""
    rng = np.random.default_rng(seed)
    b = Net(1, 8, 7, 3)
    x, width = b.layer("x", "stem", 8, window=SAME), 8
    for i in range(int(rng.integers(1, 4))):
        h = b.layer(x, f"expand{i}", 10, window=SAME if rng.random() < 0.3 else POINT)
        h = b.each(h, f"each{i}", times=int(rng.integers(1, 3)))
        if rng.random() < 0.5:
            x = b.then(Add(), [x, b.layer(h, f"project{i}", width)], f"sum{i}")
        else:
            width = int(rng.integers(3, 9))
            x = b.layer(h, f"project{i}", width)
        if rng.random() < 0.3:
            x = b.then(Concat(3), [x, b.layer(x, f"more{i}", 4)], f"both{i}")
            width += 4
    pool = MaxPool2d(Window((2, 2), (2, 2))) if rng.random() < 0.5 else AveragePool2d(Window((3, 3), (2, 2)))
    x = b.then(pool, x, "pool")
    x = b.then(Reshape((1, int(np.prod(b.shape(x))))), x, "flat")
    return faded(b.graph(["x"], [b.layer(b.layer(x, "hidden", 9), "y", 3)]), seed)


@settings(deadline=None, max_examples=150, derandomize="CI" in os.environ)
@given(graphs(), st.integers(0, 999))
def test_random_graphs_keep_their_meaning(graph: Graph, seed: int) -> None:
    before = faded(graph, seed)
    same_meaning(before, shrink(before))
    same_meaning(before, shrink_to_fours(before))
    same_meaning(before, run_passes(before))


@settings(deadline=None, max_examples=60, derandomize="CI" in os.environ)
@given(st.integers(0, 9999))
def test_random_networks_keep_their_meaning(seed: int) -> None:
    before = network(seed)
    shrunk(before)
    x = {"x": np.random.default_rng(seed).normal(size=(1, 8, 7, 3)).astype(np.float32)}
    for name, expected in run_float(before, x).items():
        np.testing.assert_allclose(run_float(shrink(before), x)[name], expected, rtol=1e-5,
                                   atol=1e-5 * (np.abs(expected).max() + 1))


def test_channels_that_stay_keep_their_numbers() -> None:
    """Also those which stay although nobody reads them: what is in them may be the input of any function."""
    for seed in range(30):
        before = network(seed)
        x = {"x": random(1, 8, 7, 3, seed=seed)}
        old = dict(walk_float(before, x))
        for name, now in walk_float(shrink_to_fours(before), x):
            columns = iter(old[name].reshape(-1, old[name].shape[-1]).T)
            for channel in now.reshape(-1, now.shape[-1]).T:
                assert any(np.allclose(channel, c, rtol=1e-4, atol=1e-4) for c in columns), (seed, name)


def test_networks_become_smaller() -> None:
    def size(graph: Graph) -> int:
        return sum(v.data.size for v in graph.values.values() if v.data is not None)
    before, after = (sum(size(g) for g in each) for each in zip(*((g, shrink(g)) for g in map(network, range(20))),
                                                                strict=True))
    assert after < 0.5 * before


@pytest.mark.parametrize("seed", (1, 3))
def test_c_equals_its_twin(seed: int, tmp_path: Path) -> None:
    """On odd numbers of channels, by the kernels of every instruction set."""
    graph = shrink(network(seed))
    assert sum(channels(graph).values()) < sum(channels(network(seed)).values())
    made = {isa: project(graph, TARGETS[target], isa, optimize=goal)
            for (isa, target), goal in zip(battery.ISAS.items(), ("balanced", "speed") * 3, strict=True)}
    battery.check(made, tmp_path, build.host_compiler())
