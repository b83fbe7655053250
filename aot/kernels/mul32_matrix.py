"""Weights for ``runtime_c/aot_mul32_matrix.h``: four to a word, with extra words where four are too large."""

from __future__ import annotations

import numpy as np

from aot.ir import Array
from aot.numerics import Multipliers

HEADER = "aot_mul32_matrix.h"
#: The magnitudes of four weights whose products with inputs in [-128, 127] may be summed in 16 bits.
LARGEST_FOUR = 255
#: Sums and multipliers that requantization by halves takes without overflow.
LARGEST_SUM, LARGEST_MULTIPLIER = 2**29, 2**30
#: Words of one pixel's block of four inputs.
BLOCK_WORDS = 3
#: Places in a tile which extra words can name, in words.
MOST_WORDS = 2**15
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
    a part of the last two. They are always large enough for that, since the first two are no more than 254.
    """
    count, depth = rows.shape
    w = np.pad(rows.astype(np.int64), ((0, 0), (0, 4 * blocks(depth) - depth))).reshape(count, blocks(depth), 4)
    excess = np.maximum(np.abs(w).sum(axis=2) - LARGEST_FOUR, 0)
    second = np.zeros_like(w)
    for i in (2, 3):
        taken = np.minimum(np.abs(w[..., i]), excess)
        second[..., i] = np.sign(w[..., i]) * taken
        excess -= taken
    first = w - second
    assert max(np.abs(t).sum(axis=2).max(initial=0) for t in (first, second)) <= LARGEST_FOUR
    return first, second


def words(weights: Array) -> Array:
    """Four weights w0 .. w3 as the bytes w2, w3, w0, w1, each plus 128: [..., 4] to [...]."""
    b = weights + 128
    return np.asarray(b[..., 2] | b[..., 3] << 8 | b[..., 0] << 16 | b[..., 1] << 24)


def pack_channels(rows: Array, bias: Array, mult: Array, group: int, step: int, factors: Array | None = None) -> Array:
    """The stream for each ``group`` output channels: biases, words block by block, each one's extras and multiplier.

    ``rows``: int8 [O, K]; ``bias``, ``mult``: [O]; ``step``: words from block to block of the tile; ``factors`` [O] of
    a residual stand behind the multipliers. A last group is filled up by rows of zeros. Answers uint32.
    """
    fill = -len(rows) % group
    first, second = split(np.pad(rows, ((0, fill), (0, 0))))
    packed, more = words(first), words(second)
    biases, multipliers = np.pad(bias, (0, fill)), np.pad(mult, (0, fill))
    last = None if factors is None else np.pad(factors, (0, fill))
    pieces: list[Array] = []
    for start in range(0, len(packed), group):
        pieces += [biases[start:start + group], packed[start:start + group].T.reshape(-1)]
        for row in range(start, start + group):
            (at,) = np.nonzero(more[row] != NOTHING)
            pieces += [at * step << 16 | more[row][at] & 0xFFFF, multipliers[row:row + 1] | END]
            if last is not None:
                pieces.append(last[row:row + 1])
    return _stream(pieces)


def pack_rows(rows: Array, bias: Array, mult: Array, most_rows: int, most_blocks: int) -> Array:
    """The stream for at most so many rows, then the next ones: biases, parts of at most so many blocks, multipliers.

    In a part, the words of each four rows come block by block; then the extra words of all rows, and a mark. Rows are
    filled up to fours by rows of zeros.
    """
    first, second = split(np.pad(rows, ((0, -len(rows) % 4), (0, 0))))
    packed, more = words(first), words(second)
    pieces: list[Array] = []
    for start in range(0, len(rows), most_rows):
        some = slice(start, start + most_rows)
        biases = bias[some].astype(np.int64)
        pieces.append(np.pad(biases, (0, -len(biases) % 4)))
        for block in range(0, packed.shape[1], most_blocks):
            part, extra = (a[some, block:block + most_blocks] for a in (packed, more))
            row, at = np.nonzero(extra != NOTHING)
            pieces += [part.reshape(-1, 4, part.shape[1]).transpose(0, 2, 1).reshape(-1),
                       row << 23 | at * BLOCK_WORDS << 16 | extra[row, at] & 0xFFFF, np.array([END])]
        pieces.append(mult[some])
    return _stream(pieces)


def _stream(pieces: list[Array]) -> Array:
    return np.asarray(np.concatenate([p.astype(np.int64) for p in pieces]) & 0xFFFFFFFF, np.uint32)


def extras(rows: Array) -> int:
    """How many extra words the weights have."""
    return int((words(split(rows)[1]) != NOTHING).sum())
