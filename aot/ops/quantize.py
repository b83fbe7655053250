"""A change of number format or scale: what stands between layers that compute in different formats."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from aot.ir import FORMATS, Array, Quant, TensorType
from aot.numerics import Multipliers, dequantize, multipliers, requantize, span
from aot.ops.base import Case, Op, Overlap, Rows, Shape, Site, Strip, same_rows


@dataclass(frozen=True)
class Quantize(Op):
    """The same numbers as ``format``. Source: ONNX QuantizeLinear, DequantizeLinear; TFLite QUANTIZE, DEQUANTIZE."""

    format: str

    name: ClassVar[str] = "quantize"

    def infer(self, types: tuple[TensorType, ...]) -> Shape:
        return types[0].shape

    def reference(self, *x: Array) -> Array:
        return x[0]

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
