"""Formats other than int8: every operator's cases, and random ones, in C on this machine and on emulated processors."""

from __future__ import annotations

import tempfile
from pathlib import Path

import battery
import boards
import pytest
from drawn import CASES, OTHERS, Scaled, scaled
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from kernels import Project, graph_of, project, steps_from_reference
from test_property import bounded, made

from aot import build
from aot.ops import OPS
from aot.recipe import Formats
from aot.targets import TARGETS

IDS = [f"{f.activations}x{f.weights}" for f in OTHERS]
LINEAR = ("conv2d", "depthwise_conv2d", "fully_connected")
BOARDS = ("cortex-m0", "cortex-m4", "cortex-m55", "rv32imc")
quick = settings(bounded, phases=[Phase.explicit, Phase.reuse, Phase.generate],
                 suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def names(formats: Formats) -> list[str]:
    """The operators that differ by formats: where only weights do, those that have some."""
    first = next(f for f in OTHERS if f.activations == formats.activations) == formats
    return [op.name for op in OPS if (first and formats.activations != "s8") or op.name in LINEAR]


def projects(formats: Formats, target: str) -> dict[str, Project]:
    """A generated project for each case of each of the operators."""
    found = {}
    for op in OPS:
        for i, case in enumerate(op.cases() if op.name in names(formats) else ()):
            name = f"{op.name}_{formats.activations}_{formats.weights}_{i}"
            found[name] = project(graph_of(case), TARGETS[target], name, seed=i, formats=formats)
    return found


@pytest.mark.parametrize("compiler", battery.COMPILERS)
@pytest.mark.parametrize("isa", ("c99", "dsp"))
@pytest.mark.parametrize("formats", OTHERS, ids=IDS)
def test_c_equals_twin(formats: Formats, isa: str, compiler: str, tmp_path: Path) -> None:
    battery.need(compiler)
    battery.check(projects(formats, battery.ISAS[isa]), tmp_path, compiler)


@pytest.mark.parametrize("formats", OTHERS, ids=IDS)
def test_twin_is_near_the_float_meaning(formats: Formats) -> None:
    for name, one in projects(formats, "c99").items():
        for sample in range(len(one.inputs)):
            steps, bound = steps_from_reference(one, sample)
            assert steps <= bound, f"{name}, vector {sample}: {one.graph}"


@pytest.mark.emulator
@pytest.mark.parametrize("target", BOARDS)
def test_boards_equal_twin(target: str) -> None:
    found: dict[str, Project] = {}
    for formats in OTHERS:
        found |= projects(formats, target)
    boards.check(found, target)


@pytest.mark.parametrize("formats", OTHERS, ids=IDS)
def test_drawn_cases(formats: Formats) -> None:
    """Of any shape and scale: C equals twin, which is near the float meaning."""
    cases = [scaled(CASES[name], (formats,)) for name in names(formats) for _ in range(2)]

    @settings(quick, max_examples=3)
    @given(st.tuples(*cases))
    def check(drawn: tuple[Scaled, ...]) -> None:
        found = {f"drawn_{i}": one for i, d in enumerate(drawn) if (one := made(d, "c99", f"drawn_{i}")) is not None}
        for name, one in found.items():
            for sample in range(len(one.inputs)):
                steps, bound = steps_from_reference(one, sample)
                assert steps <= bound, f"{name}, vector {sample}: {one.graph}"
        if found:
            with tempfile.TemporaryDirectory() as folder:
                battery.check(found, Path(folder), build.host_compiler())

    check()


@pytest.mark.emulator
@pytest.mark.parametrize("target", BOARDS)
def test_drawn_cases_on_boards(target: str) -> None:
    """Two of every operator in every format, in one program."""
    cases = [scaled(CASES[name], (formats,)) for formats in OTHERS for name in names(formats) for _ in range(2)]

    @settings(quick, max_examples=2)
    @given(st.tuples(*cases))
    def check(drawn: tuple[Scaled, ...]) -> None:
        boards.check({f"drawn_{i}": one for i, d in enumerate(drawn)
                      if (one := made(d, target, f"drawn_{i}")) is not None}, target)

    check()
