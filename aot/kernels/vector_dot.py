"""Sums of products for ``runtime_c/aot_vector.h``: rows of weights padded, inputs raised by 128."""

from __future__ import annotations

import numpy as np

from aot.ir import Array
from aot.numerics import INT32_MAX
from aot.ops.base import Site
from aot.targets import HOST

HEADER = "aot_vector.h"
#: Sums are padded to a multiple of this, the products that one vector instruction of 256 bits adds up.
BLOCK = 32
#: At most so many neighbouring sums are kept at a time.
LANES = 64
#: Inputs are raised by this; so much the largest is then; bytes of one, where it is not kept in a byte.
RAISE, LARGEST, RAISED_BYTES = 128, 255, 2


def wanted(site: Site) -> bool:
    """Whether speed is worth the memory. On a processor of which nothing is known, only if speed is the goal."""
    return site.goal == "speed" or (site.goal == "balanced" and site.isa == HOST)


def padded(depth: int) -> int:
    """The length of a padded row."""
    return -(-depth // BLOCK) * BLOCK


def lanes(count: int) -> int:
    """How many of ``count`` neighbouring sums to take at a time; the last ones may be taken twice."""
    return -(-count // -(-count // LANES))


def raised_bias(rows: Array, bias: Array) -> Array:
    """Biases for raised inputs, [O] in 64 bits, from weights [O, K] and biases for inputs as they are."""
    return np.asarray(bias.astype(np.int64) - RAISE * rows.astype(np.int64).sum(axis=1))


def fits(rows: Array, bias: Array) -> bool:
    """Whether no sum of raised inputs can leave 32 bits on its way."""
    most = np.abs(raised_bias(rows, bias)) + LARGEST * np.abs(rows.astype(np.int64)).sum(axis=1)
    return int(most.max(initial=0)) <= INT32_MAX


def pack(rows: Array) -> Array:
    """Rows [O, K] with zeros behind each."""
    return np.pad(rows, ((0, 0), (0, padded(rows.shape[1]) - rows.shape[1])))


def instructions(depth: int, outputs: int) -> float:
    """Estimate for so many sums of ``depth``, on a processor with vectors of 256 bits."""
    return outputs * (10.0 + 2.0 * padded(depth) / BLOCK)
