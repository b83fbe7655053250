"""How much is lost, from a few samples: by the leads of answers, and what rounding does to them."""

from __future__ import annotations

import numpy as np
import pytest

from aot.ir import Array
from aot.judge import Judge

RNG = np.random.default_rng(0)


def scores(count: int, classes: int = 5, seed: int = 0) -> Array:
    return 3 * np.random.default_rng(seed).normal(size=(count, classes))


@pytest.mark.parametrize("noise", [0.05, 0.2, 0.8])
def test_predicted_is_what_happens_on_other_samples(noise: float) -> None:
    """From 150 samples: the share of answers that change among 20,000 others."""
    exact, many = scores(150), scores(20_000, seed=1)
    judge = Judge(exact, True)
    found = judge.judged(exact + noise * np.random.default_rng(2).normal(size=exact.shape))
    happened = (many.argmax(1) != (many + noise * np.random.default_rng(3).normal(size=many.shape)).argmax(1)).mean()
    assert found.changed == pytest.approx(100 * happened, rel=0.5)
    assert found.points > found.expected >= 0


def test_errors_that_grow_with_the_lead_change_few_answers() -> None:
    """Each sample is judged by the errors of those with a like lead."""
    exact = scores(400)
    best, second = np.sort(exact, axis=1)[:, -1], np.sort(exact, axis=1)[:, -2]
    error = np.random.default_rng(2).normal(size=exact.shape)
    grows = Judge(exact, True).judged(exact + 0.2 * (best - second)[:, None] * error)
    same = Judge(exact, True).judged(exact + 0.2 * float((best - second).mean()) * error)
    assert grows.changed is not None and same.changed is not None and grows.changed < same.changed / 3


def test_changes_add_up() -> None:
    exact = scores(60)
    judge = Judge(exact, True)
    first, second = 0.1 * RNG.normal(size=exact.shape), 0.1 * RNG.normal(size=exact.shape)
    together = judge.changes(exact + first + second)
    assert np.allclose(together, judge.changes(exact + first) + judge.changes(exact + second))
    assert judge.loss(together) == judge.loss(judge.changes(exact + first + second))


def test_nothing_is_lost_where_nothing_changes() -> None:
    exact = scores(30)
    loss = Judge(exact, True).judged(exact)
    assert (loss.points, loss.expected, loss.changed, loss.top1) == (0, 0, 0, None)
    assert Judge(exact, False).judged(exact).points == 0


def test_labels_are_counted_and_make_probabilities_true() -> None:
    """Scores four times as sure as they are right to be: an answer that changes loses less than they say."""
    exact = scores(4000)
    chances = np.exp(exact) / np.exp(exact).sum(axis=1, keepdims=True)
    labels = (chances.cumsum(axis=1) > np.random.default_rng(4).random((len(exact), 1))).argmax(axis=1)
    rough = exact + 0.3 * RNG.normal(size=exact.shape)
    told, untold = (Judge(4 * exact, True, y).judged(4 * rough) for y in (labels, None))
    assert told.top1 == float((rough.argmax(1) == labels).mean())
    assert told.float_top1 == float((exact.argmax(1) == labels).mean())
    assert told.expected < untold.expected / 2
    assert told.expected == pytest.approx(100 * (told.float_top1 - told.top1), abs=1.0)


def test_fewer_samples_can_be_measured_than_judged() -> None:
    exact = scores(90)
    some = np.arange(0, 90, 3)
    judge = Judge(exact, True, None, some)
    assert judge.changes(exact[some] + 0.1).shape == (30,) and judge.judged(exact[some]).points == 0


def test_other_outputs_are_judged_by_their_error() -> None:
    exact = RNG.normal(size=(50, 64))
    loss = Judge(exact, False).judged(exact + 0.01 * RNG.normal(size=exact.shape))
    assert loss.expected == pytest.approx(1.0, rel=0.1) and loss.changed is None and loss.points > loss.expected
