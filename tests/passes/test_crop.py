"""What nobody reads is not computed: text in and text out, and random networks in exact numbers."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from rewriting import becomes, same_meaning
from sketch import NHWC, Sketch, graphs, random

from aot.interpret import run_float
from aot.ir import Graph, check
from aot.ops.add import Add
from aot.ops.average_pool2d import AveragePool2d
from aot.ops.base import Op
from aot.ops.concat import Concat
from aot.ops.conv2d import Conv2d
from aot.ops.depthwise_conv2d import DepthwiseConv2d
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
from aot.passes.crop import crop
from aot.passes.parts import Part, Reach

RELU = Unary("clip", (0.0, np.inf))


def series(*shape: int) -> Sketch:
    b = Sketch()
    b.input("x", shape)
    return b


def last(b: Sketch, x: str, name: str, axis: int = 1, count: int = 1) -> str:
    """The last steps of a value."""
    return b.then(Slice.along(b.shape(x), axis, b.shape(x)[axis] - count, count), x, name)


def macs(graph: Graph) -> int:
    return sum(n.op.macs(tuple(graph.values[i].type for i in n.inputs), graph.values[n.output].type)
               for n in graph.nodes)


# --- temporal networks -------------------------------------------------------------------------------------------

def causal(b: Sketch, x: str, name: str, dilation: int) -> str:
    """A causal convolution as exporters write it: a Pad, and a layer of height 1 between reshapes."""
    steps, channels = b.shape(x)[1:]
    padded = b.then(Pad((0, 2 * dilation, 0), (0, 0, 0)), x, f"{name}.pad")
    image = b.then(Reshape((1, 1, steps + 2 * dilation, channels)), padded, f"{name}.in")
    return b.then(Reshape((1, steps, channels)), b.conv(image, f"{name}.conv", channels,
                                                        Window((1, 3), dilation=(1, dilation))), name)


def test_a_residual_block_of_causal_convolutions() -> None:
    """The last step reads every fourth one before it, so that dilations become strides; the shortcut needs one step."""
    b = series(1, 30, 2)
    h = b.then(RELU, causal(b, "x", "first", 1), "h")
    y = b.then(Add(), [causal(b, causal(b, h, "a", 4), "b", 4), h], "sum")
    last(b, y, "y")
    becomes(b.graph(["x"], ["y"]), crop, """
        input %x : f32[1,30,2]
        %x.part = slice(%x) starts=0,11,0 counts=1,19,2 steps=1,1,1 : f32[1,19,2]  # first.pad
        %first.in = reshape(%x.part) shape=1,1,19,2 : f32[1,1,19,2]  # first.in
        %first.conv = conv2d(%first.in, %first.conv.w, %first.conv.b) window=1x3/stride:1x4 : f32[1,1,5,2]  # first.conv
        %first = reshape(%first.conv) shape=1,5,2 : f32[1,5,2]  # first
        %h = unary(%first) function=clip params=0,inf : f32[1,5,2]  # h
        %a.in = reshape(%h) shape=1,1,5,2 : f32[1,1,5,2]  # a.in
        %a.conv = conv2d(%a.in, %a.conv.w, %a.conv.b) window=1x3 : f32[1,1,3,2]  # a.conv
        %a = reshape(%a.conv) shape=1,3,2 : f32[1,3,2]  # a
        %b.in = reshape(%a) shape=1,1,3,2 : f32[1,1,3,2]  # b.in
        %b.conv = conv2d(%b.in, %b.conv.w, %b.conv.b) window=1x3 : f32[1,1,1,2]  # b.conv
        %b = reshape(%b.conv) shape=1,1,2 : f32[1,1,2]  # b
        %h.part = slice(%h) starts=0,4,0 counts=1,1,2 steps=1,1,1 : f32[1,1,2]  # sum
        %sum = add(%b, %h.part) : f32[1,1,2]  # sum
        %y = reshape(%sum) shape=1,1,2 : f32[1,1,2]  # y
        output %y""")


def test_padding_that_is_still_read_stays_padding() -> None:
    b = series(1, 5, 2)
    last(b, causal(b, causal(b, "x", "a", 2), "b", 1), "y")
    becomes(b.graph(["x"], ["y"]), crop, """
        input %x : f32[1,5,2]
        %a.pad = pad(%x) before=0,2,0 after=0,0,0 : f32[1,7,2]  # a.pad
        %a.in = reshape(%a.pad) shape=1,1,7,2 : f32[1,1,7,2]  # a.in
        %a.conv = conv2d(%a.in, %a.conv.w, %a.conv.b) window=1x3/dilation:1x2 : f32[1,1,3,2]  # a.conv
        %a = reshape(%a.conv) shape=1,3,2 : f32[1,3,2]  # a
        %b.in = reshape(%a) shape=1,1,3,2 : f32[1,1,3,2]  # b.in
        %b.conv = conv2d(%b.in, %b.conv.w, %b.conv.b) window=1x3 : f32[1,1,1,2]  # b.conv
        %b = reshape(%b.conv) shape=1,1,2 : f32[1,1,2]  # b
        %y = reshape(%b) shape=1,1,2 : f32[1,1,2]  # y
        output %y""")


def test_two_readers_share_the_hull_of_what_they_need() -> None:
    b = series(1, 1, 20, 2)
    h = b.conv("x", "h", 2, Window((1, 1)))
    b.then(Slice.along((1, 1, 20, 2), 2, 9, 3), h, "y")
    b.then(RELU, b.then(Slice.along((1, 1, 20, 2), 2, 15, 1), h, "late"), "z")
    becomes(b.graph(["x"], ["y", "z"]), crop, """
        input %x : f32[1,1,20,2]
        %x.part = slice(%x) starts=0,0,9,0 counts=1,1,7,2 steps=1,1,1,1 : f32[1,1,7,2]  # h
        %h = conv2d(%x.part, %h.w, %h.b) window=1x1 : f32[1,1,7,2]  # h
        %y = slice(%h) starts=0,0,0,0 counts=1,1,3,2 steps=1,1,1,1 : f32[1,1,3,2]  # y
        %late = slice(%h) starts=0,0,6,0 counts=1,1,1,2 steps=1,1,1,1 : f32[1,1,1,2]  # late
        %z = unary(%late) function=clip params=0,inf : f32[1,1,1,2]  # z
        output %y, %z""")


# --- one operator at a time --------------------------------------------------------------------------------------

@pytest.mark.parametrize(("op", "window"), [
    (MaxPool2d(Window((3, 3), (2, 2), pads=(1, 1, 1, 1))), "3x3/stride:2x2/pads:1,1,0,1"),
    (AveragePool2d(Window((3, 3), (2, 2), pads=(1, 1, 1, 1))), "3x3/stride:2x2/pads:1,1,0,1"),
    (AveragePool2d(Window((3, 3), (2, 2), pads=(1, 1, 1, 1)), True), "3x3/stride:2x2/pads:1,1,0,1 count_pad=True"),
])
def test_pools_keep_the_padding_that_they_still_see(op: Op, window: str) -> None:
    b = series(1, 9, 9, 2)
    h = b.conv(b.conv("x", "a", 2), "h", 2)
    b.then(Slice.along((1, 5, 5, 2), 1, 0, 2), b.then(op, h, "p"), "y")
    becomes(b.graph(["x"], ["y"]), crop, f"""
        input %x : f32[1,9,9,2]
        %x.part = slice(%x) starts=0,0,0,0 counts=1,6,9,2 steps=1,1,1,1 : f32[1,6,9,2]  # a
        %a = conv2d(%x.part, %a.w, %a.b) window=3x3/pads:1,1,0,1 : f32[1,5,9,2]  # a
        %h = conv2d(%a, %h.w, %h.b) window=3x3/pads:1,1,0,1 : f32[1,4,9,2]  # h
        %p = {op.name}(%h) window={window} : f32[1,2,5,2]  # p
        %y = reshape(%p) shape=1,2,5,2 : f32[1,2,5,2]  # y
        output %y""")


def test_element_by_element() -> None:
    """Constants are cut where they vary along the axis; transposes and reshapes pass the slice on; filters of channels
    that nobody reads go."""
    b = series(1, 6, 8)
    y = b.then(Mul(), [b.then(Unary("tanh"), b.dense("x", "d", 4), "t"), b.constant(random(6, 4), "k")], "m")
    y = b.then(Add(), [y, b.constant(random(4), "offset")], "a")
    y = b.then(Quantize("s8", Grid("s8", 0.25, 0, -128, 127)), y, "q")
    y = b.then(Reshape((1, 4, 1, 6)), b.then(Transpose((0, 2, 1)), y, "turned"), "r")
    b.then(Slice((0, 1, 0, 2), (1, 2, 1, 3), (1, 1, 1, 1)), y, "y")
    becomes(b.graph(["x"], ["y"]), crop, """
        input %x : f32[1,6,8]
        %x.part = slice(%x) starts=0,2,0 counts=1,3,8 steps=1,1,1 : f32[1,3,8]  # d
        %d = fully_connected(%x.part, %d.w.part, %d.b.part) : f32[1,3,2]  # d
        %t = unary(%d) function=tanh : f32[1,3,2]  # t
        %m = mul(%t, %k.part) : f32[1,3,2]  # m
        %a = add(%m, %offset.part) : f32[1,3,2]  # a
        %q = quantize(%a) format=s8 grid=s8:0.25,0,-128,127 : f32[1,3,2]  # q
        %turned = transpose(%q) perm=0,2,1 : f32[1,2,3]  # turned
        %r = reshape(%turned) shape=1,2,1,3 : f32[1,2,1,3]  # r
        %y = reshape(%r) shape=1,2,1,3 : f32[1,2,1,3]  # y
        output %y""")


def test_what_needs_a_whole_axis_gets_it() -> None:
    """A softmax its last one, a reshape those that it joins, a grouped convolution its channels."""
    b = series(1, 4, 4, 4)
    weights = [b.constant(random(4, 1, 1, 2), "w"), b.constant(random(4), "bias")]
    conv = b.then(Conv2d(Window((1, 1)), 2), ["x", *weights], "conv")
    flat = b.then(Reshape((1, 4, 16)), b.then(Softmax(), conv, "soft"), "flat")
    b.then(Slice((0, 1, 3), (1, 2, 5), (1, 1, 1)), flat, "y")
    becomes(b.graph(["x"], ["y"]), crop, """
        input %x : f32[1,4,4,4]
        %x.part = slice(%x) starts=0,1,0,0 counts=1,2,4,4 steps=1,1,1,1 : f32[1,2,4,4]  # conv
        %conv = conv2d(%x.part, %w, %bias) window=1x1 groups=2 : f32[1,2,4,4]  # conv
        %soft = softmax(%conv) : f32[1,2,4,4]  # soft
        %flat = reshape(%soft) shape=1,2,16 : f32[1,2,16]  # flat
        %y = slice(%flat) starts=0,0,3 counts=1,2,5 steps=1,1,1 : f32[1,2,5]  # y
        output %y""")


def test_parts_of_a_concatenation_that_nobody_reads() -> None:
    b = series(1, 1, 8, 2)
    parts = [b.conv("x", name, 2, Window((1, 1))) for name in "pqr"]
    b.then(Slice.along((1, 1, 24, 2), 2, 6, 6), b.then(Concat(2), parts, "all"), "y")
    b.then(Slice.along((1, 1, 24, 2), 2, 11, 2, -1), "all", "z")
    becomes(b.graph(["x"], ["y", "z"]), crop, """
        input %x : f32[1,1,8,2]
        %x.part = slice(%x) starts=0,0,6,0 counts=1,1,2,2 steps=1,1,1,1 : f32[1,1,2,2]  # p
        %p = conv2d(%x.part, %p.w, %p.b) window=1x1 : f32[1,1,2,2]  # p
        %x.part.1 = slice(%x) starts=0,0,0,0 counts=1,1,4,2 steps=1,1,1,1 : f32[1,1,4,2]  # q
        %q = conv2d(%x.part.1, %q.w, %q.b) window=1x1 : f32[1,1,4,2]  # q
        %all = concat(%p, %q) axis=2 : f32[1,1,6,2]  # all
        %y = reshape(%all) shape=1,1,6,2 : f32[1,1,6,2]  # y
        %z = slice(%all) starts=0,0,5,0 counts=1,1,2,2 steps=1,1,-1,1 : f32[1,1,2,2]  # z
        output %y, %z""")


def test_a_stride_that_skips_pixels_moves_to_the_layer_that_computes_them() -> None:
    """As in residual networks whose blocks begin with a 1x1 convolution of stride 2."""
    b = series(1, 8, 8, 2)
    b.conv(b.then(RELU, b.conv("x", "a", 3), "relu"), "y", 2, Window((1, 1), (2, 2)))
    becomes(b.graph(["x"], ["y"]), crop, """
        input %x : f32[1,8,8,2]
        %a = conv2d(%x, %a.w, %a.b) window=3x3/stride:2x2/pads:1,1,0,0 : f32[1,4,4,3]  # a
        %relu = unary(%a) function=clip params=0,inf : f32[1,4,4,3]  # relu
        %y = conv2d(%relu, %y.w, %y.b) window=1x1 : f32[1,4,4,2]  # y
        output %y""")


# --- what stays --------------------------------------------------------------------------------------------------

def test_an_output_of_the_network_is_computed_whole() -> None:
    b = series(1, 1, 20, 2)
    last(b, b.conv("x", "h", 2, Window((1, 1))), "y", 2)
    graph = b.graph(["x"], ["h", "y"])
    becomes(graph, crop, str(graph))


def test_a_slice_of_the_batch_stays() -> None:
    b = series(4, 3)
    last(b, b.then(Unary("tanh"), b.dense("x", "h", 2), "t"), "y", 0)
    graph = b.graph(["x"], ["y"])
    becomes(graph, crop, str(graph))


def test_a_copy_of_the_input_that_saves_nothing() -> None:
    """All but two steps, which do not lie in one piece before the transpose: it is cheaper to transpose all of them."""
    b = series(1, 16, 30)
    y = b.then(Transpose((0, 2, 1)), b.then(Unary("tanh"), "x", "t"), "turned")
    b.dense(last(b, y, "s", 1, 28), "y", 1)
    graph = b.graph(["x"], ["y"])
    becomes(graph, crop, str(graph))


def test_a_copy_of_the_input_that_saves_much() -> None:
    b = series(1, 16, 30)
    last(b, b.then(Transpose((0, 2, 1)), b.then(Unary("tanh"), "x", "t"), "turned"), "y", 1, 3)
    becomes(b.graph(["x"], ["y"]), crop, """
        input %x : f32[1,16,30]
        %x.part = slice(%x) starts=0,0,27 counts=1,16,3 steps=1,1,1 : f32[1,16,3]  # t
        %t = unary(%x.part) function=tanh : f32[1,16,3]  # t
        %turned = transpose(%t) perm=0,2,1 : f32[1,3,16]  # turned
        %y = reshape(%turned) shape=1,3,16 : f32[1,3,16]  # y
        output %y""")


def test_rows_that_lie_in_one_piece_are_no_copy_and_keep_their_steps() -> None:
    """Three rows of dilation 2 are read out of five, and not put together first."""
    b = series(1, 9, 4, 2)
    y = b.conv("x", "h", 2, Window((3, 1), dilation=(2, 1)))
    last(b, y, "y")
    becomes(b.graph(["x"], ["y"]), crop, """
        input %x : f32[1,9,4,2]
        %x.part = slice(%x) starts=0,4,0,0 counts=1,5,4,2 steps=1,1,1,1 : f32[1,5,4,2]  # h
        %h = conv2d(%x.part, %h.w, %h.b) window=3x1/dilation:2x1 : f32[1,1,4,2]  # h
        %y = reshape(%h) shape=1,1,4,2 : f32[1,1,4,2]  # y
        output %y""")


@pytest.mark.parametrize(("rows", "left"), [(8, 7), (9, 9)])
def test_a_row_is_left_out_where_it_is_an_eighth(rows: int, left: int) -> None:
    """Kernels are made for the usual sizes, so that one row less of many is no gain."""
    b = series(1, rows, 8, 2)
    b.conv(b.then(RELU, b.conv("x", "a", 2), "h"), "y", 2, Window((rows - 1, 1), (2, 1)))
    graph = b.graph(["x"], ["y"])
    after = crop(graph)
    same_meaning(graph, after)
    assert after.values["h"].type.shape[1] == left


def test_outputs_of_nothing_but_padding() -> None:
    """No input can be named for the first row alone, so all rows are computed."""
    b = series(1, 6, 6, 2)
    y = b.conv(b.conv("x", "a", 2), "h", 2, Window((1, 1), pads=(2, 0, 0, 0)))
    b.then(Slice.along((1, 8, 6, 2), 1, 0, 1), y, "y")
    graph = b.graph(["x"], ["y"])
    same_meaning(graph, crop(graph))


# --- parts of axes -----------------------------------------------------------------------------------------------

STEPS = st.builds(Part, st.integers(-5, 9), st.integers(1, 6), st.integers(1, 4))


def indices(part: Part) -> set[int]:
    return set(range(part.first, part.last + 1, part.step))


@given(STEPS, STEPS, st.integers(1, 12))
def test_parts_are_sets_of_indices(a: Part, b: Part, size: int) -> None:
    hull, inside = a.hull(b), a.within(size)
    assert indices(hull) >= indices(a) | indices(b)
    assert (hull.first, hull.last) == (min(a.first, b.first), max(a.last, b.last))
    assert a.hull(a) == a
    assert (indices(inside) if inside else set()) == indices(a) & set(range(size))
    place = a.inside(hull)
    assert [hull.first + i * hull.step for i in sorted(indices(place))] == sorted(indices(a))


@given(st.builds(Reach, st.integers(1, 4), st.integers(1, 3), st.integers(1, 4), st.integers(0, 5)),
       st.builds(Part, st.integers(0, 5), st.integers(1, 4), st.integers(1, 3)), st.integers(1, 30), st.integers(1, 3))
def test_a_window_on_a_part_reads_the_same_indices(reach: Reach, out: Part, size: int, finer: int) -> None:
    need = reach.taps(out).within(size)
    if need is None:
        return
    step = next(s for s in range(finer, 0, -1) if need.step % s == 0)
    for given_part in (need, need.filled(step)):
        found = reach.on(out, given_part)
        assert found is not None
        new, after = found
        there = sorted(indices(given_part))
        for k in range(out.count):
            before = [(out.first + k * out.step) * reach.stride - reach.before + j * reach.dilation
                      for j in range(reach.kernel)]
            now = [k * new.stride - new.before + j * new.dilation for j in range(reach.kernel)]
            assert all(-new.before <= i < len(there) + after for i in now)
            assert [there[i] if 0 <= i < len(there) else None for i in now] == [
                i if 0 <= i < size else None for i in before]


# --- random networks ---------------------------------------------------------------------------------------------

def whole_numbers(*shape: int, seed: int) -> np.ndarray:
    """Small ones, so that every sum of products is exact in float32 in any order."""
    return np.random.default_rng(seed).integers(-2, 3, shape).astype(np.float32)


@st.composite
def temporal(draw: st.DrawFn) -> Graph:
    """Convolutions, pools, padding and sums over rows and columns, of which a few are read in the end."""
    b = Sketch()
    b.input("x", draw(st.sampled_from(((1, 2, 7, 5), (1, 3, 1, 12), (1, 9, 4, 2)))))
    live = [b.then(NHWC, "x", "t")]
    numbers = st.integers(1, 3)
    for i in range(draw(st.integers(2, 7))):
        x = draw(st.sampled_from(live[-2:]))
        shape = b.shape(x)
        kernel = (draw(numbers), draw(numbers))
        dilation = (draw(numbers), draw(numbers))
        pads = tuple(draw(st.integers(0, 2)) if draw(st.booleans()) else (k - 1) * d
                     for k, d in zip((*kernel, *kernel), (*dilation, *dilation), strict=True))
        window = Window(kernel, (draw(st.integers(1, 2)), draw(st.integers(1, 2))), dilation, pads)
        if any(s + a + c < e for s, a, c, e in zip(shape[1:3], pads[:2], pads[2:], window.extent(), strict=True)):
            window = Window((1, 1))
        alike = [v for v in live if b.shape(v) == shape]
        kind = draw(st.sampled_from(("conv", "depthwise", "max", "mean", "pad", "sum", "relu", "concat", "turn")))
        if kind == "conv":
            out = draw(numbers)
            inputs = [x, b.constant(whole_numbers(out, *window.kernel, shape[3], seed=i), f"w{i}"),
                      b.constant(whole_numbers(out, seed=i), f"b{i}")]
            live.append(b.then(Conv2d(window), inputs, f"v{i}"))
        elif kind == "depthwise":
            inputs = [x, b.constant(whole_numbers(*window.kernel, shape[3], seed=i), f"w{i}"),
                      b.constant(whole_numbers(shape[3], seed=i), f"b{i}")]
            live.append(b.then(DepthwiseConv2d(window), inputs, f"v{i}"))
        elif kind == "sum":
            live.append(b.then(Add(), [x, draw(st.sampled_from(alike))], f"v{i}"))
        else:
            op = {"max": MaxPool2d(window), "mean": AveragePool2d(window, draw(st.booleans())), "relu": RELU,
                  "pad": Pad((0, *pads[:2], 0), (0, *pads[2:], 0), 1.0), "concat": Concat(draw(st.integers(1, 3))),
                  "turn": Transpose((0, 2, 1, 3))}[kind]
            live.append(b.then(op, [x, draw(st.sampled_from(alike))] if kind == "concat" else x, f"v{i}"))
        if kind == "max":  # of nothing but padding it is infinite
            live.append(b.then(Unary("clip", (-50.0, 50.0)), live.pop(), f"v{i}.finite"))
    outputs = []
    for i, x in enumerate(draw(st.lists(st.sampled_from(live[1:]), min_size=1, max_size=2))):
        firsts, counts, steps = [0], [1], [1]
        for size in b.shape(x)[1:]:
            step = draw(st.sampled_from((1, 1, 2, -1)))
            first = draw(st.integers(0, size - 1))
            most = first + 1 if step < 0 else (size - 1 - first) // step + 1
            firsts.append(first)
            counts.append(draw(st.integers(1, most)))
            steps.append(step)
        outputs.append(b.then(Slice(tuple(firsts), tuple(counts), tuple(steps)), x, f"y{i}"))
    return b.graph(["x"], outputs)


def same_numbers(before: Graph, after: Graph) -> None:
    """Exactly, in float32."""
    check(after)
    assert (before.inputs, before.outputs) == (after.inputs, after.outputs)
    x = {n: whole_numbers(*before.values[n].type.shape, seed=5) for n in before.inputs}
    old, new = run_float(before, x), run_float(after, x)
    for name in before.outputs:
        np.testing.assert_array_equal(new[name], old[name])


@settings(deadline=None, max_examples=400, derandomize="CI" in os.environ)
@given(temporal())
def test_random_networks_keep_their_numbers(graph: Graph) -> None:
    after = crop(graph)
    same_numbers(graph, after)
    assert macs(after) <= macs(graph)
    assert str(crop(after)) == str(after)
    event("cropped" if str(after) != str(graph) else "left alone")


@settings(deadline=None, max_examples=150, derandomize="CI" in os.environ)
@given(graphs())
def test_random_graphs_keep_their_meaning(graph: Graph) -> None:
    same_meaning(graph, crop(graph))

