"""Formats other than int8: every operator's cases, and random ones, in C on this machine and on emulated processors."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

import battery
import boards
import numpy as np
import pytest
from drawn import CASES, OTHERS, Scaled, scaled
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from kernels import Project, graph_of, project, steps_from_reference, wrapped
from sketch import Sketch
from test_ladder import overlapping
from test_property import bounded, made

from aot import build
from aot.calibrate import calibrate
from aot.ops import OPS
from aot.ops.add import Add
from aot.ops.fully_connected import FullyConnected
from aot.ops.unary import Unary
from aot.quantize import quantize
from aot.recipe import Formats, Recipe
from aot.targets import TARGETS

IDS = [f"{f.activations}x{f.weights}" for f in OTHERS]
LINEAR = ("conv2d", "depthwise_conv2d", "fully_connected")
BOARDS = ("cortex-m0", "cortex-m4", "cortex-m55", "rv32imc")
quick = settings(bounded, phases=[Phase.explicit, Phase.reuse, Phase.generate],
                 suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def names(formats: Formats) -> list[str]:
    """The operators that differ by formats: where only weights do, those that have some."""
    first = next(f for f in OTHERS if f.activations == formats.activations) == formats
    return [op.name for op in OPS if op.name in LINEAR
            or (first and formats.activations != "s8" and (op.name, formats.activations) != ("quantize", "f32"))]


def projects(formats: Formats, target: str) -> dict[str, Project]:
    """A generated project for each case of each of the operators."""
    found = {}
    for op in OPS:
        for i, case in enumerate(op.cases() if op.name in names(formats) else ()):
            if not case.op.computes(formats.activations, formats.weights):
                continue
            name = f"{op.name}_{formats.activations}_{formats.weights}_{i}"
            found[name] = project(graph_of(case), TARGETS[target], name, seed=i, formats=formats)
    return found


@pytest.mark.parametrize(("isa", "compiler"), [("c99", "gcc"), ("dsp", "clang")])
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


def mixed(target: str) -> dict[str, Project]:
    """Layers of one format between layers of another, with what converts them."""
    found = {}
    for a, b in itertools.permutations(("s8", "s16", "f32"), 2):
        recipe = Recipe(Formats(a, a), {"middle": Formats(b, b)})
        for i, case in enumerate((*Add.cases(), *FullyConnected.cases())):
            name = f"{a}_{b}_{i}"
            found[name] = project(wrapped(case), TARGETS[target], name, seed=i, recipe=recipe)
    return found


def test_values_are_converted_once() -> None:
    """For each format; and what is not read in another format is not converted."""
    b = Sketch()
    b.input("x", (1, 6))
    parts = [b.then(Unary("tanh"), "x", "a"), b.then(Unary("tanh"), "x", "b"), b.then(Unary("tanh"), "x", "c")]
    graph = b.graph(["x"], parts)
    recipe = Recipe(Formats(), {"a": Formats("s16", "s16"), "b": Formats("s16", "s16")})
    made = quantize(graph, calibrate(graph, [{"x": np.ones((1, 6), np.float32)}]), recipe=recipe)
    assert [n.op.name for n in made.nodes] == ["quantize", "unary", "unary", "unary"]
    assert [made.values[n].type.format for n in parts] == ["s16", "s16", "s8"]


@pytest.mark.parametrize("compiler", battery.COMPILERS)
def test_conversions(compiler: str, tmp_path: Path) -> None:
    battery.need(compiler)
    battery.check(mixed("c99"), tmp_path, compiler)


@pytest.mark.parametrize("formats", [f for f in OTHERS if f.weights != "s8"], ids=lambda f: f.activations + f.weights)
def test_an_output_may_overlap_its_input(formats: Formats, tmp_path: Path) -> None:
    """Placed as tightly as is permitted, in bytes of these formats."""
    found: dict[str, Project] = {}
    for isa in ("c99", "dsp"):
        for op in OPS:
            if op.name in names(formats):
                found |= overlapping(op, isa, formats)
    assert found
    battery.check(found, tmp_path, build.host_compiler())


@pytest.mark.emulator
@pytest.mark.parametrize("target", BOARDS)
def test_boards_equal_twin(target: str) -> None:
    found = mixed(target)
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
                battery.check(found, Path(folder), build.host_compiler(), flags=battery.UNOPTIMIZED)

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
