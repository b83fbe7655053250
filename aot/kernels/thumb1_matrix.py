"""Weights for ``runtime_c/aot_thumb1_matrix.h``: four to a word, with extra words where four are too large."""

from __future__ import annotations

import numpy as np

from aot.ir import Array
from aot.numerics import Multipliers

HEADER = "aot_thumb1_matrix.h"
#: The magnitudes of four weights whose products with inputs in [-128, 127] may be summed in 16 bits.
LARGEST_FOUR = 255
#: Sums and multipliers that requantization by halves takes without overflow.
LARGEST_SUM, LARGEST_MULTIPLIER = 2**29, 2**30
#: Words of one pixel's block of four inputs.
BLOCK_WORDS = 3
#: All four weights of a word zero.
NOTHING = 0x80808080
#: Marks a multiplier, which ends the extra words.
END = 0x80000000


def fits(bound: Array, mult: Multipliers) -> bool:
    """Whether every channel's sum stays in range, multipliers too, and no left shift is needed before them.

    ``bound``: largest possible |sum| per channel.
    """
    return bool(np.all(bound < LARGEST_SUM) and np.all(mult.m < LARGEST_MULTIPLIER)) and mult.shift == 0


def blocks(depth: int) -> int:
    """Blocks of four elements in a sum of ``depth``."""
    return -(-depth // 4)


def split(rows: Array) -> tuple[Array, Array]:
    """Weights as two terms, both of which may be summed in 16 bits: int64 [O, blocks, 4] each.

    ``rows``: int8 [O, K], in [-127, 127]. The second term is mostly zero: of four weights that are too large, it has
    the two that one multiplication meets, as far as they are too large.
    """
    count, depth = rows.shape
    w = np.pad(rows.astype(np.int64), ((0, 0), (0, 4 * blocks(depth) - depth))).reshape(count, blocks(depth), 4)
    excess = np.maximum(np.abs(w).sum(axis=2) - LARGEST_FOUR, 0)
    second = np.zeros_like(w)
    for i in (np.abs(w).argmax(axis=2), np.abs(w).argmin(axis=2), 1, 2, 3, 0):
        at = np.broadcast_to(i, excess.shape)[..., None]
        taken = np.minimum(np.abs(np.take_along_axis(w - second, at, 2))[..., 0], excess)
        change = np.sign(np.take_along_axis(w, at, 2)) * taken[..., None]
        np.put_along_axis(second, at, np.take_along_axis(second, at, 2) + change, 2)
        excess -= taken
    first = w - second
    assert max(np.abs(t).sum(axis=2).max(initial=0) for t in (first, second)) <= LARGEST_FOUR
    return first, second


def words(weights: Array) -> Array:
    """Four weights w0 .. w3 as the bytes w2, w3, w0, w1, each plus 128: [..., 4] to [...]."""
    b = weights + 128
    return np.asarray(b[..., 2] | b[..., 3] << 8 | b[..., 0] << 16 | b[..., 1] << 24)


def pack(rows: Array, bias: Array, mult: Array, group: int, step: int) -> list[Array]:
    """The stream for each ``group`` rows: their biases, words block by block, then each one's extras and multiplier.

    ``rows``: int8 [O, K], O a multiple of ``group``; ``bias``, ``mult``: [O]; ``step``: bytes from block to block of
    the tile. Answers uint32 arrays.
    """
    first, second = split(rows)
    packed, more = words(first), words(second)
    streams = []
    for start in range(0, len(rows), group):
        part = slice(start, start + group)
        pieces = [bias[part].astype(np.int64), packed[part].T.reshape(-1)]
        for row in range(start, start + group):
            (at,) = np.nonzero(more[row] != NOTHING)
            pieces += [np.stack([at * step, more[row][at]], axis=1).reshape(-1), mult[row:row + 1] | END]
        streams.append((np.concatenate(pieces) & 0xFFFFFFFF).astype(np.uint32))
    return streams


def extras(rows: Array) -> int:
    """How many extra words the weights have."""
    return int((words(split(rows)[1]) != NOTHING).sum())
