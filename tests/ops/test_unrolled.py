"""Products made for one depth: every way in which blocks divide into turns of the loop, odd channels, partial tiles."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import battery
import boards
import numpy as np
import pytest
from kernels import Project, graph_of, project
from test_kernels import forced

from aot import build
from aot.kernels.dsp_unrolled import DEEPEST, MOST_BLOCKS, DspPointwiseUnrolled
from aot.ops.base import Case
from aot.ops.conv2d import Conv2d
from aot.ops.window import Window
from aot.targets import TARGETS

#: Blocks of four elements: inputs three by three and four by four, one turn and more, whole and partial first turns.
BLOCKS = (1, 2, 5, 6, 7, MOST_BLOCKS, MOST_BLOCKS + 1, MOST_BLOCKS + 3, 2 * MOST_BLOCKS + 1, DEEPEST)


def products(target: str) -> dict[str, Project]:
    """One layer of single pixels for each depth."""
    found = {}
    rng = np.random.default_rng(0)
    for i, blocks in enumerate(BLOCKS):
        channels, pixels = 2 + i % 4, 3 + i % 3
        w = rng.normal(size=(channels, 1, 1, 4 * blocks)).astype(np.float32)
        one = Case(Conv2d(Window((1, 1))), ((1, pixels, 1, 4 * blocks),), {1: w, 2: w[:, 0, 0, 0]})
        name = f"blocks_{blocks}"
        made = forced(DspPointwiseUnrolled, partial(project, graph_of(one), TARGETS[target], name, seed=i))
        assert made is not None, name
        found[name] = made
    return found


def test_c_equals_twin(tmp_path: Path) -> None:
    battery.check(products(battery.ISAS["dsp"]), tmp_path, build.host_compiler())


@pytest.mark.emulator
def test_board_equals_twin() -> None:
    boards.check(products("cortex-m4"), "cortex-m4")
