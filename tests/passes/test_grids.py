"""Roundings that a quantized model gives: which vanish, and what becomes of clips and pads beside them."""

from __future__ import annotations

from rewriting import becomes
from sketch import Sketch

from aot.given import prepare
from aot.ops.max_pool2d import MaxPool2d
from aot.ops.pad import Pad
from aot.ops.quantize import Grid, Quantize
from aot.ops.reshape import Reshape
from aot.ops.unary import Unary
from aot.ops.window import Window
from aot.passes.grids import settle
from aot.passes.lift import lift
from aot.recipe import Formats

FIRST, SECOND = Grid("s8", 0.5, 3, -128, 127), Grid("s8", 0.25, -128, -128, 127)


def rounded(b: Sketch, x: str, name: str, grid: Grid = FIRST) -> str:
    return b.then(Quantize(grid.format, grid), x, name)


def test_a_second_rounding_to_the_same_grid_vanishes() -> None:
    """Also behind data movement and a maximum."""
    b = Sketch()
    b.input("x", (1, 4, 4, 2))
    p = b.then(MaxPool2d(Window((2, 2), (2, 2))), rounded(b, "x", "q"), "p")
    rounded(b, b.then(Reshape((1, 8)), rounded(b, p, "r"), "f"), "y")
    becomes(b.graph(["x"], ["y"]), settle, """
        input %x : f32[1,4,4,2]
        %q = quantize(%x) format=s8 grid=s8:0.5,3,-128,127 : f32[1,4,4,2]  # q
        %p = max_pool2d(%q) window=2x2/stride:2x2 : f32[1,2,2,2]  # p
        %y = reshape(%p) shape=1,8 : f32[1,8]  # f
        output %y
        """)


def test_a_rounding_to_another_grid_stays() -> None:
    b = Sketch()
    b.input("x", (1, 4))
    rounded(b, rounded(b, "x", "q"), "y", SECOND)
    graph = b.graph(["x"], ["y"])
    becomes(graph, settle, str(graph))


def test_a_clip_narrows_the_grid_before_it() -> None:
    """If its bounds are on the grid: 0 is, 0.3 is not."""
    b = Sketch()
    b.input("x", (1, 4))
    r = b.then(Unary("clip", (0.0, float("inf"))), rounded(b, "x", "q"), "r")
    b.then(Unary("clip", (0.0, 0.3)), r, "y")
    becomes(b.graph(["x"], ["y"]), settle, """
        input %x : f32[1,4]
        %r = quantize(%x) format=s8 grid=s8:0.5,3,3,127 : f32[1,4]  # q + r
        %y = unary(%r) function=clip params=0,0.3 : f32[1,4]  # y
        output %y
        """)


def test_a_bound_beyond_the_grid_is_no_bound_of_it() -> None:
    b = Sketch()
    b.input("x", (1, 4))
    b.then(Unary("clip", (1000.0, float("inf"))), rounded(b, "x", "q"), "y")
    graph = b.graph(["x"], ["y"])
    becomes(graph, settle, str(graph))


def test_a_pad_lets_the_rounding_pass() -> None:
    """If what it fills in is on the grid."""
    for fill, order in ((0.0, ["quantize", "pad"]), (0.1, ["pad", "quantize"])):
        b = Sketch()
        b.input("x", (1, 4, 4, 1))
        p = b.then(Pad((0, 1, 1, 0), (0, 1, 1, 0), fill), "x", "p")
        rounded(b, p, "y")
        assert [n.op.name for n in lift(b.graph(["x"], ["y"])).nodes] == order


def test_the_layer_before_takes_the_rounding_over() -> None:
    """Through data movement; its output gets the name of the rounding, which is what the float graph rounds."""
    b = Sketch()
    b.input("x", (1, 6))
    h = b.dense(rounded(b, "x", "q"), "h", 4)
    rounded(b, b.then(Reshape((2, 2)), h, "m"), "y", SECOND)
    given = prepare(b.graph(["x"], ["y"]), Formats(), calibrated=False)
    assert [(n.op.name, n.output) for n in given.graph.nodes] == [("fully_connected", "h"), ("reshape", "y")]
    assert given.types["x"] == FIRST.type((1, 6)) and given.types["h"] == SECOND.type((1, 4))
    assert not given.kept


def test_several_roundings_of_one_value() -> None:
    """It is kept in 16 bits, and each of them becomes a change of scale."""
    b = Sketch()
    b.input("x", (1, 6))
    h = b.dense(rounded(b, "x", "q"), "h", 4)
    rounded(b, h, "y")
    rounded(b, h, "z", SECOND)
    given = prepare(b.graph(["x"], ["y", "z"]), Formats(), calibrated=False)
    assert [(n.op.name, n.output) for n in given.graph.nodes] == [
        ("fully_connected", "h"), ("quantize", "y"), ("quantize", "z")]
    assert given.types["h"].format == "s16" and given.types["z"] == SECOND.type((1, 4))
