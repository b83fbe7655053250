"""Channels were brought to the whole range of their tensor however few samples had shown how far they reach; what other
samples had beyond that was cut off, and corrections made answers worse."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import aot
from aot.ir import Array
from aot.oracle import Oracle


def error(seed: int, count: int, corrections: str) -> float:
    """Mean absolute error on samples which calibration did not see."""
    rng = np.random.default_rng(seed)

    def drawn(*shape: int) -> Array:
        return (rng.normal(size=shape) / np.sqrt(shape[-1]) * 3).astype(np.float32)

    constants = {"w": drawn(64, 64), "b": drawn(64), "v": drawn(10, 64), "c": drawn(10)}
    nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["a"], transB=1), helper.make_node("Relu", ["a"], ["r"]),
             helper.make_node("Gemm", ["r", "v", "c"], ["g"], transB=1),
             helper.make_node("Softmax", ["g"], ["y"], axis=1)]
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, k]) for n, k in (("x", 64), ("y", 10))]
    graph = helper.make_graph(nodes, "few", values[:1], values[1:], [numpy_helper.from_array(a, n) for n, a in
                                                                     constants.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    seen, others = (rng.normal(size=(n, 64)).astype(np.float32) for n in (count, 500))
    net = aot.compile(model, seen, corrections=corrections)
    oracle = Oracle(net.model)
    exact = np.concatenate([oracle.run({"x": x[None]})["y"] for x in others])
    return float(np.abs(net.run(others).reshape(exact.shape) - exact).mean())


@pytest.mark.parametrize("count", [16, 64])
def test_corrections_do_no_harm(count: int) -> None:
    with_them, without = (np.mean([error(seed, count, c) for seed in range(3)]) for c in ("all", "none"))
    assert with_them < 1.1 * without
