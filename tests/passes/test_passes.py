"""All passes together: models as exporters write them, random graphs, and a pass that is wrong."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
from frontend.models import model
from hypothesis import given, settings
from onnx import helper
from rewriting import same_meaning
from sketch import Sketch, graphs, random

from aot.errors import AotError
from aot.frontend import load
from aot.ir import Graph, Value
from aot.ops.unary import Unary
from aot.passes import PASSES, run_passes


def lines(graph: Graph) -> list[str]:
    """Operators with their origin."""
    return [f"{n.op.name}: {' + '.join(n.origin)}" for n in graph.nodes]


def test_leftovers_of_exporters_vanish() -> None:
    """Conv, BatchNormalization, Clip, Dropout, Identity, Pad, Flatten: three layers are left, in the model's layout."""
    node = helper.make_node
    constants = {"w": random(4, 3, 3, 3), "v": random(4, 1, 3, 3), "m": random(4 * 4 * 4, 5),
                 "scale": random(4), "bias": random(4), "mean": random(4), "var": np.abs(random(4)) + 0.5,
                 "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]), "zero": np.float32(0), "six": np.float32(6),
                 "shape": np.array([1, -1])}
    loaded = load(model([
        node("Pad", ["x", "pads"], ["padded"], name="pad"),
        node("Conv", ["padded", "w"], ["c"], name="conv"),
        node("BatchNormalization", ["c", "scale", "bias", "mean", "var"], ["n"], name="bn"),
        node("Clip", ["n", "zero", "six"], ["r"], name="clip"),
        node("Identity", ["r"], ["i"], name="identity"),
        node("Dropout", ["i"], ["d"], name="dropout"),
        node("Conv", ["d", "v"], ["e"], group=4, pads=[1, 1, 1, 1], name="depthwise"),
        node("Mul", ["e", "factor"], ["f"], name="mul"),
        node("Add", ["f", "offset"], ["g"], name="add"),
        node("Relu", ["g"], ["h"], name="relu"),
        node("Reshape", ["h", "shape"], ["flat"], name="flatten"),
        node("MatMul", ["flat", "m"], ["product"], name="matmul"),
        node("Add", ["product", "five"], ["y"], name="bias"),
    ], {"x": (1, 3, 4, 4)}, {"y": (1, 5)},
        constants | {"factor": random(4, 1, 1), "offset": random(4, 1, 1), "five": random(5)}))
    after = run_passes(loaded.graph)
    same_meaning(loaded.graph, after)
    assert after.values[after.outputs[0]].type.shape == (1, 5)
    assert lines(after) == [
        "transpose: conv", "conv2d: pad + conv + bn + clip", "depthwise_conv2d: depthwise + mul + add + relu",
        "reshape: matmul", "fully_connected: matmul + bias"]


def test_a_lone_normalization_is_one_layer() -> None:
    constants = {n: random(3) for n in ("scale", "bias", "mean")} | {"var": np.abs(random(3)) + 0.5}
    node = helper.make_node("BatchNormalization", ["x", *constants], ["y"], name="bn")
    after = run_passes(load(model([node], {"x": (2, 3)}, {"y": (2, 3)}, constants)).graph)
    assert [n.op.name for n in after.nodes].count("depthwise_conv2d") == 1
    assert {n.op.name for n in after.nodes} == {"depthwise_conv2d", "reshape"}


# --- a pass that is wrong ----------------------------------------------------------------------------------------

def drops_a_value(graph: Graph) -> Graph:
    return replace(graph, nodes=graph.nodes[1:])


def changes_a_shape(graph: Graph) -> Graph:
    last = graph.values[graph.outputs[0]]
    wrong = Value(last.name, replace(last.type, shape=(*last.type.shape, 1)))
    return replace(graph, values={**graph.values, last.name: wrong})


def refuses(graph: Graph) -> Graph:
    raise AotError("this cannot be")


@pytest.mark.parametrize(("wrong", "fact"), [
    (drops_a_value, "is used before it is computed"), (changes_a_shape, "computes shape"), (refuses, "this cannot be")])
def test_a_wrong_pass_is_named(wrong: object, fact: str) -> None:
    b = Sketch()
    b.input("x", (1, 3))
    b.then(Unary("tanh"), b.dense("x", "h", 2), "y")
    with pytest.raises(AotError, match=f"internal error in pass {wrong.__name__}: .*{fact}") as caught:  # type: ignore[attr-defined]
        run_passes(b.graph(["x"], ["y"]), (*PASSES[:3], wrong, *PASSES[3:]))  # type: ignore[arg-type]
    assert "passes before it: fold_constants, settle, layout" in str(caught.value)


# --- random graphs -----------------------------------------------------------------------------------------------

@settings(deadline=None, max_examples=150, derandomize="CI" in os.environ)
@given(graphs())
def test_random_graphs_keep_their_meaning(graph: Graph) -> None:
    """After every single pass, and after all of them."""
    for step in PASSES:
        same_meaning(graph, step(graph))
    same_meaning(graph, run_passes(graph))
