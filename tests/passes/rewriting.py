"""What the tests of passes share: graphs as text, and the proof that a rewrite keeps the meaning."""

from __future__ import annotations

from collections.abc import Callable
from textwrap import dedent

import numpy as np
from sketch import random

from aot.interpret import run_float
from aot.ir import Graph, check

Pass = Callable[[Graph], Graph]


def same_meaning(before: Graph, after: Graph) -> None:
    """Both graphs are sound, have the same inputs and outputs, and compute the same from random numbers."""
    check(before)
    check(after)
    assert (before.inputs, before.outputs) == (after.inputs, after.outputs)
    for name in (*before.inputs, *before.outputs):
        assert before.values[name].type == after.values[name].type
    for seed in range(3):
        x = {n: random(*before.values[n].type.shape, seed=seed) for n in before.inputs}
        old, new = run_float(before, x), run_float(after, x)
        for name, expected in old.items():
            np.testing.assert_allclose(new[name], expected, rtol=1e-4, atol=1e-4)


def becomes(before: Graph, step: Pass, text: str) -> Graph:
    """The pass turns the graph into this text, and into nothing that means something else."""
    after = step(before)
    assert str(after) == dedent(text).strip()
    same_meaning(before, after)
    assert str(step(after)) == str(after), "a second time there should be nothing left to do"
    return after
