"""What convolutions and fully connected layers share: weights, biases, multipliers and the overflow proof."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from aot.errors import AotError
from aot.ir import FORMATS, Array, Quant, TensorType, Value
from aot.numerics import (
    INT16_MAX,
    INT32_MAX,
    WEIGHT_LIMITS,
    Multipliers,
    dequantize,
    multipliers,
    quantize,
    requantize,
    round_half_up,
    span,
)
from aot.ops.base import Clamp, Site, clamp_limits


def quantize_weights(x: Value, w: Value, b: Value, y: Value, axis: int,
                     mean_output: Callable[[Array], Array], format: str = "s8") -> tuple[Value, Value, Value]:
    """Float weights and bias to integers of a format (symmetric, one scale per output channel) and int32.

    ``mean_output`` gives the mean output per channel for weights like these (without bias); what rounding the weights
    shifts it by is taken out of the bias. Source: Nagel et al., "Data-Free Quantization Through Weight Equalization
    and Bias Correction", section 4.2.

    A channel's scale is the finest that holds its weights in [-127, 127] (int8), but not so fine that its bias would
    leave 2**29 or its multiplier would have fewer than 16 bits: such a channel contributes less than 2**-9 of an output
    step per input, so nothing visible is lost. With 16-bit inputs it is not so fine either that a sum could leave 32
    bits.

    Weights that come with a quantization of one scale ask for one scale in all channels, no finer than that.
    """
    assert w.data is not None and b.data is not None
    others = tuple(i for i in range(w.data.ndim) if i != axis)
    largest = np.abs(w.data).max(axis=others, initial=0).astype(np.float64)
    bias = np.abs(b.data).astype(np.float64)
    limit = WEIGHT_LIMITS[format]
    if format == "s4":
        largest = _least_error(w.data, axis, limit)
    scale = np.maximum.reduce([largest / limit, _provable(x, w.data, bias, axis), bias / (x.scale * 2.0**29),
                               np.full_like(largest, y.scale / x.scale * 2.0**-17)])
    scale = np.maximum(scale, np.finfo(np.float32).tiny)
    if w.type.quant is not None:
        scale = np.full_like(scale, max(float(scale.max()), w.scale))
    quant = Quant(tuple(float(s) for s in scale), 0, axis)
    weights = quantize(w.data, quant, -limit, limit).astype(FORMATS[format])
    error = dequantize(weights, quant).astype(np.float64) - w.data
    corrected = b.data.astype(np.float64) - mean_output(error)
    biases = round_half_up(corrected / (x.scale * scale))
    bias_quant = Quant(tuple(float(s) for s in x.scale * scale), 0, 0)
    return (x, Value(w.name, TensorType(format, w.type.shape, quant), weights),
            Value(b.name, TensorType("s32", b.type.shape, bias_quant), biases.astype(np.int32)))


def _provable(x: Value, w: Array, bias: Array, axis: int) -> Array:
    """The finest scale of each channel's weights with which no sum can leave 32 bits, however they are rounded."""
    if x.type.format == "s8":  # as wide as the format, with room for sums of a hundred thousand products
        return np.zeros(w.shape[axis])
    low, high = span(x.type)
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
    if site.format == "s8":
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
