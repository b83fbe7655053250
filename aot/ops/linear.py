"""What convolutions and fully connected layers share: weights, biases, multipliers and the overflow proof."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Protocol

import numpy as np

from aot.errors import AotError
from aot.ir import FORMATS, Array, Quant, TensorType, Value
from aot.numerics import (
    INT16_MAX,
    INT32_MAX,
    WEIGHT_LIMITS,
    Multipliers,
    multipliers,
    requantize,
    round_half_up,
    span,
)
from aot.ops.base import Clamp, Site, WeightForm, clamp_limits
from aot.ops.exact import keep
from aot.ops.learn import fit_filters, round_filters

#: What a residual input is multiplied with at most: its steps then are many enough of the sum's.
LARGEST_FACTOR = 2**14


class Filters(Protocol):
    """A linear operator: its weights as filters, [groups, outputs of a group, depth], and back."""

    #: The axis of the weights which counts outputs.
    output_axis: ClassVar[int]
    #: Whether its kernels read multipliers of 16 bits.
    short: ClassVar[bool]

    def filters(self, weights: Array, channels: int) -> Array:
        """Filters for so many input channels; read in order, they are those of the output channels."""

    def weights(self, filters: Array, shape: tuple[int, ...]) -> Array:
        """The reverse of :meth:`filters`, for weights of that shape."""


def quantize_weights(op: Filters, x: Value, w: Value, b: Value, y: Value, form: WeightForm,
                     residual: Value | None = None) -> tuple[Value, Value, Value]:
    """Float weights and bias to integers of a format (symmetric, one scale per output channel) and int32.

    Moments of what the filters meet tell how to fit them to it and to round them, and what the network before has
    shifted and rounding the weights shifts on average, which is taken out of the bias. Source of the latter: Nagel et
    al., "Data-Free Quantization Through Weight Equalization and Bias Correction", section 4.2.

    A channel's scale is the finest that holds its weights in [-127, 127], but not so fine that its bias would leave
    what :func:`_largest_bias` says or its multiplier would have fewer than 16 bits: rounding then costs less than
    2**-5 of an output step per input, so nothing visible is lost. It is a little coarser still where
    :func:`short_multipliers` are wanted. With 16-bit inputs it is not so fine either that a sum could leave 32 bits.
    Weights whose integers are given keep those; where a channel has several steps, in 16 bits. If a ``residual`` is
    added to the sums, its scale becomes a whole number of their steps.
    """
    assert w.data is not None and b.data is not None
    if w.steps is not None:
        kept = keep(x, w, b, y, op.output_axis, form.exact)
        if kept is not None:
            return kept
        form = replace(form, per_channel=True, moments=None, format="s16")
    exact = op.filters(w.data.astype(np.float64), x.type.shape[-1])
    # 16-bit inputs leave no room for sums that grow while weights are rounded, nor do 16-bit weights gain from it
    learned = form.moments if x.type.format == "s8" and form.format != "s16" else None
    filters = fit_filters(exact, learned)
    fitted = op.weights(filters, w.type.shape)
    largest = np.abs(filters).max(axis=2, initial=0).reshape(-1)
    bias = b.data.astype(np.float64)
    limit = WEIGHT_LIMITS[form.format]
    if form.format == "s4":
        largest = _least_error(fitted, op.output_axis, limit)
    scale = np.maximum.reduce([largest / limit, _provable(x, fitted, np.abs(bias), op.output_axis, form.format),
                               np.abs(bias) / (x.scale * _largest_bias(x, filters)),
                               np.full_like(largest, y.scale / x.scale * 2.0**-17)])
    scale = np.maximum(scale, np.finfo(np.float32).tiny)
    if not form.per_channel:
        scale = np.full_like(scale, scale.max(initial=0.0))
    if op.short and x.type.format == "s8" and form.format != "s16":
        scale = short_multipliers(scale, x.scale / y.scale)
    if residual is not None:
        scale = fractions(scale, residual.scale / x.scale)
    steps = scale.reshape(filters.shape[:2])
    whole = round_filters(filters / steps[..., None], learned, limit)
    if form.moments is not None:
        bias = bias + (np.einsum("god,gd->go", exact, form.moments.expected)
                       - steps * np.einsum("god,gd->go", whole, form.moments.actual)).reshape(-1)
    quant = Quant(tuple(float(s) for s in scale), 0, op.output_axis)
    biases = round_half_up(bias / (x.scale * scale))
    bias_quant = Quant(tuple(float(s) for s in x.scale * scale), 0, 0)
    return (x, Value(w.name, TensorType(form.format, w.type.shape, quant),
                     op.weights(whole, w.type.shape).astype(FORMATS[form.format])),
            Value(b.name, TensorType("s32", b.type.shape, bias_quant), biases.astype(np.int32)))


def rescale_filters(op: Filters, constants: tuple[Array | None, ...],
                    before: Array | None, after: Array | None) -> tuple[Array | None, ...]:
    """Weights and bias for inputs ``before`` times as large and outputs ``after`` times.

    ``before`` has the shape [groups, depth] of the filters, ``after`` [outputs].
    """
    x, w, b = constants
    assert w is not None and b is not None
    bias = b.astype(np.float64)
    filters = op.filters(w.astype(np.float64), len(bias) if before is None else before.size)
    if before is not None:
        filters = filters / before[:, None, :]
    if after is not None:
        filters, bias = filters * after.reshape(*filters.shape[:2], 1), bias * after
    return x, op.weights(filters, w.shape), bias


def short_multipliers(scale: Array, ratio: float) -> Array:
    """Weight scales, raised so that the multipliers ``scale * ratio`` have few bits and are exact all the same.

    All are whole multiples of one power of two, at most 2**15 - 1 of it. What this adds to a channel's step is below
    2**-14 of the largest channel's, so it is lost in the rounding of weights.
    """
    exact = scale * ratio * 2.0**32
    largest = float(exact.max(initial=0))
    if not 2.0**17 < largest < 2.0**31:
        return scale
    step = 2.0 ** (int(largest).bit_length() - 15)
    if np.ceil(largest / step) > INT16_MAX:
        step *= 2.0
    return np.asarray(np.ceil(exact / step) * step / (ratio * 2.0**32))


def fractions(scale: Array, whole: float) -> Array:
    """Scales, raised to whole fractions of a number, at least a ``LARGEST_FACTOR``-th: mostly by less than a hundredth.

    Larger ones than the number stay as they are.
    """
    parts = np.floor(whole / np.maximum(scale, whole / LARGEST_FACTOR))
    return np.asarray(np.where(parts >= 1, whole / np.maximum(parts, 1), scale))


def _largest_bias(x: Value, filters: Array) -> Array:
    """How large the integer bias of each output channel may become, for filters [groups, outputs, depth].

    A channel whose weights are small beside its bias would get a scale so fine that its sums are large for nothing, and
    kernels which carry them in fewer than 32 bits could not take the layer. With 2**21 steps, an output step has 2**13
    of them or more if the bias matters. Where inputs alone can make sums so large, the bias may be as large.
    """
    if x.type.format != "s8":
        return np.full(filters.shape[0] * filters.shape[1], 2.0**29)
    sums, largest = np.abs(filters).sum(axis=2), np.abs(filters).max(axis=2, initial=0)
    inputs = 255 * 127 * sums / np.maximum(largest, np.finfo(np.float32).tiny)
    return np.asarray(np.clip(inputs, 2.0**21, 2.0**29)).reshape(-1)


def _provable(x: Value, w: Array, bias: Array, axis: int, format: str) -> Array:
    """The finest scale of each channel's weights with which no sum can leave 32 bits, however they are rounded."""
    if x.type.format == "s8" and format != "s16":  # with room for sums of a hundred thousand products
        return np.zeros(w.shape[axis])
    low, high = span(x.type) if x.type.format == "s16" else (-256, 256)  # with the zero point in the bias
    rows = np.moveaxis(w, axis, 0).reshape(w.shape[axis], -1).astype(np.float64)
    rounding = max(-low, high) * rows.shape[1]  # and half as much again in the correction of the bias
    room = max(INT32_MAX - 1.5 * rounding - 2.0, 1.0)
    return np.asarray((_largest_sum(rows, low, high) + bias / x.scale) * (1 + 1e-6) / room)


def _largest_sum(rows: Array, low: int, high: int) -> Array:
    """Largest ``|sum|`` of each row of weights times inputs from ``low`` to ``high``."""
    positive, negative = np.maximum(rows, 0).sum(axis=1), np.maximum(-rows, 0).sum(axis=1)
    return np.asarray(np.maximum(positive * high - negative * low, negative * high - positive * low))


def balanced_reach(w: Array, axis: int, low: float, format: str) -> float:
    """How large 16-bit inputs should become, so that little is lost by rounding them and weights of ``format``.

    32 bits are shared: with inputs up to R and a scale s of a channel's weights, R * sum |w| / s must stay below 2**31.
    Rounding inputs makes an error whose square is in proportion to ``range**2 / R**2 * sum w**2``, rounding weights one
    in proportion to ``K * mean(x**2) * s**2``; R is where the two are equal for all channels together. An input's mean
    square is taken as a 64th of its range's.
    """
    rows = np.moveaxis(w, axis, 0).reshape(w.shape[axis], -1).astype(np.float64)
    sums = _largest_sum(rows, 0 if low >= 0 else -1, 1)
    if not np.any(sums):
        return float(INT16_MAX)
    if format == "s16":
        fourth = 64 * 2.0**62 * float((rows**2).sum()) / (rows.shape[1] * float((sums**2).sum()))
        best = fourth**0.25
    else:
        steps = sums / np.maximum(np.abs(rows).max(axis=1), np.finfo(np.float32).tiny) * WEIGHT_LIMITS[format]
        best = 0.98 * 2.0**31 / float((steps + rows.shape[1] / 2).max())
    return float(np.clip(best, 1023, INT16_MAX))


def constant(value: Value) -> Array:
    """A constant's data."""
    assert value.data is not None
    return value.data


def wide(site: Site) -> bool:
    """Whether the layer's weights have 16 bits and its inputs 8."""
    return site.inputs[0].type.format == "s8" and site.inputs[1].type.format == "s16"


def packed(site: Site) -> bool:
    """Whether the layer's weights are two a byte."""
    return site.inputs[1].type.format == "s4"


#: Which of eight weights the halves of four bytes hold, lower ones first (``runtime_c/aot_nibble.h``).
ORDER = (0, 2, 4, 6, 1, 3, 5, 7)


def nibbles(rows: Array, block: int, order: tuple[int, ...]) -> Array:
    """Rows of 4-bit weights, in whole blocks, two a byte and 8 more than they are; uint8."""
    padded = np.pad(rows.astype(np.int64), ((0, 0), (0, -rows.shape[1] % block))) + 8
    halves = padded.reshape(rows.shape[0], -1, block)[..., order].reshape(rows.shape[0], -1, 2)
    return np.asarray(halves[..., 0] | halves[..., 1] << 4, np.uint8)


def nibble_pairs(rows: Array, groups: int = 1) -> Array:
    """Rows of 4-bit weights as ``runtime_c/aot_nibble.h`` has them: pairs of rows of a group, word by word; uint8.

    Of an odd number, the last row is a pair with itself.
    """
    bytes_ = nibbles(rows, 8, ORDER).reshape(groups, rows.shape[0] // groups, -1)
    bytes_ = np.pad(bytes_, ((0, 0), (0, bytes_.shape[1] % 2), (0, 0)), mode="edge")
    words = bytes_.reshape(groups, bytes_.shape[1] // 2, 2, -1, 4)
    return np.ascontiguousarray(words.transpose(0, 1, 3, 2, 4)).reshape(-1)


def neighbours(rows: Array) -> Array:
    """Rows of 8-bit weights for 16-bit inputs: every whole four in the order 0 2 1 3 (``runtime_c/aot_wide.h``)."""
    whole = rows.shape[1] // 4 * 4
    fours = rows[:, :whole].reshape(rows.shape[0], -1, 4)[..., (0, 2, 1, 3)].reshape(rows.shape[0], -1)
    return np.concatenate([fours, rows[:, whole:]], axis=1)


def _least_error(w: Array, axis: int, limit: int) -> Array:
    """For each channel the largest weight to cover, so that rounding and clipping together err least (mean square)."""
    rows = np.moveaxis(w, axis, 0).reshape(w.shape[axis], -1).astype(np.float64)
    largest = np.abs(rows).max(axis=1, initial=0)
    cuts = np.linspace(1.0, 0.5, 26)[:, None] * largest
    scale = np.maximum(cuts / limit, np.finfo(np.float32).tiny)[..., None]
    errors = ((np.clip(np.floor(rows / scale + 0.5), -limit, limit) * scale - rows) ** 2).sum(axis=2)
    return np.asarray(np.take_along_axis(cuts, errors.argmin(axis=0)[None], 0)[0])


def folded_bias(x: Value, b: Value, weight_sums: Array) -> Array:
    """The bias with the input's zero point folded in: ``bias - zero * sum(w)``, one per output channel."""
    assert b.data is not None
    folded = b.data.astype(np.int64) - x.zero * weight_sums.astype(np.int64)
    if folded.size and np.abs(folded).max() > INT32_MAX:
        raise AotError("a bias does not fit 32 bits after folding the input's zero point into it",
                       "the layer's bias is out of proportion to its weights; check the trained model")
    return folded.astype(np.int32)


def accumulator_bound(x: Value, bias: Array, w: Array, axis: int) -> Array:
    """Largest ``|accumulator|`` per output channel: ``|bias| + 128 * sum |w|`` for int8 inputs."""
    low, high = span(x.type)
    if x.type.format == "s8":
        low, high = -128, 128
    rows = np.moveaxis(w, axis, 0).reshape(w.shape[axis], -1).astype(np.int64)
    return np.asarray(np.abs(bias.astype(np.int64)) + _largest_sum(rows, low, high))


def linear_error_bound(site: Site, mult: Multipliers) -> float:
    """Half a step for the rounding, and what the multipliers' own rounding adds, in output steps."""
    if site.format == "s8" and not wide(site):
        return 0.51
    reach = float(max(map(abs, span(site.output.type))))
    return 0.51 + 0.5 * reach / max(float(mult.m.min(initial=INT32_MAX)), 1.0)


def headroom(bound: Array) -> int:
    """Bits between the largest possible accumulator and 2**31; an AotError if there are none."""
    largest = int(bound.max(initial=1))
    if largest > INT32_MAX:
        raise AotError(f"an accumulator can reach {largest}, more than 32 bits hold",
                       "the layer sums too many products for int8 weights with int32 accumulators")
    return 31 - largest.bit_length()


def channel_multipliers(site: Site, bound: Array) -> Multipliers:
    """The multipliers from accumulator to output scale, one per output channel."""
    x, w = site.inputs[0], site.inputs[1]
    return multipliers(x.scale * np.asarray(w.quant.scale) / site.output.scale, bound)


def finish(acc: Array, mult: Multipliers, site: Site, clamp: Clamp) -> Array:
    """Accumulators to outputs: requantize, add the zero point, clamp."""
    low, high = clamp_limits(clamp, site.output)
    return np.asarray(np.clip(requantize(acc, mult) + site.output.zero, low, high), FORMATS[site.format])


def output_dims(site: Site, mult: Multipliers, clamp: Clamp) -> dict[str, int]:
    """The named numbers of :func:`finish`."""
    low, high = clamp_limits(clamp, site.output)
    return {"OUT_ZERO": site.output.zero, "OUT_MIN": low, "OUT_MAX": high, "SHIFT": mult.shift}
