"""Depthwise windows of stride 2 at every kind of border, their outputs written over their inputs."""

from __future__ import annotations

from functools import partial
from itertools import product
from pathlib import Path

import battery
import boards
import numpy as np
import pytest
from kernels import Project, project, wrapped
from test_kernels import forced
from test_ladder import middle, tight

from aot import build
from aot.kernels.dsp_depthwise_stride2 import DspDepthwiseStride2
from aot.ops.base import Case
from aot.ops.depthwise_conv2d import DepthwiseConv2d
from aot.ops.window import Window
from aot.program import lower
from aot.targets import TARGETS

#: Height, width, channels: single rows and columns, odd and even sizes, rows long enough for a loop.
SIZES = ((1, 1, 3), (3, 4, 2), (6, 35, 2))


def case(size: tuple[int, int, int], pads: tuple[int, int, int, int]) -> Case | None:
    """One layer, None if no window fits."""
    if size[0] + pads[0] + pads[2] < 3 or size[1] + pads[1] + pads[3] < 3:
        return None
    rng = np.random.default_rng(sum(size) + sum(pads))
    w, b = (rng.normal(size=s).astype(np.float32) for s in ((3, 3, size[2]), (size[2],)))
    return Case(DepthwiseConv2d(Window((3, 3), (2, 2), pads=pads)), ((1, *size),), {1: w, 2: b})


def in_place(target: str) -> dict[str, Project]:
    """Every size with every padding, where outputs overlap inputs as far as is permitted."""
    found = {}
    for i, (size, pads) in enumerate(product(SIZES, product((0, 1), repeat=4))):
        one = case(size, pads)
        if one is not None:
            graph = wrapped(one)
            assert middle(lower(project(graph, TARGETS[target], seed=i).graph, TARGETS[target].isa))
            name = f"stride2_{'x'.join(map(str, size))}_pads_{''.join(map(str, pads))}"
            made = forced(DspDepthwiseStride2, partial(project, graph, TARGETS[target], name, seed=i,
                                                       place=partial(tight, which=0)))
            assert made is not None, name
            found[name] = made
    return found


def test_c_equals_twin(tmp_path: Path) -> None:
    battery.check(in_place(battery.ISAS["dsp"]), tmp_path, build.host_compiler())


@pytest.mark.emulator
def test_board_equals_twin() -> None:
    boards.check(in_place("cortex-m4"), "cortex-m4")
