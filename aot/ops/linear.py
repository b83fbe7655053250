"""What convolutions and fully connected layers share: weights, biases, multipliers and the overflow proof."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from aot.errors import AotError
from aot.ir import Array, Quant, TensorType, Value
from aot.numerics import INT16_MAX, INT32_MAX, Multipliers, dequantize, multipliers, quantize, requantize, round_half_up
from aot.ops.base import Clamp, Site, clamp_limits


def quantize_weights(x: Value, w: Value, b: Value, y: Value, axis: int,
                     mean_output: Callable[[Array], Array], short: bool = False) -> tuple[Value, Value, Value]:
    """Float weights and bias to int8 (symmetric, one scale per output channel) and int32.

    ``mean_output`` gives the mean output per channel for weights like these (without bias); what rounding the weights
    shifts it by is taken out of the bias. Source: Nagel et al., "Data-Free Quantization Through Weight Equalization
    and Bias Correction", section 4.2.

    A channel's scale is the finest that holds its weights in [-127, 127], but not so fine that its bias would leave
    2**29 or its multiplier would have fewer than 16 bits: such a channel contributes less than 2**-9 of an output
    step per input, so nothing visible is lost. ``short`` makes it a little coarser still, see
    :func:`short_multipliers`.

    Weights that come with a quantization of one scale ask for one scale in all channels, no finer than that.
    """
    assert w.data is not None and b.data is not None
    others = tuple(i for i in range(w.data.ndim) if i != axis)
    largest = np.abs(w.data).max(axis=others, initial=0).astype(np.float64)
    bias = np.abs(b.data).astype(np.float64)
    scale = np.maximum.reduce([largest / 127, bias / (x.scale * 2.0**29),
                               np.full_like(largest, y.scale / x.scale * 2.0**-17)])
    scale = np.maximum(scale, np.finfo(np.float32).tiny)
    if w.type.quant is not None:
        scale = np.full_like(scale, max(float(scale.max()), w.scale))
    if short:
        scale = short_multipliers(scale, x.scale / y.scale)
    quant = Quant(tuple(float(s) for s in scale), 0, axis)
    weights = quantize(w.data, quant, -127, 127).astype(np.int8)
    error = dequantize(weights, quant).astype(np.float64) - w.data
    corrected = b.data.astype(np.float64) - mean_output(error)
    biases = round_half_up(corrected / (x.scale * scale))
    bias_quant = Quant(tuple(float(s) for s in x.scale * scale), 0, 0)
    return (x, Value(w.name, TensorType("s8", w.type.shape, quant), weights),
            Value(b.name, TensorType("s32", b.type.shape, bias_quant), biases.astype(np.int32)))


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


def folded_bias(x: Value, b: Value, weight_sums: Array) -> Array:
    """The bias with the input's zero point folded in: ``bias - zero * sum(w)``, one per output channel."""
    assert b.data is not None
    folded = b.data.astype(np.int64) - x.zero * weight_sums.astype(np.int64)
    if folded.size and np.abs(folded).max() > INT32_MAX:
        raise AotError("a bias does not fit 32 bits after folding the input's zero point into it",
                       "the layer's bias is out of proportion to its weights; check the trained model")
    return folded.astype(np.int32)


def accumulator_bound(bias: Array, weight_magnitudes: Array) -> Array:
    """Largest ``|accumulator|`` per output channel for int8 inputs: ``|bias| + 128 * sum |w|``."""
    return np.abs(bias.astype(np.int64)) + 128 * weight_magnitudes.astype(np.int64)


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
    """Accumulators to int8 outputs: requantize, add the zero point, clamp."""
    low, high = clamp_limits(clamp, site.output)
    return np.asarray(np.clip(requantize(acc, mult) + site.output.zero, low, high), np.int8)


def output_dims(site: Site, mult: Multipliers, clamp: Clamp) -> dict[str, int]:
    """The named numbers of :func:`finish`."""
    low, high = clamp_limits(clamp, site.output)
    return {"OUT_ZERO": site.output.zero, "OUT_MIN": low, "OUT_MAX": high, "SHIFT": mult.shift}
