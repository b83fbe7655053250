"""Small networks of few, odd channels, for estimates that hold where layers are short."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from drawn_model import DrawnModel

SAMPLES = 32


def write(folder: Path) -> Mapping[str, tuple[Path, Path]]:
    """Write the models and inputs for them; answer their files by name."""
    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    for make in (dense, longer_dense, convolutions, depthwise, branches):
        name = f"small_{make.__name__}"
        model = make(_Model(name))
        files = written[name] = folder / f"{name}.onnx", folder / f"{name}.npz"
        onnx.save(model, files[0])
        shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
        np.savez(files[1], x=np.random.default_rng(0).normal(size=(SAMPLES, *shape[1:])).astype(np.float32))
    return written


def dense(made: _Model) -> onnx.ModelProto:
    """Rows that are shorter than what kernels do at once."""
    x = made.relu(made.gemm(made.relu(made.gemm(made.input(7), 7, 9)), 9, 11))
    return made.finish([made.node("Sigmoid", [made.gemm(x, 11, 3)])])


def longer_dense(made: _Model) -> onnx.ModelProto:
    """Rows of some tens."""
    x = made.relu(made.gemm(made.relu(made.gemm(made.input(30), 30, 40)), 40, 20))
    return made.finish([made.node("Softmax", [made.gemm(x, 20, 4)], axis=1)])


def convolutions(made: _Model) -> onnx.ModelProto:
    """Odd channels, strides, and a window without padding."""
    x = made.relu(made.conv(made.input(1, 23, 23), 1, 13, (5, 5), stride=2))
    x = made.relu(made.conv(x, 13, 27, (3, 3), stride=2))
    x = made.relu(made.conv(x, 27, 31, (1, 1)))
    x = made.relu(made.conv(x, 31, 33, (3, 3), pads=(0, 0, 0, 0)))
    return made.finish([made.gemm(made.node("Flatten", [x]), 33 * 4 * 4, 9)])


def depthwise(made: _Model) -> onnx.ModelProto:
    """Windows of several sizes, each before a pointwise convolution."""
    x = made.relu(made.conv(made.input(2, 17, 13), 2, 20, (3, 3)))
    for kernel in ((5, 3), (7, 7), (2, 2)):
        x = made.relu(made.conv(x, 20, 20, kernel, group=20))
        x = made.relu(made.conv(x, 20, 20, (1, 1)))
    return made.finish([made.gemm(made.mean(x), 20, 7)])


def branches(made: _Model) -> onnx.ModelProto:
    """Two ways from one map, with poolings, groups, a sum and a gate."""
    x = made.relu(made.conv(made.input(4, 12, 12), 4, 24, (3, 3)))
    a = made.node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    b = made.node("AveragePool", [x], kernel_shape=[2, 2], strides=[2, 2])
    x = made.node("Add", [made.relu(made.conv(a, 24, 24, (3, 3), group=3)), made.relu(made.conv(b, 24, 24, (1, 1)))])
    x = made.node("Mul", [x, made.node("Sigmoid", [x])])
    return made.finish([made.gemm(made.mean(made.relu(made.conv(x, 24, 40, (3, 3), stride=2))), 40, 8)])


class _Model(DrawnModel):
    """The layers of small networks."""

    def relu(self, x: str) -> str:
        """Cut off at 0."""
        return self.node("Relu", [x])

    def mean(self, x: str) -> str:
        """Over the map, as a row."""
        return self.node("Flatten", [self.node("GlobalAveragePool", [x])])

    def gemm(self, x: str, inputs: int, outputs: int) -> str:
        """A dense layer."""
        return self.node("Gemm", [x, self._weights(outputs, inputs), self._weights(outputs)], transB=1)

    def conv(self, x: str, inputs: int, outputs: int, kernel: tuple[int, int], stride: int = 1, group: int = 1,
             pads: tuple[int, ...] | None = None) -> str:
        """A convolution, padded so that its size stays, but for the stride, if not told otherwise."""
        around = (*((k - 1) // 2 for k in kernel), *(k // 2 for k in kernel))
        return self.node("Conv", [x, self._weights(outputs, inputs // group, *kernel), self._weights(outputs)],
                         kernel_shape=kernel, strides=[stride] * 2, group=group, pads=around if pads is None else pads)

    def _weights(self, *shape: int) -> str:
        return self.constant(self.rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:])))
