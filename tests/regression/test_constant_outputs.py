"""A model whose output is a constant, beside others: refused for a value without quantization."""

import numpy as np
import pytest
from frontend.models import model
from onnx import helper

import aot
from aot import data
from aot.verify import verify


@pytest.mark.parametrize("constant", [np.array([[-1.0, 0.5, 2.0]]), np.zeros((1, 3)), np.full((1, 3), -7.0)])
def test_constant_outputs(constant: np.ndarray) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Identity", ["c"], ["z"])]
    made = model(nodes, {"x": [1, 3]}, {"y": [1, 3], "z": [1, 3]}, {"c": constant.astype(np.float32)})
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    net = aot.compile(made, x)
    assert verify(net, data.load(x, net.float_graph)).mismatches == 0
    np.testing.assert_allclose(net.run(x)["z"][3], constant[0], atol=net.graph.values["z"].scale)


@pytest.mark.parametrize("beside", [True, False])
def test_constant_outputs_in_a_search_and_under_the_doctor(beside: bool) -> None:
    """Once a missing value, and one sample of an output where all were wanted."""
    nodes = [helper.make_node("Relu", ["c"], ["z"])]
    outputs = {"z": [1, 3]}
    if beside:
        nodes.insert(0, helper.make_node("Relu", ["x"], ["y"]))
        outputs = {"y": [1, 3], **outputs}
    made = model(nodes, {"x": [1, 3]}, outputs, {"c": np.array([[-1.0, 0.5, 2.0]], np.float32)})
    x = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    net = aot.compile(made, x, precision="auto")
    assert verify(net, data.load(x, net.float_graph)).mismatches == 0
    assert aot.doctor(made, x).as_json()["layers"] is not None
