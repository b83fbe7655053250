"""Depthwise convolution of any window for Arm MVE: one channel at a time on a plane, a row of a window at once."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from aot.costs import Work
from aot.ir import Array
from aot.kernels.base import SharedFunction, SpecialKernel
from aot.kernels.plane_walk import Walk, best_walk, depthwise, filters
from aot.ops.base import Site

#: Outputs in a block; elements in a vector.
BLOCK, LANES = 4, 16
#: Offsets of vectors have 7 bits.
LARGEST_STEP = 127
#: Places of elements that are gathered have 16 bits.
LARGEST_PLACE = 65535


class MveDepthwiseAny(SpecialKernel):
    """Kernels up to 16 elements wide or high, any stride and dilation.

    A row of a window is one vector, whose products with the weights are summed up by one instruction. The function fits
    all layers whose windows are as wide and have the same stride.
    """

    name: ClassVar[str] = "depthwise_conv2d.mve_any"
    op: ClassVar[str] = "depthwise_conv2d"
    feature: ClassVar[str] = "mve"
    headers: ClassVar[tuple[str, ...]] = ("aot_mve_matrix.h", "aot_mve_any_window.h")

    def fits(self, site: Site) -> bool:
        walk = _best(site)
        return (walk.kernel[1] <= LANES and walk.stride <= LARGEST_STEP
                and 8 * walk.spread * walk.in_step[1] <= LARGEST_PLACE)

    def work(self, site: Site) -> Work:
        return _work(site, _best(site))

    def dims(self, site: Site) -> dict[str, int]:
        walk = _best(site)
        return walk.dims(site) | {"PLANE": _plane(walk)}

    def shared(self, site: Site) -> SharedFunction:
        walk, shift = _best(site), depthwise(site).multipliers(site).shift
        name = f"mve_windows_{walk.kernel[1]}_wide_stride{walk.stride}" + (f"_shift{shift}" if shift else "")
        return SharedFunction(name, "depthwise_conv2d.mve_any_window",
                              {"WIDTH": walk.kernel[1], "STRIDE": walk.stride, "SHIFT": shift})

    def constants(self, site: Site) -> dict[str, Array]:
        op = depthwise(site)
        return {"weights": filters(site, _best(site)), "bias": op.bias(site),
                "multipliers": op.multipliers(site).m.astype(np.int32)}

    def scratch(self, site: Site) -> int:
        return _plane(_best(site))


def _best(site: Site) -> Walk:
    return best_walk(site, MveDepthwiseAny.name, lambda walk: _work(site, walk))


def _work(site: Site, walk: Walk) -> Work:
    """``eight``: elements that are copied to the plane at once. Windows that are too wide are more work than any."""
    work = walk.work(site, BLOCK)
    eights = work["copied_row"] * max(-(-p.copied // 8) for p in walk.phases)
    return work | {"copied": 0, "eight": eights, "line": work["line"] * (1 if walk.kernel[1] <= LANES else 1e6)}


def _plane(walk: Walk) -> int:
    """Bytes of the plane, with those that the last block may read behind it."""
    return walk.height * walk.pitch + (BLOCK - 1) * walk.stride + LANES
