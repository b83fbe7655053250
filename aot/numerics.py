"""The number formats and the one rounding rule; the numpy twin of ``runtime_c/aot_fixed.h``.

Every integer result in the project is rounded by ``floor(x + 1/2)``: ties go up. An accumulator is brought
to the output scale by one multiplication in 64 bits (:func:`requantize`), the same on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from aot.errors import AotError
from aot.ir import FORMATS, Array, Quant, TensorType

INT16_MAX = 2**15 - 1
INT32_MAX = 2**31 - 1
#: Limits of the integer formats of activations.
LIMITS = {"s8": (-128, 127), "s16": (-32768, 32767)}
#: Weights are symmetric: their largest magnitude in each format.
WEIGHT_LIMITS = {"s4": 7, "s8": 127, "s16": 32767}


def span(type: TensorType) -> tuple[int, int]:
    """The smallest and largest integer which elements of an integer type can be."""
    return type.limits or LIMITS[type.format]


def inside(part: TensorType, whole: TensorType) -> bool:
    """Whether every integer of the one type is one of the other."""
    if part.format == whole.format == "f32":
        return True
    return (part.format == whole.format and span(whole)[0] <= span(part)[0] and span(part)[1] <= span(whole)[1])


def round_half_up(x: Array | float) -> Array:
    """``floor(x + 1/2)`` as int64: the only rounding there is."""
    return np.floor(np.asarray(x, dtype=np.float64) + 0.5).astype(np.int64)


def f32(x: float) -> float:
    """The float32 nearest to x. Scales are kept so, because C headers carry them as float32."""
    return float(np.float32(x))


def quantize(x: ArrayLike, quant: Quant, low: int, high: int) -> Array:
    """Real numbers to integers: ``clamp(round(x / scale) + zero)``; int64, ties up. NaN becomes the zero point."""
    real = np.asarray(x, dtype=np.float64)
    scale = _scale(quant, real.ndim)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        steps = np.nan_to_num(real / scale, nan=0.0, posinf=2.0**40, neginf=-(2.0**40))
    return np.asarray(np.clip(round_half_up(np.clip(steps, -(2.0**40), 2.0**40)) + quant.zero, low, high))


def dequantize(q: Array, quant: Quant) -> Array:
    """Integers to real numbers, ``scale * (q - zero)``, as float32."""
    return np.asarray((q.astype(np.int64) - quant.zero) * _scale(quant, q.ndim), np.float32)


def stored(x: ArrayLike, type: TensorType) -> Array:
    """Real numbers as the type stores them: quantized, or float32."""
    if type.format == "f32":
        return np.asarray(x, np.float32)
    assert type.quant is not None
    return quantize(x, type.quant, *span(type)).astype(FORMATS[type.format])


def real(q: Array, type: TensorType) -> Array:
    """What stored elements mean, as float32."""
    if type.format == "f32":
        return np.asarray(q, np.float32)
    assert type.quant is not None
    return dequantize(q, type.quant)


def _scale(quant: Quant, rank: int) -> Array:
    """The scale, in a shape that broadcasts against a tensor of that rank."""
    if quant.axis is None:
        return np.asarray(quant.scale[0], np.float64)
    return np.asarray(quant.scale, np.float64).reshape([-1 if i == quant.axis else 1 for i in range(rank)])


@dataclass(frozen=True)
class Multipliers:
    """How an operator's accumulator reaches its output scale.

    ``y = clamp(zero + ((((acc << shift) * m) + 2**31) >> 32))`` with one ``m`` per output channel, or one in all.
    """

    m: Array
    shift: int


def multipliers(ratio: Array | float, accumulator_bound: Array | float) -> Multipliers:
    """Multipliers for scale ratios ``s_in * s_w / s_out`` (one, or one per channel).

    A ratio of one half or more needs the accumulator shifted left; ``accumulator_bound`` (largest ``|acc|``, per
    channel) proves that the shift cannot overflow. Where it could, an AotError says so.
    """
    ratios = np.atleast_1d(np.asarray(ratio, dtype=np.float64))
    bounds = np.broadcast_to(np.asarray(accumulator_bound, dtype=np.float64), ratios.shape)
    if not np.all(np.isfinite(ratios)) or np.any(ratios < 0):
        raise AotError("a scale ratio is not a finite positive number")
    shift = 0
    while np.any(np.floor(ratios * 2.0 ** (32 - shift) + 0.5) > INT32_MAX):  # in floats: it may exceed 64 bits
        shift += 1
    if np.any(bounds * 2.0**shift > INT32_MAX):
        raise AotError(
            f"the output scale is {float(ratios.max()):.3g} times finer than the accumulator's, which needs a left "
            f"shift by {shift} bits that may overflow 32 bits",
            "calibrate with data that covers the range of this layer's output")
    return Multipliers(round_half_up(ratios * 2.0 ** (32 - shift)), shift)


def requantize(acc: Array, mult: Multipliers) -> Array:
    """``((acc << shift) * m + 2**31) >> 32`` in 64 bits; channels are the last axis of ``acc``."""
    return ((acc.astype(np.int64) << mult.shift) * mult.m + 2**31) >> 32


def assert_int32(acc: Array, what: str) -> None:
    """The twin's own check that no 32-bit accumulator overflowed."""
    if acc.size and max(abs(int(acc.max())), abs(int(acc.min()))) > INT32_MAX:
        raise AssertionError(f"{what}: accumulator exceeds 32 bits")


def decibels(signal: float, noise: float) -> float:
    """10 log10(signal / noise) of two powers, within -99 .. 200 so that it is always a number."""
    if noise <= 0:
        return 200.0
    return round(float(np.clip(10 * np.log10(max(signal, 1e-30) / noise), -99.0, 200.0)), 2)
