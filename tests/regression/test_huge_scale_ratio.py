"""A ratio of scales of 2**31 or more left 64-bit integers on the way and became a negative multiplier."""

from __future__ import annotations

import pytest

from aot.errors import AotError
from aot.numerics import INT32_MAX, multipliers


@pytest.mark.parametrize("ratio", [2.0**31, 2.0**40, 1e30])
def test_a_huge_ratio_is_refused(ratio: float) -> None:
    with pytest.raises(AotError, match="may overflow 32 bits"):
        multipliers(ratio, 1.0)


def test_a_huge_ratio_of_nothing_keeps_its_multiplier_in_range() -> None:
    made = multipliers(2.0**31, 0.0)
    assert 0 < int(made.m[0]) <= INT32_MAX
