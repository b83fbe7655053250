"""Weights that know their inputs: fitted where that helps on other samples, rounded never far from the nearest."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aot.ir import Array
from aot.observe import COLUMNS_EACH
from aot.ops.base import Fold, Moments
from aot.ops.learn import fit_filters, round_filters


def moments(x: Array) -> Moments:
    """Of columns [groups, columns, depth]."""
    mean = x.mean(axis=1)
    centred = x - mean[:, None]
    return Moments(mean, mean, np.matmul(centred.transpose(0, 2, 1), centred) / x.shape[1], x.shape[1])


def together(rng: np.random.Generator, groups: int, columns: int, depth: int) -> Array:
    """Columns whose elements go together: mixtures of a few."""
    few = max(depth // 3, 1)
    return rng.normal(size=(groups, columns, few)) @ rng.normal(size=(groups, few, depth)) \
        + 0.1 * rng.normal(size=(groups, columns, depth))


def error(x: Array, filters: Array, whole: Array) -> float:
    """Mean square of what rounding changes in the products, their mean left out."""
    change = np.matmul(x - x.mean(axis=1, keepdims=True), (whole - filters).transpose(0, 2, 1))
    return float((change**2).mean())


@pytest.mark.parametrize(("groups", "depth"), [(1, 64), (1, 9), (12, 9), (3, 30)])
def test_products_come_out_better(groups: int, depth: int) -> None:
    rng = np.random.default_rng(depth)
    x, filters = together(rng, groups, 4000, depth), rng.uniform(-127, 127, size=(groups, 6, depth))
    nearest = round_filters(filters, None)
    assert np.abs(nearest - filters).max() <= 0.5
    learned = round_filters(filters, moments(x))
    assert error(x, filters, learned) < 0.5 * error(x, filters, nearest)


def test_inputs_that_have_nothing_in_common_are_rounded_to_the_nearest() -> None:
    filters = np.random.default_rng(0).uniform(-127, 127, size=(2, 5, 8))
    apart = Moments(np.zeros((2, 8)), np.zeros((2, 8)), np.broadcast_to(np.diag(np.arange(8.0)), (2, 8, 8)), 1000)
    np.testing.assert_array_equal(round_filters(filters, apart), round_filters(filters, None))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), groups=st.integers(1, 4), depth=st.integers(1, 20), columns=st.integers(1, 40),
       largest=st.sampled_from([7, 127]), silent=st.booleans())
def test_whatever_the_inputs_weights_stay_in_their_format(seed: int, groups: int, depth: int, columns: int,
                                                          largest: int, silent: bool) -> None:
    """Few columns, columns of zeros, filters at the limits."""
    rng = np.random.default_rng(seed)
    x = together(rng, groups, columns, depth) * 10.0 ** rng.uniform(-8, 8)
    if silent:
        x[..., rng.integers(depth)] = 0.0
    filters = rng.uniform(-largest, largest, size=(groups, 3, depth))
    whole = round_filters(filters, moments(x), largest)
    assert whole.dtype == np.int64 and np.abs(whole).max() <= largest and whole.shape == filters.shape


def test_all_inputs_silent() -> None:
    """A dead layer before: there is nothing to learn, and nothing breaks."""
    filters = np.random.default_rng(0).uniform(-127, 127, size=(1, 4, 6))
    np.testing.assert_array_equal(round_filters(filters, moments(np.zeros((1, 50, 6)))), round_filters(filters, None))


# --- fitting -----------------------------------------------------------------------------------------------------

def folded(exact: Array, rough: Array, parts: int = 4) -> Moments:
    """Moments of columns [columns, depth] in the float and in the integer network, with folds."""
    def covariance(a: Array, b: Array) -> Array:
        return ((a - a.mean(axis=0)).T @ (b - b.mean(axis=0)) / len(a))[None]
    parted = [(rough[k::parts], (exact - rough)[k::parts]) for k in range(parts)]
    folds = tuple(Fold(covariance(seen, seen), covariance(missed, seen)) for seen, missed in parted)
    return Moments(exact.mean(axis=0)[None], rough.mean(axis=0)[None], covariance(rough, rough), len(rough), folds)


def lost(filters: Array, changed: Array, exact: Array, rough: Array) -> float:
    """Mean squared error of the changed filters' outputs for rough inputs, means left out."""
    change = (rough - rough.mean(axis=0)) @ changed[0].T - (exact - exact.mean(axis=0)) @ filters[0].T
    return float((change**2).mean())


@pytest.mark.parametrize("noise", [0.5, 1.0, 3.0])
def test_errors_of_inputs_are_averaged_out(noise: float) -> None:
    """Signals that go together with errors that do not: on fresh samples, fitted filters lose less."""
    rng = np.random.default_rng(5)
    exact, filters = together(rng, 1, 8000, 12)[0], rng.normal(size=(1, 5, 12))
    rough = exact + noise * rng.normal(size=exact.shape)
    fitted = fit_filters(filters, folded(exact[:4000], rough[:4000]))
    assert lost(filters, fitted, exact[4000:], rough[4000:]) < 0.8 * lost(filters, filters, exact[4000:], rough[4000:])


@settings(max_examples=400, deadline=None)
@given(seed=st.integers(0, 10_000), columns=st.integers(16 * COLUMNS_EACH, 500), noise=st.floats(0.01, 10.0))
def test_few_samples_do_little_harm(seed: int, columns: int, noise: float) -> None:
    """From the fewest columns that filters are ever fitted to, little is learned that does not hold for others."""
    rng = np.random.default_rng(seed)
    exact, filters = rng.normal(size=(columns + 4000, 16)), rng.normal(size=(1, 5, 16))
    rough = exact + noise * rng.normal(size=exact.shape)
    fitted = fit_filters(filters, folded(exact[:columns], rough[:columns]))
    assert np.isfinite(fitted).all()
    fresh = exact[columns:], rough[columns:]
    assert lost(filters, fitted, *fresh) <= 1.05 * lost(filters, filters, *fresh)


def test_inputs_without_errors_leave_filters_as_they_are() -> None:
    rng = np.random.default_rng(1)
    x, filters = rng.integers(-128, 128, size=(500, 7)).astype(np.float64), rng.normal(size=(1, 3, 7))
    np.testing.assert_array_equal(fit_filters(filters, folded(x, x)), filters)
    np.testing.assert_array_equal(fit_filters(filters, None), filters)
    silent = np.zeros((500, 7))
    np.testing.assert_array_equal(fit_filters(filters, folded(silent, silent)), filters)


def test_a_shift_of_scale_is_undone() -> None:
    """A layer before that came out 3 % too small: filters become as much larger."""
    rng = np.random.default_rng(2)
    x, filters = 50 * rng.normal(size=(3000, 6)), rng.normal(size=(1, 4, 6))
    np.testing.assert_allclose(fit_filters(filters, folded(x, 0.97 * x)), filters / 0.97, rtol=2e-3)
