"""Outputs that hold scores of classes: which they are, and the steps in which they lose least."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sketch import Sketch

from aot.calibrate import Range
from aot.data import load
from aot.interpret import run_quantized
from aot.ir import Array, prune
from aot.numerics import dequantize, quantize
from aot.ops.base import affine
from aot.ops.fully_connected import FullyConnected
from aot.ops.reshape import Reshape
from aot.ops.softmax import Softmax
from aot.ops.unary import Unary
from aot.prepare import prepare
from aot.recipe import Recipe
from aot.scores import classifies, decisive, scores, scores_range


def test_scores_are_told_from_maps_and_reconstructions() -> None:
    """What goes into a softmax; scores of classes are told from maps and reconstructions."""
    s = Sketch()
    x = s.input("x", (1, 12))
    hidden = s.dense(x, "hidden", 12)
    logits = s.dense(hidden, "logits", 3)
    flat = s.add(Reshape((1, 3)), [logits], "flat")
    probable = s.add(Softmax(), [flat], "probable")
    assert decisive(s.graph([x], [probable])) == "logits" and classifies(s.graph([x], [probable]), None)
    assert classifies(s.graph([x], [logits]), None) and decisive(s.graph([x], [logits])) == "logits"
    assert not classifies(s.graph([x], [hidden]), None), "as large as the input"
    assert classifies(s.graph([x], [hidden]), np.zeros(4, int)), "with labels"
    assert not classifies(s.graph([x], [logits]), np.zeros((4, 3))), "with targets"


def test_whose_steps_the_caller_alone_sees() -> None:
    """Behind reshapes, too; not if a layer reads them as well, nor where an operator has steps of its own."""
    s = Sketch()
    x = s.input("x", (1, 12))
    logits = s.dense(x, "logits", 3)
    flat = s.add(Reshape((3,)), [logits], "flat")
    other = s.dense(logits, "other", 2)

    def found(*outputs: str) -> str | None:
        return scores(prune(s.graph([x], list(outputs))))

    assert found(logits) == found(flat) == "logits"
    assert found(flat, logits) is None
    assert found(flat, other) is found(logits, other) is None
    assert found(s.add(Softmax(), [flat], "probable")) is None
    assert found(s.add(Unary("sigmoid"), [logits], "likely")) is None
    assert found(s.dense(x, "as_many", 12)) is None


def error(exact: Array, rough: Array, found: Range) -> float:
    quant = affine(found.low, found.high, "s8")
    return float(np.abs(dequantize(quantize(rough, quant, -128, 127), quant) - exact).mean())


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), noise=st.sampled_from([0.0, 0.02, 1.0]), tail=st.integers(2, 8))
def test_scores_are_never_farther_off_than_over_their_whole_range(seed: int, noise: float, tail: int) -> None:
    rng = np.random.default_rng(seed)
    exact = rng.standard_t(tail, size=(200, 10))
    rough = exact + noise * rng.normal(size=exact.shape)
    whole = Range(min(float(exact.min()), 0.0), max(float(exact.max()), 0.0))
    found = scores_range(exact, rough, whole)
    assert whole.low <= found.low <= 0 <= found.high <= whole.high
    assert error(exact, rough, found) <= error(exact, rough, whole)


def test_what_is_inexact_anyway_is_not_clipped_for_finer_steps() -> None:
    rng = np.random.default_rng(1)
    exact = rng.standard_t(4, size=(500, 10))
    whole = Range(float(exact.min()), float(exact.max()))
    fine = scores_range(exact, exact, whole)
    coarse = scores_range(exact, exact + 0.3 * rng.normal(size=exact.shape), whole)
    assert fine.high - fine.low < 0.8 * (coarse.high - coarse.low)


@pytest.mark.parametrize("behind", [False, True])
def test_a_network_gets_these_steps(behind: bool) -> None:
    """A few scores that are far out do not make the steps of all others coarse."""
    s = Sketch()
    x = s.input("x", (1, 12))
    y = s.dense(x, "logits", 4)
    y = s.add(Reshape((4,)), [y], "flat") if behind else y
    graph = s.graph([x], [y])
    rng = np.random.default_rng(2)
    data = rng.uniform(-2, 2, size=(400, 12))
    data[:3] = 2 * np.sign(graph.values["logits.w"].data[:3])  # as far out as such inputs can bring a score
    samples = load(data.astype(np.float32), graph, "data")
    prepared = prepare(graph, samples, "auto", "per-channel")
    least_squares = prepared.narrow.ranges[y]
    quant = prepared.quantize(Recipe()).values[y].type.quant
    assert quant is not None
    assert quant.scale[0] < 0.9 * affine(least_squares.low, least_squares.high, "s8").scale[0]
    minmax = prepare(graph, samples, "minmax", "per-channel")
    assert minmax.quantize(Recipe()).values[y].type.quant == affine(*vars(minmax.narrow.ranges[y]).values(), "s8")


def test_the_best_two_scores_are_not_cut_off_alike() -> None:
    """Few samples have scores far out; finer steps for all others would make their answers the same."""
    exact = np.random.default_rng(4).uniform(-1, 1, size=(1000, 5))
    exact[:4, :2] = [[20.0, 30.0], [20.0, 31.0], [20.0, 32.0], [20.0, 33.0]]
    whole = Range(float(exact.min()), float(exact.max()))
    found = scores_range(exact, exact, whole)
    quant = affine(found.low, found.high, "s8")
    assert (dequantize(quantize(exact[:4], quant, -128, 127), quant).argmax(axis=1) == 1).all()


def test_scores_that_are_always_zero() -> None:
    """There is nothing to cut; a network whose last layer has no weights compiles like any other."""
    nothing = np.zeros((20, 3))
    assert scores_range(nothing, nothing, Range(0.0, 0.0)) == Range(0.0, 0.0)
    s = Sketch()
    x = s.input("x", (1, 12))
    inputs = [x, s.constant(np.zeros((3, 12), np.float32), "w"), s.constant(np.zeros(3, np.float32), "b")]
    graph = s.graph([x], [s.add(FullyConnected(), inputs, "logits")])
    samples = load(np.random.default_rng(5).normal(size=(20, 12)).astype(np.float32), graph, "data")
    quantized = prepare(graph, samples, "auto", "per-channel").quantize(Recipe())
    assert run_quantized(quantized, {"x": np.ones((1, 12), np.int8)})["logits"].any() == (
        quantized.values["logits"].zero != 0)
