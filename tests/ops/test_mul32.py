"""What the kernels for multiplications of 32 bits rely on: terms that fit 16 bits, and products from halves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aot import build
from aot.emit import resources
from aot.kernels import mul32_matrix, thumb1_depthwise

REQUANTIZE = """\
#define __ARM_ARCH_ISA_THUMB 1
#include "aot_fixed.h"

static uint64_t state = 88172645463325252u;

static uint32_t draw(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 16);
}

int main(void)
{
    for (int32_t i = 0; i < 2000000; ++i) {
        int32_t sum = (int32_t)draw() >> draw() % 31u;
        int32_t multiplier = (int32_t)(draw() >> 1) >> draw() % 20u;
        const int32_t zero = (int32_t)(draw() % 256u) - 128;
        if (i % 7 == 0) {
            sum = i % 2 == 0 ? INT32_MAX - (int32_t)(draw() % 3u) : INT32_MIN + (int32_t)(draw() % 3u);
        }
        if (i % 11 == 0) {
            multiplier = INT32_MAX - (int32_t)(draw() % 3u);
        }
        const int64_t exact = zero + (((int64_t)sum * multiplier + (INT64_C(1) << 31)) >> 32);
        if (aot_requantize(sum, multiplier, zero) != exact) {
            return 1;
        }
    }
    return AOT_THUMB1 ? 0 : 2;
}
"""


@pytest.mark.parametrize("style", ["any", "extreme", "one large", "just too large"])
def test_weights_are_split_into_terms_that_fit(style: str) -> None:
    rng = np.random.default_rng(5)
    w = rng.integers(-127, 128, (64, 1, 4)) if style != "extreme" else rng.choice(np.array([-127, 127]), (64, 1, 4))
    if style == "one large":
        w[..., :3] = 0
    if style == "just too large":
        w[..., 0], w[..., 1], w[..., 2], w[..., 3] = 127, -127, 1, rng.integers(-1, 2, (64, 1))
    first, second = mul32_matrix.split(w.reshape(64, 4).astype(np.int8))
    np.testing.assert_array_equal(first + second, w)
    assert np.abs(first).sum(axis=2).max() <= mul32_matrix.LARGEST_FOUR
    assert not second[..., :2].any()  # an extra word has room for the last two
    assert second.any() == (np.abs(w).sum(axis=2).max() > mul32_matrix.LARGEST_FOUR)
    filters = rng.integers(-127, 128, (64, 3, 3)) if style == "any" else np.repeat(w[..., 1:], 3, axis=1)
    first, second = thumb1_depthwise.split(filters.astype(np.int8))
    np.testing.assert_array_equal(first + second, filters)
    for term in (first, second):
        assert np.abs(term).sum(axis=2).max() <= thumb1_depthwise.LARGEST_THREE


def test_four_products_are_exact_at_the_limit() -> None:
    """The sums of halves that the kernels take apart, for the largest weights which may be summed."""
    x = np.array(np.meshgrid(*[[-128, -127, 0, 127]] * 4)).reshape(4, -1).T.astype(np.int64)
    for w in ([127, 127, 1, 0], [127, 1, 127, 0], [0, 1, -127, -127], [-127, 0, -1, 127], [64, 64, 64, 63]):
        weights = np.array(w)
        assert np.abs(weights).sum() == mul32_matrix.LARGEST_FOUR
        word = int(mul32_matrix.words(weights))
        even, odd = x[:, 0] + (x[:, 2] << 16), x[:, 1] + (x[:, 3] << 16)
        constant = 0x8000 - (even + odd) * 0x00800080
        total = even * word + (odd - (even << 8)) * (word >> 8 & 0x00FF00FF) + constant
        upper = ((total & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000 >> 16
        np.testing.assert_array_equal(upper, x @ weights)


def test_requantization_from_halves_is_exact(tmp_path: Path) -> None:
    """The path of processors without a long multiplication, on this machine."""
    files = {"src/aot_fixed.h": (resources("runtime_c") / "aot_fixed.h").read_text(), "test/main.c": REQUANTIZE}
    program = build.host_program(files, tmp_path, "test/main.c")
    done = build.run([str(program)], tmp_path)
    assert done.status == 0, done.err
