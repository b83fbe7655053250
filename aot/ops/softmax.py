"""Softmax over the last axis, by a table of exponentials."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from aot.builder import Builder
from aot.errors import AotError
from aot.ir import Array, Quant, TensorType
from aot.ops.base import Case, OnnxNode, Op, Overlap, Shape, Site
from aot.ops.reshape import Reshape
from aot.ops.transpose import Transpose, inverse

#: Output quantization: probabilities in steps of 1/256 (TFLite 8-bit quantization specification, SOFTMAX).
OUTPUT = Quant((1.0 / 256.0,), -128)


@dataclass(frozen=True)
class Softmax(Op):
    """``exp(x) / sum(exp(x))`` over the last axis.

    A table holds ``exp`` for every distance from the row's maximum, in 16 bits; the quotient is rounded, ties up.
    """

    name: ClassVar[str] = "softmax"
    onnx: ClassVar[tuple[str, ...]] = ("Softmax",)

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
        return OUTPUT

    def _table(self, site: Site) -> Array:
        return np.asarray(np.floor(np.exp(-site.inputs[0].scale * np.arange(256)) * 65535 + 0.5), np.uint16)

    def simulate(self, site: Site, *x: Array) -> Array:
        distance = x[0].max(axis=-1, keepdims=True).astype(np.int64) - x[0]
        e = self._table(site)[distance].astype(np.int64)
        total = e.sum(axis=-1, keepdims=True)
        return np.asarray(np.minimum((e * 256 + total // 2) // total - 128, 127), np.int8)

    def prove(self, site: Site) -> int:
        length = site.output.type.shape[-1]
        if length > 65536:
            raise AotError(f"Softmax over {length} elements: the sum of exponentials may exceed 32 bits")
        return 32 - (65535 * max(length, 384)).bit_length()

    def error_bound(self, site: Site) -> float:
        # every exponential in the sum is off by up to half of 1/65535, and so is that of the element itself
        return 0.5 + 256 * (site.output.type.shape[-1] + 1) / 2 / 65535

    def dims(self, site: Site) -> dict[str, int]:
        length = site.output.type.shape[-1]
        return {"ROWS": site.output.type.size // length, "LENGTH": length,
                "OUT_STEPS": 256, "OUT_ZERO": -128, "OUT_MAX": 127}

    def constants(self, site: Site) -> dict[str, Array]:
        return {"exponentials": self._table(site)}

    def overlap(self, site: Site, index: int) -> Overlap | None:
        return Overlap(0, exact=True)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield Case(cls(), ((1, 10),), {})
        yield Case(cls(), ((3, 1, 7),), {})
        yield Case(cls(), ((2, 1),), {})
