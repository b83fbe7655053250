"""Weights for ``runtime_c/aot_dsp_matrix.h``: four to a word, biases and multipliers in the order of use."""

from __future__ import annotations

import numpy as np

from aot.ir import Array
from aot.numerics import Multipliers

#: Sums are carried times 256, so a true sum must stay below this.
LARGEST_SUM = 2**23
#: Short multipliers with a smaller one would leave the zero point more than 22 bits to the left.
LEAST_EXPONENT = 2
HEADER = "aot_dsp_matrix.h"


def fits(bound: Array, mult: Multipliers) -> bool:
    """Whether every channel's sum stays in range and no left shift is needed before requantization.

    ``bound``: largest possible |sum| per channel.
    """
    return bool(np.all(bound < LARGEST_SUM)) and mult.shift == 0


def exponent(mult: Multipliers) -> int | None:
    """Bits by which all multipliers can be shifted right without loss, to at most 15 significant ones.

    None if they cannot, or if the layer's zero point would not fit beside a sum scaled like that.
    """
    bits = max(int(mult.m.max(initial=1)).bit_length() - 15, LEAST_EXPONENT)
    return bits if not np.any(mult.m % 2**bits) else None


def blocks(depth: int) -> int:
    """Blocks of four elements in a sum of ``depth``."""
    return -(-depth // 4)


def work(tiles: int, depth: int, channels: int) -> dict[str, float]:
    """The work of so many tiles of three pixels: sums of ``depth`` for so many channels, in pairs."""
    pairs = tiles * -(-channels // 2)
    return {"layer": 1, "tile": tiles, "pair": pairs, "block": pairs * blocks(depth)}


def pack(rows: Array, bias: Array, mult: Array, group: int, short: bool = False,
         factors: Array | None = None) -> Array:
    """The stream for ``group`` rows at a time: their biases, their weights block by block, their multipliers.

    ``rows``: int8 [O, K], as :func:`aot.ops.exact.packable` allows, O a multiple of ``group``; ``bias``, ``mult``:
    [O]. Answers uint32.
    ``short``: the multipliers have 15 bits and stand two to a word. ``factors`` of residuals stand before them.
    """
    count, depth = rows.shape
    n = blocks(depth)
    w = np.pad(rows.astype(np.int64), ((0, 0), (0, 4 * n - depth))).reshape(count, n, 4)
    pairs = 256 * w[..., 1::2] + w[..., 0::2]  # halfwords whose upper byte is one less if the lower is negative
    words = (pairs[..., 0] & 0xFFFF) | ((pairs[..., 1] & 0xFFFF) << 16)
    start = 256 * bias - 127 * w[..., 0::2].sum(axis=(1, 2))
    groups = count // group
    if short:
        mult = mult[0::2] | mult[1::2] << 16
    stream = np.concatenate([start.reshape(groups, group),
                             words.reshape(groups, group, n).transpose(0, 2, 1).reshape(groups, -1),
                             *([] if factors is None else [256 * factors.astype(np.int64).reshape(groups, group)]),
                             mult.reshape(groups, -1)], axis=1)
    return (stream & 0xFFFFFFFF).astype(np.uint32)
