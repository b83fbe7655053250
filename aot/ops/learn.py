"""Filters for integer inputs, learned from the moments of these: fitted to their errors, and rounded together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aot.ir import Array
from aot.numerics import round_half_up
from aot.ops.base import Fold, Moments

#: How much of the covariance between inputs is ignored, at least; more where few columns were seen.
DAMPING = 0.01
#: What is added to every variance when filters are fitted, as a share of the mean one; the best is found by trying.
RIDGES = (0.1, 0.01, 0.001, 0.0001)
#: Inputs whose variance, in squared steps, is not larger are constant: there is nothing to be learned from them.
CONSTANT = 1e-9
#: Parts of a fit that are told apart, and of a channel's largest weight: more digits could depend on the machine.
SHARES, DIGITS = 64, 2.0**-24


def fit_filters(filters: Array, moments: Moments | None) -> Array:
    """Filters, [groups, outputs, depth], whose outputs for the integer network's inputs are nearest to those which the
    given ones have for the float network's, in the mean square.

    The inputs carry errors of rounding, which filters can average out as far as signals go together and errors do not
    (Wiener's filter; Hubara et al., "Accurate Post Training Quantization With Small Calibration Sets", section 3,
    optimize weights for quantized inputs too). From few samples, a fit would learn their peculiarities. So it is tried
    on parts of the samples that it was not made from, and only the share of it is taken which helps there.
    """
    if moments is None or not moments.folds:
        return filters
    tries = [_judged(filters, moments.folds, ridge) for ridge in RIDGES]
    gain, share, ridge = max(tries)
    if gain <= 0.0:
        return filters
    fitted = filters + share * _change(filters, moments.folds, ridge)
    digit = np.maximum(np.abs(fitted).max(axis=2, keepdims=True, initial=0) * DIGITS, np.finfo(np.float64).tiny)
    return np.asarray(np.floor(fitted / digit + 0.5) * digit)


def _judged(filters: Array, folds: Sequence[Fold], ridge: float) -> tuple[float, float, float]:
    """By how much a change made from all folds but one lessens the squared error on that one, and with which share."""
    found = size = 0.0
    for k, fold in enumerate(folds):
        change = _change(filters, [*folds[:k], *folds[k + 1:]], ridge)
        found += float((change * _missing(filters, fold)).sum())
        size += float((change * np.matmul(change, fold.second)).sum())
    if found <= 0.0 or size <= 0.0:
        return 0.0, 0.0, ridge
    share = np.floor(min(found / size, 1.0) * SHARES) / SHARES
    return share * (2.0 * found - share * size), share, ridge


def _missing(filters: Array, fold: Fold) -> Array:
    """The covariance of what the outputs lack with the inputs, [groups, outputs, depth]."""
    missing = np.asarray(np.matmul(filters, fold.drift))
    return missing if fold.beside is None else missing + fold.beside


def _change(filters: Array, folds: Sequence[Fold], ridge: float) -> Array:
    """What least squares add to the filters: ``(W drift + beside) (second + ridge)^-1``."""
    second = sum((f.second for f in folds[1:]), folds[0].second) / len(folds)
    missing = sum((_missing(filters, f) for f in folds[1:]), _missing(filters, folds[0])) / len(folds)
    spread = np.einsum("gdd->gd", second).mean(axis=1)
    floor = np.where(spread > CONSTANT, ridge * spread, 1.0)
    second = second + floor[:, None, None] * np.eye(filters.shape[2])
    return np.asarray(np.linalg.solve(second, missing.transpose(0, 2, 1)).transpose(0, 2, 1))


def round_filters(filters: Array, moments: Moments | None, largest: int = 127) -> Array:
    """Filters in units of their steps, [groups, outputs, depth], to integers in [-largest, largest].

    Weight by weight, what rounding one of them changes in the output is made good by those that follow, as far as
    their inputs go together. Source: Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative
    Pre-trained Transformers", section 3 (after Hassibi and Stork, "Optimal Brain Surgeon").
    """
    if moments is None or moments.second is None:
        return np.clip(round_half_up(filters), -largest, largest)
    depth = filters.shape[2]
    spread = np.einsum("gdd->gd", moments.second)
    floor = np.maximum(DAMPING * spread.mean(axis=1, keepdims=True), np.finfo(np.float32).tiny)
    doubt = depth / (depth + moments.columns)
    second = (1.0 - doubt) * moments.second + np.einsum("gd,de->gde", doubt * spread + floor, np.eye(depth))
    # the upper Cholesky factor of the inverse: row i tells how an error of weight i is spread over those behind it
    upper = np.linalg.cholesky(np.linalg.inv(second)).transpose(0, 2, 1)
    rest = filters.copy()
    whole = np.empty_like(rest)
    for i in range(depth):
        whole[..., i] = np.clip(round_half_up(rest[..., i]), -largest, largest)
        error = (rest[..., i] - whole[..., i]) / upper[:, None, i, i]
        rest[..., i + 1:] -= error[..., None] * upper[:, None, i, i + 1:]
    return whole.astype(np.int64)
