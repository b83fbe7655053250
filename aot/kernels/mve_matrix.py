"""Weights for ``runtime_c/aot_mve_matrix.h``: vectors of 16 int8, biases and multipliers in the order of use."""

from __future__ import annotations

import numpy as np

from aot.ir import Array

HEADER = "aot_mve_matrix.h"
VECTOR = 16


def blocks(depth: int) -> int:
    """Vectors of 16 elements in a sum of ``depth``."""
    return -(-depth // VECTOR)


def order(count: int, group: int) -> Array:
    """Which of ``count`` channels are computed, in groups: the last group overlaps the one before, or repeats."""
    whole = np.arange(count // group * group)
    if count % group == 0:
        return whole
    last = np.minimum(np.arange(group), count - 1) if count < group else np.arange(count - group, count)
    return np.concatenate([whole, last])


def pack(rows: Array, numbers: tuple[Array, ...], group: int) -> Array:
    """The stream for ``group`` rows at a time: their numbers, such as biases and multipliers, each for all of them;
    then their weights vector by vector.

    ``rows``: int8 [O, K], O a multiple of ``group``; ``numbers``: [O] each. Answers uint32.
    """
    count, depth = rows.shape
    n = blocks(depth)
    w = np.pad(rows, ((0, 0), (0, VECTOR * n - depth))).reshape(count // group, group, n, VECTOR)
    words = np.ascontiguousarray(w.transpose(0, 2, 1, 3)).view("<u4").reshape(count // group, 4 * n * group)
    head = [np.asarray(a).astype("<i4").view("<u4").reshape(count // group, group) for a in numbers]
    return np.concatenate([*head, words], axis=1).astype(np.uint32)
