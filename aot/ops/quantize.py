"""A change of number format or scale: what stands between layers that compute in different formats."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from aot.builder import Builder
from aot.ir import FORMATS, Array, Quant, TensorType
from aot.numerics import LIMITS, Multipliers, dequantize, multipliers, requantize, span
from aot.ops.base import Case, OnnxNode, Op, Overlap, Rows, Shape, Site, Strip, same_rows


@dataclass(frozen=True)
class Grid:
    """Integers from ``low`` to ``high`` of a format, and what they mean: ``scale * (q - zero)``."""

    format: str
    scale: float
    zero: int
    low: int
    high: int

    def __str__(self) -> str:
        return f"{self.format}:{self.scale:.6g},{self.zero},{self.low},{self.high}"

    @property
    def quant(self) -> Quant:
        """The quantization of a value on the grid."""
        return Quant((self.scale,), self.zero)

    @property
    def ends(self) -> tuple[float, float]:
        """The smallest and the largest number on it."""
        return self.scale * (self.low - self.zero), self.scale * (self.high - self.zero)

    def type(self, shape: Shape) -> TensorType:
        """The type of a tensor on the grid."""
        limits = None if (self.low, self.high) == LIMITS[self.format] else (self.low, self.high)
        return TensorType(self.format, shape, self.quant, limits)

    def holds(self, x: float) -> bool:
        """Whether a number is on it, but for what float32 rounds."""
        steps = x / self.scale + self.zero
        return self.low - 1e-3 <= steps <= self.high + 1e-3 and abs(steps - round(steps)) < 1e-3

    def rounded(self, x: Array) -> Array:
        """The nearest numbers on it, as ONNX rounds: ties to even."""
        q = np.rint(np.asarray(x, np.float64) / self.scale) + self.zero
        return np.asarray((np.clip(q, self.low, self.high) - self.zero) * self.scale)


@dataclass(frozen=True)
class Quantize(Op):
    """The same numbers as ``format``. Source: ONNX QuantizeLinear, DequantizeLinear; TFLite QUANTIZE, DEQUANTIZE.

    With a ``grid``, as a model that is quantized already gives it, they are rounded to it in the float graph too.
    """

    format: str
    grid: Grid | None = None

    name: ClassVar[str] = "quantize"
    onnx: ClassVar[tuple[str, ...]] = ("QuantizeLinear", "DequantizeLinear")

    @classmethod
    def read(cls, node: OnnxNode, b: Builder) -> tuple[str, ...]:
        grid = node.attr("grid")
        if node.op_type == "DequantizeLinear":  # integers are what they mean already
            return node.inputs[:1]
        assert isinstance(grid, Grid)
        return (b.add(cls(grid.format, grid), node.inputs[:1], node.outputs[0]),)

    def infer(self, types: tuple[TensorType, ...]) -> Shape:
        return types[0].shape

    def reference(self, *x: Array) -> Array:
        return x[0] if self.grid is None else self.grid.rounded(x[0])

    def _mult(self, site: Site) -> Multipliers:
        x = site.inputs[0]
        low, high = span(x.type)
        return multipliers(x.scale / site.output.scale, max(high - x.zero, x.zero - low))

    def simulate(self, site: Site, *x: Array) -> Array:
        before, after = site.inputs[0].type, site.output.type
        if after.format == "f32":
            return x[0] if before.format == "f32" else dequantize(x[0], site.inputs[0].quant)
        if before.format == "f32":
            return quantize_f32(x[0], site.output.quant, *span(after)).astype(FORMATS[after.format])
        y = requantize(x[0].astype(np.int64) - site.inputs[0].zero, self._mult(site)) + site.output.zero
        return np.asarray(np.clip(y, *span(after)), FORMATS[after.format])

    def priced(self, site: Site) -> str:
        return f"{self.name}.{site.inputs[0].type.format}_{site.format}"

    def template(self, site: Site) -> str:
        if site.output.type.format == "f32":
            return "quantize.to_f32"
        return "quantize.from_f32" if site.inputs[0].type.format == "f32" else self.name

    def numbers(self, site: Site) -> dict[str, float]:
        before, after = site.inputs[0].type, site.output.type
        if after.format == "f32":
            return {"SCALE": site.inputs[0].scale}
        return {"SCALE": site.output.scale} if before.format == "f32" else {}

    def dims(self, site: Site) -> dict[str, int]:
        length, x, y = {"LENGTH": site.output.type.size}, site.inputs[0], site.output
        if y.type.format == "f32":
            return {**length, "IN_ZERO": x.zero}
        low, high = span(y.type)
        ends = {"OUT_ZERO": y.zero, "OUT_MIN": low, "OUT_MAX": high}
        if x.type.format == "f32":
            return {**length, **ends}
        mult = self._mult(site)
        return {**length, "IN_ZERO": x.zero, "MULTIPLIER": int(mult.m[0]), "SHIFT": mult.shift, **ends}

    def strip(self, inputs: tuple[TensorType, ...], output: TensorType, rows: Rows) -> Strip | None:
        return same_rows(self, inputs, output, rows)

    def overlap(self, site: Site, index: int) -> Overlap | None:
        before, after = site.inputs[0].type, site.output.type
        # element i is written at i * after, when all from (i + 1) * before on are still to be read
        return Overlap(max(after.itemsize - before.itemsize, 0) * max(after.size - 1, 0))

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield Case(cls("s8"), ((3, 7),), {})


def quantize_f32(x: Array, quant: Quant, low: int, high: int) -> Array:
    """Quantization in float32 arithmetic, as C does it: ``clamp(floor(x / scale + 0.5) + zero)``; NaN to zero."""
    far = np.float32(2.0**17)
    with np.errstate(over="ignore", invalid="ignore"):
        steps = np.asarray(x, np.float32) / np.float32(quant.scale[0]) + np.float32(0.5)
    steps = np.nan_to_num(np.clip(steps, -far, far), nan=0.0)
    return np.asarray(np.clip(np.floor(steps).astype(np.int64) + quant.zero, low, high))
