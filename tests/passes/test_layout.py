"""Transposes and reshapes that vanish, text in and text out; what is left keeps the model's own layout."""

from __future__ import annotations

import numpy as np
import pytest
from rewriting import becomes, same_meaning
from sketch import NCHW, NHWC, Sketch, random

from aot.ops.add import Add
from aot.ops.average_pool2d import AveragePool2d
from aot.ops.concat import Concat
from aot.ops.max_pool2d import MaxPool2d
from aot.ops.mul import Mul
from aot.ops.pad import Pad
from aot.ops.reshape import Reshape
from aot.ops.slice import Slice
from aot.ops.softmax import Softmax
from aot.ops.transpose import Transpose
from aot.ops.unary import Unary
from aot.ops.window import Window
from aot.passes.layout import layout

RELU = Unary("clip", (0.0, np.inf))


def image(*shape: int) -> Sketch:
    b = Sketch()
    b.input("x", shape)
    return b


def test_a_chain_of_nchw_layers_is_transposed_at_its_ends_only() -> None:
    b = image(1, 3, 6, 6)
    y = b.then(RELU, b.then(NCHW, b.conv(b.then(NHWC, "x", "t0"), "a", 4), "t1"), "relu")
    y = b.then(NCHW, b.then(MaxPool2d(Window((2, 2), (2, 2))), b.then(NHWC, y, "t2"), "pool"), "t3")
    b.then(NCHW, b.conv(b.then(NHWC, y, "t4"), "b", 5), "y")
    becomes(b.graph(["x"], ["y"]), layout, """
        input %x : f32[1,3,6,6]
        %t0 = transpose(%x) perm=0,2,3,1 : f32[1,6,6,3]  # t0
        %a = conv2d(%t0, %a.w, %a.b) window=3x3/pads:1,1,1,1 : f32[1,6,6,4]  # a
        %relu = unary(%a) function=clip params=0,inf : f32[1,6,6,4]  # relu
        %pool = max_pool2d(%relu) window=2x2/stride:2x2 : f32[1,3,3,4]  # pool
        %b = conv2d(%pool, %b.w, %b.b) window=3x3/pads:1,1,1,1 : f32[1,3,3,5]  # b
        %y = transpose(%b) perm=0,3,1,2 : f32[1,5,3,3]  # y
        output %y""")


def test_nhwc_models_lose_all_transposes() -> None:
    """As exported by tf2onnx and Keras: NHWC at the door, transposes around every layer."""
    b = image(1, 6, 6, 3)
    x = b.then(NCHW, "x", "in")
    y = b.then(NCHW, b.conv(b.then(NHWC, x, "t0"), "a", 4), "t1")
    y = b.then(NCHW, b.conv(b.then(NHWC, y, "t2"), "b", 4), "t3")
    b.then(NHWC, y, "y")
    becomes(b.graph(["x"], ["y"]), layout, """
        input %x : f32[1,6,6,3]
        %a = conv2d(%x, %a.w, %a.b) window=3x3/pads:1,1,1,1 : f32[1,6,6,4]  # a
        %y = conv2d(%a, %b.w, %b.b) window=3x3/pads:1,1,1,1 : f32[1,6,6,4]  # b
        output %y""")


def test_residuals_and_concatenations_stay_in_nhwc() -> None:
    b = image(1, 3, 4, 4)
    x = b.then(NCHW, b.conv(b.then(NHWC, "x", "t0"), "stem", 3), "s1")
    a = b.then(NCHW, b.conv(b.then(NHWC, x, "s2"), "a", 3), "t1")
    total = b.then(Add(), [a, x], "sum")
    total = b.then(Mul(), [total, b.constant(random(3, 1, 1), "factor")], "scaled")
    both = b.then(Concat(1), [total, a], "both")
    b.then(NCHW, b.conv(b.then(NHWC, both, "t2"), "b", 2), "y")
    after = layout(b.graph(["x"], ["y"]))
    same_meaning(b.graph(["x"], ["y"]), after)
    assert [n.op.name for n in after.nodes].count("transpose") == 2
    (concat,) = [n for n in after.nodes if n.op.name == "concat"]
    assert concat.op == Concat(3)


def test_slices_pads_and_softmax_let_transposes_pass() -> None:
    b = image(1, 4, 4, 6)
    x = b.then(NCHW, "x", "in")
    x = b.then(Pad((0, 1, 2, 0), (0, 0, 1, 0)), x, "pad")
    x = b.then(Slice((0, 2, 0, 1), (1, 4, 3, 3), (1, 1, 2, 1)), x, "slice")
    b.then(NHWC, b.then(Unary("tanh"), x, "tanh"), "y")
    becomes(b.graph(["x"], ["y"]), layout, """
        input %x : f32[1,4,4,6]
        %pad = pad(%x) before=0,2,0,1 after=0,1,0,0 : f32[1,7,4,7]  # pad
        %slice = slice(%pad) starts=0,0,1,2 counts=1,3,3,4 steps=1,2,1,1 : f32[1,3,3,4]  # slice
        %y = unary(%slice) function=tanh : f32[1,3,3,4]  # tanh
        output %y""")


def test_softmax_over_the_last_axis_does_not_mind_the_others() -> None:
    b = image(2, 3, 4)
    moved = b.then(Softmax(), b.then(Transpose((1, 0, 2)), "x", "t0"), "soft")
    b.then(Transpose((1, 0, 2)), moved, "y")
    becomes(b.graph(["x"], ["y"]), layout, """
        input %x : f32[2,3,4]
        %y = softmax(%x) : f32[2,3,4]  # soft
        output %y""")


def test_softmax_over_another_axis_keeps_its_transpose() -> None:
    b = image(2, 3, 4)
    b.then(Softmax(), b.then(Transpose((0, 2, 1)), "x", "t0"), "y")
    graph = b.graph(["x"], ["y"])
    becomes(graph, layout, str(graph))


def test_a_flattened_feature_map_permutes_the_matrix_behind_it() -> None:
    b = image(1, 2, 3, 4)
    flat = b.then(Reshape((1, 24)), b.then(NCHW, "x", "t0"), "flat")
    b.dense(flat, "y", 5)
    after = becomes(b.graph(["x"], ["y"]), layout, """
        input %x : f32[1,2,3,4]
        %y.flat = reshape(%x) shape=1,24 : f32[1,24]  # y
        %y = fully_connected(%y.flat, %y.w.1, %y.b) : f32[1,5]  # y
        output %y""")
    before, permuted = b.const("y.w"), after.const("y.w.1")
    assert before is not None and permuted is not None
    np.testing.assert_array_equal(permuted.reshape(5, 2, 3, 4), before.reshape(5, 4, 2, 3).transpose(0, 2, 3, 1))


def test_transposes_that_move_nothing_are_reshapes() -> None:
    b = image(1, 1, 5, 7)
    b.then(RELU, b.then(NHWC, "x", "t0"), "y")
    becomes(b.graph(["x"], ["y"]), layout, """
        input %x : f32[1,1,5,7]
        %t0 = reshape(%x) shape=1,5,7,1 : f32[1,5,7,1]  # t0
        %y = unary(%t0) function=clip params=0,inf : f32[1,5,7,1]  # y
        output %y""")


def test_reshapes_in_a_row_become_one() -> None:
    b = image(2, 6)
    y = b.then(Reshape((12,)), b.then(Reshape((3, 4)), "x", "a"), "b")
    b.then(Unary("tanh"), b.then(Reshape((2, 6)), y, "c"), "y")
    becomes(b.graph(["x"], ["y"]), layout, """
        input %x : f32[2,6]
        %y = unary(%x) function=tanh : f32[2,6]  # y
        output %y""")


def test_an_output_that_is_an_input_gets_bytes_of_its_own() -> None:
    b = image(1, 2, 3, 4)
    b.then(NHWC, b.then(NCHW, "x", "t0"), "y")
    becomes(b.graph(["x"], ["y"]), layout, """
        input %x : f32[1,2,3,4]
        %y = reshape(%x) shape=1,2,3,4 : f32[1,2,3,4]  # y
        output %y""")


def test_outputs_in_the_middle_keep_their_layout() -> None:
    b = image(1, 3, 4, 4)
    a = b.then(NCHW, b.conv(b.then(NHWC, "x", "t0"), "a", 2), "first")
    b.then(NCHW, b.conv(b.then(NHWC, a, "t1"), "b", 2), "second")
    becomes(b.graph(["x"], ["first", "second"]), layout, """
        input %x : f32[1,3,4,4]
        %t0 = transpose(%x) perm=0,2,3,1 : f32[1,4,4,3]  # t0
        %a = conv2d(%t0, %a.w, %a.b) window=3x3/pads:1,1,1,1 : f32[1,4,4,2]  # a
        %first = transpose(%a) perm=0,3,1,2 : f32[1,2,4,4]  # first
        %b = conv2d(%a, %b.w, %b.b) window=3x3/pads:1,1,1,1 : f32[1,4,4,2]  # b
        %second = transpose(%b) perm=0,3,1,2 : f32[1,2,4,4]  # second
        output %first, %second""")


@pytest.mark.parametrize("inner", [(1, 4), (4, 1), (2, 2)])
def test_global_pooling_before_a_matrix(inner: tuple[int, int]) -> None:
    b = image(1, 3, 4, 4)
    pooled = b.then(AveragePool2d(Window(inner, inner)), b.then(NHWC, "x", "t0"), "pool")
    flat = b.then(Reshape((1, 12 * 4 // (inner[0] * inner[1]))), b.then(NCHW, pooled, "t1"), "flat")
    b.dense(flat, "y", 2)
    after = layout(b.graph(["x"], ["y"]))
    same_meaning(b.graph(["x"], ["y"]), after)
    assert [n.op.name for n in after.nodes] == ["transpose", "average_pool2d", "reshape", "fully_connected"]
