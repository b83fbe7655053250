"""A channel whose weights are all but zero got a scale so fine that its bias alone kept quick kernels off the layer."""

from __future__ import annotations

from pathlib import Path

import battery
import numpy as np
import pytest
from kernels import graph_of, project, worst_steps

from aot import build
from aot.ir import Array
from aot.ops.base import Case
from aot.ops.conv2d import Conv2d
from aot.ops.depthwise_conv2d import DepthwiseConv2d
from aot.ops.fully_connected import FullyConnected
from aot.ops.window import Window
from aot.targets import TARGETS

RNG = np.random.default_rng(1)
SMALL = (0.0, 1e-12, 1e-6, 1e-3)


def weights(outputs: int, depth: int) -> Array:
    """Rows of which some are all but zero."""
    w = RNG.normal(size=(outputs, depth)).astype(np.float32)
    w[:len(SMALL)] *= np.array(SMALL, np.float32)[:, None]
    return w


CASES = {
    "conv2d": Case(Conv2d(Window((1, 1))), ((1, 3, 3, 64),), {1: weights(8, 64).reshape(8, 1, 1, 64)}),
    "depthwise": Case(DepthwiseConv2d(Window((3, 3))), ((1, 7, 7, 8),), {1: weights(8, 9).T.reshape(3, 3, 8)}),
    "fully_connected": Case(FullyConnected(), ((1, 64),), {1: weights(8, 64)}),
}


@pytest.mark.parametrize("sign", (1, -1))
@pytest.mark.parametrize("name", CASES)
def test_a_dead_channel_leaves_the_layer_to_the_kernels_of_the_target(name: str, sign: int, tmp_path: Path) -> None:
    case = CASES[name]
    case.constants[2] = np.full(8, 40.0 * sign, np.float32)
    made = {isa: project(graph_of(case), TARGETS[target], isa, optimize="speed")
            for isa, target in battery.ISAS.items()}
    assert "aot_dsp" in made["dsp"].files["src/dsp.c"]
    battery.check(made, tmp_path, build.host_compiler())
    assert worst_steps(made["dsp"]) < 2
