"""The kernels for compilers that make vectors: both forms of their sums, at the flags for which they are there."""

from __future__ import annotations

from pathlib import Path

import battery
import numpy as np
import pytest
from kernels import graph_of, project
from test_kernels import cases, forced

from aot import build
from aot.kernels import KERNELS, vector_dot
from aot.kernels.base import SpecialKernel
from aot.numerics import INT32_MAX
from aot.ops.base import Case
from aot.ops.conv2d import Conv2d
from aot.ops.depthwise_conv2d import DepthwiseConv2d
from aot.ops.fully_connected import FullyConnected
from aot.ops.window import Window
from aot.targets import TARGETS

VECTOR = [k for k in KERNELS if k.feature == "vector"]
FLAGS = {"bytes": ("-O3", "-DAOT_VECTOR_BYTES=1"), "words": ("-O3", "-DAOT_VECTOR_BYTES=0"),
         "sanitized": ("-O1", "-DAOT_VECTOR_BYTES=1", *build.SANITIZE), "native": ("-O3", "-march=native"),
         "balanced": ("-O2", "-march=native")}


def wide(op: str) -> list[Case]:
    """What the operator's own cases are too small for: several groups of lanes, of which the last is not full."""
    rng = np.random.default_rng(5)

    def constants(*shape: int, axis: int) -> dict[int, np.ndarray]:
        return {1: rng.normal(size=shape).astype(np.float32), 2: rng.normal(size=shape[axis]).astype(np.float32)}

    return {
        "conv2d": [Case(Conv2d(Window((1, 1))), ((1, 3, 7, 40),), constants(65, 1, 1, 40, axis=0)),
                   Case(Conv2d(Window((3, 3), (2, 1), (1, 1), (0, 1, 1, 1))), ((2, 5, 6, 11),),
                        constants(130, 3, 3, 11, axis=0))],
        "depthwise_conv2d": [
            Case(DepthwiseConv2d(Window((3, 3), (1, 1), (1, 1), (1, 1, 1, 1))), ((1, 4, 5, 67),),
                 constants(3, 3, 67, axis=2)),
            Case(DepthwiseConv2d(Window((5, 3), (3, 2), (2, 3), (4, 3, 4, 2))), ((1, 17, 23, 6),),
                 constants(5, 3, 12, axis=2))],
        "fully_connected": [Case(FullyConnected(), ((2, 70),), constants(131, 70, axis=0))],
    }[op]


@pytest.mark.parametrize("compiler", battery.COMPILERS)
@pytest.mark.parametrize("flags", FLAGS)
@pytest.mark.parametrize("kernel", VECTOR, ids=[k.name for k in VECTOR])
def test_c_equals_twin(kernel: type[SpecialKernel], flags: str, compiler: str, tmp_path: Path) -> None:
    battery.need(compiler)
    made = {f"case_{i}": forced(kernel, lambda i=i, c=c: project(graph_of(c), TARGETS["c99"], f"case_{i}", seed=i))
            for i, c in enumerate([*cases(kernel.op), *wide(kernel.op)])}
    assert made and all(made.values())
    battery.check(made, tmp_path, compiler, flags=(*build.STRICT, *FLAGS[flags]))


@pytest.mark.parametrize(("target", "goal", "chosen"), [
    ("host", "speed", True), ("host", "balanced", True), ("host", "size", False),
    ("c99", "speed", True), ("c99", "balanced", False), ("c99", "size", False), ("cortex-m3", "speed", False)])
@pytest.mark.parametrize("kernel", VECTOR, ids=[k.name for k in VECTOR])
def test_they_are_chosen_where_speed_is_worth_the_memory(kernel: type[SpecialKernel], target: str, goal: str,
                                                         chosen: bool) -> None:
    files = project(graph_of(cases(kernel.op)[0]), TARGETS[target], optimize=goal).files
    assert (f"src/{vector_dot.HEADER}" in files) == chosen


def test_sums_that_raised_inputs_could_overflow_are_left_to_the_plain_kernel() -> None:
    rows = np.full((2, 3), 127, np.int8)
    assert vector_dot.fits(rows, np.array([0, 5]))
    assert not vector_dot.fits(-rows, np.array([0, INT32_MAX - 128 * 3 * 127]))


@pytest.mark.parametrize("count", [1, 3, 63, 64, 65, 96, 127, 128, 129, 1000])
def test_lanes(count: int) -> None:
    """No more than are kept at a time, no fewer groups than needed, and never more than there are."""
    lanes = vector_dot.lanes(count)
    assert 1 <= lanes <= min(count, vector_dot.LANES)
    assert -(-count // lanes) == -(-count // vector_dot.LANES)
