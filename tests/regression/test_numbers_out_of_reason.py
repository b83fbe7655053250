"""Strides and dilations beyond 32 bits reached the generated C; a Clip whose bounds cross was read the wrong way; an
output of gigabytes was computed before anybody asked whether it could be meant."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import aot
from aot.errors import AotError


def model(kind: str, shape: list[int], weights: tuple[int, ...] | None = None, **attributes: Any) -> onnx.ModelProto:
    inputs, constants = ["x"], []
    if weights is not None:
        constants = [helper.make_tensor("w", TensorProto.FLOAT, weights, np.ones(weights).reshape(-1))]
        inputs.append("w")
    if kind == "Clip":
        constants = [helper.make_tensor(n, TensorProto.FLOAT, (), [v]) for n, v in attributes.items()]
        inputs, attributes = ["x", *attributes], {}
    node = helper.make_node(kind, inputs, ["y"], **attributes)
    graph = helper.make_graph([node], "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


@pytest.mark.parametrize("made", [
    model("MaxPool", [1, 1, 6, 6], kernel_shape=[2, 2], strides=[2**40, 1]),
    model("Conv", [1, 1, 6, 6], (1, 1, 1, 1), dilations=[2**40, 1]),
    model("Conv", [1, 1, 6, 6], (1, 1, 3, 3), strides=[2**40, 1]),
], ids=["pool", "dilation", "stride"])
def test_windows_beyond_reason(made: onnx.ModelProto) -> None:
    with pytest.raises(AotError, match="must not exceed 32767"):
        aot.compile(made, data=np.zeros((2, 1, 6, 6), np.float32))


def test_outputs_beyond_reason() -> None:
    made = model("Conv", [1, 1, 60, 60], (16, 1, 3, 3), pads=[1000] * 4)
    with pytest.raises(AotError, match="computes 67,765,824 elements"):
        aot.compile(made, data=np.zeros((2, 1, 60, 60), np.float32))


def test_crossed_bounds_of_clip() -> None:
    samples = np.linspace(-1, 1, 40, dtype=np.float32).reshape(10, 4)
    net = aot.compile(model("Clip", [1, 4], min=0.7, max=0.2), data=samples)
    np.testing.assert_allclose(net.run(np.array([[-1, 0.3, 0.6, 1]], np.float32)), 0.2, atol=0.01)
