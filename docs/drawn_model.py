"""A model of random weights that is being made, node by node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class DrawnModel:
    """Nodes, constants and inputs so far; ``rng`` draws the weights."""

    def __init__(self, name: str) -> None:
        self.name, self.rng = name, np.random.default_rng(1)
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []

    def input(self, *shape: int) -> str:
        """An input of the network: one sample of this shape."""
        name = f"x{len(self._inputs)}"
        self._inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, *shape]))
        return name

    def node(self, op: str, inputs: Sequence[str], **attributes: Any) -> str:
        """A node; answers its output."""
        name = f"y{len(self._nodes)}"
        self._nodes.append(helper.make_node(op, list(inputs), [name], name=f"{op}_{len(self._nodes)}", **attributes))
        return name

    def constant(self, data: np.ndarray[Any, np.dtype[np.float64]]) -> str:
        """A constant, as float32."""
        name = f"w{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(data.astype(np.float32), name))
        return name

    def finish(self, outputs: Sequence[str]) -> onnx.ModelProto:
        """The whole model, checked."""
        ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs]
        graph = helper.make_graph(self._nodes, self.name, self._inputs, ends, self._constants)
        model = onnx.shape_inference.infer_shapes(
            helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
        onnx.checker.check_model(model)
        return model
