"""Maximum over 2-D windows of NHWC data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from aot.builder import Builder
from aot.ir import Array, TensorType
from aot.numerics import LIMITS
from aot.ops.base import Case, OnnxNode, Op, Rows, Shape, Site, Strip
from aot.ops.pool import read_pool, read_reduction
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

    def reference(self, *x: Array) -> Array:
        return np.asarray(self.window.patches(x[0], -np.inf).max(axis=(3, 4)))

    def simulate(self, site: Site, *x: Array) -> Array:
        return np.asarray(self.window.patches(x[0], self._lowest(site)).max(axis=(3, 4)))

    def _lowest(self, site: Site) -> int:
        return LIMITS[site.format][0]

    def strip(self, inputs: tuple[TensorType, ...], output: TensorType, rows: Rows) -> Strip | None:
        found = self.window.strip(inputs[0].shape[1], rows)
        return None if found is None else Strip(replace(self, window=found[0]), (found[1],))

    def dims(self, site: Site) -> dict[str, int]:
        return {**self.window.dims(site.inputs[0].type.shape, site.output.type.shape), "LOWEST": self._lowest(site)}

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield Case(cls(Window((2, 2), (2, 2))), ((1, 6, 6, 3),), {})
        yield Case(cls(Window((3, 3), (2, 2), (1, 1), (1, 1, 1, 1))), ((1, 7, 5, 4),), {})
        yield Case(cls(Window((1, 3), (1, 1), (1, 2), (0, 2, 0, 2))), ((2, 1, 9, 5),), {})
