"""Element-wise multiplication of two tensors with broadcasting and fused activation; division by a constant."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from aot.builder import Builder
from aot.errors import AotError
from aot.ir import Array, TensorType, Value
from aot.numerics import Multipliers, multipliers, requantize, span
from aot.ops.add import Add, broadcast
from aot.ops.base import (
    NO_CLAMP,
    Case,
    Clamp,
    OnnxNode,
    Op,
    Overlap,
    Rows,
    Shape,
    Site,
    Strip,
    apply_clamp,
    clamp_limits,
    clamp_numbers,
    same_rows,
)
from aot.ops.single import limit
from aot.ops.strided import broadcast_strides, collapse


@dataclass(frozen=True)
class Mul(Op):
    """``a * b``, rounded once from the exact product of the two integers."""

    clamp: Clamp = NO_CLAMP

    name: ClassVar[str] = "mul"
    onnx: ClassVar[tuple[str, ...]] = ("Mul", "Div", "BatchNormalization")

    @classmethod
    def read(cls, node: OnnxNode, b: Builder) -> tuple[str, ...]:
        if node.op_type == "BatchNormalization":
            return _batch_norm(node, b)
        x, y = node.inputs[0], node.inputs[1]
        if node.op_type == "Div":
            divisor = b.const(y)
            if divisor is None:
                raise AotError("division by a value computed at run time is not supported",
                               "only division by a constant is")
            if not np.all(divisor):
                raise AotError("division by zero", "the divisor is a constant of the model; check how it was exported")
            y = b.constant(1.0 / divisor.astype(np.float64), f"{y}.reciprocal")
        return (b.add(cls(), [x, y], node.outputs[0]),)

    def infer(self, types: tuple[TensorType, ...]) -> Shape:
        return broadcast(types[0].shape, types[1].shape)

    def reference(self, *x: Array) -> Array:
        return apply_clamp(x[0] * x[1], self.clamp)

    def _reach(self, site: Site) -> int:
        """Largest product of two factors."""
        a, b = (max(v.zero - low, high - v.zero) if v.type.format != "s8" else 255
                for v in site.inputs for low, high in [span(v.type)])
        return a * b

    def _mult(self, site: Site) -> Multipliers:
        a, b, y = site.inputs[0], site.inputs[1], site.output
        return multipliers(a.scale * b.scale / y.scale, self._reach(site))

    def simulate(self, site: Site, *x: Array) -> Array:
        if site.format == "f32":
            return limit(x[0] * x[1], self.clamp)
        a, b = site.inputs[0], site.inputs[1]
        acc = (x[0].astype(np.int64) - a.zero) * (x[1].astype(np.int64) - b.zero)
        y = requantize(acc, self._mult(site)) + site.output.zero
        return np.asarray(np.clip(y, *clamp_limits(self.clamp, site.output)), x[0].dtype)

    def template(self, site: Site) -> str:
        return self.name if site.format != "f32" else "mul.f32"

    def numbers(self, site: Site) -> dict[str, float]:
        return clamp_numbers(self.clamp, site)

    def prove(self, site: Site) -> int | None:
        if site.format == "f32":
            return None
        return 31 - (self._reach(site) << self._mult(site).shift).bit_length()

    def output_limits(self, inputs: tuple[Value, ...], output: Value) -> tuple[int, int]:
        return clamp_limits(self.clamp, output)

    def error_bound(self, site: Site) -> float:
        mult = self._mult(site)
        high = float(np.abs(span(site.output.type)).max()) + abs(site.output.zero)
        return 0.51 if site.format == "s8" else 0.51 + 0.5 * high / max(float(mult.m[0]), 1.0)

    def operands(self, site: Site) -> tuple[int, ...]:
        return (0, 1)

    def strip(self, inputs: tuple[TensorType, ...], output: TensorType, rows: Rows) -> Strip | None:
        return same_rows(self, inputs, output, rows)

    def dims(self, site: Site) -> dict[str, int]:
        out = site.output.type.shape
        loops = collapse(out, tuple(broadcast_strides(v.type.shape, out) for v in site.inputs))
        if site.format == "f32":
            return loops.dims(("A", "B"))
        mult = self._mult(site)
        low, high = clamp_limits(self.clamp, site.output)
        return {**loops.dims(("A", "B")), "A_ZERO": site.inputs[0].zero, "B_ZERO": site.inputs[1].zero,
                "MULTIPLIER": int(mult.m[0]), "SHIFT": mult.shift,
                "OUT_ZERO": site.output.zero, "OUT_MIN": low, "OUT_MAX": high}

    def overlap(self, site: Site, index: int) -> Overlap | None:
        return Overlap(0) if site.inputs[index].type.shape == site.output.type.shape else None

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield Case(cls(), ((1, 3, 3, 5), (1, 3, 3, 5)), {})
        yield Case(cls((0.0, 6.0)), ((1, 3, 3, 5), (1, 1, 1, 5)), {})
        yield Case(cls(), ((4, 3),), {1: np.array([0.5, -2.0, 1.0], np.float32)})


def _batch_norm(node: OnnxNode, b: Builder) -> tuple[str, ...]:
    """Inference-mode batch normalization as one multiplication and one addition per channel (axis 1)."""
    if node.attr("training_mode", 0):
        raise AotError("BatchNormalization in training mode", "export the model in evaluation mode")
    parts = [node.const(b, i, what) for i, what in ((1, "scale"), (2, "bias"), (3, "mean"), (4, "variance"))]
    scale, bias, mean, variance = (np.asarray(p, np.float64) for p in parts)
    shape = b.shape(node.inputs[0])
    channels = shape[1] if len(shape) > 1 else 1
    if any(p.shape != (channels,) for p in (scale, bias, mean, variance)):
        raise AotError(f"parameters do not have one number for each of {channels} channels")
    if np.any(variance + node.attr("epsilon", 1e-5) <= 0):
        raise AotError("the variance plus epsilon is not positive")
    factor = scale / np.sqrt(variance + node.attr("epsilon", 1e-5))
    broadcastable = (channels,) + (1,) * (len(shape) - 2)
    hint = node.outputs[0]
    x = b.add(Mul(), [node.inputs[0], b.constant(factor.reshape(broadcastable), hint + ".factor")], hint + ".scaled")
    return (b.add(Add(), [x, b.constant((bias - mean * factor).reshape(broadcastable), hint + ".offset")], hint),)
