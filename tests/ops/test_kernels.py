"""Every kernel of an instruction set wherever it fits, also where another would be chosen; and the plain ones."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import battery
import boards
import pytest
from drawn import CASES, Scaled, scaled
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from kernels import Project, graph_of, project, with_given_weights
from test_property import made

from aot import build, program
from aot.errors import AotError
from aot.interpret import site
from aot.ir import Graph
from aot.kernels import KERNELS, PRICE, choose
from aot.kernels.base import Kernel, SpecialKernel
from aot.ops import OPS
from aot.ops.base import Case, Site
from aot.ops.conv2d import Conv2d
from aot.quantize import quantize
from aot.recipe import Formats, Recipe
from aot.targets import TARGETS

TARGET = {f: t for t in reversed(battery.ISAS.values()) for f in TARGETS[t].isa.features}
KERNEL_IDS = [k.name for k in KERNELS]
ON_BOARDS = [(k, b) for k in KERNELS for b in boards.BOARDS if k.feature in TARGETS[b].isa.features]
bounded = settings(deadline=None, derandomize="CI" in os.environ, phases=[Phase.explicit, Phase.reuse, Phase.generate],
                   suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def forced(kernel: type[SpecialKernel], make: Callable[[], Project | None]) -> Project | None:
    """What ``make`` generates with the kernel wherever it fits; None if it fits nowhere."""
    used = 0

    def always(site: Site) -> Kernel:
        nonlocal used
        if site.node.op.name == kernel.op and any(kernel().computes(replace(site, goal=g)) for g in PRICE):
            used += 1
            return kernel()
        return choose(site)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(program, "choose", always)
        one = make()
    return one if used else None


def cases(op: str) -> list[Case]:
    return list(next(o for o in OPS if o.name == op).cases())


def formats(kernel: type[SpecialKernel]) -> Formats:
    """Some that it computes in."""
    return Formats(kernel.activations[0], kernel.weights[0])


def graphs(kernel: type[SpecialKernel]) -> Callable[[Case], Graph]:
    """What makes a graph for it of a case. Weights of 16 bits with inputs of 8 come from quantized models."""
    given = "s16" in kernel.weights and kernel.activations == ("s8",)
    return (lambda case: with_given_weights(graph_of(case))) if given else graph_of


def suits(kernel: type[SpecialKernel], case: Case) -> bool:
    """Whether it is worth a look: it computes in the kernel's formats, and adds a residual only where that can."""
    found = formats(kernel)
    return case.op.computes(found.activations, found.weights) and (kernel.residual or not (
        isinstance(case.op, Conv2d) and case.op.residual))


def own(kernel: type[SpecialKernel], target: str) -> dict[str, Project]:
    """Those of its operator's own cases that the kernel fits."""
    make = graphs(kernel)
    return fitting((f"own_{i}", forced(kernel, lambda i=i, c=c: project(make(c), TARGETS[target], f"own_{i}", seed=i,
                                                                        formats=formats(kernel))))
                   for i, c in enumerate(cases(kernel.op)) if suits(kernel, c))


def projects(kernel: type[SpecialKernel], drawn: Iterable[Scaled], target: str) -> dict[str, Project]:
    """Those of the drawn cases that the kernel fits."""
    return fitting((f"drawn_{i}", forced(kernel, lambda i=i, d=d: made(d, target, f"drawn_{i}", graphs(kernel))))
                   for i, d in enumerate(drawn) if suits(kernel, d.case))


def fitting(found: Iterable[tuple[str, Project | None]]) -> dict[str, Project]:
    return {name: one for name, one in found if one is not None}


@pytest.mark.parametrize("kernel", KERNELS, ids=KERNEL_IDS)
def test_a_kernel_fits_some_of_its_operators_cases(kernel: type[SpecialKernel]) -> None:
    assert own(kernel, TARGET[kernel.feature])


@pytest.mark.parametrize("op", sorted({k.op for k in KERNELS}))
def test_draws_reach_every_kernel(op: str) -> None:
    """Each of the operator's kernels fits several of the drawn cases, so that what follows is a test of it."""
    reached: Counter[str] = Counter()

    @settings(bounded, max_examples=300, derandomize=True, database=None)
    @given(scaled(CASES[op]))
    def look(drawn: Scaled) -> None:
        for kernel in (k for k in KERNELS if k.op == op and suits(k, drawn.case)):
            graph = graphs(kernel)(drawn.case)
            try:
                quantized = quantize(graph, drawn.calibration(graph), recipe=Recipe(formats(kernel)))
            except AotError:
                continue
            where = site(quantized, quantized.nodes[-1], TARGETS[TARGET[kernel.feature]].isa)
            reached[kernel.name] += any(kernel().computes(replace(where, goal=goal)) for goal in PRICE)

    look()
    assert {k.name for k in KERNELS if k.op == op and reached[k.name] < 4} == set()


@pytest.mark.parametrize("kernel", KERNELS, ids=KERNEL_IDS)
def test_c_equals_twin(kernel: type[SpecialKernel], tmp_path: Path) -> None:
    """Through the equivalents in C of what the kernel does."""
    battery.check(own(kernel, TARGET[kernel.feature]), tmp_path, build.host_compiler())

    @settings(bounded, max_examples=5)
    @given(st.lists(scaled(CASES[kernel.op], (formats(kernel),)), min_size=10, max_size=10))
    def check(drawn: list[Scaled]) -> None:
        if found := projects(kernel, drawn, TARGET[kernel.feature]):
            with tempfile.TemporaryDirectory() as folder:
                battery.check(found, Path(folder), build.host_compiler(), flags=battery.UNOPTIMIZED)

    check()


@pytest.mark.emulator
@pytest.mark.parametrize(("kernel", "board"), ON_BOARDS, ids=[f"{k.name}-{b}" for k, b in ON_BOARDS])
def test_boards_equal_twin(kernel: type[SpecialKernel], board: str) -> None:
    """Through the instructions that it was made for."""
    boards.check(own(kernel, board), board)

    @settings(bounded, max_examples=3)
    @given(st.lists(scaled(CASES[kernel.op], (formats(kernel),)), min_size=16, max_size=16))
    def check(drawn: list[Scaled]) -> None:
        if found := projects(kernel, drawn, board):
            boards.check(found, board)

    check()


@pytest.mark.parametrize("op", sorted({k.op for k in KERNELS}))
def test_plain_kernels_run_everywhere(op: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator's own kernel computes the same on instruction sets for which there are faster ones."""
    monkeypatch.setattr(program, "choose", lambda site: site.node.op)
    found = {f"own_{i}": project(graph_of(c), TARGETS[battery.ISAS["dsp"]], f"own_{i}", seed=i)
             for i, c in enumerate(cases(op))}
    battery.check(found, tmp_path, build.host_compiler())


@pytest.mark.parametrize("kernel", KERNELS, ids=KERNEL_IDS)
def test_a_kernel_is_chosen_only_where_it_fits(kernel: type[SpecialKernel]) -> None:
    """Without the instructions which it needs, another is."""
    other = next(t for t in TARGETS.values() if kernel.feature not in t.isa.features)
    for case in cases(kernel.op):
        text = project(graph_of(case), other).files
        assert not any(header in path for path in text for header in kernel.headers)
