"""Multipliers of 15 bits with one exponent a layer: exact by the choice of the weights' scales."""

from __future__ import annotations

from pathlib import Path

import battery
import boards
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernels import Project, graph_of, project

from aot import build
from aot.kernels import dsp_matrix
from aot.numerics import multipliers
from aot.ops.fully_connected import FullyConnected
from aot.ops.linear import short_multipliers
from aot.targets import TARGETS


@given(st.lists(st.floats(2.0**-17, 0.4999), min_size=1, max_size=20), st.floats(1e-6, 1e3))
def test_scales_are_raised_until_multipliers_are_short(ratios: list[float], between: float) -> None:
    scale = np.array(ratios) / between
    raised = short_multipliers(scale, between)
    assert np.all(raised >= scale * (1 - 1e-12))
    assert np.all((raised - scale) * between <= 2.0**-13 * max(ratios))
    mult = multipliers(between * raised, 1.0)
    if max(ratios) < 0.4999 and max(ratios) > 2.0**-14:
        exponent = dsp_matrix.exponent(mult)
        assert exponent is not None
        assert (mult.m >> exponent).max() < 2**15


@pytest.mark.parametrize("ratio", [0.7, 1e-6])
def test_scales_beyond_the_range_of_short_multipliers_stay(ratio: float) -> None:
    np.testing.assert_array_equal(short_multipliers(np.array([ratio]), 1.0), [ratio])


def test_multipliers_with_more_bits_are_not_short() -> None:
    assert dsp_matrix.exponent(multipliers(np.array([0.123456789]), 1.0)) is None


def projects(optimize: str) -> dict[str, Project]:
    return {f"{optimize}_{i}": project(graph_of(c), TARGETS["cortex-m4"], f"{optimize}_{i}", i, optimize=optimize)
            for i, c in enumerate(FullyConnected.cases())}


def test_each_goal_has_its_multipliers() -> None:
    for one, short in (("speed", False), ("balanced", True)):
        assert all(("aot_matrix_rows_short(" in p.files[f"src/{name}.c"]) == short for name, p in projects(one).items())


def test_long_and_short_equal_the_twin(tmp_path: Path) -> None:
    battery.check(projects("speed") | projects("balanced"), tmp_path, build.host_compiler())


@pytest.mark.emulator
@pytest.mark.parametrize("optimize", ["speed", "balanced", "size"])
def test_boards_equal_the_twin(optimize: str) -> None:
    boards.check(projects(optimize), "cortex-m4")
