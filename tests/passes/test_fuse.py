"""Fusions, text in and text out."""

from __future__ import annotations

import numpy as np
import pytest
from rewriting import becomes, same_meaning
from sketch import Sketch, random

from aot.ops.add import Add
from aot.ops.average_pool2d import AveragePool2d
from aot.ops.mul import Mul
from aot.ops.pad import Pad
from aot.ops.unary import Unary
from aot.ops.window import Window
from aot.passes.fold import fold_constants
from aot.passes.fuse import fuse_clamps, fuse_pads, fuse_scales, scales_to_depthwise

RELU, RELU6 = Unary("clip", (0.0, np.inf)), Unary("clip", (0.0, 6.0))


def image(*shape: int) -> Sketch:
    b = Sketch()
    b.input("x", shape)
    return b


# --- constants ---------------------------------------------------------------------------------------------------

def test_constants_are_folded() -> None:
    b = image(1, 4)
    b.then(Add(), [b.then(Mul(), [b.constant(random(4), "p"), b.constant(random(4), "q")], "pq"), "x"], "y")
    becomes(b.graph(["x"], ["y"]), fold_constants, """
        input %x : f32[1,4]
        %y = add(%pq, %x) : f32[1,4]  # y
        output %y""")


def test_an_output_that_is_constant_keeps_its_node() -> None:
    b = image(1, 4)
    b.then(Add(), ["x", b.constant(random(4), "p")], "y")
    b.then(Unary("tanh"), b.constant(random(4), "q"), "z")
    becomes(b.graph(["x"], ["y", "z"]), fold_constants, """
        input %x : f32[1,4]
        %y = add(%x, %p) : f32[1,4]  # y
        %z = unary(%q) function=tanh : f32[4]  # z
        output %y, %z""")


# --- padding -----------------------------------------------------------------------------------------------------

def test_a_pad_becomes_the_convolutions() -> None:
    b = image(1, 6, 5, 3)
    b.conv(b.then(Pad((0, 1, 2, 0), (0, 0, 1, 0)), "x", "pad"), "conv", 4, Window((3, 3), (2, 1), pads=(0, 1, 0, 0)))
    becomes(b.graph(["x"], ["conv"]), fuse_pads, """
        input %x : f32[1,6,5,3]
        %conv = conv2d(%x, %conv.w, %conv.b) window=3x3/stride:2x1/pads:1,3,0,1 : f32[1,3,7,4]  # pad + conv
        output %conv""")


@pytest.mark.parametrize("pad", [
    Pad((0, 1, 1, 0), (0, 1, 1, 0), 2.0),  # not with zeros
    Pad((0, 1, 1, 1), (0, 1, 1, 0)),  # also channels
])
def test_other_pads_stay(pad: Pad) -> None:
    b = image(1, 6, 5, 3)
    b.conv(b.then(pad, "x", "pad"), "conv", 4)
    graph = b.graph(["x"], ["conv"])
    becomes(graph, fuse_pads, str(graph))


def test_a_pad_that_others_read_too_stays_for_them() -> None:
    b = image(1, 6, 5, 3)
    pad = b.then(Pad((0, 1, 1, 0), (0, 1, 1, 0)), "x", "pad")
    b.depthwise(pad, "conv")
    b.then(RELU, pad, "relu")
    becomes(b.graph(["x"], ["conv", "relu"]), fuse_pads, """
        input %x : f32[1,6,5,3]
        %pad = pad(%x) before=0,1,1,0 after=0,1,1,0 : f32[1,8,7,3]  # pad
        %conv = depthwise_conv2d(%x, %conv.w, %conv.b) window=3x3/pads:2,2,2,2 : f32[1,8,7,3]  # pad + conv
        %relu = unary(%pad) function=clip params=0,inf : f32[1,8,7,3]  # relu
        output %conv, %relu""")


# --- scales ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("layer", ["conv", "depthwise", "dense"])
def test_batch_normalization_goes_into_the_weights(layer: str) -> None:
    b = image(*(1, 3) if layer == "dense" else (1, 4, 4, 3))
    y = {"conv": lambda: b.conv("x", "h", 3), "depthwise": lambda: b.depthwise("x", "h"),
         "dense": lambda: b.dense("x", "h", 3)}[layer]()
    b.then(Add(), [b.then(Mul(), [y, b.constant(random(3), "factor")], "m"), b.constant(random(3), "offset")], "y")
    graph = b.graph(["x"], ["y"])
    line = str(graph).splitlines()[1].replace("%h = ", "%y = ").replace("%h.w, %h.b", "%y.weights, %y.bias")
    becomes(graph, fuse_scales, f"""
        {str(graph).splitlines()[0]}
        {line} + m + y
        output %y""")


def test_subtraction_both_ways() -> None:
    b = image(1, 3)
    y = b.then(Add(-1), [b.dense("x", "h", 2), b.constant(random(2), "p")], "m")
    b.then(Add(-1), [b.constant(random(1), "q"), y], "y")
    becomes(b.graph(["x"], ["y"]), fuse_scales, """
        input %x : f32[1,3]
        %y = fully_connected(%x, %y.weights, %y.bias) : f32[1,2]  # h + m + y
        output %y""")


def test_scales_stay_where_they_must() -> None:
    """Behind an activation, where others read the sum, along another axis, and where the shape grows."""
    b = image(1, 3)
    b.then(Mul(), [b.then(RELU, b.dense("x", "a", 2), "a.relu"), b.constant(random(2), "p")], "ya")
    h = b.dense("x", "b", 2)
    b.then(Mul(), [h, b.constant(random(2), "q")], "yb")
    b.then(RELU, h, "yc")
    b.then(Mul(), [b.dense("x", "d", 2), b.constant(random(3, 1), "r")], "yd")
    graph = b.graph(["x"], ["ya", "yb", "yc", "yd"])
    becomes(graph, fuse_scales, str(graph))


def test_scales_with_no_layer_become_one() -> None:
    """A factor and an offset per channel, each of its own precision; a plain number stays what it is."""
    b = image(1, 2, 2, 3)
    scaled = b.then(Add(), [b.then(Mul(), ["x", b.constant(random(3), "p")], "m"), b.constant(random(3), "q")], "s")
    b.then(Mul(), [scaled, b.constant(random(1), "r")], "y")
    becomes(b.graph(["x"], ["y"]), scales_to_depthwise, """
        input %x : f32[1,2,2,3]
        %s.map = reshape(%x) shape=1,4,1,3 : f32[1,4,1,3]  # m + s
        %s.scaled = depthwise_conv2d(%s.map, %s.weights, %s.bias) window=1x1 : f32[1,4,1,3]  # m + s
        %s = reshape(%s.scaled) shape=1,2,2,3 : f32[1,2,2,3]  # m + s
        %y = mul(%s, %r) : f32[1,2,2,3]  # y
        output %y""")


def test_scales_that_are_read_elsewhere_or_bounded_stay_apart() -> None:
    b = image(1, 3)
    m = b.then(Mul(), ["x", b.constant(random(3), "p")], "m")
    bounded = b.then(Add(1, (0.0, None)), [m, b.constant(random(3), "q")], "bounded")
    b.then(Mul(), [bounded, b.constant(random(3), "r")], "y")
    after = scales_to_depthwise(b.graph(["x"], ["m", "y"]))
    same_meaning(b.graph(["x"], ["m", "y"]), after)
    assert [n.op.name for n in after.nodes].count("depthwise_conv2d") == 3


# --- activations -------------------------------------------------------------------------------------------------

def test_activations_become_bounds() -> None:
    b = image(1, 4, 4, 3)
    conv = b.then(RELU6, b.conv("x", "conv", 3), "relu6")
    total = b.then(RELU, b.then(Add(), [conv, "x"], "sum"), "relu")
    pool = b.then(Unary("clip", (-np.inf, 1.5)), b.then(AveragePool2d(Window((2, 2), (2, 2))), total, "pool"), "clip")
    b.then(RELU, b.then(Mul(), [pool, pool], "square"), "y")
    becomes(b.graph(["x"], ["y"]), fuse_clamps, """
        input %x : f32[1,4,4,3]
        %relu6 = conv2d(%x, %conv.w, %conv.b) window=3x3/pads:1,1,1,1 clamp=0,6 : f32[1,4,4,3]  # conv + relu6
        %relu = add(%relu6, %x) clamp=0,None : f32[1,4,4,3]  # sum + relu
        %clip = average_pool2d(%relu) window=2x2/stride:2x2 clamp=None,1.5 : f32[1,2,2,3]  # pool + clip
        %y = mul(%clip, %clip) clamp=0,None : f32[1,2,2,3]  # square + y
        output %y""")


def test_two_bounds_become_one() -> None:
    b = image(1, 3)
    b.then(Unary("clip", (-1.0, 3.0)), b.then(RELU, b.dense("x", "h", 2), "relu"), "y")
    becomes(b.graph(["x"], ["y"]), fuse_clamps, """
        input %x : f32[1,3]
        %y = fully_connected(%x, %h.w, %h.b) clamp=0,3 : f32[1,2]  # h + relu + y
        output %y""")


def test_bounds_that_exclude_each_other() -> None:
    b = image(1, 3)
    b.then(Unary("clip", (2.0, 3.0)), b.then(Unary("clip", (-1.0, 1.0)), b.dense("x", "h", 2), "low"), "y")
    becomes(b.graph(["x"], ["y"]), fuse_clamps, """
        input %x : f32[1,3]
        %y = fully_connected(%x, %h.w, %h.b) clamp=2,2 : f32[1,2]  # h + low + y
        output %y""")


def test_other_functions_stay() -> None:
    """A tanh is no bound; an activation of what others read, or of an output, stays apart."""
    b = image(1, 3)
    b.then(Unary("tanh"), b.dense("x", "a", 2), "ya")
    b.then(RELU, b.dense("x", "b", 2), "yb")
    b.then(RELU, b.dense("x", "c", 2), "yc")
    b.then(Unary("neg"), "c", "yd")
    graph = b.graph(["x"], ["ya", "b", "yb", "yc", "yd"])
    becomes(graph, fuse_clamps, str(graph))
