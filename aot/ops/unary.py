"""Functions of one element: for int8 a table of 256 entries, for int16 one of up to 513 with interpolation between."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from aot.builder import Builder
from aot.errors import AotError
from aot.ir import FORMATS, Array, Quant, TensorType, Value
from aot.numerics import Multipliers, dequantize, multipliers, quantize, requantize, span
from aot.ops.add import Add
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
    affine,
    clamp_limits,
    clamp_numbers,
    same_rows,
)
from aot.ops.mul import Mul
from aot.ops.single import FUNCTIONS as SINGLE
from aot.ops.single import limit, whole_power


def _erf(x: Array) -> Array:
    """The error function, from the Python standard library's."""
    from math import erf

    return np.asarray(np.vectorize(erf, otypes=[np.float64])(x))


def _sigmoid(x: Array) -> Array:
    return 0.5 * (1.0 + np.tanh(0.5 * x))


#: Functions on float64 arrays and their parameters, by ONNX name in lower case (ONNX operator specification).
FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "identity": lambda x: x,
    "clip": lambda x, low, high: np.clip(x, low, high),
    "abs": np.abs,
    "neg": np.negative,
    "exp": np.exp,
    "sqrt": np.sqrt,
    "reciprocal": lambda x: 1.0 / x,
    "log": np.log,
    "sin": np.sin,
    "cos": np.cos,
    "atan": np.arctan,
    "erf": _erf,
    "sign": np.sign,
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.rint,
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
    "softplus": lambda x: np.logaddexp(0.0, x),
    "softsign": lambda x: x / (1.0 + np.abs(x)),
    "mish": lambda x: x * np.tanh(np.logaddexp(0.0, x)),
    "hardswish": lambda x: x * np.clip(x / 6.0 + 0.5, 0.0, 1.0),
    "hardsigmoid": lambda x, alpha, beta: np.clip(alpha * x + beta, 0.0, 1.0),
    "leakyrelu": lambda x, alpha: np.where(x < 0, alpha * x, x),
    "elu": lambda x, alpha: np.where(x < 0, alpha * np.expm1(np.minimum(x, 0)), x),
    "celu": lambda x, alpha: np.maximum(x, 0) + np.minimum(0, alpha * np.expm1(np.minimum(x, 0) / alpha)),
    "selu": lambda x, alpha, gamma: gamma * np.where(x < 0, alpha * np.expm1(np.minimum(x, 0)), x),
    "thresholdedrelu": lambda x, alpha: np.where(x > alpha, x, 0.0),
    "gelu": lambda x: 0.5 * x * (1.0 + _erf(x / np.sqrt(2.0))),
    "gelu_tanh": lambda x: 0.5 * x * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (x + 0.044715 * x**3))),
    "pow": lambda x, exponent: np.power(x, exponent),
}

#: ONNX operators read by name alone, with the attributes (and defaults) that become parameters.
_PLAIN: Mapping[str, tuple[tuple[str, float], ...]] = {
    **dict.fromkeys((
        "Abs", "Neg", "Exp", "Sqrt", "Reciprocal", "Log", "Sin", "Cos", "Atan", "Erf", "Sign", "Floor",
        "Ceil", "Round", "Sigmoid", "Tanh", "Softplus", "Softsign", "Mish", "HardSwish"), ()),
    "HardSigmoid": (("alpha", 0.2), ("beta", 0.5)),
    "LeakyRelu": (("alpha", 0.01),),
    "Elu": (("alpha", 1.0),),
    "Celu": (("alpha", 1.0),),
    "Selu": (("alpha", 1.67326319217681884765625), ("gamma", 1.05070102214813232421875)),
    "ThresholdedRelu": (("alpha", 1.0),),
}

#: Largest number of stretches between the entries of a table for 16-bit inputs.
SEGMENTS = 512

#: Output ranges that hold for every input.
_BOUNDED = {"sigmoid": (0.0, 1.0), "hardsigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0), "erf": (-1.0, 1.0),
            "softsign": (-1.0, 1.0)}


@dataclass(frozen=True)
class Unary(Op):
    """``function`` is a key of :data:`FUNCTIONS`, ``params`` its further arguments."""

    function: str
    params: tuple[float, ...] = ()

    name: ClassVar[str] = "unary"
    onnx: ClassVar[tuple[str, ...]] = (*_PLAIN, "Relu", "Clip", "Gelu", "Pow", "PRelu", "Max", "Min")

    @classmethod
    def read(cls, node: OnnxNode, b: Builder) -> tuple[str, ...]:
        x = node.inputs[0]
        if node.op_type in ("Max", "Min"):
            return (_extreme(node, b),)
        if node.op_type == "PRelu":
            return (_prelu(node, b),)
        if node.op_type == "Relu":
            op = cls("clip", (0.0, np.inf))
        elif node.op_type == "Clip":
            bounds = [node.attr(key, None) if key in node.attributes else node.const(b, i, key)
                      for i, key in ((1, "min"), (2, "max"))]
            low, high = (default if v is None else float(np.asarray(v).reshape(-1)[0])
                         for v, default in zip(bounds, (-np.inf, np.inf), strict=True))
            op = cls("clip", (min(low, high), high))  # ONNX: the upper bound wins
        elif node.op_type == "Gelu":
            op = cls("gelu_tanh" if node.attr("approximate", "none") == "tanh" else "gelu")
        elif node.op_type == "Pow":
            exponent = node.const(b, 1, "exponent")
            if exponent is None or exponent.size != 1:
                raise AotError("Pow needs one exponent for all elements")
            op = cls("pow", (float(exponent.reshape(-1)[0]),))
        else:
            op = cls(node.op_type.lower(), tuple(float(node.attr(k, d)) for k, d in _PLAIN[node.op_type]))
        return (b.add(op, [x], node.outputs[0]),)

    def infer(self, types: tuple[TensorType, ...]) -> Shape:
        return types[0].shape

    def as_clamp(self) -> Clamp:
        """The clamp which this function is, or NO_CLAMP if it is another function."""
        if self.function != "clip":
            return NO_CLAMP
        low, high = self.params
        return (None if low == -np.inf else low, None if high == np.inf else high)

    def carries(self, inputs: tuple[TensorType, ...], output: TensorType) -> bool:
        return self.function == "clip" and self.params[0] in (0.0, -np.inf)

    def reference(self, *x: Array) -> Array:
        with np.errstate(all="ignore"):
            return np.asarray(FUNCTIONS[self.function](x[0].astype(np.float64), *self.params)).astype(np.float32)

    def judges_input(self) -> bool:
        return self.function != "clip"

    def output_quant(self, low: float, high: float, format: str) -> Quant:
        return affine(*_BOUNDED.get(self.function, (low, high)), format)

    def output_limits(self, inputs: tuple[Value, ...], output: Value) -> tuple[int, int]:
        if self._rescales(output.type.format):
            return clamp_limits(self._bounds(), output)
        table = self._mapped(inputs[0], output, *self._grid(inputs[0]))
        return int(table.min()), int(table.max())

    def _rescales(self, format: str) -> bool:
        """Whether it is computed as a change of scale with a clamp: functions with corners where no table entry is."""
        return format == "s16" and self.function in ("clip", "identity")

    def _bounds(self) -> Clamp:
        low, high = self.params if self.function == "clip" else (-np.inf, np.inf)
        return (None if low == -np.inf else low, None if high == np.inf else high)

    @staticmethod
    def _grid(x: Value) -> tuple[int, int, int]:
        """First input which the table holds, number of entries, and logarithm of the inputs from one to the next.

        With steps of more than one input, 0 is among the entries and there is one behind the last that is needed.
        """
        low, high = span(x.type)
        if x.type.format == "s8":
            return low, high - low + 1, 0
        shift = 0
        while (high >> shift) + 1 - (low >> shift) > SEGMENTS:
            shift += 1
        return (low >> shift) << shift, (high >> shift) + 2 - (low >> shift), shift

    def _mapped(self, x: Value, y: Value, first: int, entries: int, shift: int) -> Array:
        real = dequantize(first + (np.arange(entries) << shift), x.quant).astype(np.float64)
        with np.errstate(all="ignore"):
            mapped = np.asarray(FUNCTIONS[self.function](real, *self.params))
        return quantize(mapped, y.quant, *span(y.type)).astype(FORMATS[y.type.format])

    def _table(self, site: Site) -> Array:
        return self._mapped(site.inputs[0], site.output, *self._grid(site.inputs[0]))

    def _mult(self, site: Site) -> Multipliers:
        """What :meth:`_rescales` means by a change of scale."""
        x = site.inputs[0]
        return multipliers(x.scale / site.output.scale, max(map(abs, span(x.type))))

    def simulate(self, site: Site, *x: Array) -> Array:
        if site.format == "f32":
            with np.errstate(all="ignore"):
                return self._single(x[0])
        q = x[0].astype(np.int64)
        if self._rescales(site.format):
            y = requantize(q, self._mult(site))
            return np.asarray(np.clip(y, *clamp_limits(self._bounds(), site.output)), x[0].dtype)
        first, _, shift = self._grid(site.inputs[0])
        table, place = self._table(site), q - first
        if shift == 0:
            return np.asarray(table[place])
        rest, entry = place & ((1 << shift) - 1), table[place >> shift].astype(np.int64)
        rise = (table[(place >> shift) + 1].astype(np.int64) - entry) * rest
        return np.asarray(entry + ((rise + (1 << (shift - 1))) >> shift), x[0].dtype)

    def error_bound(self, site: Site) -> float:
        first, entries, shift = self._grid(site.inputs[0])
        if shift == 0 or self._rescales(site.format):
            return 0.51
        # entries are rounded, and so is what lies between; a chord is off by what the function bends, seen half-way
        x, y = site.inputs[0], site.output
        ends = self._mapped(x, y, first, entries, shift).astype(np.float64)
        between = self._mapped(x, y, first + (1 << (shift - 1)), entries - 1, shift)
        return 2.0 + 2 * float(np.abs((ends[1:] + ends[:-1]) / 2 - between).max(initial=0))

    def _single(self, x: Array) -> Array:
        if self.function == "clip":
            return limit(x, self._bounds())
        return np.asarray(SINGLE[self.function][1](x, *self.params), np.float32)

    def numbers(self, site: Site) -> dict[str, float]:
        if site.format != "f32":
            return {}
        if self.function == "clip":
            return clamp_numbers(self._bounds(), site)
        return {f"P{i}": p for i, p in enumerate(self.params)}

    def expression(self) -> str:
        """The function of x in C, in float arithmetic."""
        if self.function != "clip":
            return SINGLE[self.function][0]
        low, high = self._bounds()
        inner = "x" if low is None else "aot_at_least(x, OUT_MIN)"
        return inner if high is None else f"aot_at_most({inner}, OUT_MAX)"

    def template(self, site: Site) -> str:
        if site.format == "f32":
            return "unary.f32"
        if self._rescales(site.format):
            return "unary.rescale"
        return self.name if self._grid(site.inputs[0])[2] == 0 else "unary.interpolate"

    def strip(self, inputs: tuple[TensorType, ...], output: TensorType, rows: Rows) -> Strip | None:
        return same_rows(self, inputs, output, rows)

    def dims(self, site: Site) -> dict[str, int]:
        length = {"LENGTH": site.output.type.size}
        if site.format == "f32":
            return {**length, **({"WHOLE": whole_power(*self.params)} if self.function == "pow" else {})}
        if self._rescales(site.format):
            low, high = clamp_limits(self._bounds(), site.output)
            mult = self._mult(site)
            return {**length, "MULTIPLIER": int(mult.m[0]), "SHIFT": mult.shift, "OUT_MIN": low, "OUT_MAX": high}
        first, _, shift = self._grid(site.inputs[0])
        return {**length, "LOWEST": first, **({"STEP": 1 << shift, "STEP_BITS": shift} if shift else {})}

    def constants(self, site: Site) -> dict[str, Array]:
        return {} if site.format == "f32" or self._rescales(site.format) else {"table": self._table(site)}

    def overlap(self, site: Site, index: int) -> Overlap | None:
        return Overlap(0)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        for function, params in (("tanh", ()), ("sigmoid", ()), ("clip", (0.0, 6.0)), ("leakyrelu", (0.1,)),
                                 ("gelu", ()), ("hardswish", ()), ("identity", ()), ("reciprocal", ())):
            yield Case(cls(function, params), ((3, 7),), {}, function)


def _extreme(node: OnnxNode, b: Builder) -> str:
    """Max and Min: one number clips; a tensor y takes ``x + relu(y - x)`` or ``x - relu(x - y)``."""
    sign = 1 if node.op_type == "Max" else -1
    tensors = sorted(node.inputs, key=lambda n: b.const(n) is not None)  # constants last
    x = tensors[0]
    for i, other in enumerate(tensors[1:]):
        hint = node.outputs[0] if i == len(tensors) - 2 else f"{node.outputs[0]}.{i}"
        bound = b.const(other)
        if bound is not None and bound.size == 1 and bound.ndim <= len(b.shape(x)):
            low = float(bound.reshape(-1)[0])
            x = b.add(Unary("clip", (low, np.inf) if sign > 0 else (-np.inf, low)), [x], hint)
            continue
        excess = b.add(Add(-1), [other, x] if sign > 0 else [x, other], f"{hint}.excess")
        x = b.add(Add(sign), [x, b.add(Unary("clip", (0.0, np.inf)), [excess], f"{hint}.positive")], hint)
    return x


def _prelu(node: OnnxNode, b: Builder) -> str:
    """A slope for negative numbers; one for each channel is ``max(x, 0) + slope * min(x, 0)``."""
    x, hint = node.inputs[0], node.outputs[0]
    slope = node.const(b, 1, "slope")
    assert slope is not None
    if np.all(slope == slope.reshape(-1)[0]):
        return b.add(Unary("leakyrelu", (float(slope.reshape(-1)[0]),)), [x], hint)
    positive = b.add(Unary("clip", (0.0, np.inf)), [x], f"{hint}.positive")
    negative = b.add(Unary("clip", (-np.inf, 0.0)), [x], f"{hint}.negative")
    return b.add(Add(), [positive, b.add(Mul(), [negative, node.inputs[1]], f"{hint}.scaled")], hint)
