"""Fully connected layer: rows of the input times a constant matrix, plus bias, with fused activation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from aot.builder import Builder
from aot.errors import AotError
from aot.ir import Array, TensorType, Value
from aot.numerics import Multipliers, assert_int32
from aot.ops.base import (
    NO_CLAMP,
    PLAIN,
    Case,
    Clamp,
    OnnxNode,
    Op,
    Shape,
    Site,
    WeightForm,
    apply_clamp,
    clamp_limits,
    clamp_numbers,
)
from aot.ops.linear import (
    accumulator_bound,
    balanced_reach,
    channel_multipliers,
    constant,
    finish,
    folded_bias,
    headroom,
    linear_error_bound,
    neighbours,
    nibble_pairs,
    output_dims,
    packed,
    quantize_weights,
    rescale_filters,
)
from aot.ops.single import limit
from aot.ops.transpose import Transpose


@dataclass(frozen=True)
class FullyConnected(Op):
    """Inputs: x [..., K], weights [O, K], bias [O]. Source: ONNX Gemm and MatMul, TFLite FULLY_CONNECTED."""

    clamp: Clamp = NO_CLAMP

    name: ClassVar[str] = "fully_connected"
    linear: ClassVar[bool] = True
    output_axis: ClassVar[int] = 0
    short: ClassVar[bool] = True
    onnx: ClassVar[tuple[str, ...]] = ("Gemm", "MatMul")

    @classmethod
    def read(cls, node: OnnxNode, b: Builder) -> tuple[str, ...]:
        x, hint = node.inputs[0], node.outputs[0]
        weights = b.const(node.inputs[1])
        if weights is None or b.const(x) is not None:
            raise AotError(f"{node.op_type} of two values computed at run time is not supported",
                           "the second factor must be a constant and the first must not")
        alpha, beta = float(node.attr("alpha", 1.0)), float(node.attr("beta", 1.0))
        if node.op_type == "MatMul":
            if weights.ndim != 2:
                raise AotError(f"MatMul with a constant of shape {list(weights.shape)} is not supported",
                               "the constant must be a matrix")
            turned = True
        else:
            turned = not node.attr("transB", 0)
            if node.attr("transA", 0):
                x = b.add(Transpose((1, 0)), [x], hint + ".a")
        outputs = weights.shape[1 if turned else 0]
        bias = np.zeros(outputs)
        if node.op_type == "Gemm" and node.has(2):
            c = node.const(b, 2, "bias")
            assert c is not None
            if c.size not in (1, outputs) or (c.ndim and c.shape[-1] not in (1, outputs)):
                raise AotError(f"a bias of shape {list(c.shape)} is not one for each of {outputs} outputs")
            bias = bias + beta * c.astype(np.float64).reshape(-1)
        matrix = b.derived(node.inputs[1], lambda w: alpha * (w.T if turned else w), hint + ".weights")
        inputs = [x, matrix, b.constant(bias, hint + ".bias")]
        return (b.add(cls(), inputs, hint),)

    def infer(self, types: tuple[TensorType, ...]) -> Shape:
        x, w = types[0].shape, types[1].shape
        if not x or x[-1] != w[1]:
            raise AotError(f"an input of shape {list(x)} does not fit {w[1]} weights per output")
        return (*x[:-1], w[0])

    def macs(self, types: tuple[TensorType, ...], output: TensorType) -> int:
        return output.size * types[1].shape[1]

    def reference(self, *x: Array) -> Array:
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused by its name later
            return apply_clamp(x[0] @ x[1].T + x[2], self.clamp)

    def quantize_constants(self, inputs: tuple[Value, ...], output: Value,
                           form: WeightForm = PLAIN) -> tuple[Value, ...]:
        x, w, b = inputs
        return quantize_weights(self, x, w, b, output, form)

    def columns(self, x: Array, fill: float) -> Array:
        return x.reshape(1, -1, x.shape[-1])

    def filters(self, weights: Array, channels: int) -> Array:
        """[1, O, I]."""
        return weights[None]

    def weights(self, filters: Array, shape: Shape) -> Array:
        """[O, I]."""
        return filters.reshape(shape)

    def sensitivity(self, weights: Array, channels: int) -> Array:
        return np.asarray((weights.astype(np.float64) ** 2).sum(axis=0))

    def rescale(self, constants: tuple[Array | None, ...], before: Array | None,
                after: Array | None) -> tuple[Array | None, ...]:
        return rescale_filters(self, constants, None if before is None else before[None], after)

    def bias(self, site: Site) -> Array:
        """Bias per output channel with the input's zero point folded in."""
        x, w, b = site.inputs
        assert w.data is not None
        return folded_bias(x, b, w.data.astype(np.int64).sum(axis=1))

    def bound(self, site: Site) -> Array:
        """Largest possible absolute sum per output channel."""
        w = site.inputs[1].data
        assert w is not None
        return accumulator_bound(site.inputs[0], self.bias(site), w, 0)

    def multipliers(self, site: Site) -> Multipliers:
        """What brings each output channel to the output's scale."""
        return channel_multipliers(site, self.bound(site))

    def output_limits(self, inputs: tuple[Value, ...], output: Value) -> tuple[int, int]:
        return clamp_limits(self.clamp, output)

    def reach(self, inputs: tuple[Value, ...], low: float, weights: str) -> float | None:
        w = inputs[1].data
        assert w is not None
        return balanced_reach(w, 0, low, weights)

    def error_bound(self, site: Site) -> float:
        return linear_error_bound(site, self.multipliers(site))

    def numbers(self, site: Site) -> dict[str, float]:
        return clamp_numbers(self.clamp, site)

    def prove(self, site: Site) -> int | None:
        if site.format == "f32":
            return None
        return headroom(self.bound(site))

    def _single(self, x: Array, w: Array, b: Array) -> Array:
        """In float32: from the bias on, in the order of the weights."""
        acc = np.broadcast_to(b, (*x.shape[:-1], w.shape[0])).astype(np.float32)
        for k in range(w.shape[1]):
            acc = acc + x[..., k:k + 1] * w[:, k]
        return limit(acc, self.clamp)

    def simulate(self, site: Site, *x: Array) -> Array:
        if site.format == "f32":
            return self._single(*x)
        # float64 holds these sums exactly: they stay below 2**53
        acc = (x[0].astype(np.float64) @ x[1].astype(np.float64).T).astype(np.int64) + self.bias(site)
        assert_int32(acc, site.node.name)
        return finish(acc, self.multipliers(site), site, self.clamp)

    def template(self, site: Site) -> str:
        if site.format == "f32":
            return "fully_connected.f32"
        return f"{self.name}.s4" if packed(site) else self.name

    def scratch(self, site: Site) -> int:
        return 2 * 8 * -(-site.inputs[1].type.shape[1] // 8) if packed(site) else 0

    def dims(self, site: Site) -> dict[str, int]:
        w = site.inputs[1].type.shape
        if site.format == "f32":
            return {"ROWS": site.output.type.size // w[0], "IN_LENGTH": w[1], "OUT_LENGTH": w[0]}
        return {"ROWS": site.output.type.size // w[0], "IN_LENGTH": w[1], "OUT_LENGTH": w[0],
                **({"BLOCKS": -(-w[1] // 8)} if packed(site) else {}),
                **output_dims(site, self.multipliers(site), self.clamp)}

    def constants(self, site: Site) -> dict[str, Array]:
        w = site.inputs[1].data
        assert w is not None
        if site.format == "f32":
            return {"weights": w, "bias": constant(site.inputs[2])}
        if packed(site):
            w = nibble_pairs(w)
        elif site.format == "s16" and w.dtype == np.int8:
            w = neighbours(w)
        return {"weights": w, "bias": self.bias(site),
                "multipliers": self.multipliers(site).m.astype(np.int32)}

    @classmethod
    def cases(cls) -> Iterator[Case]:
        rng = np.random.default_rng(3)
        for shape, out, clamp in (((1, 16), 8, NO_CLAMP), ((1, 345), 6, NO_CLAMP),
                                  ((1, 7), 3, (0.0, None)), ((1, 1), 1, NO_CLAMP),
                                  ((3, 13), 5, (0.0, 6.0)), ((2, 2, 18), 9, NO_CLAMP)):
            w = rng.normal(size=(out, shape[-1])).astype(np.float32)
            yield Case(cls(clamp), (shape,), {1: w, 2: rng.normal(size=out).astype(np.float32)})
