"""4-bit weights that are unpacked for the kernels of Arm DSP: channels in one and in several parts, odd blocks."""

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
from aot.kernels import dsp_s4_conv2d
from aot.kernels.base import SpecialKernel
from aot.kernels.dsp_s4_conv2d import DspS4Conv2d
from aot.kernels.dsp_s4_pointwise import DspS4Pointwise
from aot.ops.base import Case
from aot.ops.conv2d import Conv2d
from aot.ops.window import Window
from aot.recipe import Formats
from aot.targets import TARGETS

#: Kernel, input shape, channels of the output, window; blocks of four elements are odd and even in number.
LAYERS: tuple[tuple[type[SpecialKernel], tuple[int, int, int], int, Window], ...] = (
    (DspS4Pointwise, (5, 1, 20), 6, Window((1, 1))),
    (DspS4Pointwise, (2, 2, 24), 18, Window((1, 1))),
    (DspS4Pointwise, (4, 2, 20), 2, Window((1, 1))),
    (DspS4Conv2d, (2, 3, 3), 8, Window((3, 3), pads=(1, 1, 1, 1))),
    (DspS4Conv2d, (3, 4, 8), 10, Window((3, 2), (2, 1), pads=(0, 1, 1, 0))),
)


def projects(target: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Project]:
    """Each layer with memory so dear that channels are unpacked pair by pair, and with memory for nothing."""
    found = {}
    rng = np.random.default_rng(0)
    for price in (0.0, 1e6):
        monkeypatch.setattr(dsp_s4_conv2d, "MEMORY", {"balanced": price})
        for i, (kernel, shape, channels, window) in enumerate(LAYERS):
            w = rng.normal(size=(channels, *window.kernel, shape[2])).astype(np.float32)
            one = Case(Conv2d(window, clamp=(0.0, None)), ((1, *shape),), {1: w, 2: w[:, 0, 0, 0]})
            name = f"price_{price:.0f}_{i}"
            made = forced(kernel, partial(project, graph_of(one), TARGETS[target], name, seed=i,
                                          formats=Formats("s8", "s4")))
            assert made is not None, name
            found[name] = made
            assert f"PART_C = {2 if price else channels}," in made.files[f"src/{name}.c"]
    return found


def test_c_equals_twin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    battery.check(projects(battery.ISAS["dsp"], monkeypatch), tmp_path, build.host_compiler())


@pytest.mark.emulator
def test_board_equals_twin(monkeypatch: pytest.MonkeyPatch) -> None:
    boards.check(projects("cortex-m4", monkeypatch), "cortex-m4")
