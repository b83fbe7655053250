"""A quantized constant took the name ``tensor.1``, which a transpose had for a tensor: the compiler crashed."""

import numpy as np
from frontend.models import model
from onnx import helper

import aot
from aot.oracle import Oracle


def test_an_input_that_is_concatenated_with_its_own_convolution() -> None:
    """As in dense networks: the first concatenation has to stay NCHW, like the input."""
    rng = np.random.default_rng(0)
    nodes = [helper.make_node("Conv", ["x", "w1"], ["c"], pads=[1, 1, 1, 1]), helper.make_node("Relu", ["c"], ["r"]),
             helper.make_node("Concat", ["x", "r"], ["both"], axis=1),
             helper.make_node("Conv", ["both", "w2"], ["c2"], pads=[1, 1, 1, 1]),
             helper.make_node("Relu", ["c2"], ["r2"]),
             helper.make_node("Concat", ["x", "r", "r2"], ["all"], axis=1),
             helper.make_node("Conv", ["all", "w3"], ["y"])]
    weights = {"w1": rng.normal(size=(4, 3, 3, 3)), "w2": rng.normal(size=(4, 7, 3, 3)),
               "w3": rng.normal(size=(3, 11, 1, 1))}
    made = model(nodes, {"x": [1, 3, 8, 8]}, {"y": [1, 3, 8, 8]},
                 {n: w.astype(np.float32) / 4 for n, w in weights.items()})
    x = rng.normal(size=(9, 1, 3, 8, 8)).astype(np.float32)
    net = aot.compile(made, x)
    expected = np.stack([Oracle(net.model).run({"x": a})["y"] for a in x])[:, 0]
    error = net.run(x) - expected
    assert np.sqrt((error**2).mean() / (expected**2).mean()) < 0.05
