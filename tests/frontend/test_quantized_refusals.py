"""What is refused of models that are quantized already: each with node, fact and hint."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from frontend.models import model
from onnx import TensorProto, helper, numpy_helper

from aot.errors import AotError, Problem
from aot.frontend import load


def pair(constants: dict[str, Any], *, quantize: dict[str, Any] | None = None,
         dequantize: tuple[str, ...] = ("q", "s", "z"), opset: int = 21) -> onnx.ModelProto:
    """x [1, 4] through QuantizeLinear and DequantizeLinear."""
    nodes = [helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], "quant", **(quantize or {})),
             helper.make_node("DequantizeLinear", list(dequantize), ["y"], "dequant")]
    return model(nodes, {"x": [1, 4]}, {"y": [1, 4]}, constants, opset=opset, ir_version=10)


def refusal(proto: onnx.ModelProto) -> tuple[Problem, ...]:
    with pytest.raises(AotError) as caught:
        load(proto)
    return caught.value.problems


GOOD: dict[str, Any] = {"s": np.float32(0.1), "z": np.int8(3)}


def test_the_base_is_read() -> None:
    assert len(load(pair(GOOD)).graph.nodes) == 1


@pytest.mark.parametrize("scale", [0.0, -1.0, np.nan, np.inf])
def test_scales_that_are_none(scale: float) -> None:
    problems = refusal(pair(GOOD | {"s": np.float32(scale)}))
    assert "not a finite positive number" in problems[0].fact and problems[0].node == "quant (QuantizeLinear)"


@pytest.mark.parametrize(("changes", "fact"), [
    ({"s": np.full(3, 0.1, np.float32), "z": np.zeros(3, np.int8)}, "3 scales in shape [3] for 4 indices of axis 1"),
    ({"s": np.full(4, 0.1, np.float32)}, "its zero point has shape [], its scale [4]"),
    ({"s": np.array([0.1, 0.1, 0.1, 0.2], np.float32), "z": np.zeros(4, np.int8)}, "4 scales for a tensor"),
    ({"z": np.int16(7)}, "16-bit activations with zero point 7"),
    ({"z": np.uint16(7)}, "16-bit activations with zero point 7"),
    ({"z": np.int32(0)}, "quantization to int32 is not supported"),
    ({"s": np.int8(1)}, "its scale is int8"),
])
def test_parameters_that_do_not_fit(changes: dict[str, Any], fact: str) -> None:
    assert fact in refusal(pair(GOOD | changes))[0].fact


def test_an_axis_outside() -> None:
    constants = {"s": np.full(4, 0.1, np.float32), "z": np.zeros(4, np.int8)}
    assert "axis 2 lies outside a tensor of rank 2" in refusal(pair(constants, quantize={"axis": 2}))[0].fact


def test_zero_points_of_another_type() -> None:
    problems = refusal(pair(GOOD | {"other": np.uint8(3)}, dequantize=("q", "s", "other")))
    assert problems[0].fact == "its zero point is uint8, its integers are int8"


def test_other_parameters_than_those_of_the_rounding() -> None:
    for changed in ({"t": np.float32(0.2)}, {"t": np.float32(0.1), "u": np.int8(4)}):
        names = ("q", "t", "u" if "u" in changed else "z")
        problems = refusal(pair(GOOD | changed, dequantize=names))
        assert "are not those with which its input was quantized" in problems[0].fact


def test_float8() -> None:
    proto = pair(GOOD)
    proto.graph.initializer[1].CopyFrom(helper.make_tensor("z", TensorProto.FLOAT8E4M3FN, [], [0.0]))
    assert "quantization to float8e4m3fn is not supported" in refusal(proto)[0].fact


def test_scales_computed_at_run_time() -> None:
    nodes = [helper.make_node("ReduceMax", ["x"], ["m"], "max", keepdims=0),
             helper.make_node("QuantizeLinear", ["x", "m", "z"], ["q"], "quant"),
             helper.make_node("DequantizeLinear", ["q", "m", "z"], ["y"], "dequant")]
    problems = refusal(model(nodes, {"x": [1, 4]}, {"y": [1, 4]}, {"z": np.int8(0)}))
    assert "computed when the model runs" in problems[0].fact and "dynamic quantization" in problems[0].hint


def test_dynamic_quantization() -> None:
    nodes = [helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"], "dynamic"),
             helper.make_node("MatMulInteger", ["q", "w", "z"], ["i"], "product"),
             helper.make_node("Cast", ["i"], ["y"], to=TensorProto.FLOAT)]
    problems = refusal(model(nodes, {"x": [1, 4]}, {"y": [1, 3]}, {"w": np.ones((4, 3), np.int8)}))
    assert "belongs to dynamic quantization" in problems[0].fact and problems[0].node.startswith("dynamic")


def test_integers_in_other_operators() -> None:
    nodes = [helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
             helper.make_node("Add", ["q", "q"], ["a"], "sum"),
             helper.make_node("DequantizeLinear", ["a", "s", "z"], ["y"])]
    problems = refusal(model(nodes, {"x": [1, 4]}, {"y": [1, 4]}, GOOD))
    assert problems[0].fact == "Add of integers is not supported" and problems[0].node == "sum (Add)"


def test_integers_of_different_scales_put_together() -> None:
    nodes = [helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
             helper.make_node("QuantizeLinear", ["x", "t", "z"], ["r"]),
             helper.make_node("Concat", ["q", "r"], ["c"], "both", axis=1),
             helper.make_node("DequantizeLinear", ["c", "s", "z"], ["y"])]
    problems = refusal(model(nodes, {"x": [1, 4]}, {"y": [1, 8]}, GOOD | {"t": np.float32(0.2)}))
    assert "different scales or zero points" in problems[0].fact


def test_outputs_that_are_integers() -> None:
    nodes = [helper.make_node("QuantizeLinear", ["x", "s", "z"], ["y"])]
    problems = refusal(model(nodes, {"x": [1, 4]}, {"y": [1, 4]}, GOOD))
    assert problems[0].fact == "this output of the model is int8"


def test_blocks_that_do_not_fit() -> None:
    nodes = [helper.make_node("DequantizeLinear", ["w", "t"], ["f"], "weights", axis=0, block_size=3),
             helper.make_node("MatMul", ["x", "f"], ["y"])]
    problems = refusal(model(nodes, {"x": [1, 4]}, {"y": [1, 2]}, {
        "w": np.ones((4, 2), np.int8), "t": np.ones((3, 2), np.float32)}, opset=21, ir_version=10))
    assert "do not fit blocks of 3 along axis 0" in problems[0].fact


def test_operators_on_quantized_tensors_that_are_damaged() -> None:
    nodes = [helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
             helper.make_node("QLinearAdd", ["q", "s", "z", "q", "s", "z"], ["a"], "sum", domain="com.microsoft"),
             helper.make_node("DequantizeLinear", ["a", "s", "z"], ["y"])]
    proto = model(nodes, {"x": [1, 4]}, {"y": [1, 4]}, GOOD,
                  opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)])
    problems = refusal(proto)
    assert problems[0].fact == "it has no scale and zero point of its output"
    assert problems[0].node == "sum (com.microsoft.QLinearAdd)"


def test_constants_are_folded_as_onnx_says() -> None:
    """Ties to even, saturation, and zero points, per channel."""
    w = np.array([[0.5, 1.5, 2.5, -300.0], [1.0, -1.0, 3.0, 300.0]], np.float32)
    names = ["s", "z"]
    nodes = [helper.make_node("QuantizeLinear", ["w", *names], ["q"], axis=0),
             helper.make_node("DequantizeLinear", ["q", *names], ["f"], axis=0),
             helper.make_node("Gemm", ["x", "f"], ["y"], transB=1)]
    proto = model(nodes, {"x": [1, 4]}, {"y": [1, 2]}, {
        "w": w, "s": np.array([1.0, 2.0], np.float32), "z": np.array([0, 10], np.int8)})
    graph = load(proto).graph
    value = graph.values[graph.nodes[0].inputs[1]]
    np.testing.assert_array_equal(value.data, [[0, 2, 2, -128], [0, 0, 4, 234]])
    np.testing.assert_array_equal(value.steps, [[1.0] * 4, [2.0] * 4])
    assert numpy_helper.to_array(proto.graph.initializer[0]).shape == (2, 4)
