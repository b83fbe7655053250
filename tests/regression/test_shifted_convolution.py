"""A convolution whose accumulator is shifted left, because its output scale is finer, could not be written."""

from __future__ import annotations

from pathlib import Path

import battery
import numpy as np
import pytest
from kernels import graph_of, project

from aot import build
from aot.calibrate import Calibration, Range
from aot.ops.base import Case
from aot.ops.conv2d import Conv2d
from aot.ops.window import Window
from aot.targets import TARGETS


@pytest.mark.parametrize("isa", battery.ISAS)
def test_a_left_shift(isa: str, tmp_path: Path) -> None:
    w = np.linspace(-1, 1, 15, dtype=np.float32).reshape(5, 1, 1, 3)
    graph = graph_of(Case(Conv2d(Window((1, 1))), ((1, 2, 2, 3),), {1: w, 2: np.zeros(5, np.float32)}))
    narrow = Calibration({"in0": Range(-1, 1), "out": Range(-0.005, 0.005)}, 1, "minmax")
    made = project(graph, TARGETS[battery.ISAS[isa]], calibration=narrow)
    assert "* (1 << SHIFT)" in made.files["src/case.c"]
    battery.check({"case": made}, tmp_path, build.host_compiler())
