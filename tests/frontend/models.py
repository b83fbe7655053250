"""Small models for the tests of the frontend, built in code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Dims = Sequence[int | str | None]


def model(nodes: Sequence[onnx.NodeProto], inputs: Mapping[str, Dims], outputs: Mapping[str, Dims],
          constants: Mapping[str, Any] | None = None, opset: int = 17, ir_version: int = 8,
          dtype: int = TensorProto.FLOAT, **more: Any) -> onnx.ModelProto:
    """A model, as it stands: nothing is checked. ``more``: further arguments of ``onnx.helper.make_model``."""
    graph = helper.make_graph(
        nodes, "graph", [helper.make_tensor_value_info(n, dtype, d) for n, d in inputs.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, d) for n, d in outputs.items()],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in (constants or {}).items()])
    imports = more.pop("opset_imports", [helper.make_opsetid("", opset)])
    return helper.make_model(graph, opset_imports=imports, ir_version=ir_version, **more)


def dense(**changes: Any) -> onnx.ModelProto:
    """x [1, 4] -> Gemm -> Relu -> y [1, 3]. ``changes`` replace the weights ``w`` and the bias ``b``."""
    constants = {"w": np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3), "b": np.ones(3, np.float32)} | changes
    nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["h"], name="fc"),
             helper.make_node("Relu", ["h"], ["y"], name="act")]
    return model(nodes, {"x": [1, 4]}, {"y": [1, 3]}, constants)


def convolution() -> onnx.ModelProto:
    """x [N, 2, 6, 6] -> Conv -> MaxPool -> Reshape computed from Shape -> y."""
    weights = np.random.default_rng(0).normal(size=(3, 2, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("MaxPool", ["c"], ["m"], name="pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Shape", ["m"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["n"]),
        helper.make_node("Unsqueeze", ["n", "axes"], ["n1"]),
        helper.make_node("Concat", ["n1", "rest"], ["target"], axis=0),
        helper.make_node("Reshape", ["m", "target"], ["y"], name="flat"),
    ]
    return model(nodes, {"x": ["N", 2, 6, 6]}, {"y": ["N", "features"]},
                 {"w": weights, "zero": np.int64(0), "axes": np.array([0]), "rest": np.array([-1])})
