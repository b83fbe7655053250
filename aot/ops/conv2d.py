"""2-D convolution over NHWC data with OHWI weights (also 1-D, as height 1), with groups, bias and fused activation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from aot.builder import Builder
from aot.errors import AotError
from aot.ir import Array, TensorType, Value
from aot.numerics import Multipliers, assert_int32, round_half_up
from aot.ops.base import (
    NO_CLAMP,
    PLAIN,
    Case,
    Clamp,
    OnnxNode,
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
from aot.ops.depthwise_conv2d import DepthwiseConv2d
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
    wide,
)
from aot.ops.single import limit
from aot.ops.window import Window, from_nhwc, read_window, to_nhwc


def _format(site: Site) -> str:
    """The format in which products are summed up."""
    return "s16" if wide(site) else site.format


@dataclass(frozen=True)
class Conv2d(Op):
    """Inputs: x [N, H, W, I], weights [O, KH, KW, I / groups], bias [O]. Source: ONNX Conv, TFLite CONV_2D.

    ``residual``: there is a fourth input of the output's shape, which is added before anything is rounded; the integer
    kernel multiplies it with a whole number per channel, of which the scales of weights are made fractions.
    ``rectify``: what it is added to has been cut off at zero.
    """

    window: Window
    groups: int = 1
    clamp: Clamp = NO_CLAMP
    residual: bool = False
    rectify: bool = False

    name: ClassVar[str] = "conv2d"
    linear: ClassVar[bool] = True
    output_axis: ClassVar[int] = 0
    short: ClassVar[bool] = False
    onnx: ClassVar[tuple[str, ...]] = ("Conv",)

    @classmethod
    def read(cls, node: OnnxNode, b: Builder) -> tuple[str, ...]:
        weights = node.const(b, 1, "weight")
        assert weights is not None
        shape = b.shape(node.inputs[0])
        if weights.ndim != len(shape) or weights.ndim not in (3, 4):
            raise AotError(f"input of rank {len(shape)} with weights of shape {weights.shape}",
                           "convolutions over one or two spatial dimensions are supported")
        groups = int(node.attr("group", 1))
        out_channels, in_channels = weights.shape[0], shape[1]
        if groups < 1 or in_channels != weights.shape[1] * groups or out_channels % groups:
            raise AotError(f"{in_channels} input channels and {groups} groups do not fit weights {weights.shape}")
        kernel = tuple(node.attr("kernel_shape") or weights.shape[2:])
        if kernel != weights.shape[2:]:
            raise AotError(f"kernel_shape {kernel} differs from the weights' {weights.shape[2:]}")
        window = read_window(node, kernel, shape[2:])
        bias = node.const(b, 2, "bias")
        bias = np.zeros(out_channels, np.float32) if bias is None else bias
        if bias.shape != (out_channels,):
            raise AotError(f"bias of shape {bias.shape} for {out_channels} output channels")
        hint = node.outputs[0]
        x = to_nhwc(b, node.inputs[0], hint + ".in")
        oihw = (*weights.shape[:2], *window.kernel)
        op: Op
        if groups == in_channels and (groups > 1 or out_channels == 1):
            op = DepthwiseConv2d(window)
            packed = b.derived(node.inputs[1], lambda w: w.reshape(oihw)[:, 0].transpose(1, 2, 0), hint + ".weights")
        else:
            op = cls(window, groups)
            packed = b.derived(node.inputs[1], lambda w: w.reshape(oihw).transpose(0, 2, 3, 1), hint + ".weights")
        inputs = [x, packed, b.constant(bias, hint + ".bias")]
        return (from_nhwc(b, b.add(op, inputs, hint + ".conv"), len(shape), hint),)

    def infer(self, types: tuple[TensorType, ...]) -> Shape:
        n, height, width, _ = types[0].shape
        return (n, *self.window.output(height, width), types[1].shape[0])

    def macs(self, types: tuple[TensorType, ...], output: TensorType) -> int:
        return output.size * types[1].size // types[1].shape[0]

    def computes(self, activations: str, weights: str) -> bool:
        return not self.residual or (activations, weights) == ("s8", "s8")

    def _sums(self, x: Array, w: Array, fill: float) -> Array:
        """Products of every window with every filter, [N, OH, OW, O]."""
        patches = self.window.patches(x, fill)
        n, oh, ow = patches.shape[:3]
        per_group = w.shape[0] // self.groups
        depth = x.shape[3] // self.groups
        out = np.empty((n, oh, ow, w.shape[0]), dtype=x.dtype)
        for g in range(self.groups):
            rows = slice(g * per_group, (g + 1) * per_group)
            columns = patches[..., g * depth:(g + 1) * depth].reshape(n * oh * ow, -1)
            out[..., rows] = (columns @ w[rows].reshape(per_group, -1).T).reshape(n, oh, ow, per_group)
        return out

    def reference(self, *x: Array) -> Array:
        y = self._sums(x[0], x[1], 0.0) + x[2]
        if self.residual:
            y = (np.maximum(y, 0.0) if self.rectify else y) + x[3]
        return apply_clamp(y, self.clamp)

    def quantize_constants(self, inputs: tuple[Value, ...], output: Value,
                           form: WeightForm = PLAIN) -> tuple[Value, ...]:
        x, w, b, *rest = inputs
        return *quantize_weights(self, x, w, b, output, form, *rest), *rest

    @property
    def rectifies(self) -> bool:
        return self.rectify

    def added(self, inputs: tuple[Value, ...]) -> Value | None:
        return inputs[3] if self.residual and not self.rectify else None

    def columns(self, x: Array, fill: float) -> Array:
        patches = self.window.patches(x, fill)
        split = patches.reshape(-1, *self.window.kernel, self.groups, x.shape[3] // self.groups)
        return np.asarray(split.transpose(3, 0, 1, 2, 4).reshape(self.groups, len(split), -1))

    def filters(self, weights: Array, channels: int) -> Array:
        """[groups, outputs of a group, KH * KW * inputs of a group]."""
        return weights.reshape(self.groups, weights.shape[0] // self.groups, -1)

    def weights(self, filters: Array, shape: Shape) -> Array:
        """[O, KH, KW, inputs of a group]."""
        return filters.reshape(shape)

    def sensitivity(self, weights: Array, channels: int) -> Array:
        squares = self.filters(weights.astype(np.float64) ** 2, channels).sum(axis=1)
        return np.asarray(squares.reshape(self.groups, -1, channels // self.groups).sum(axis=1).reshape(-1))

    def rescale(self, constants: tuple[Array | None, ...], before: Array | None,
                after: Array | None) -> tuple[Array | None, ...]:
        taps = self.window.kernel[0] * self.window.kernel[1]
        return rescale_filters(self, constants, None if before is None else
                               np.tile(before.reshape(self.groups, -1), (1, taps)), after)

    def bias(self, site: Site) -> Array:
        """Bias per output channel with the input's zero point folded in."""
        x, w, b = site.inputs[:3]
        assert w.data is not None
        folded = folded_bias(x, b, w.data.astype(np.int64).sum(axis=(1, 2, 3)))
        return folded - self._residual_bias(site) if self.residual and not self.rectify else folded

    def residual_factors(self, site: Site) -> Array:
        """What the residual input is multiplied with, per output channel: its scale in steps of the sum."""
        x, w, _, r = site.inputs
        return round_half_up(r.scale / (x.scale * np.asarray(w.quant.scale))).astype(np.int32)

    def residual_dims(self, site: Site) -> dict[str, int]:
        """The residual's zero point, where the bias does not know it."""
        return {"RESIDUAL_ZERO": site.inputs[3].zero} if self.rectify else {}

    def residual_name(self, site: Site) -> str:
        """What tells functions that add a residual by their names."""
        zeros = (f"_relu_zero{'_' if z < 0 else ''}{abs(z)}" for z in self.residual_dims(site).values())
        return "".join(("_add", *zeros)) if self.residual else ""

    def _residual_bias(self, site: Site) -> Array:
        return np.asarray(self.residual_factors(site) * site.inputs[3].zero, np.int32)

    def bound(self, site: Site) -> Array:
        """Largest possible absolute sum per output channel."""
        w = site.inputs[1].data
        assert w is not None
        largest = accumulator_bound(site.inputs[0], self.bias(site), w, 0)
        if self.residual:
            largest = largest + self.residual_factors(site).astype(np.int64) * (256 if self.rectify else 128)
        return largest

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
        bound = linear_error_bound(site, self.multipliers(site))
        if not self.residual:
            return bound
        x, w, _, r = site.inputs  # factors are whole numbers, and all but exact where there was a choice of scales
        steps = x.scale * np.asarray(w.quant.scale)
        missed = np.abs(self.residual_factors(site) * steps - r.scale).max(initial=0)
        return bound + 256 * float(missed) / site.output.scale

    def numbers(self, site: Site) -> dict[str, float]:
        return clamp_numbers(self.clamp, site)

    def prove(self, site: Site) -> int | None:
        if site.format == "f32":
            return None
        assert not self.residual or site.inputs[1].type.format == "s8"
        return headroom(self.bound(site))

    def _single(self, x: Array, w: Array, b: Array) -> Array:
        """In float32: from the bias on, in the order of the weights; padding is skipped."""
        inside = self.window.patches(np.ones((1, *x.shape[1:3], 1), bool), False)
        patches = self.window.patches(x, 0.0)
        per_group, depth = w.shape[0] // self.groups, w.shape[3]
        columns = [patches[..., g * depth:(g + 1) * depth] for g in range(self.groups)]
        acc = np.broadcast_to(b, (*patches.shape[:3], w.shape[0])).astype(np.float32)
        for ky, kx, i in np.ndindex(w.shape[1:]):
            one = np.concatenate([np.repeat(c[:, :, :, ky, kx, i:i + 1], per_group, axis=3) for c in columns], axis=3)
            acc = np.where(inside[:, :, :, ky, kx], acc + one * w[:, ky, kx, i], acc)
        return limit(acc, self.clamp)

    def simulate(self, site: Site, *x: Array) -> Array:
        if site.format == "f32":
            return self._single(*x)
        # float64 holds these sums exactly: they stay below 2**53
        acc = self._sums(x[0].astype(np.float64), x[1].astype(np.float64), site.inputs[0].zero)
        acc = acc.astype(np.int64) + self.bias(site)
        if self.residual:
            r = x[3].astype(np.int64)
            if self.rectify:
                acc, r = np.maximum(acc, 0), r - site.inputs[3].zero
            acc = acc + r * self.residual_factors(site)
        assert_int32(acc, site.node.name)
        return finish(acc, self.multipliers(site), site, self.clamp)

    def template(self, site: Site) -> str:
        if packed(site):
            return f"{self.name}.s4"
        return self.name if site.format == "s8" and not wide(site) else f"{self.name}.{_format(site)}"

    def _depth(self, site: Site) -> tuple[int, int]:
        """Elements of one sum, and the same padded to the instruction set's block."""
        k = site.inputs[1].type.size // site.inputs[1].type.shape[0]
        return k, -(-k // site.isa.block) * site.isa.block

    def strip(self, inputs: tuple[TensorType, ...], output: TensorType, rows: Rows) -> Strip | None:
        found = self.window.strip(inputs[0].shape[1], rows)
        if found is None:
            return None
        return Strip(replace(self, window=found[0]), (found[1], None, None, *((rows,) if self.residual else ())))

    def dims(self, site: Site) -> dict[str, int]:
        x, w = site.inputs[:2]
        k, padded = self._depth(site)
        out = site.output.type.shape
        own = {"PADDED_DEPTH": padded} if _format(site) == "s8" else {}
        if packed(site):
            own = {"BLOCKS": -(-k // 8), "PAIRS": -(-(out[3] // self.groups) // 2)}
        if site.format == "f32":
            return {**self.window.dims(x.type.shape, out), "GROUP_IN_C": w.type.shape[3],
                    "GROUP_OUT_C": out[3] // self.groups, "DEPTH": k}
        return {
            **self.window.dims(x.type.shape, out),
            "GROUPS": self.groups, "GROUP_IN_C": w.type.shape[3], "GROUP_OUT_C": out[3] // self.groups,
            "PIXELS": out[1] * out[2], "DEPTH": k, **own,
            "IN_ZERO": x.zero, **output_dims(site, self.multipliers(site), self.clamp),
            **self.residual_dims(site),
        }

    def constants(self, site: Site) -> dict[str, Array]:
        w = site.inputs[1].data
        assert w is not None
        k, padded = self._depth(site)
        rows = w.reshape(w.shape[0], k)
        if site.format == "f32":
            return {"weights": rows, "bias": constant(site.inputs[2])}
        if packed(site):
            rows = nibble_pairs(rows, self.groups)
        elif site.format == "s16" and w.dtype == np.int8:
            rows = neighbours(rows)
        elif _format(site) == "s8":
            rows = np.pad(rows, ((0, 0), (0, padded - k)))
        own = {"factors": self.residual_factors(site)} if self.residual else {}
        mult = self.multipliers(site)
        return {"weights": rows, "bias": self.bias(site), "multipliers": mult.m.astype(np.int32), **own}

    def scratch(self, site: Site) -> int:
        k = self._depth(site)[0]
        if site.format == "f32":
            return 0
        if packed(site):
            return 2 * 2 * 8 * -(-k // 8)
        if _format(site) != "s8":
            return 2 * 2 * k
        return 2 * site.isa.tile * self._depth(site)[1]

    def overlap(self, site: Site, index: int) -> Overlap | None:
        if site.format == "f32":
            return None
        return self.tiled_overlap(site, index, 2 if _format(site) != "s8" or packed(site) else site.isa.tile)

    def pixels_at_once(self, site: Site) -> int:
        return site.isa.tile if self.groups == 1 else super().pixels_at_once(site)

    def tiled_overlap(self, site: Site, index: int, tile: int) -> Overlap | None:
        """Of input 0, or the residual one, which is read where the output is written.

        For kernels that take ``tile`` pixels at a time, in order, and read all their inputs before they write."""
        n, height, width, in_c = site.inputs[0].type.shape
        _, oh, ow, out_c = site.output.type.shape
        if index == 3:
            return Overlap(exact=True)
        if n != 1 or self.groups != 1 or index != 0:
            return None
        y = np.maximum(np.arange(oh) * self.window.stride[0] - self.window.pads[0], 0)
        x = np.maximum(np.arange(ow) * self.window.stride[1] - self.window.pads[1], 0)
        first = ((np.minimum(y, height)[:, None] * width + np.minimum(x, width)[None, :]) * in_c).reshape(-1)
        ends = np.minimum(np.arange(tile, oh * ow + tile, tile), oh * ow)
        needed = np.minimum.accumulate(first[::-1])[::-1]  # lowest element which this pixel or a later one reads
        live = ends[:-1]
        before, after = site.inputs[0].type.itemsize, site.output.type.itemsize
        distances = after * live * out_c - before * needed[live]
        return Overlap(int(distances.max(initial=-before * height * width * in_c)))

    @classmethod
    def cases(cls) -> Iterator[Case]:
        rng = np.random.default_rng(1)
        for shape, out, kernel, stride, dilation, pads, groups, clamp in (
            ((1, 5, 5, 3), 4, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), 1, (0.0, None)),
            ((1, 1, 1, 1), 1, (1, 1), (1, 1), (1, 1), (0, 0, 0, 0), 1, NO_CLAMP),
            ((1, 7, 5, 8), 6, (1, 1), (1, 1), (1, 1), (0, 0, 0, 0), 1, (0.0, 6.0)),
            ((1, 9, 7, 5), 7, (3, 2), (2, 2), (1, 1), (1, 0, 0, 1), 1, NO_CLAMP),
            ((1, 8, 9, 4), 3, (3, 3), (1, 2), (2, 2), (2, 2, 2, 2), 1, NO_CLAMP),
            ((2, 6, 6, 6), 4, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), 2, (0.0, None)),
            ((1, 12, 4, 1), 17, (7, 4), (2, 2), (1, 1), (3, 1, 2, 2), 1, (0.0, None)),
            ((1, 9, 6, 8), 4, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), 1, (0.0, None)),
            ((1, 1, 20, 8), 5, (1, 5), (1, 1), (1, 2), (0, 8, 0, 0), 1, NO_CLAMP),
        ):
            window = Window(kernel, stride, dilation, pads)
            w = rng.normal(size=(out, *kernel, shape[3] // groups)).astype(np.float32)
            yield Case(cls(window, groups, clamp), (shape,), {1: w, 2: rng.normal(size=out).astype(np.float32)})
        for shape, out, kernel, pads, groups, clamp, rectify in (
            ((1, 5, 5, 3), 4, (3, 3), (1, 1, 1, 1), 1, (0.0, None), False),
            ((1, 4, 7, 8), 7, (1, 1), (0, 0, 0, 0), 1, NO_CLAMP, True),
            ((1, 6, 3, 12), 8, (1, 1), (0, 0, 0, 0), 1, NO_CLAMP, False),
            ((2, 4, 6, 6), 4, (3, 3), (1, 1, 1, 1), 2, (0.0, 6.0), True),
            ((1, 9, 6, 8), 4, (3, 3), (1, 1, 1, 1), 1, NO_CLAMP, True),
            ((1, 8, 8, 4), 2, (3, 3), (1, 1, 1, 1), 1, (0.0, None), False),
            ((1, 1, 19, 4), 5, (1, 5), (0, 4, 0, 0), 1, (0.0, None), True),
        ):
            op = cls(Window(kernel, pads=pads), groups, clamp, True, rectify)
            w = rng.normal(size=(out, *kernel, shape[3] // groups)).astype(np.float32)
            result = (shape[0], *op.window.output(*shape[1:3]), out)
            yield Case(op, (shape, result), {1: w, 2: rng.normal(size=out).astype(np.float32)})
