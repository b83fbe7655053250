"""What convolutions and fully connected layers share: weights, biases, multipliers and the overflow proof."""

from __future__ import annotations

from typing import ClassVar, Protocol

import numpy as np

from aot.errors import AotError
from aot.ir import Array, Quant, TensorType, Value
from aot.numerics import INT16_MAX, INT32_MAX, Multipliers, multipliers, requantize, round_half_up
from aot.ops.base import Clamp, Moments, Site, WeightForm, clamp_limits

#: How much of the covariance between inputs is ignored, at least; more where few columns were seen.
DAMPING = 0.01


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


def quantize_weights(op: Filters, x: Value, w: Value, b: Value, y: Value,
                     form: WeightForm) -> tuple[Value, Value, Value]:
    """Float weights and bias to int8 (symmetric, one scale per output channel) and int32.

    Moments of what the filters meet tell how to round them, and what the network before has shifted and rounding the
    weights shifts on average, which is taken out of the bias. Source of the latter: Nagel et al., "Data-Free
    Quantization Through Weight Equalization and Bias Correction", section 4.2.

    A channel's scale is the finest that holds its weights in [-127, 127], but not so fine that its bias would leave
    2**29 or its multiplier would have fewer than 16 bits: such a channel contributes less than 2**-9 of an output
    step per input, so nothing visible is lost. It is a little coarser
    still where :func:`short_multipliers` are wanted.
    """
    assert w.data is not None and b.data is not None
    filters = op.filters(w.data.astype(np.float64), x.type.shape[-1])
    largest = np.abs(filters).max(axis=2, initial=0).reshape(-1)
    bias = b.data.astype(np.float64)
    scale = np.maximum.reduce([largest / 127, np.abs(bias) / (x.scale * 2.0**29),
                               np.full_like(largest, y.scale / x.scale * 2.0**-17)])
    scale = np.maximum(scale, np.finfo(np.float32).tiny)
    if not form.per_channel:
        scale = np.full_like(scale, scale.max(initial=0.0))
    if op.short:
        scale = short_multipliers(scale, x.scale / y.scale)
    steps = scale.reshape(filters.shape[:2])
    whole = round_filters(filters / steps[..., None], form.moments)
    if form.moments is not None:
        bias = bias + (np.einsum("god,gd->go", filters, form.moments.expected)
                       - steps * np.einsum("god,gd->go", whole, form.moments.actual)).reshape(-1)
    quant = Quant(tuple(float(s) for s in scale), 0, op.output_axis)
    biases = round_half_up(bias / (x.scale * scale))
    bias_quant = Quant(tuple(float(s) for s in x.scale * scale), 0, 0)
    return (x, Value(w.name, TensorType("s8", w.type.shape, quant), op.weights(whole, w.type.shape).astype(np.int8)),
            Value(b.name, TensorType("s32", b.type.shape, bias_quant), biases.astype(np.int32)))


def round_filters(filters: Array, moments: Moments | None, largest: int = 127) -> Array:
    """Filters in units of their steps, [groups, outputs, depth], to integers in [-largest, largest].

    Weight by weight, what rounding one of them changes in the output is made good by those that follow, as far as
    their inputs go together. Source: Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative
    Pre-trained Transformers", section 3 (after Hassibi and Stork, "Optimal Brain Surgeon").
    """
    if moments is None or moments.second is None:
        return np.clip(round_half_up(filters), -largest, largest)
    depth = filters.shape[2]
    spread = np.einsum("gdd->gd", moments.second)
    floor = np.maximum(DAMPING * spread.mean(axis=1, keepdims=True), np.finfo(np.float32).tiny)
    doubt = depth / (depth + moments.columns)
    second = (1.0 - doubt) * moments.second + np.einsum("gd,de->gde", doubt * spread + floor, np.eye(depth))
    # the upper Cholesky factor of the inverse: row i tells how an error of weight i is spread over those behind it
    upper = np.linalg.cholesky(np.linalg.inv(second)).transpose(0, 2, 1)
    rest = filters.copy()
    whole = np.empty_like(rest)
    for i in range(depth):
        whole[..., i] = np.clip(round_half_up(rest[..., i]), -largest, largest)
        error = (rest[..., i] - whole[..., i]) / upper[:, None, i, i]
        rest[..., i + 1:] -= error[..., None] * upper[:, None, i, i + 1:]
    return whole.astype(np.int64)


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
