"""A model of layers which the networks of ``make bench`` do not have, for estimates that hold for others, too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from drawn_model import DrawnModel

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
            made.layer("Add", [other, made.node("Relu", [products]) if cut_off else products])
    for kernel, stride in POOLS:
        for channels in (9, 16):
            for op in ("MaxPool", "AveragePool"):
                made.layer(op, [made.map(channels)], kernel_shape=kernel, strides=[stride] * 2,
                          pads=[kernel[0] // 2, kernel[1] // 2] * 2)
    for channels in (9, 16):
        made.layer("Mul", [made.map(channels), made.map(channels)])
        made.layer("Add", [made.map(channels), made.map(channels)])
        made.layer("Concat", [made.map(channels), made.map(7)], axis=1)
        made.layer("Sigmoid", [made.map(channels)])
    return made.whole()


class _Model(DrawnModel):
    """Layers beside each other, each with an input and an output of the network."""

    def __init__(self) -> None:
        super().__init__("odd_layers")
        self._outputs: list[str] = []

    def map(self, channels: int) -> str:
        """A map that is an input of the network."""
        return self.input(channels, HEIGHT, WIDTH)

    def layer(self, op: str, inputs: Sequence[str], **attributes: Any) -> None:
        """A layer whose output is one of the network."""
        self.ends(self.node(op, inputs, **attributes))

    def conv(self, kernel: tuple[int, int], stride: int, dilation: int, inputs: int, outputs: int, groups: int) -> str:
        """A convolution with as much padding as keeps the size, but for the stride; answers its output."""
        pads = [(k - 1) * dilation for k in kernel]
        before = [p // 2 for p in pads]
        weights = self.rng.normal(size=(outputs, inputs // groups, *kernel))
        return self.node("Conv", [self.map(inputs), self.constant(weights),
                                  self.constant(self.rng.normal(size=outputs))],
                         kernel_shape=kernel, strides=[stride] * 2, dilations=[dilation] * 2, group=groups,
                         pads=[*before, *(p - b for p, b in zip(pads, before, strict=True))])

    def ends(self, output: str) -> None:
        """The output of a node is one of the network."""
        self._outputs.append(output)

    def whole(self) -> onnx.ModelProto:
        """The model with all its layers."""
        return self.finish(self._outputs)
