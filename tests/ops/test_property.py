"""Operators of random shapes, scales, zero points and weights: C equals twin, and twin is near the float meaning."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import battery
import boards
import numpy as np
import pytest
from drawn import CASES, Scaled, scaled
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st
from kernels import Project, graph_of, project, steps_from_reference

from aot import build
from aot.errors import AotError
from aot.ir import Graph
from aot.ops import OPS
from aot.ops.base import Case
from aot.targets import TARGETS

#: What may be refused, and rightly: an output scale so much finer than the accumulator's that 32 bits do not do, or
#: given weights so small that a bias has too many of their steps.
REFUSED = ("may overflow", "times the output's", "steps of sums, more than 32 bits hold")
#: So many cases share one program.
TOGETHER = 6
bounded = settings(deadline=None, derandomize="CI" in os.environ, print_blob=True,
                   suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def made(drawn: Scaled, target: str, name: str, make: Callable[[Case], Graph] = graph_of) -> Project | None:
    """The generated project, or None if it is refused for a good reason."""
    graph = make(drawn.case)
    try:
        return project(graph, TARGETS[target], name, drawn.seed, calibration=drawn.calibration(graph),
                       formats=drawn.formats)
    except AotError as error:
        assert any(r in str(error) for r in REFUSED), error
        return None


def test_every_operator_is_drawn() -> None:
    assert set(CASES) == {op.name for op in OPS}


@pytest.mark.parametrize("name", CASES)
def test_c_equals_twin(name: str) -> None:
    # a failure names its case, so that compiling ever smaller ones would tell little more
    @settings(bounded, max_examples=5, phases=[Phase.explicit, Phase.reuse, Phase.generate])
    @given(st.lists(scaled(CASES[name]), min_size=TOGETHER, max_size=TOGETHER))
    def check(cases: list[Scaled]) -> None:
        projects: dict[str, Project] = {}
        for i, drawn in enumerate(cases):
            for isa, target in battery.ISAS.items():
                if (one := made(drawn, target, f"{isa}_{i}")) is not None:
                    projects[f"{isa}_{i}"] = one
        event(f"{len(projects) // len(battery.ISAS)} of {TOGETHER} cases ran")
        if projects:
            with tempfile.TemporaryDirectory() as folder:
                battery.check(projects, Path(folder), build.host_compiler(), flags=battery.UNOPTIMIZED)

    check()


@pytest.mark.emulator
@pytest.mark.parametrize("target", boards.BOARDS)
def test_boards_equal_twin(target: str) -> None:
    """Some cases of all operators in one program, on an emulated processor."""
    @settings(bounded, max_examples=3, phases=[Phase.explicit, Phase.reuse, Phase.generate])
    @given(st.tuples(*(st.tuples(*[scaled(cases)] * 2) for cases in CASES.values())))
    def check(drawn: tuple[tuple[Scaled, ...], ...]) -> None:
        projects: dict[str, Project] = {}
        for name, some in zip(CASES, drawn, strict=True):
            for i, one in enumerate(some):
                if (found := made(one, target, f"{name}_{i}")) is not None:
                    projects[f"{name}_{i}"] = found
        boards.check(projects, target)

    check()


@pytest.mark.parametrize("name", CASES)
def test_twin_is_near_the_float_meaning(name: str) -> None:
    ran = refused = 0

    @settings(bounded, max_examples=60)
    @given(scaled(CASES[name]))
    def check(drawn: Scaled) -> None:
        nonlocal ran, refused
        one = made(drawn, "c99", "case")
        if one is None:
            refused += 1
            return
        ran += 1
        for sample in range(len(one.inputs)):
            steps, bound = steps_from_reference(one, sample)
            assert steps <= bound, f"vector {sample}: {one.graph}"

    check()
    assert ran > 2 * refused, f"{refused} of {ran + refused} cases were refused: too many for this test to mean much"


def test_draws_reach_what_they_should() -> None:
    """Zero points at both ends and between, saturated outputs, left shifts, channels of zeros."""
    zeros, shifts, saturated, empty = set(), set(), 0, 0

    @settings(bounded, max_examples=150, derandomize=True)
    @given(scaled(CASES["fully_connected"]))
    def look(drawn: Scaled) -> None:
        nonlocal saturated, empty
        one = made(drawn, "c99", "case")
        if one is None:
            return
        x, w, _ = (one.graph.values[i] for i in one.graph.nodes[0].inputs)
        zeros.add(x.zero)
        shifts.add("SHIFT = 0" not in one.files["src/case.c"])
        saturated += any(np.isin(y, (-128, 127)).mean() > 0.5 for out in one.outputs for y in out.values())
        empty += w.data is not None and bool((w.data == 0).all(axis=1).any())

    look()
    assert {-128, 127} < zeros and shifts == {False, True} and saturated and empty
