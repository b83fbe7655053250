"""Ranges from samples: what each method keeps and cuts, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from sketch import Sketch

from aot.calibrate import METHODS, MOST_ROOM, Calibration, Range, calibrate, with_room
from aot.errors import AotError
from aot.ir import Array, Graph
from aot.observe import ENOUGH, KEPT_PER_SAMPLE, observe
from aot.ops.add import Add
from aot.ops.base import affine
from aot.ops.fully_connected import FullyConnected
from aot.ops.reshape import Reshape
from aot.ops.unary import Unary


def negated(*shape: int) -> Graph:
    """x -> neg -> y."""
    b = Sketch()
    b.input("x", shape)
    return b.graph(["x"], [b.then(Unary("neg"), "x", "y")])


def ranges(samples: Array, method: str) -> tuple[Range, Range]:
    """Of the input and of the output, for samples stacked on the first axis."""
    found = calibrate(negated(*samples.shape[1:]), [{"x": s} for s in samples.astype(np.float32)], method)
    assert found.samples == len(samples) and found.method == method
    return found.ranges["x"], found.ranges["y"]


def with_outliers() -> Array:
    x = np.random.default_rng(0).uniform(-1, 1, (20, 4000))
    x[3, 5], x[7, 9] = 100.0, -50.0
    return x


def test_minmax_keeps_all() -> None:
    assert ranges(with_outliers(), "minmax") == (Range(-50.0, 100.0), Range(-100.0, 50.0))


@pytest.mark.parametrize("method", ["percentile", "mse"])
def test_others_cut_outliers_but_not_those_of_inputs(method: str) -> None:
    x, y = ranges(with_outliers(), method)
    assert x == Range(-50.0, 100.0)
    assert -100.0 < y.low < -0.9 and 0.9 < y.high < 50.0


@pytest.mark.parametrize("method", METHODS)
def test_what_has_no_outlier_is_kept_nearly_whole(method: str) -> None:
    _, y = ranges(np.random.default_rng(0).uniform(-2, 1, (20, 4000)), method)
    assert y.low == pytest.approx(-1, abs=0.05) and y.high == pytest.approx(2, abs=0.05)


def test_mse_is_no_worse_than_the_whole_range() -> None:
    """On values with long tails, the mean squared error of its quantization is the smaller one."""
    x = np.random.default_rng(1).standard_t(3, size=(10, 4000)).astype(np.float32)

    def error(r: Range) -> float:
        quant = affine(r.low, r.high, "s8")
        q = np.clip(np.floor(-x / quant.scale[0] + 0.5) + quant.zero, -128, 127)
        return float((((q - quant.zero) * quant.scale[0] + x) ** 2).mean())

    assert error(ranges(x, "mse")[1]) < 0.95 * error(ranges(x, "minmax")[1])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [0.0, 2.5, -3.0])
def test_constants_have_a_range_that_can_be_quantized(method: str, value: float) -> None:
    _, y = ranges(np.full((3, 7), value), method)
    quant = affine(y.low, y.high, "s8")
    assert quant.scale[0] > 0 and -128 <= quant.zero <= 127
    assert abs(quant.scale[0] * (np.clip(np.floor(-value / quant.scale[0] + 0.5) + quant.zero, -128, 127) - quant.zero)
               + value) <= quant.scale[0]


def test_extremes_between_the_kept_elements_count() -> None:
    """Of large tensors only some elements are kept for statistics; the extremes are always seen."""
    x = np.zeros((2, 3 * KEPT_PER_SAMPLE))
    x[1, 1] = 9.0
    assert ranges(x, "minmax")[1] == Range(-9.0, 0.0)


@pytest.mark.parametrize("method", METHODS)
def test_order_of_samples_does_not_matter_for_small_tensors(method: str) -> None:
    x = np.random.default_rng(2).normal(size=(9, 50))
    assert ranges(x, method) == ranges(x[::-1], method)


def test_progress_is_told_once_a_sample() -> None:
    calls: list[int] = []
    calibrate(negated(3), [{"x": np.ones(3)}] * 5, "minmax", lambda: calls.append(1))
    assert len(calls) == 5


def test_known_ranges_are_taken_as_they_are() -> None:
    found = calibrate(negated(3), [{"x": np.ones(3)}], "minmax", known={"x": Range(-2.0, 5.0)})
    assert found.ranges["x"] == Range(-2.0, 5.0) and found.ranges["y"] == Range(-1.0, -1.0)


@pytest.mark.parametrize("bound", [None, 6.0])
def test_entropy_is_not_taken_in_by_what_activations_pile_up_at_zero_and_at_their_bound(bound: float | None) -> None:
    """Half of the values are zero, as behind a ReLU, some are 6, as behind a ReLU6: no reason to cut all others."""
    x = np.clip(np.random.default_rng(4).normal(size=(20, 4000)) * 3, 0, bound)
    _, y = ranges(x, "entropy")
    assert y.high == 0.0 and y.low <= -0.6 * x.max()


@pytest.mark.parametrize("moved", [False, True])
def test_a_channel_counts_as_much_as_its_readers_weigh_it(moved: bool) -> None:
    """Rare large values of a channel that no weight meets may be cut for finer steps, also behind a reshape."""
    x = np.random.default_rng(5).normal(size=(20, 1, 4, 50, 2)) ** (1, 3)

    def width(*weights: float) -> float:
        b = Sketch()
        b.input("x", (1, 4, 50, 2))
        y = b.then(Unary("neg"), "x", "y")
        read = b.then(Reshape((1, 200, 2)), y, "z") if moved else y
        inputs = [read, b.constant(np.array([weights], np.float32), "w"), b.constant(np.zeros(1, np.float32), "b")]
        graph = b.graph(["x"], [b.then(FullyConnected(), inputs, "out")])
        found = calibrate(graph, [{"x": s.astype(np.float32)} for s in x]).ranges["y"]
        return found.high - found.low

    assert width(1.0, 0.0) < 0.7 * width(0.0, 1.0)


@pytest.mark.parametrize("method", ["auto", "mse"])
def test_what_a_clamped_sum_cuts_off_needs_no_steps(method: str) -> None:
    """relu(a + b), where b is small: a's range goes as far down as b can lift it."""
    b = Sketch()
    b.input("x", (1, 400))
    b.input("small", (1, 400))
    a = b.then(Unary("neg"), "x", "a")
    graph = b.graph(["x", "small"], [b.then(Add(clamp=(0.0, None)), [a, "small"], "y")])
    rng = np.random.default_rng(6)
    samples = [{"x": rng.uniform(-10, 10, (1, 400)).astype(np.float32),
                "small": rng.uniform(-1, 1, (1, 400)).astype(np.float32)} for _ in range(20)]
    found = calibrate(graph, samples, method).ranges["a"]
    assert -3.0 < found.low < -0.5 and found.high > 9.5
    assert calibrate(graph, samples, "minmax").ranges["a"].low < -9.5


@pytest.mark.parametrize(("count", "wider"),
                         [(ENOUGH, 1.0), (2 * ENOUGH, 1.0), (ENOUGH // 4, 1.12), (1, 1 + MOST_ROOM)])
def test_what_few_samples_show_gets_room(count: int, wider: float) -> None:
    b = Sketch()
    b.input("x", (1, 3))
    free = b.then(Unary("neg"), "x", "free")
    bound = b.then(Reshape((3,)), b.then(Add(clamp=(-9.0, 1.05)), [free, "x"], "bound"), "bent")
    graph = b.graph(["x"], [b.then(Add(), [bound, bound], "y")])
    samples = [{"x": np.array([[-1.0, 0.5, k / count]], np.float32)} for k in range(count)]
    found = calibrate(graph, samples, "minmax")
    room = with_room(found, graph, observe(graph, samples)).ranges
    assert room["x"] == found.ranges["x"] and room["y"] == found.ranges["y"]
    assert room["free"].low == pytest.approx(found.ranges["free"].low * wider)
    assert room["free"].high == pytest.approx(found.ranges["free"].high * wider)
    assert room["bound"].high <= 1.05 and room["bound"].low == found.ranges["bound"].low


# --- refusals ----------------------------------------------------------------------------------------------------

def test_no_samples() -> None:
    with pytest.raises(AotError, match="no calibration sample"):
        calibrate(negated(3), [])


def test_an_unknown_method() -> None:
    with pytest.raises(AotError, match=r"unknown calibration method 'best'[^$]*mse, minmax, percentile"):
        calibrate(negated(3), [{"x": np.ones(3)}], "best")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite(bad: float) -> None:
    with pytest.raises(AotError, match="sample 1 makes 'x' reach"):
        calibrate(negated(2), [{"x": np.ones(2)}, {"x": np.array([1.0, bad])}])


@pytest.mark.parametrize("huge", [1e31, -3e38])
def test_finite_values_without_a_place_in_a_network(huge: float) -> None:
    with pytest.raises(AotError, match="sample 1 makes 'x' reach"):
        calibrate(negated(2), [{"x": np.ones(2)}, {"x": np.array([1.0, huge])}])


def test_a_layer_that_overflows_is_named() -> None:
    b = Sketch()
    b.input("x", (2,))
    graph = b.graph(["x"], [b.then(Unary("exp"), "x", "y")])
    with np.errstate(over="ignore"), pytest.raises(AotError, match="'y' reach"):
        calibrate(graph, [{"x": np.array([1.0, 1e6])}])


def test_a_calibration_is_data() -> None:
    assert Calibration({"x": Range(0, 1)}, 1, "mse").ranges["x"].high == 1
