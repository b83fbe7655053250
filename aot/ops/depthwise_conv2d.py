"""Depthwise 2-D convolution over NHWC data: every input channel has its own filters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from aot.ir import Array, TensorType, Value
from aot.numerics import Multipliers, assert_int32
from aot.ops.base import (
    NO_CLAMP,
    PLAIN,
    Case,
    Clamp,
    Op,
    Overlap,
    Rows,
    Shape,
    Site,
    Strip,
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
    nibbles,
    output_dims,
    packed,
    quantize_weights,
    rescale_filters,
)
from aot.ops.single import limit
from aot.ops.window import Window


@dataclass(frozen=True)
class DepthwiseConv2d(Op):
    """Inputs: x [N, H, W, C], weights [KH, KW, C * M], bias [C * M] for M filters per channel.

    Source: ONNX Conv with ``group`` equal to the input channels, TFLite DEPTHWISE_CONV_2D.
    """

    window: Window
    clamp: Clamp = NO_CLAMP

    name: ClassVar[str] = "depthwise_conv2d"
    linear: ClassVar[bool] = True
    channelwise: ClassVar[bool] = True
    output_axis: ClassVar[int] = 2
    short: ClassVar[bool] = False

    def infer(self, types: tuple[TensorType, ...]) -> Shape:
        n, height, width, _ = types[0].shape
        return (n, *self.window.output(height, width), types[1].shape[2])

    def macs(self, types: tuple[TensorType, ...], output: TensorType) -> int:
        return output.size * self.window.kernel[0] * self.window.kernel[1]

    def _sums(self, x: Array, w: Array, fill: float) -> Array:
        """Sums over each window, one weight of all windows after the other, [N, OH, OW, C * M]."""
        n, height, width, channels = x.shape
        oh, ow = self.window.output(height, width)
        (sy, sx), (dy, dx) = self.window.stride, self.window.dilation
        padded = self.window.padded(x, fill)
        repeated = padded if w.shape[2] == channels else np.repeat(padded, w.shape[2] // channels, axis=3)
        out = np.zeros((n, oh, ow, w.shape[2]), np.result_type(x, w))
        for i, j in np.ndindex(*self.window.kernel):
            out += repeated[:, i * dy:i * dy + (oh - 1) * sy + 1:sy, j * dx:j * dx + (ow - 1) * sx + 1:sx] * w[i, j]
        return out

    def reference(self, *x: Array) -> Array:
        return apply_clamp(self._sums(x[0], x[1], 0.0) + x[2], self.clamp).astype(np.float32)

    def quantize_constants(self, inputs: tuple[Value, ...], output: Value,
                           form: WeightForm = PLAIN) -> tuple[Value, ...]:
        x, w, b = inputs
        return quantize_weights(self, x, w, b, output, form)

    def columns(self, x: Array, fill: float) -> Array:
        taps = self.window.kernel[0] * self.window.kernel[1]
        return np.asarray(self.window.patches(x, fill).reshape(-1, taps, x.shape[3]).transpose(2, 0, 1))

    def filters(self, weights: Array, channels: int) -> Array:
        """[C, M, KH * KW]."""
        kh, kw, outputs = weights.shape
        return weights.reshape(kh * kw, channels, outputs // channels).transpose(1, 2, 0)

    def weights(self, filters: Array, shape: Shape) -> Array:
        """[KH, KW, C * M]."""
        return filters.transpose(2, 0, 1).reshape(shape)

    def sensitivity(self, weights: Array, channels: int) -> Array:
        return np.asarray((self.filters(weights.astype(np.float64), channels) ** 2).sum(axis=(1, 2)))

    def rescale(self, constants: tuple[Array | None, ...], before: Array | None,
                after: Array | None) -> tuple[Array | None, ...]:
        return rescale_filters(self, constants, None if before is None else before[:, None], after)

    def bias(self, site: Site) -> Array:
        """Bias per output channel with the input's zero point folded in."""
        x, w, b = site.inputs
        assert w.data is not None
        return folded_bias(x, b, w.data.astype(np.int64).sum(axis=(0, 1)))

    def bound(self, site: Site) -> Array:
        """Largest possible absolute sum per output channel."""
        w = site.inputs[1].data
        assert w is not None
        return accumulator_bound(site.inputs[0], self.bias(site), w, 2)

    def multipliers(self, site: Site) -> Multipliers:
        """What brings each output channel to the output's scale."""
        return channel_multipliers(site, self.bound(site))

    def output_limits(self, inputs: tuple[Value, ...], output: Value) -> tuple[int, int]:
        return clamp_limits(self.clamp, output)

    def reach(self, inputs: tuple[Value, ...], low: float, weights: str) -> float | None:
        w = inputs[1].data
        assert w is not None
        return balanced_reach(w, 2, low, weights)

    def error_bound(self, site: Site) -> float:
        return linear_error_bound(site, self.multipliers(site))

    def numbers(self, site: Site) -> dict[str, float]:
        return clamp_numbers(self.clamp, site)

    def prove(self, site: Site) -> int | None:
        if site.format == "f32":
            return None
        return headroom(self.bound(site))

    def _single(self, x: Array, w: Array, b: Array) -> Array:
        """In float32: from the bias on, in the order of the weights; padding is skipped."""
        inside = self.window.patches(np.ones((1, *x.shape[1:3], 1), bool), False)
        patches = self.window.patches(x, 0.0)
        patches = np.repeat(patches, w.shape[2] // x.shape[3], axis=5)
        acc = np.broadcast_to(b, (*patches.shape[:3], w.shape[2])).astype(np.float32)
        for ky, kx in np.ndindex(w.shape[:2]):
            acc = np.where(inside[:, :, :, ky, kx], acc + patches[:, :, :, ky, kx] * w[ky, kx], acc)
        return limit(acc, self.clamp)

    def template(self, site: Site) -> str:
        return self.name if site.format != "f32" else "depthwise_conv2d.f32"

    def simulate(self, site: Site, *x: Array) -> Array:
        if site.format == "f32":
            return self._single(*x)
        acc = self._sums(x[0].astype(np.int64), x[1].astype(np.int64), site.inputs[0].zero) + self.bias(site)
        assert_int32(acc, site.node.name)
        return finish(acc, self.multipliers(site), site, self.clamp)

    def _plane(self, site: Site) -> tuple[int, int]:
        """Height and width of one padded channel, as far as any window reads it."""
        _, oh, ow, _ = site.output.type.shape
        height, width = self.window.extent()
        return (oh - 1) * self.window.stride[0] + height, (ow - 1) * self.window.stride[1] + width

    def strip(self, inputs: tuple[TensorType, ...], output: TensorType, rows: Rows) -> Strip | None:
        found = self.window.strip(inputs[0].shape[1], rows)
        return None if found is None else Strip(replace(self, window=found[0]), (found[1], None, None))

    def dims(self, site: Site) -> dict[str, int]:
        x, _, _ = site.inputs
        out = site.output.type.shape
        plane_h, plane_w = self._plane(site)
        if site.format == "f32":
            return {**self.window.dims(x.type.shape, out), "FILTERS": out[3] // x.type.shape[3]}
        return {
            **self.window.dims(x.type.shape, out),
            "FILTERS": out[3] // x.type.shape[3], "PLANE_H": plane_h, "PLANE_W": plane_w,
            "COPY_H": min(x.type.shape[1], plane_h - self.window.pads[0]),
            "COPY_W": min(x.type.shape[2], plane_w - self.window.pads[1]),
            "IN_ZERO": x.zero,
            **({"PACKED": -(-self.window.kernel[0] * self.window.kernel[1] // 2)} if packed(site) else {}),
            **output_dims(site, self.multipliers(site), self.clamp),
        }

    def constants(self, site: Site) -> dict[str, Array]:
        w = site.inputs[1].data
        assert w is not None
        # one filter after the other: the kernel works channel by channel
        rows = np.ascontiguousarray(w.transpose(2, 0, 1)).reshape(w.shape[2], -1)
        if site.format == "f32":
            return {"weights": rows, "bias": constant(site.inputs[2])}
        mult = self.multipliers(site)
        return {"weights": nibbles(rows, 2, (0, 1)) if packed(site) else rows,
                "bias": self.bias(site), "multipliers": mult.m.astype(np.int32)}

    def scratch(self, site: Site) -> int:
        height, width = self._plane(site)
        if site.format == "f32":
            return 0
        one = self.window.kernel[0] * self.window.kernel[1] if packed(site) else 0
        return height * width * site.inputs[0].type.itemsize + one

    def overlap(self, site: Site, index: int) -> Overlap | None:
        # A channel is copied to the scratch plane before its outputs are written, and nothing else is touched.
        n, _, _, in_c = site.inputs[0].type.shape
        if site.format == "f32" or index != 0 or n != 1 or in_c != site.output.type.shape[3]:
            return None
        return Overlap(0, exact=True)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        rng = np.random.default_rng(2)
        for shape, filters, kernel, stride, dilation, pads, clamp in (
            ((1, 5, 5, 3), 1, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), (0.0, None)),
            ((1, 6, 7, 4), 1, (3, 3), (2, 2), (1, 1), (0, 0, 1, 1), (0.0, 6.0)),
            ((1, 9, 6, 2), 3, (5, 2), (2, 1), (1, 1), (2, 0, 2, 1), NO_CLAMP),
            ((2, 8, 8, 5), 1, (3, 3), (1, 1), (2, 2), (2, 2, 2, 2), NO_CLAMP),
            ((1, 1, 9, 7), 1, (1, 3), (1, 1), (1, 1), (0, 2, 0, 0), NO_CLAMP),
            ((1, 4, 4, 1), 4, (4, 4), (1, 1), (1, 1), (0, 0, 0, 0), NO_CLAMP),
            ((1, 3, 3, 6), 1, (1, 1), (1, 1), (1, 1), (0, 0, 0, 0), NO_CLAMP),
        ):
            out = shape[3] * filters
            w = rng.normal(size=(*kernel, out)).astype(np.float32)
            yield Case(cls(Window(kernel, stride, dilation, pads), clamp), (shape,),
                       {1: w, 2: rng.normal(size=out).astype(np.float32)})
