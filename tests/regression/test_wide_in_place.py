"""A convolution with weights beyond 8 bits takes three pixels at a time on Arm DSP. Its output lay over its
input as if it took two; the last pixel was computed from what had been overwritten."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import aot
from aot.bench import bench


def made(side: int, target: str) -> aot.Net:
    """One quantized convolution, 2 -> 5 channels; its uint8 weights leave 8 bits without their zero point."""
    rng = np.random.default_rng(side)
    values = {"xs": np.float32(0.02), "xz": np.uint8(0), "w": rng.integers(0, 256, (5, 2, 3, 3), np.uint8),
              "ws": np.float32(0.005), "wz": np.uint8(134), "ys": np.float32(0.05), "yz": np.uint8(120),
              "b": np.zeros(5, np.int32)}
    nodes = [helper.make_node("QuantizeLinear", ["x", "xs", "xz"], ["q"]),
             helper.make_node("QLinearConv", ["q", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"], ["c"],
                              kernel_shape=[3, 3], pads=[1] * 4),
             helper.make_node("DequantizeLinear", ["c", "ys", "yz"], ["y"])]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, k, side, side]) for n, k in (("x", 2), ("y", 5))]
    graph = helper.make_graph(nodes, "wide", ends[:1], ends[1:], [numpy_helper.from_array(np.asarray(a), n)
                                                                  for n, a in values.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    net = aot.compile(model, target=target, optimize="speed")
    assert target != "cortex-m4" or "conv2d.dsp_wide" in {s.kernel.name for s in net.program.steps}
    return net


@pytest.mark.parametrize("side", [4, 5, 7, 8, 10])
@pytest.mark.parametrize("target", ["cortex-m4", "cortex-m55"])
def test_on_the_host(side: int, target: str) -> None:
    net = made(side, target)
    for given, expected in net.golden:
        np.testing.assert_array_equal(net.run_quantized(given), next(iter(expected.values())))


@pytest.mark.emulator("cortex-m4")
def test_on_a_board() -> None:
    bench(made(4, "cortex-m4"))
