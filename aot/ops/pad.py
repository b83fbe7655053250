"""Padding with a constant."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from aot.builder import Builder
from aot.errors import AotError
from aot.ir import Array, TensorType, Value
from aot.numerics import LIMITS, quantize, span
from aot.ops.base import Case, OnnxNode, Op, Shape, Site
from aot.ops.single import LARGEST
from aot.ops.strided import collapse, row_major


@dataclass(frozen=True)
class Pad(Op):
    """Elements added before and after each axis, all of one ``value``."""

    before: tuple[int, ...]
    after: tuple[int, ...]
    value: float = 0.0

    name: ClassVar[str] = "pad"
    onnx: ClassVar[tuple[str, ...]] = ("Pad",)
    same_quant: ClassVar[bool] = True

    @classmethod
    def read(cls, node: OnnxNode, b: Builder) -> tuple[str, ...]:
        mode = str(node.attr("mode", "constant"))
        if mode != "constant":
            raise AotError(f"Pad in mode {mode!r} is not supported", "only constant padding is")
        x = node.inputs[0]
        rank = len(b.shape(x))
        pads = node.ints(b, 1, "pads")
        if pads is None:
            raise AotError("Pad without pads")
        axes = node.ints(b, 3, "axes") or tuple(range(rank))
        if len(pads) != 2 * len(axes):
            raise AotError(f"{len(pads)} pads for {len(axes)} axes")
        if min(pads) < 0:
            raise AotError(f"negative pads {list(pads)} are not supported", "crop with a Slice before this node")
        value = node.attr("value") if "value" in node.attributes else node.const(b, 2, "constant_value")
        before, after = [0] * rank, [0] * rank
        for i, axis in enumerate(axes):
            before[axis % rank], after[axis % rank] = pads[i], pads[i + len(axes)]
        if not any(pads):
            return (x,)
        real = 0.0 if value is None or np.size(value) == 0 else float(np.asarray(value).reshape(-1)[0])
        return (b.add(cls(tuple(before), tuple(after), real), [x], node.outputs[0]),)

    def infer(self, types: tuple[TensorType, ...]) -> Shape:
        return tuple(s + p + q for s, p, q in zip(types[0].shape, self.before, self.after, strict=True))

    def _pad(self, x: Array, value: float) -> Array:
        return np.pad(x, tuple(zip(self.before, self.after, strict=True)), constant_values=value)

    def carries(self, inputs: tuple[TensorType, ...], output: TensorType) -> bool:
        return self.value == 0.0 and self.before[-1] == self.after[-1] == 0

    def reference(self, *x: Array) -> Array:
        return self._pad(x[0], self.value)

    def _real(self) -> float:
        return float(np.clip(self.value, -LARGEST, LARGEST))

    def template(self, site: Site) -> str:
        return self.name if site.format != "f32" else "pad.f32"

    def numbers(self, site: Site) -> dict[str, float]:
        return {"FILL": self._real()} if site.format == "f32" else {}

    def _fill(self, site: Site) -> int:
        return int(quantize(self.value, site.output.quant, *span(site.output.type)))

    def output_limits(self, inputs: tuple[Value, ...], output: Value) -> tuple[int, int]:
        low, high = span(output.type)
        smallest, largest = LIMITS[output.type.format]
        reach = max(-low, high)
        fill = int(quantize(self.value, output.quant, max(-reach, smallest), min(reach, largest)))
        return min(low, fill), max(high, fill)

    def simulate(self, site: Site, *x: Array) -> Array:
        return self._pad(x[0], self._real() if site.format == "f32" else self._fill(site))

    def dims(self, site: Site) -> dict[str, int]:
        strides = row_major(site.output.type.shape)
        loops = collapse(site.inputs[0].type.shape, (strides,))
        return {**loops.dims(("OUT",)), "LENGTH": site.output.type.size,
                **({} if site.format == "f32" else {"FILL": self._fill(site)}),
                "FIRST": sum(p * s for p, s in zip(self.before, strides, strict=True))}

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield Case(cls((0, 1, 2, 0), (0, 0, 1, 0)), ((1, 3, 4, 2),), {})
        yield Case(cls((1,), (2,), 0.5), ((5,),), {})
