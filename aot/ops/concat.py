"""Concatenation along one axis; inputs of another scale than the output's are requantized on the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np

from aot.builder import Builder
from aot.errors import AotError
from aot.ir import Array, TensorType, Value
from aot.numerics import Multipliers, inside, multipliers, requantize, span
from aot.ops.base import Case, OnnxNode, Op, Shape, Site


@dataclass(frozen=True)
class Concat(Op):
    """Inputs equal in shape but for ``axis``."""

    axis: int

    name: ClassVar[str] = "concat"
    onnx: ClassVar[tuple[str, ...]] = ("Concat",)

    @classmethod
    def read(cls, node: OnnxNode, b: Builder) -> tuple[str, ...]:
        axis = node.axis(len(b.shape(node.inputs[0])), 1)
        inputs = [i for i in node.inputs if i]
        return (inputs[0] if len(inputs) == 1 else b.add(cls(axis), inputs, node.outputs[0]),)

    def infer(self, types: tuple[TensorType, ...]) -> Shape:
        first = types[0].shape
        for t in types:
            if len(t.shape) != len(first) or any(a != c for i, (a, c) in enumerate(zip(t.shape, first, strict=True))
                                                 if i != self.axis):
                raise AotError(f"cannot concatenate shapes {[list(t.shape) for t in types]} on axis {self.axis}")
        return tuple(sum(t.shape[i] for t in types) if i == self.axis else s for i, s in enumerate(first))

    def carries(self, inputs: tuple[TensorType, ...], output: TensorType) -> bool:
        return self.axis < len(output.shape) - 1

    def rescale(self, constants: tuple[Array | None, ...], before: Array | None,
                after: Array | None) -> tuple[Array | None, ...]:
        return tuple(c if c is None or after is None else c * after for c in constants)

    def reference(self, *x: Array) -> Array:
        return np.concatenate(x, axis=self.axis)

    def _mult(self, site: Site, x: Value) -> Multipliers | None:
        """The multiplier of one input, None when its bytes are the output's."""
        if site.format == "f32":
            return None
        low, high = span(x.type)
        if x.quant == site.output.quant and inside(x.type, site.output.type):
            return None
        return multipliers(x.scale / site.output.scale, high - low)

    def simulate(self, site: Site, *x: Array) -> Array:
        parts = []
        for value, data in zip(site.inputs, x, strict=True):
            mult = self._mult(site, value)
            if mult is not None:
                moved = requantize(data.astype(np.int64) - value.zero, mult) + site.output.zero
                data = np.clip(moved, *span(site.output.type)).astype(data.dtype)
            parts.append(data)
        return np.concatenate(parts, axis=self.axis)

    def operands(self, site: Site) -> tuple[int, ...]:
        return tuple(range(len(site.inputs)))

    def dims(self, site: Site) -> dict[str, int]:
        out = site.output.type.shape
        inner = prod(out[self.axis + 1:])
        dims = {"ROWS": prod(out[:self.axis]), "OUT_ROW": out[self.axis] * inner}
        if site.format != "f32":
            dims["OUT_ZERO"] = site.output.zero
        for i, x in enumerate(site.inputs):
            dims[f"IN{i}_ROW"] = x.type.shape[self.axis] * inner
            mult = self._mult(site, x)
            if mult is not None:
                dims.update({f"IN{i}_ZERO": x.zero, f"IN{i}_MULTIPLIER": int(mult.m[0]), f"IN{i}_SHIFT": mult.shift})
        return dims

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield Case(cls(3), ((1, 3, 2, 4), (1, 3, 2, 1), (1, 3, 2, 5)), {})
        yield Case(cls(0), ((2, 3), (1, 3)), {})
        yield Case(cls(1), ((2, 3),), {1: np.array([[1, 2], [-3, 4]], np.float32)})
