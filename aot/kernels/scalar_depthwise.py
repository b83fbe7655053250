"""Depthwise convolution for processors that multiply one number at a time: four neighbouring outputs at once."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from aot.costs import Work, priced_as
from aot.ir import Array
from aot.kernels.base import SharedFunction, SpecialKernel
from aot.kernels.plane_walk import Walk, best_walk, depthwise, filters
from aot.ops.base import Site

#: Outputs in a block.
BLOCK = 4
#: So many columns of a window have code of their own; those of wider ones share it.
MOST_COLUMNS = 7


class ScalarDepthwise(SpecialKernel):
    """Any kernel, stride and dilation, in plain C.

    Each channel is copied to a padded plane. A weight that was read meets four windows, which share what they read of
    the plane.
    """

    name: ClassVar[str] = "depthwise_conv2d.scalar"
    op: ClassVar[str] = "depthwise_conv2d"
    feature: ClassVar[str] = "scalar"
    headers: ClassVar[tuple[str, ...]] = ("aot_plane_windows.h",)

    def fits(self, site: Site) -> bool:
        return True

    def work(self, site: Site) -> Work:
        return _work(site, _best(site))

    def dims(self, site: Site) -> dict[str, int]:
        walk = _best(site)
        return walk.dims(site) | {"PLANE": _plane(walk)}

    def shared(self, site: Site) -> SharedFunction:
        walk, shift = _best(site), depthwise(site).multipliers(site).shift
        name = f"windows_{walk.kernel[1]}_wide_stride{walk.stride}" + (f"_shift{shift}" if shift else "")
        return SharedFunction(name, "depthwise_conv2d.scalar_window",
                              {"WIDTH": walk.kernel[1], "STRIDE": walk.stride, "SHIFT": shift})

    def constants(self, site: Site) -> dict[str, Array]:
        op = depthwise(site)
        return {"weights": filters(site, _best(site)), "bias": op.bias(site),
                "multipliers": op.multipliers(site).m.astype(np.int32)}

    def pieces(self, site: Site) -> int:
        width = _best(site).kernel[1]
        return width if width <= MOST_COLUMNS else 1

    def scratch(self, site: Site) -> int:
        return _plane(_best(site))


def _best(site: Site) -> Walk:
    return best_walk(site, ScalarDepthwise.name, lambda walk: _work(site, walk))


def _work(site: Site, walk: Walk) -> Work:
    """What sums cost depends on the instruction set. ``read``: an element of the plane, ``tap``: a weight."""
    work = walk.work(site, BLOCK)
    read = min(walk.kernel[1] + (BLOCK - 1) * walk.stride, BLOCK * walk.kernel[1])
    isa = priced_as(site.isa.name)
    return {**{kind: n for kind, n in work.items() if kind not in ("block", "line")},
            f"block_{isa}": work["block"], f"line_{isa}": work["line"],
            f"read_{isa}": work["line"] * read, f"tap_{isa}": work["line"] * walk.kernel[1]}


def _plane(walk: Walk) -> int:
    """Bytes of the plane, with those that the last block may read behind it."""
    return walk.height * walk.pitch + 2 * BLOCK * walk.stride
