"""Element-wise addition and subtraction of two tensors with broadcasting and fused activation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from aot.builder import Builder
from aot.errors import AotError
from aot.ir import Array, TensorType, Value
from aot.numerics import INT16_MAX, INT32_MAX, assert_int32, round_half_up, span
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
from aot.ops.single import f32, limit
from aot.ops.strided import broadcast_strides, collapse


@dataclass(frozen=True)
class Add(Op):
    """``a + sign * b``. Both inputs are brought to the output scale in one rounding.

    ``y = clamp((a * A + b * B + C) >> SHIFT)``: A and B are the scale ratios with SHIFT fractional bits, in 16 bits
    each, C holds all zero points and the one half that makes the shift round ties up. ``fine``: in as many bits as fit,
    for models that are quantized already, where every rounding is given; sums of 16-bit inputs then have 64.
    """

    sign: int = 1
    clamp: Clamp = NO_CLAMP
    fine: bool = False

    name: ClassVar[str] = "add"
    onnx: ClassVar[tuple[str, ...]] = ("Add", "Sub", "Sum")

    @classmethod
    def read(cls, node: OnnxNode, b: Builder) -> tuple[str, ...]:
        total = node.inputs[0]
        sign = -1 if node.op_type == "Sub" else 1
        for i, term in enumerate(node.inputs[1:]):
            last = i == len(node.inputs) - 2
            total = b.add(cls(sign), [total, term], node.outputs[0] if last else f"{node.outputs[0]}.sum{i}")
        return (total,)

    def infer(self, types: tuple[TensorType, ...]) -> Shape:
        return broadcast(types[0].shape, types[1].shape)

    def carries(self, inputs: tuple[TensorType, ...], output: TensorType) -> bool:
        return True

    def rescale(self, constants: tuple[Array | None, ...], before: Array | None,
                after: Array | None) -> tuple[Array | None, ...]:
        return tuple(c if c is None or after is None else c * after for c in constants)

    def reference(self, *x: Array) -> Array:
        return apply_clamp(x[0] + self.sign * x[1], self.clamp)

    def wide(self, site: Site) -> bool:
        """Whether sums have 64 bits: fine ones of 16-bit inputs."""
        return self.fine and site.format == "s16"

    def judges_input(self) -> bool:
        return self.clamp != NO_CLAMP  # what it cuts off needs no steps

    @staticmethod
    def _reach(site: Site, ma: int, mb: int) -> int:
        """Largest weighted sum of two inputs."""
        a, b = (max(map(abs, span(v.type))) for v in site.inputs)
        return a * abs(ma) + b * abs(mb)

    def fixed_point(self, site: Site) -> tuple[int, int, int, int]:
        """A, B, C and SHIFT with the most fractional bits for which no factor leaves its bits and no sum 32."""
        a, b, y = site.inputs[0], site.inputs[1], site.output
        ratios = (a.scale / y.scale, self.sign * b.scale / y.scale)
        largest = INT32_MAX if self.fine else INT16_MAX
        most = 2**62 if self.wide(site) else INT32_MAX
        for shift in range(30 if self.fine else 24, 0, -1):
            if max(map(abs, ratios)) * 2.0**shift > largest + 1:
                continue
            m = [int(round_half_up(r * 2.0**shift)) for r in ratios]
            constant = (y.zero << shift) - a.zero * m[0] - b.zero * m[1] + (1 << (shift - 1))
            if max(map(abs, m)) <= largest and abs(constant) + self._reach(site, *m) <= most:
                return m[0], m[1], constant, shift
        raise AotError(f"the inputs' scales are {max(map(abs, ratios)):.3g} times the output's",
                       "calibrate with data that covers the range of this layer's output")

    def simulate(self, site: Site, *x: Array) -> Array:
        if site.format == "f32":
            return limit(x[0] + f32(self.sign) * x[1], self.clamp)
        ma, mb, constant, shift = self.fixed_point(site)
        acc = x[0].astype(np.int64) * ma + x[1].astype(np.int64) * mb + constant
        if not self.wide(site):
            assert_int32(acc, site.node.name)
        return np.asarray(np.clip(acc >> shift, *clamp_limits(self.clamp, site.output)), x[0].dtype)

    def template(self, site: Site) -> str:
        return "add.f32" if site.format == "f32" else "add.wide" if self.wide(site) else self.name

    def numbers(self, site: Site) -> dict[str, float]:
        return clamp_numbers(self.clamp, site)

    def prove(self, site: Site) -> int | None:
        if site.format == "f32":
            return None
        ma, mb, constant, _ = self.fixed_point(site)
        if self.wide(site):
            return None
        return 31 - (abs(constant) + self._reach(site, ma, mb)).bit_length()

    def error_bound(self, site: Site) -> float:
        # each of the two factors is off by up to half its last bit
        reach = sum(max(map(abs, span(v.type))) for v in site.inputs)
        return float(0.5 + reach / 2 ** self.fixed_point(site)[3])

    def output_limits(self, inputs: tuple[Value, ...], output: Value) -> tuple[int, int]:
        low, high = clamp_limits(self.clamp, output)
        positive = self.sign > 0 and all(span(v.type)[0] >= v.zero for v in inputs if v.type.quant)
        return (max(low, output.zero), high) if positive and all(v.type.quant for v in inputs) else (low, high)

    def operands(self, site: Site) -> tuple[int, ...]:
        return (0, 1)

    def strip(self, inputs: tuple[TensorType, ...], output: TensorType, rows: Rows) -> Strip | None:
        return same_rows(self, inputs, output, rows)

    def dims(self, site: Site) -> dict[str, int]:
        out = site.output.type.shape
        loops = collapse(out, tuple(broadcast_strides(v.type.shape, out) for v in site.inputs))
        if site.format == "f32":
            return {**loops.dims(("A", "B")), "SUBTRACT": int(self.sign < 0)}
        ma, mb, constant, shift = self.fixed_point(site)
        low, high = clamp_limits(self.clamp, site.output)
        offset = {"CONSTANT": constant}
        if self.wide(site):
            offset = {"CONSTANT_HIGH": constant >> 30, "CONSTANT_LOW": constant & (2**30 - 1)}
        return {**loops.dims(("A", "B")), "A_MULTIPLIER": ma, "B_MULTIPLIER": mb, **offset, "SHIFT": shift,
                "OUT_MIN": low, "OUT_MAX": high}

    def overlap(self, site: Site, index: int) -> Overlap | None:
        return Overlap(0) if site.inputs[index].type.shape == site.output.type.shape else None

    @classmethod
    def cases(cls) -> Iterator[Case]:
        c = np.linspace(-1, 2, 5, dtype=np.float32)
        yield Case(cls(), ((1, 3, 3, 5), (1, 3, 3, 5)), {})
        yield Case(cls(-1, (0.0, None)), ((7,), (7,)), {})
        yield Case(cls(1), ((2, 3, 5), (3, 1)), {})
        yield Case(cls(1), ((1, 4, 5),), {1: c})
        yield Case(cls(-1), ((2, 3, 5),), {0: c})
        yield Case(cls(1, fine=True), ((1, 3, 3, 4), (1, 3, 3, 4)), {})


def broadcast(a: Shape, b: Shape) -> Shape:
    """Shape of two tensors under numpy broadcasting; an AotError when they do not fit."""
    try:
        return np.broadcast_shapes(a, b)
    except ValueError:
        raise AotError(f"shapes {list(a)} and {list(b)} do not broadcast") from None
