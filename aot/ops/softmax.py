"""Softmax over the last axis, by tables of exponentials."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from aot.builder import Builder
from aot.errors import AotError
from aot.ir import Array, Quant, TensorType, Value
from aot.numerics import INT32_MAX, LIMITS
from aot.ops.base import Case, OnnxNode, Op, Overlap, Shape, Site
from aot.ops.reshape import Reshape
from aot.ops.single import exp
from aot.ops.transpose import Transpose, inverse

#: Output quantization: probabilities in steps of 1/256 or 1/32768 (TFLite quantization specification, SOFTMAX).
OUTPUT = {"s8": Quant((1.0 / 256.0,), -128), "s16": Quant((1.0 / 32768.0,))}


#: Steps from 0 to 1 which a given scale of 8 bits may have.
MOST_STEPS = 384


@dataclass(frozen=True)
class Softmax(Op):
    """``exp(x) / sum(exp(x))`` over the last axis.

    A table holds ``exp`` for every distance from the row's maximum, in 16 bits; the quotient is rounded, ties up. For
    16-bit inputs there are two tables, of 31 fractional bits: one for the distance's lower byte, one for the upper;
    their product is rounded to 16 bits.
    """

    name: ClassVar[str] = "softmax"
    onnx: ClassVar[tuple[str, ...]] = ("Softmax",)
    fixed_quant: ClassVar[bool] = True

    @classmethod
    def read(cls, node: OnnxNode, b: Builder) -> tuple[str, ...]:
        x, hint = node.inputs[0], node.outputs[0]
        shape = b.shape(x)
        axis = node.axis(len(shape), 1 if node.opset < 13 else -1)
        if node.opset < 13:  # older definition: over all axes from `axis` on
            rows = int(np.prod(shape[:axis]))
            x = b.add(Reshape((rows, b.values[x].type.size // max(rows, 1))), [x], hint + ".rows")
            return (b.add(Reshape(shape), [b.add(cls(), [x], hint + ".softmax")], hint),)
        if axis == len(shape) - 1:
            return (b.add(cls(), [x], hint),)
        perm = (*(i for i in range(len(shape)) if i != axis), axis)
        x = b.add(Transpose(perm), [x], hint + ".last")
        return (b.add(Transpose(inverse(perm)), [b.add(cls(), [x], hint + ".softmax")], hint),)

    def infer(self, types: tuple[TensorType, ...]) -> Shape:
        if not types[0].shape:
            raise AotError("Softmax of a scalar")
        return types[0].shape

    def reference(self, *x: Array) -> Array:
        e = np.exp(x[0].astype(np.float64) - x[0].max(axis=-1, keepdims=True))
        return np.asarray(e / e.sum(axis=-1, keepdims=True), np.float32)

    def judges_input(self) -> bool:
        return True

    def output_quant(self, low: float, high: float, format: str) -> Quant:
        return OUTPUT[format]

    def takes(self, quant: Quant, format: str) -> bool:
        steps = 1 / quant.scale[0]
        return format == "s8" and 1 <= steps < MOST_STEPS and abs(steps - round(steps)) < 0.01

    def output_limits(self, inputs: tuple[Value, ...], output: Value) -> tuple[int, int]:
        return output.zero, LIMITS[output.type.format][1]

    def _table(self, site: Site, factor: int = 1) -> Array:
        """``exp`` of 0 .. 255 steps of ``factor`` input steps down."""
        real = np.exp(-site.inputs[0].scale * factor * np.arange(256))
        if site.format == "s8":
            return np.asarray(np.floor(real * 65535 + 0.5), np.uint16)
        one = INT32_MAX if factor == 1 else INT32_MAX * (65535 / 65536)  # so that the product fits 16 bits
        return np.asarray(np.floor(real * one + 0.5), np.int32)

    def simulate(self, site: Site, *x: Array) -> Array:
        if site.format == "f32":
            return _single(x[0])
        distance = x[0].max(axis=-1, keepdims=True).astype(np.int64) - x[0]
        if site.format == "s8":
            e = self._table(site)[distance].astype(np.int64)
        else:
            fine, coarse = self._table(site).astype(np.int64), self._table(site, 256).astype(np.int64)
            product = (coarse[distance >> 8] * fine[distance & 255] + 2**31) >> 32
            e = (product + 2**13) >> 14
        total = e.sum(axis=-1, keepdims=True)
        zero, highest = self.output_limits(site.inputs, site.output)
        steps = round(1 / site.output.scale)
        return np.asarray(np.minimum((e * steps + total // 2) // total + zero, highest), x[0].dtype)

    def prove(self, site: Site) -> int | None:
        if site.format == "f32":
            return None
        length = site.output.type.shape[-1]
        if length > 65536:
            raise AotError(f"Softmax over {length} elements: the sum of exponentials may exceed 32 bits")
        return 32 - (65535 * max(length, 384 if site.format == "s8" else 49152)).bit_length()

    def error_bound(self, site: Site) -> float:
        # every exponential in the sum is off by up to half of 1/65535, and so is that of the element itself
        return 0.5 + 1 / site.output.scale * (site.output.type.shape[-1] + 1.01) / 2 / 65535

    def dims(self, site: Site) -> dict[str, int]:
        length = site.output.type.shape[-1]
        if site.format == "f32":
            return {"ROWS": site.output.type.size // length, "LENGTH": length}
        zero, highest = self.output_limits(site.inputs, site.output)
        return {"ROWS": site.output.type.size // length, "LENGTH": length,
                "OUT_STEPS": round(1 / site.output.scale), "OUT_ZERO": zero, "OUT_MAX": highest}

    def template(self, site: Site) -> str:
        return self.name if site.format == "s8" else f"{self.name}.{site.format}"

    def constants(self, site: Site) -> dict[str, Array]:
        if site.format == "f32":
            return {}
        if site.format == "s8":
            return {"exponentials": self._table(site)}
        return {"exponentials": self._table(site), "powers": self._table(site, 256)}

    def overlap(self, site: Site, index: int) -> Overlap | None:
        return Overlap(0, exact=True)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield Case(cls(), ((1, 10),), {})
        yield Case(cls(), ((3, 1, 7),), {})
        yield Case(cls(), ((2, 1),), {})


def _single(x: Array) -> Array:
    """Softmax in float32; sums run from the first element to the last."""
    largest = x[..., 0]
    for i in range(1, x.shape[-1]):
        largest = np.where(x[..., i] < largest, largest, x[..., i])
    e = exp(x - largest[..., None])
    total = np.zeros_like(largest)
    for i in range(x.shape[-1]):
        total = total + e[..., i]
    return np.asarray(e / total[..., None])
