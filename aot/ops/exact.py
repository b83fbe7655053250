"""Weights whose integers the model gives: kept as they are, in the smallest format that holds them."""

from __future__ import annotations

import numpy as np

from aot.errors import AotError
from aot.ir import FORMATS, Array, Quant, TensorType, Value
from aot.numerics import round_half_up, span

#: Formats of weights, smallest first, and what they hold here: all integers, also those that quantization never makes.
HOLDS = {"s4": (-8, 7), "s8": (-128, 127), "s16": (-32768, 32767)}
#: A bias has at most so many steps of sums, and multipliers at least so many bits, or else other steps are taken.
MOST_BIAS, LEAST_MULTIPLIER = 2.0**29, 2.0**16
#: A float bias may be off by this much of an output step, and steps of sums become so many times smaller for that.
MOST_OFF, MOST_FINER = 1 / 64, 256


def integers(w: Value, axis: int) -> tuple[Array, Array] | None:
    """Integers of the weights and the steps of each index of the axis; None where one index has several steps."""
    assert w.data is not None and w.steps is not None
    steps = np.maximum(w.steps.astype(np.float64), np.finfo(np.float32).tiny)
    whole = np.rint(w.data.astype(np.float64) / steps)
    rows, used = np.moveaxis(steps, axis, 0).reshape(steps.shape[axis], -1), np.moveaxis(whole, axis, 0) != 0
    used = used.reshape(rows.shape)
    largest = np.where(used, rows, 0.0).max(axis=1, initial=0.0)
    smallest = np.where(used, rows, np.inf).min(axis=1, initial=np.inf)
    if np.any(used.any(axis=1) & (largest > smallest)) or np.abs(whole).max(initial=0) > -HOLDS["s16"][0]:
        return None
    return whole.astype(np.int64), np.where(used.any(axis=1), largest, rows.max(axis=1, initial=0.0))


def keep(x: Value, w: Value, b: Value, y: Value, axis: int,
         exact: bool) -> tuple[Value, Value, Value] | None:
    """Weights and bias of a linear operator with the integers that are given; None where a channel has several steps.

    A channel whose bias would have too many steps gets larger ones. Where a multiplier would have few bits, the bias
    is counted in what it is when rounded: such a channel's weights contribute next to nothing. If ``exact``, a float
    bias that would be rounded visibly makes all integers larger by a power of two, so that its steps are smaller.
    """
    found = integers(w, axis)
    if found is None and x.type.format == "s16":
        raise AotError("an output channel has weights of several scales, and its inputs have 16 bits already")
    if found is None:
        return None
    assert b.data is not None
    whole, steps = found
    along = [-1 if i == axis else 1 for i in range(whole.ndim)]
    bias = b.data.astype(np.float64)
    least = np.abs(bias) / (x.scale * MOST_BIAS)
    if np.any(steps < least):
        coarse = np.maximum(steps, least)
        farthest = max(max(map(abs, span(x.type))), 255 if x.type.format == "s8" else 0)
        off = 0.5 * x.scale / y.scale * farthest * whole.size / len(steps) * float(coarse[steps < least].max())
        if off > MOST_OFF:
            most = float(np.abs(bias / (x.scale * steps)).max())
            raise AotError(f"its bias has {most:.3g} steps of sums, more than 32 bits hold")
        whole, steps = round_half_up(whole * (steps / coarse).reshape(along)), coarse
    finer = _finer(whole, bias / (x.scale * steps), x.scale * steps / y.scale, axis) if exact else 1
    whole, steps = whole * finer, steps / finer
    multipliers = x.scale * steps / y.scale * 2.0**32
    rounded = np.maximum(np.floor(multipliers + 0.5), 1.0) / 2.0**32 * y.scale / x.scale
    counted = np.where(multipliers < LEAST_MULTIPLIER, rounded, steps)
    format = next(f for f, (low, high) in HOLDS.items() if low <= whole.min(initial=0) and whole.max(initial=0) <= high)
    quant = Quant(tuple(float(s) for s in counted), 0, axis)
    bias_quant = Quant(tuple(float(s) for s in x.scale * counted), 0, 0)
    return (x, Value(w.name, TensorType(format, w.type.shape, quant), whole.astype(FORMATS[format])),
            Value(b.name, TensorType("s32", b.type.shape, bias_quant),
                  np.clip(round_half_up(bias / (x.scale * counted)), -2**30, 2**30).astype(np.int32)))


def _finer(whole: Array, bias: Array, ratio: Array, axis: int) -> int:
    """The power of two by which steps have to become smaller for the bias, as far as sums fit 32 bits."""
    sums = np.abs(whole).sum(axis=tuple(i for i in range(whole.ndim) if i != axis)) * 256.0 + np.abs(bias) + 1.0
    finer = 1
    while finer < MOST_FINER and float((np.abs(bias * finer - np.rint(bias * finer)) * ratio).max(initial=0)) \
            > MOST_OFF * finer:
        if 2 * finer * sums.max(initial=0) > MOST_BIAS or 2 * finer * np.abs(whole).max(initial=0) > HOLDS["s16"][1]:
            break
        finer *= 2
    return finer


def packable(rows: Array) -> bool:
    """Whether each pair of weights fits a halfword as 256 times the second plus the first: -128 does as the first.

    As the second it does only if the first is not negative.
    """
    return int(np.abs(rows.astype(np.int64)).max(initial=0)) <= 128 and not np.any(_full(rows)) \
        and int(rows.max(initial=0)) < 128


def _full(rows: Array) -> Array:
    """Weights of -128 at odd places whose neighbour leaves the halfword no room for them."""
    first = np.pad(rows[:, 0::2], ((0, 0), (0, rows.shape[1] % 2)))[:, :rows.shape[1] // 2]
    full = np.zeros(rows.shape, bool)
    full[:, 1::2] = (rows[:, 1::2] == -128) & (first < 0)
    return full


def spread(rows: Array) -> tuple[tuple[int, ...], Array]:
    """Columns that are to be repeated behind the others, and packable rows with what is left of these there.

    ``x * 143 = x * 127 + x * 16``.
    """
    main = np.clip(rows.astype(np.int64), -128, 127)
    main = np.where(_full(main), -127, main)
    rest, columns, parts = rows - main, list[int](), [main]
    while np.any(rest):
        again = np.flatnonzero(np.any(rest, axis=0))
        part = np.clip(rest[:, again], -127, 127)
        rest[:, again] -= part
        columns += again.tolist()
        parts.append(part)
    return tuple(columns), np.concatenate(parts, axis=1)
