"""Mean over 2-D windows of NHWC data, with or without the padding counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import numpy as np

from aot.builder import Builder
from aot.costs import Work
from aot.ir import Array, TensorType, Value
from aot.numerics import Multipliers, multipliers, requantize, span
from aot.ops.base import (
    NO_CLAMP,
    Accumulation,
    Case,
    Clamp,
    OnnxNode,
    Op,
    Rows,
    Shape,
    Site,
    Strip,
    apply_clamp,
    clamp_limits,
    clamp_numbers,
)
from aot.ops.mul import Mul
from aot.ops.pool import read_pool, read_reduction
from aot.ops.pool_mean import PoolMean
from aot.ops.pool_sum import PoolSum
from aot.ops.single import f32, limit
from aot.ops.window import Window


@dataclass(frozen=True)
class AveragePool2d(Op):
    """Input and output [N, H, W, C]. Source: ONNX AveragePool, ReduceMean.

    One multiplier for each number of elements that a window can hold.
    """

    window: Window
    count_pad: bool = False
    clamp: Clamp = NO_CLAMP

    name: ClassVar[str] = "average_pool2d"
    onnx: ClassVar[tuple[str, ...]] = ("AveragePool", "GlobalAveragePool", "ReduceMean", "ReduceSum")

    @classmethod
    def read(cls, node: OnnxNode, b: Builder) -> tuple[str, ...]:
        if node.op_type == "ReduceMean":
            return read_reduction(node, b, cls)
        if node.op_type == "ReduceSum":
            mean, = read_reduction(replace(node, outputs=(f"{node.outputs[0]}.mean",)), b, cls)
            count = b.values[node.inputs[0]].type.size / b.values[mean].type.size
            return (b.add(Mul(), [mean, b.constant(np.asarray(count), f"{mean}.count")], node.outputs[0]),)
        counted, ceil = bool(node.attr("count_include_pad", 0)), bool(node.attr("ceil_mode", 0))
        # what ceil_mode adds at the end is never counted, so that padding which is needs a step of its own
        return read_pool(node, b, partial(cls, count_pad=counted and not ceil), pad_first=counted and ceil)

    def infer(self, types: tuple[TensorType, ...]) -> Shape:
        n, height, width, channels = types[0].shape
        return (n, *self.window.output(height, width), channels)

    def _counts(self, height: int, width: int) -> Array:
        """Divisor of every window, [OH, OW, 1]; windows wholly in the padding divide by 1."""
        if self.count_pad:
            oh, ow = self.window.output(height, width)
            return np.full((oh, ow, 1), self.window.kernel[0] * self.window.kernel[1])
        return np.maximum(self.window.counts(height, width), 1)[..., None]

    def carries(self, inputs: tuple[TensorType, ...], output: TensorType) -> bool:
        return True

    def reference(self, *x: Array) -> Array:
        total = self.window.patches(x[0].astype(np.float64), 0.0).sum(axis=(3, 4))
        return apply_clamp(total / self._counts(*x[0].shape[1:3]), self.clamp).astype(np.float32)

    @staticmethod
    def _reach(site: Site) -> int:
        """Largest distance of an input from its zero point."""
        low, high = span(site.inputs[0].type)
        return high - low if site.format == "s8" else max(-low, high)

    def _mult(self, site: Site) -> Multipliers:
        """Multipliers by number of elements, from 0 (never used: as for 1) to a full window."""
        full = self.window.kernel[0] * self.window.kernel[1]
        divisors = np.full(full + 1, full) if self.count_pad else np.maximum(np.arange(full + 1), 1)
        used = np.unique(self._counts(*site.inputs[0].type.shape[1:3]))
        smallest = int(used.min())
        ratio = site.inputs[0].scale / site.output.scale
        return multipliers(ratio / np.maximum(divisors, smallest), self._reach(site) * np.maximum(divisors, smallest))

    def simulate(self, site: Site, *x: Array) -> Array:
        if site.format == "f32":
            return self._single(x[0])
        zero = site.inputs[0].zero
        height, width = x[0].shape[1:3]
        acc = self.window.patches(x[0].astype(np.int64) - zero, 0).sum(axis=(3, 4))
        inside = self.window.counts(height, width)
        mult = self._mult(site)
        y = requantize(acc, Multipliers(mult.m[inside][..., None], mult.shift)) + site.output.zero
        return np.asarray(np.clip(y, *clamp_limits(self.clamp, site.output)), x[0].dtype)

    def _single(self, x: Array) -> Array:
        """The mean in float32, in the order of rows and columns; padding is skipped."""
        height, width = x.shape[1:3]
        patches = self.window.patches(x, 0.0)
        inside = self.window.patches(np.ones((1, height, width, 1), bool), False)
        total = np.zeros(patches.shape[:3] + patches.shape[5:], np.float32)
        for ky in range(self.window.kernel[0]):
            for kx in range(self.window.kernel[1]):
                total = np.where(inside[:, :, :, ky, kx], total + patches[:, :, :, ky, kx], total)
        return limit(total / f32(self._counts(height, width)), self.clamp)

    def template(self, site: Site) -> str:
        return self.name if site.format != "f32" else "average_pool2d.f32"

    def numbers(self, site: Site) -> dict[str, float]:
        return clamp_numbers(self.clamp, site)

    def prove(self, site: Site) -> int | None:
        if site.format == "f32":
            return None
        full = self.window.kernel[0] * self.window.kernel[1]
        return 31 - ((self._reach(site) * full) << self._mult(site).shift).bit_length()

    def output_limits(self, inputs: tuple[Value, ...], output: Value) -> tuple[int, int]:
        low, high = clamp_limits(self.clamp, output)
        return (max(low, output.zero) if span(inputs[0].type)[0] >= inputs[0].zero else low, high)

    def error_bound(self, site: Site) -> float:
        if site.format == "s8":
            return 0.51
        used = self._mult(site).m[np.unique(self._counts(*site.inputs[0].type.shape[1:3]))]
        return 0.51 + 0.5 * max(map(abs, span(site.output.type))) / max(float(used.min()), 1.0)

    def strip(self, inputs: tuple[TensorType, ...], output: TensorType, rows: Rows) -> Strip | None:
        if any(self.window.pads) and not self.count_pad:
            return None  # the smallest window decides about multipliers, and may lie in another strip
        found = self.window.strip(inputs[0].shape[1], rows)
        return None if found is None else Strip(replace(self, window=found[0]), (found[1],))

    def accumulate(self, inputs: tuple[TensorType, ...]) -> Accumulation | None:
        if inputs[0].format != "s8":
            return None
        height, width = inputs[0].shape[1:3]
        if self.window.kernel != (height, width) or any(self.window.pads) or self.window.dilation != (1, 1):
            return None
        return Accumulation(PoolSum, PoolMean(height * width, self.clamp))

    def work(self, site: Site) -> Work:
        size = site.output.type.size
        return {"layer": 1, "places": size * self.window.kernel[0] * self.window.kernel[1], "outputs": size}

    def dims(self, site: Site) -> dict[str, int]:
        x, y = site.inputs[0], site.output
        if site.format == "f32":
            full = self.window.kernel[0] * self.window.kernel[1]
            return {**self.window.dims(x.type.shape, y.type.shape), "COUNT": full if self.count_pad else 0,
                    "COUNT_EACH": int(not self.count_pad)}
        low, high = clamp_limits(self.clamp, y)
        return {**self.window.dims(x.type.shape, y.type.shape), "IN_ZERO": x.zero, "OUT_ZERO": y.zero,
                "OUT_MIN": low, "OUT_MAX": high, "SHIFT": self._mult(site).shift}

    def constants(self, site: Site) -> dict[str, Array]:
        if site.format == "f32":
            return {}
        return {"multipliers": self._mult(site).m.astype(np.int32)}

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield Case(cls(Window((2, 2), (2, 2))), ((1, 6, 6, 3),), {})
        yield Case(cls(Window((5, 4), (5, 4))), ((2, 5, 4, 8),), {})
        yield Case(cls(Window((5, 4))), ((1, 5, 4, 9),), {})
        yield Case(cls(Window((3, 3), (1, 1), (1, 1), (1, 1, 1, 1))), ((1, 5, 6, 2),), {})
        yield Case(cls(Window((3, 3), (2, 2), (1, 1), (1, 0, 1, 1)), True, (0.0, None)), ((1, 7, 5, 4),), {})
