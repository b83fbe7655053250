"""A model of layers which the networks of ``make bench`` do not have, for estimates that hold for others, too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

#: Kernel, stride and dilation of depthwise convolutions over a map of 24 x 20.
DEPTHWISE = (((5, 5), 1, 1), ((5, 5), 2, 1), ((7, 7), 1, 1), ((7, 7), 2, 1), ((3, 3), 1, 2), ((3, 3), 2, 2),
             ((1, 7), 1, 1), ((5, 1), 1, 1), ((2, 4), 1, 1), ((3, 3), 1, 3), ((9, 5), 3, 1))
#: Kernel, stride, dilation, input and output channels, groups of convolutions.
CONVOLUTIONS = (((5, 5), 1, 1, 3, 5, 1), ((7, 3), 2, 1, 5, 7, 1), ((3, 3), 1, 2, 16, 17, 1), ((1, 1), 1, 1, 24, 33, 3),
                ((3, 3), 1, 1, 1, 8, 1), ((1, 5), 1, 1, 20, 24, 1), ((2, 2), 2, 1, 8, 3, 1), ((3, 3), 1, 1, 12, 24, 2))
#: Kernel, input and output channels, groups of convolutions with a sum behind them.
SUMS = (((1, 1), 16, 16, 1), ((1, 1), 5, 7, 1), ((3, 3), 16, 16, 1), ((3, 3), 8, 17, 1), ((1, 1), 24, 33, 3))
#: Kernel and stride of poolings.
POOLS = (((3, 3), 1), ((3, 3), 2), ((5, 2), 2), ((2, 2), 2))
HEIGHT, WIDTH = 24, 20


def write(folder: Path) -> tuple[Path, Path]:
    """Write the model and inputs for it; answer their files."""
    folder.mkdir(parents=True, exist_ok=True)
    model = odd_layers()
    onnx.save(model, folder / "odd_layers.onnx")
    rng = np.random.default_rng(0)
    shapes = {i.name: [d.dim_value for d in i.type.tensor_type.shape.dim] for i in model.graph.input}
    np.savez(folder / "odd_layers.npz", **{n: rng.normal(size=(8, *s[1:])).astype(np.float32)
                                           for n, s in shapes.items()})
    return folder / "odd_layers.onnx", folder / "odd_layers.npz"


def odd_layers() -> onnx.ModelProto:
    """Each layer has an input of the network before it, and an output of the network behind it."""
    made = _Model()
    for kernel, stride, dilation in DEPTHWISE:
        for channels, filters in ((9, 1), (4, 2)):
            made.ends(made.conv(kernel, stride, dilation, channels, channels * filters, channels))
    for kernel, stride, dilation, inputs, outputs, groups in CONVOLUTIONS:
        made.ends(made.conv(kernel, stride, dilation, inputs, outputs, groups))
    for kernel, inputs, outputs, groups in SUMS:
        for cut_off in (False, True):
            other = made.conv((1, 1), 1, 1, 3, outputs, 1)
            products = made.conv(kernel, 1, 1, inputs, outputs, groups)
            made.node("Add", [other, made.inner("Relu", [products]) if cut_off else products])
    for kernel, stride in POOLS:
        for channels in (9, 16):
            for op in ("MaxPool", "AveragePool"):
                made.node(op, [made.input(channels)], kernel_shape=kernel, strides=[stride] * 2,
                          pads=[kernel[0] // 2, kernel[1] // 2] * 2)
    for channels in (9, 16):
        made.node("Mul", [made.input(channels), made.input(channels)])
        made.node("Add", [made.input(channels), made.input(channels)])
        made.node("Concat", [made.input(channels), made.input(7)], axis=1)
        made.node("Sigmoid", [made.input(channels)])
    return made.finish()


class _Model:
    """Nodes, constants, inputs and outputs of a model that is being made."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(1)
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[str] = []

    def input(self, channels: int) -> str:
        """A map that is an input of the network."""
        name = f"x{len(self._inputs)}"
        self._inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, HEIGHT, WIDTH]))
        return name

    def node(self, op: str, inputs: Sequence[str], **attributes: Any) -> None:
        """A layer whose output is one of the network."""
        self.ends(self.inner(op, inputs, **attributes))

    def inner(self, op: str, inputs: Sequence[str], **attributes: Any) -> str:
        """A node within a layer; answers its output."""
        name = f"y{len(self._nodes)}"
        self._nodes.append(helper.make_node(op, list(inputs), [name], name=f"{op}_{len(self._nodes)}", **attributes))
        return name

    def conv(self, kernel: tuple[int, int], stride: int, dilation: int, inputs: int, outputs: int, groups: int) -> str:
        """A convolution with as much padding as keeps the size, but for the stride; answers its output."""
        pads = [(k - 1) * dilation for k in kernel]
        before = [p // 2 for p in pads]
        weights = self._rng.normal(size=(outputs, inputs // groups, *kernel))
        return self.inner("Conv", [self.input(inputs), self._constant(weights),
                                   self._constant(self._rng.normal(size=outputs))],
                          kernel_shape=kernel, strides=[stride] * 2, dilations=[dilation] * 2, group=groups,
                          pads=[*before, *(p - b for p, b in zip(pads, before, strict=True))])

    def ends(self, output: str) -> None:
        """The output of a node is one of the network."""
        self._outputs.append(output)

    def _constant(self, data: np.ndarray[Any, np.dtype[np.float64]]) -> str:
        name = f"w{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(data.astype(np.float32), name))
        return name

    def finish(self) -> onnx.ModelProto:
        """The whole model, checked."""
        outputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in self._outputs]
        graph = helper.make_graph(self._nodes, "odd_layers", self._inputs, outputs, self._constants)
        model = onnx.shape_inference.infer_shapes(
            helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
        onnx.checker.check_model(model)
        return model
