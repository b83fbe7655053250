"""How much a network loses by rounding, from its outputs on a few samples, so that it holds for other samples too.

Answers that change are rare, so to count them says little. For each sample, the float network says by how much its
answer leads the runner-up, and rounding by how much that lead changes. An answer changes where the change is larger
than the lead; how likely that is follows from the changes of all samples with a lead much like it. Small leads are
few as well: they are taken to be spread evenly, up to the largest of the smallest quarter.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np

from aot.ir import Array

#: Samples with a like lead, whose changes stand for one another: this share of all, and at least so many.
ALIKE, FEWEST_ALIKE = 0.25, 16
#: The loss is what a test of so many samples shows, so many standard deviations above what is expected.
TEST, DEVIATIONS = 500, 1.0
#: Elements of an output that are compared, where it holds no scores of classes.
COMPARED = 4096
#: Temperatures that are tried to make the scores' probabilities true.
TEMPERATURES = tuple(np.geomspace(0.25, 16, 49).tolist())


@dataclass(frozen=True)
class Loss:
    """What is lost, in points (hundredths).

    Of networks that classify: top-1 accuracy, ``changed`` being the share of answers that are others (in points too),
    ``top1`` and ``float_top1`` shares of right ones, if there are labels. Of others: the error in hundredths of the
    standard deviation of the float outputs; ``changed`` is None. ``expected`` without, ``points`` with a margin.
    """

    points: float
    expected: float
    changed: float | None = None
    top1: float | None = None
    float_top1: float | None = None


class Judge:
    """Compares outputs with those of the float network, which are ``exact``: [samples, elements].

    Outputs to be judged are those of the samples ``measured`` (indices; None: all).
    """

    def __init__(self, exact: Array, classes: bool, labels: Array | None = None,
                 measured: Array | None = None) -> None:
        self.exact, self.classes, self.labels = exact.astype(np.float64), classes, labels
        self.measured = np.arange(len(exact)) if measured is None else measured
        if not classes:
            self._chosen = np.unique(np.linspace(0, exact.shape[1] - 1, COMPARED).astype(int))
            kept = self.exact[:, self._chosen]
            self._power = max(float(kept.var()), 1e-30)
            return
        order = np.argsort(-self.exact, axis=1, kind="stable")
        self._rows = np.arange(len(exact))
        self._best, self._second = order[:, 0], order[:, 1]
        self._lead = self.exact[self._rows, self._best] - self.exact[self._rows, self._second]
        count = min(len(self.measured), max(int(ALIKE * len(self.measured)), FEWEST_ALIKE))
        distance = np.abs(self._lead[:, None] - self._lead[self.measured])
        probable = _softmax(self.exact / self._temperature())
        gap = probable[self._rows, self._best] - probable[self._rows, self._second]
        order = np.argsort(self._lead, kind="stable")
        low, high = np.split(order, [max(int(ALIKE * len(exact)), min(FEWEST_ALIKE, len(exact)))])
        self._share, self._edge = len(low) / len(exact), max(float(self._lead[low].max()), 1e-30)
        self._low_gap = 2 * float(gap[low].mean())  # at the edge, if it grows from 0 on
        middle = np.abs(self._lead[self.measured] - self._edge / 2)
        self._low_alike = np.argsort(middle, kind="stable")[:count]
        self._high_lead, self._high_gap = self._lead[high], gap[high]
        self._high_alike = np.argsort(distance[high], axis=1, kind="stable")[:, :count]

    def _temperature(self) -> float:
        """That makes the labels most likely; 1 without labels."""
        if self.labels is None or not ((self.labels >= 0) & (self.labels < self.exact.shape[1])).all():
            return 1.0

        def unlikely(t: float) -> float:
            p = _softmax(self.exact / t)[self._rows, self.labels]
            return -float(np.log(np.maximum(p, 1e-12)).mean())

        best: float = min(TEMPERATURES, key=unlikely)
        return best

    def changes(self, outputs: Array) -> Array:
        """What of the difference to the float outputs matters: of those of several roundings, it adds up."""
        rows = self.measured
        error = outputs.astype(np.float64) - self.exact[rows]
        if not self.classes:
            return error[:, self._chosen]
        here = np.arange(len(rows))
        return np.asarray(error[here, self._best[rows]] - error[here, self._second[rows]])

    def loss(self, changes: Array) -> Loss:
        """Of such changes."""
        if not self.classes:
            each = (changes ** 2).mean(axis=1) / self._power
            expected = sqrt(float(each.mean()))
            spread = float(each.std()) / sqrt(len(each)) / (2 * max(expected, 1e-30))
            return Loss(100 * (expected + DEVIATIONS * spread), 100 * expected)
        # the part of leads from 0 to the edge that each change overcomes
        part = np.clip(-changes[self._low_alike], 0.0, self._edge) / self._edge
        likely = (self._high_lead[:, None] + changes[self._high_alike] < 0).mean(axis=1)
        low, rest = self._low_gap * part ** 2 / 2, 1 / len(self.exact)
        changed = self._share * float(part.mean()) + rest * float(likely.sum())
        expected = self._share * float(low.mean()) + rest * float((likely * self._high_gap).sum())
        doubt = self._share * float(low.std()) / sqrt(len(low))
        spread = sqrt(doubt ** 2 + changed / TEST)
        return Loss(100 * (expected + DEVIATIONS * spread), 100 * expected, 100 * changed)

    def judged(self, outputs: Array) -> Loss:
        """Of outputs, with what can be counted."""
        found = self.loss(self.changes(outputs))
        if not self.classes or self.labels is None:
            return found
        labels = self.labels[self.measured]
        return Loss(found.points, found.expected, found.changed, float((outputs.argmax(axis=1) == labels).mean()),
                    float((self._best[self.measured] == labels).mean()))


def _softmax(x: Array) -> Array:
    powers = np.exp(x - x.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
