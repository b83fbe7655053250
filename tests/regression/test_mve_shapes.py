"""Shapes which kernels for Arm MVE once got wrong, through their equivalents in C and through the instructions."""

from __future__ import annotations

from pathlib import Path

import battery
import boards
import numpy as np
import pytest
from kernels import Project, graph_of, project

from aot import build
from aot.ops.base import Case
from aot.ops.conv2d import Conv2d
from aot.ops.depthwise_conv2d import DepthwiseConv2d
from aot.ops.fully_connected import FullyConnected
from aot.ops.window import Window
from aot.targets import TARGETS

TARGET = "cortex-m55"


def made() -> dict[str, Project]:
    rng = np.random.default_rng(0)

    def drawn(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    cases = {
        # windows overlap in memory, and their number is odd: the last one must not be copied behind itself
        "odd": Case(Conv2d(Window((3, 3), (1, 2), (1, 1), (1, 1, 2, 1))), ((1, 7, 9, 32),),
                    {1: drawn(4, 3, 3, 32), 2: drawn(4)}),
        # GCC 12.2 made vectors of the choice between rows of the image and rows of the padding, with a wrong mask
        "rows": Case(DepthwiseConv2d(Window((3, 3), (2, 2), (1, 1), (1, 0, 2, 0))), ((1, 3, 12, 5),),
                     {1: drawn(3, 3, 5), 2: drawn(5)}),
        # at -O2, GCC 12.2 for x86 took the loop over four channels for one that writes nothing
        "fours": Case(FullyConnected(), ((1, 16),), {1: drawn(4, 16), 2: drawn(4)}),
    }
    return {name: project(graph_of(c), TARGETS[TARGET], name, optimize="speed") for name, c in cases.items()}


@pytest.mark.parametrize("flags", [("-O1", *build.SANITIZE), ("-O2",), ("-O3",)], ids=" ".join)
def test_equivalents(tmp_path: Path, flags: tuple[str, ...]) -> None:
    projects = made()
    assert all("aot_mve_" in p.files[f"src/{name}.c"] for name, p in projects.items())
    battery.check(projects, tmp_path, build.host_compiler(), flags=(*build.STRICT, *flags))


@pytest.mark.emulator(TARGET)
@pytest.mark.parametrize("optimize", ["speed", "balanced"])
def test_instructions(optimize: str) -> None:
    boards.check(made(), TARGET, optimize)
