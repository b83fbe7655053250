"""Maximum over 2-D windows of NHWC data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from aot.builder import Builder
from aot.costs import Work
from aot.ir import Array, TensorType
from aot.numerics import LIMITS
from aot.ops.base import Case, OnnxNode, Op, Rows, Shape, Site, Strip
from aot.ops.pool import read_pool, read_reduction
from aot.ops.single import LARGEST
from aot.ops.window import Window


@dataclass(frozen=True)
class MaxPool2d(Op):
    """Input and output [N, H, W, C] in one quantization; padding never wins. Source: ONNX MaxPool, ReduceMax."""

    window: Window

    name: ClassVar[str] = "max_pool2d"
    onnx: ClassVar[tuple[str, ...]] = ("MaxPool", "GlobalMaxPool", "ReduceMax")
    same_quant: ClassVar[bool] = True

    @classmethod
    def read(cls, node: OnnxNode, b: Builder) -> tuple[str, ...]:
        return read_reduction(node, b, cls) if node.op_type == "ReduceMax" else read_pool(node, b, cls)

    def infer(self, types: tuple[TensorType, ...]) -> Shape:
        n, height, width, channels = types[0].shape
        return (n, *self.window.output(height, width), channels)

    def carries(self, inputs: tuple[TensorType, ...], output: TensorType) -> bool:
        return True

    def reference(self, *x: Array) -> Array:
        return np.asarray(self.window.patches(x[0], -np.inf).max(axis=(3, 4)))

    def simulate(self, site: Site, *x: Array) -> Array:
        if site.format == "f32":
            return self._single(x[0])
        return np.asarray(self.window.patches(x[0], self._lowest(site)).max(axis=(3, 4)))

    def _single(self, x: Array) -> Array:
        patches = self.window.patches(x, -LARGEST)
        largest = np.full(patches.shape[:3] + patches.shape[5:], -LARGEST, np.float32)
        for ky in range(self.window.kernel[0]):
            for kx in range(self.window.kernel[1]):
                value = patches[:, :, :, ky, kx]
                largest = np.where(value < largest, largest, value)
        return largest

    def template(self, site: Site) -> str:
        return self.name if site.format != "f32" else "max_pool2d.f32"

    def numbers(self, site: Site) -> dict[str, float]:
        return {"LOWEST": -LARGEST} if site.format == "f32" else {}

    def _lowest(self, site: Site) -> int:
        return LIMITS[site.format][0]

    def strip(self, inputs: tuple[TensorType, ...], output: TensorType, rows: Rows) -> Strip | None:
        found = self.window.strip(inputs[0].shape[1], rows)
        return None if found is None else Strip(replace(self, window=found[0]), (found[1],))

    def work(self, site: Site) -> Work:
        size = site.output.type.size
        return {"layer": 1, "places": size * self.window.kernel[0] * self.window.kernel[1], "outputs": size}

    def dims(self, site: Site) -> dict[str, int]:
        lowest = {} if site.format == "f32" else {"LOWEST": self._lowest(site)}
        return {**self.window.dims(site.inputs[0].type.shape, site.output.type.shape), **lowest}

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield Case(cls(Window((2, 2), (2, 2))), ((1, 6, 6, 3),), {})
        yield Case(cls(Window((3, 3), (2, 2), (1, 1), (1, 1, 1, 1))), ((1, 7, 5, 4),), {})
        yield Case(cls(Window((1, 3), (1, 1), (1, 2), (0, 2, 0, 2))), ((2, 1, 9, 5),), {})
