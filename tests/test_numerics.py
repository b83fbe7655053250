"""The one rounding rule, against exact arithmetic in integers and fractions; and the same in C."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aot import build
from aot.emit import resources
from aot.errors import AotError
from aot.ir import Quant
from aot.numerics import (
    INT32_MAX,
    Multipliers,
    assert_int32,
    dequantize,
    multipliers,
    quantize,
    requantize,
    round_half_up,
)

INT32_MIN = -(2**31)
EXTREMES = (INT32_MIN, INT32_MIN + 1, -65537, -65536, -3, -2, -1, 0, 1, 2, 3, 65535, 65536, INT32_MAX - 1, INT32_MAX)
#: Multipliers at the ends and in the middle, and powers of two, with which accumulators fall on ties.
FACTORS = (0, 1, 2, 3, 2**15, 2**16, 2**29, 2**30, 2**30 + 1, INT32_MAX - 1, INT32_MAX)
int32s = st.integers(INT32_MIN, INT32_MAX) | st.sampled_from(EXTREMES)
factors = st.integers(0, INT32_MAX) | st.sampled_from(FACTORS)
scales = st.floats(1e-20, 1e20, allow_nan=False)


def rounded(x: Fraction) -> int:
    """floor(x + 1/2), exactly."""
    return (2 * x.numerator + x.denominator) // (2 * x.denominator)


def test_rounding_takes_ties_up() -> None:
    assert round_half_up(np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5])).tolist() == [-2, -1, 0, 1, 2, 3]
    assert [rounded(Fraction(n, 2)) for n in (-5, -3, -1, 1, 3, 5)] == [-2, -1, 0, 1, 2, 3]


@settings(deadline=None)
@given(st.lists(st.tuples(int32s, factors), min_size=1, max_size=20), st.integers(0, 31))
def test_requantize_is_exact(pairs: list[tuple[int, int]], shift: int) -> None:
    """Also where the shifted accumulator uses all 32 bits."""
    accs = np.array([acc >> shift for acc, _ in pairs], np.int64)
    ms = np.array([m for _, m in pairs], np.int64)
    expected = [rounded(Fraction(int(a) * 2**shift * int(m), 2**32)) for a, m in zip(accs, ms, strict=True)]
    assert requantize(accs, Multipliers(ms, shift)).tolist() == expected


@pytest.mark.parametrize("m", FACTORS)
def test_requantize_at_the_ends(m: int) -> None:
    found = requantize(np.array(EXTREMES, np.int64)[:, None], Multipliers(np.array([m]), 0))[:, 0]
    assert found.tolist() == [rounded(Fraction(a * m, 2**32)) for a in EXTREMES]


def test_requantize_takes_ties_up() -> None:
    ties = np.arange(-7, 8, 2)  # times 2**31 / 2**32: halves
    assert requantize(ties, Multipliers(np.array([2**30]), 1)).tolist() == [-3, -2, -1, 0, 1, 2, 3, 4]


@settings(deadline=None)
@given(st.lists(st.floats(0, 4e9, allow_nan=False), min_size=1, max_size=8), st.integers(1, INT32_MAX))
def test_multipliers_are_the_nearest_that_fit(ratios: list[float], bound: int) -> None:
    try:
        made = multipliers(np.array(ratios), bound)
    except AotError as error:
        assert "left shift" in str(error)
        largest = Fraction(max(ratios)) * 2**32
        shift = next(s for s in itertools.count() if rounded(largest / 2**s) <= INT32_MAX)
        assert bound * 2**shift > INT32_MAX
        return
    assert made.m.min() >= 0 and made.m.max() <= INT32_MAX
    assert bound << made.shift <= INT32_MAX
    for m, ratio in zip(made.m.tolist(), ratios, strict=True):
        assert abs(Fraction(m) - Fraction(ratio) * 2 ** (32 - made.shift)) <= Fraction(1, 2) + Fraction(1, 2**20)
    if made.shift:  # no shift further than needed
        assert max(rounded(Fraction(r) * 2 ** (33 - made.shift)) for r in ratios) > INT32_MAX


@pytest.mark.parametrize("ratio", [float("nan"), float("inf"), -1e-9])
def test_senseless_ratios_are_refused(ratio: float) -> None:
    with pytest.raises(AotError, match="not a finite positive number"):
        multipliers(ratio, 1)


@pytest.mark.parametrize(("ratio", "bound", "fits"), [
    (0.49, INT32_MAX, True), (0.5, INT32_MAX, False), (0.5, INT32_MAX // 2, True), (0.5, INT32_MAX // 2 + 1, False),
    (1e6, 100.0, True), (1e6, 2000.0, False)])
def test_a_left_shift_needs_room(ratio: float, bound: float, fits: bool) -> None:
    if fits:
        made = multipliers(ratio, bound)
        assert int(bound) << made.shift <= INT32_MAX
    else:
        with pytest.raises(AotError, match="may overflow 32 bits"):
            multipliers(ratio, bound)


@settings(deadline=None)
@given(scales, st.integers(-128, 127), st.integers(-128, 127))
def test_quantize_undoes_dequantize(scale: float, zero: int, q: int) -> None:
    quant = Quant((float(np.float32(scale)),), zero)
    assert quantize(dequantize(np.array([q]), quant), quant, -128, 127).tolist() == [q]


@settings(deadline=None)
@given(scales, st.integers(-128, 127), st.floats(allow_nan=False, width=32))
def test_quantize_saturates_and_rounds_to_the_nearest(scale: float, zero: int, x: float) -> None:
    (q,) = quantize(np.array([x]), Quant((scale,), zero), -128, 127).tolist()
    assert -128 <= q <= 127
    exact = Fraction(x) / Fraction(scale) + zero if np.isfinite(x) else Fraction(int(np.sign(x)) * 10**9)
    assert abs(q - min(max(exact, Fraction(-128)), Fraction(127))) <= Fraction(1, 2) + Fraction(1, 10**9)


def test_what_is_not_a_number_becomes_the_zero_point() -> None:
    x = np.array([np.nan, np.inf, -np.inf, 1e38, -1e38])
    assert quantize(x, Quant((1e-30,), 7), -128, 127).tolist() == [7, 127, -128, 127, -128]


def test_scales_per_channel_go_along_their_axis() -> None:
    quant = Quant((1.0, 10.0), 0, 1)
    assert quantize(np.full((2, 2), 20.0), quant, -127, 127).tolist() == [[20, 2], [20, 2]]
    assert dequantize(np.full((2, 2), 2), quant).tolist() == [[2.0, 20.0], [2.0, 20.0]]


@pytest.mark.parametrize("value", [INT32_MAX + 1, INT32_MIN])
def test_the_twin_sees_an_overflow(value: int) -> None:
    assert_int32(np.array([INT32_MAX, -INT32_MAX]), "fine")
    with pytest.raises(AssertionError, match="layer: accumulator exceeds 32 bits"):
        assert_int32(np.array([0, value]), "layer")


# --- in C --------------------------------------------------------------------------------------------------------

_SOURCE = """\
#include "aot_fixed.h"
void many(int32_t n, const int32_t *acc, const int32_t *m, const int32_t *zero, int32_t *out);
void many(int32_t n, const int32_t *acc, const int32_t *m, const int32_t *zero, int32_t *out)
{
    for (int32_t i = 0; i < n; ++i) {
        out[i] = aot_requantize(acc[i], m[i], zero[i]);
    }
}
int32_t clamp(int32_t value, int32_t low, int32_t high);
int32_t clamp(int32_t value, int32_t low, int32_t high)
{
    return aot_clamp(value, low, high);
}
"""


@pytest.fixture(scope="module")
def fixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Any]]:
    """``aot_fixed.h`` as a library; undefined behaviour ends the process."""
    header = (resources("runtime_c") / "aot_fixed.h").read_text(encoding="utf-8")
    files = {"src/aot_fixed.h": header, "src/fixed.c": _SOURCE}
    flags = (*build.STRICT, "-O2", "-fsanitize=undefined", "-fsanitize-undefined-trap-on-error")
    library = build.host_library(files, tmp_path_factory.mktemp("fixed"), flags)
    yield build.load(library, "void many(int32_t, const int32_t *, const int32_t *, const int32_t *, int32_t *);"
                              "int32_t clamp(int32_t, int32_t, int32_t);")


def in_c(fixed: tuple[Any, Any], acc: Any, m: Any, zero: Any) -> list[int]:
    ffi, library = fixed
    arrays = [np.ascontiguousarray(a, np.int32) for a in np.broadcast_arrays(acc, m, zero)]
    out = np.empty(arrays[0].size, np.int32)
    library.many(out.size, *(ffi.cast("int32_t *", a.ctypes.data) for a in (*arrays, out)))
    return [int(v) for v in out]


def test_requantize_in_c_at_the_ends(fixed: tuple[Any, Any]) -> None:
    rows = np.array(list(itertools.product(EXTREMES, FACTORS, (-128, 0, 127))), np.int64)
    expected = [rounded(Fraction(int(a) * int(m), 2**32)) + int(z) for a, m, z in rows]
    assert in_c(fixed, rows[:, 0], rows[:, 1], rows[:, 2]) == expected


def test_requantize_in_c_equals_the_twin(fixed: tuple[Any, Any]) -> None:
    rng = np.random.default_rng(0)
    acc = np.concatenate([rng.integers(INT32_MIN, INT32_MAX, 50_000, endpoint=True), rng.integers(-300, 300, 50_000)])
    m = np.concatenate([rng.integers(0, INT32_MAX, 50_000, endpoint=True), 2 ** rng.integers(0, 31, 50_000)])
    zero = rng.integers(-128, 127, acc.size, endpoint=True)
    twin = [int(requantize(acc[i:i + 1], Multipliers(m[i:i + 1], 0))[0]) for i in range(0, acc.size, 100)]
    assert in_c(fixed, acc, m, zero)[::100] == [t + int(z) for t, z in zip(twin, zero[::100], strict=True)]
    all_at_once = ((acc.astype(np.int64) * m + 2**31) >> 32) + zero
    assert in_c(fixed, acc, m, zero) == all_at_once.tolist()


def test_clamp_in_c(fixed: tuple[Any, Any]) -> None:
    for value, (low, high) in itertools.product((*EXTREMES, -129, -128, 127, 128, 5), ((-128, 127), (-7, 9), (3, 3))):
        assert fixed[1].clamp(value, low, high) == min(max(value, low), high)


def test_headers_are_c99_without_warning(tmp_path: Path) -> None:
    for name in sorted(p.name for p in resources("runtime_c").glob("*.h")):
        text = {f"src/{p.name}": p.read_text(encoding="utf-8") for p in resources("runtime_c").glob("*.h")}
        main = f'#include "{name}"\nint main(void)\n{{\n    return 0;\n}}\n'
        for compiler in ("gcc", "clang"):
            if build.have(compiler):
                build.host_program({**text, "main.c": main}, tmp_path, "main.c", compiler)
