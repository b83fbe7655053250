"""Generated projects on emulated boards: what the tests of kernels and of the bench share."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from kernels import Project

from aot.build import STRICT
from aot.emulate import Emulation, Job, emulate
from aot.targets import TARGETS

#: The processors on which every kernel is proven.
BOARDS = ("cortex-m0", "cortex-m4", "cortex-m7", "cortex-m55", "rv32imc")


def check(projects: Mapping[str, Project], target: str, optimize: str = "balanced",
          timeout: float = 300.0) -> Emulation:
    """Run all projects (by prefix) in one program on a board, and compare every output byte with the twin's.

    The generated code is compiled under the strict warnings.
    """
    jobs = [Job(name, made.files, made.graph, made.layers, made.inputs) for name, made in projects.items()]
    emulation = emulate(jobs, TARGETS[target], optimize, STRICT, timeout)
    for (name, made), samples in zip(projects.items(), emulation.samples, strict=True):
        for i, (expected, ran) in enumerate(zip(made.outputs, samples, strict=True)):
            for output, values in expected.items():
                np.testing.assert_array_equal(ran.outputs[output], values, f"{name} on {target}, vector {i}, {output}")
    return emulation
