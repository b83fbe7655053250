"""Every operator's every case: float meaning, integer twin, C on this machine and on every emulated processor."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import battery
import boards
import numpy as np
import pytest
from kernels import INT8, Project, graph_of, project, steps_from_reference, wrapped

from aot import build
from aot.kernels import candidates
from aot.ops import OPS
from aot.ops.base import Op, Overlap, Site
from aot.ops.conv2d import Conv2d
from aot.plan import Plan
from aot.program import Program, Sharing, lower
from aot.recipe import Formats
from aot.targets import TARGETS

IDS = [op.name for op in OPS]


def projects(op: type[Op], target: str, prefix: str = "") -> dict[str, Project]:
    """A generated project for each of the operator's cases, for a target."""
    made = {}
    for i, case in enumerate(op.cases()):
        name = f"{prefix}{op.name}_{i}"
        made[name] = project(graph_of(case), TARGETS[target], name, seed=i)
    return made


@pytest.fixture(params=battery.COMPILERS)
def compiler(request: pytest.FixtureRequest) -> Iterator[str]:
    battery.need(request.param)
    yield request.param


@pytest.mark.parametrize("op", OPS, ids=IDS)
def test_operators_have_cases(op: type[Op]) -> None:
    assert list(op.cases())


@pytest.mark.parametrize("op", OPS, ids=IDS)
def test_twin_is_near_the_float_meaning(op: type[Op]) -> None:
    for name, made in projects(op, "c99").items():
        for sample in range(len(made.inputs)):
            steps, bound = steps_from_reference(made, sample)
            assert steps <= bound < 1, f"{name}, vector {sample}: {made.graph}"


@pytest.mark.parametrize("op", OPS, ids=IDS)
def test_c_equals_twin(op: type[Op], compiler: str, tmp_path: Path) -> None:
    """For every instruction set, under strict warnings and sanitizers, with an arena, inputs and outputs that end where
    they say."""
    made: dict[str, Project] = {}
    for isa, target in battery.ISAS.items():
        made |= projects(op, target, f"{isa}_")
    battery.check(made, tmp_path, compiler)


@pytest.mark.emulator
@pytest.mark.parametrize("target", boards.BOARDS)
def test_boards_equal_twin(target: str) -> None:
    """All cases of all operators in one program, on an emulated processor."""
    made: dict[str, Project] = {}
    for op in OPS:
        made |= projects(op, target)
    boards.check(made, target)


# --- in place ----------------------------------------------------------------------------------------------------

def middle(program: Program) -> list[Sharing]:
    """What the operator between the two functions may share."""
    outputs = [s.output.name for s in program.steps if s.site.output.name == "middle"]
    return [s for s in program.sharings if s.output in outputs]


def tight(program: Program, which: int) -> Plan:
    """A plan in which the operator's output overlaps an input as far as is permitted."""
    sharing = middle(program)[which]
    nbytes = next(b.nbytes for b in program.buffers if b.name == sharing.input)
    distance = -(-max(sharing.distance, 1 - nbytes) // 4) * 4
    offsets = {sharing.output: max(0, -distance), sharing.input: max(0, distance)}
    top = 2 * sum(-(-b.nbytes // 4) * 4 for b in program.buffers)  # the others lie far above
    for b in program.buffers:
        offsets.setdefault(b.name, top)
        top += -(-b.nbytes // 4) * 4
    return Plan(offsets, max(offsets[b.name] + b.nbytes for b in program.buffers), 0)


def overlapping(op: type[Op], isa: str, formats: Formats = INT8) -> dict[str, Project]:
    """Those of the operator's cases that may work in place, placed tightly."""
    made, target = {}, TARGETS[battery.ISAS[isa]]
    for i, case in enumerate(op.cases()):
        if not case.op.computes(formats.activations, formats.weights):
            continue
        graph = wrapped(case)
        quantized = project(graph, target, seed=i, formats=formats).graph
        sites = [s.site for s in lower(quantized, target.isa).steps if s.site.output.name == "middle"]
        for kernel in (c.kernel.name for where in sites for c in candidates(where)):
            one = project(graph, target, seed=i, formats=formats, kernel=kernel).graph
            for k in range(len(middle(lower(one, target.isa)))):
                name = f"{isa}_{kernel.replace('.', '_')}_{i}_over_{k}"
                made[name] = project(graph, target, name, seed=i, place=partial(tight, which=k), formats=formats,
                                     kernel=kernel)
    return made


IN_PLACE = [op for op in OPS if overlapping(op, "c99")]


def test_some_operators_work_in_place() -> None:
    assert {op.name for op in IN_PLACE} >= {"add", "conv2d", "depthwise_conv2d", "mul", "softmax", "unary"}


@pytest.mark.parametrize("op", IN_PLACE, ids=[op.name for op in IN_PLACE])
def test_an_output_may_overlap_its_input(op: type[Op], tmp_path: Path) -> None:
    made: dict[str, Project] = {}
    for isa in battery.ISAS:
        made |= overlapping(op, isa)
    battery.check(made, tmp_path, build.host_compiler())


# --- the tests above would notice --------------------------------------------------------------------------------

def test_only_the_same_c_is_left_out() -> None:
    """Names, and primitives that nobody calls, make no difference; code, constants, inputs and outputs do."""
    pool, add = (next(op for op in OPS if op.name == name) for name in ("max_pool2d", "add"))
    plain = projects(pool, "c99", "c99_")
    assert battery.distinct(plain | projects(pool, "cortex-m4", "dsp_")) == plain
    words = projects(add, "cortex-m4", "dsp_")
    special = {name for name, p in words.items() if "aot_even_bytes(" in p.files[f"src/{name}.c"]}
    assert special and special <= set(battery.distinct(projects(add, "c99", "c99_") | words))
    one, path = words["dsp_add_0"], "src/dsp_add_0.c"
    code = one.files[path].replace("SHIFT = ", "SHIFT = 1")
    output = tuple({n: y ^ 1 for n, y in out.items()} for out in one.outputs)
    assert code != one.files[path]
    assert list(battery.distinct({"dsp_add_0": one, "again": renamed(one, "dsp_add_0", "again")})) == ["dsp_add_0"]
    for other in (replace(one, outputs=output), replace(one, inputs=one.inputs[::-1]),
                  replace(one, files={**one.files, path: code})):
        assert len(battery.distinct({"dsp_add_0": one, "again": renamed(other, "dsp_add_0", "again")})) == 2


def renamed(made: Project, name: str, to: str) -> Project:
    return replace(made, files={p.replace(name, to): t.replace(name, to).replace(name.upper(), to.upper())
                                for p, t in made.files.items()})


def broken(pattern: str, by: str) -> dict[str, Project]:
    """The cases of average pooling with one line of the generated C spoilt."""
    made = projects(next(op for op in OPS if op.name == "average_pool2d"), "c99")
    spoilt = {}
    for name, one in made.items():
        path = f"src/{name}.c"
        text, count = re.subn(pattern, by, one.files[path])
        assert count, "nothing to spoil"
        spoilt[name] = replace(one, files={**one.files, path: text})
    return spoilt


def test_a_wrong_byte_is_seen(tmp_path: Path, compiler: str) -> None:
    with pytest.raises(AssertionError, match="Mismatched elements"):
        battery.check(broken(r"int32_t sum = 0;", "int32_t sum = 99;"), tmp_path, compiler)


@pytest.mark.parametrize("line", [
    "input[IN_H * IN_W * IN_C]",  # one byte behind an input
    "input[-1]",
])
def test_a_stray_read_is_seen(line: str, tmp_path: Path, compiler: str) -> None:
    with pytest.raises(AssertionError, match="heap-buffer-overflow"):
        battery.check(broken(r"int32_t count = 0;", f"int32_t count = 0; sum += BATCH == 1 ? {line} : 0;"),
                      tmp_path, compiler)


def test_signed_overflow_is_seen(tmp_path: Path, compiler: str) -> None:
    with pytest.raises(AssertionError, match="signed integer overflow"):
        battery.check(broken(r"\+\+count;", "++count; sum += (y + x + 1) * 2147483647;"), tmp_path, compiler)


def test_an_overlap_that_is_too_wide_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Conv2d.overlap

    def closer(self: Conv2d, site: Site, index: int) -> Overlap | None:
        known = original(self, site, index)
        return known and Overlap(known.distance - (24 if known.distance > 0 else 0))

    monkeypatch.setattr(Conv2d, "overlap", closer)
    with pytest.raises(AssertionError, match="Mismatched elements"):
        battery.check(overlapping(Conv2d, "c99"), tmp_path, build.host_compiler())


def test_a_step_of_difference_in_meaning_is_seen() -> None:
    made = next(iter(projects(OPS[0], "c99").values()))
    wrong = tuple({n: np.where(y < 127, y + 1, y - 1) for n, y in out.items()} for out in made.outputs)
    steps, bound = steps_from_reference(replace(made, outputs=wrong))
    assert steps > bound
