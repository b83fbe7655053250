"""Depthwise convolution of any window for Arm DSP: a plane of halfwords for one channel, two products at once."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from aot.costs import Work
from aot.ir import Array
from aot.kernels.base import SharedFunction, SpecialKernel
from aot.kernels.plane_walk import Walk, best_walk, depthwise, filters
from aot.ops.base import Site

#: Outputs in a block.
BLOCK = 4
#: Words of weights in registers, and words of the plane beside them.
WEIGHTS, WORDS = 4, 3
#: Offsets of two words that are loaded at once have 8 bits.
LARGEST_OFFSET = 255


class DspDepthwiseAny(SpecialKernel):
    """Any kernel, stride and dilation.

    Each channel is copied to a padded plane of int16. Four outputs are summed up at a time; their function fits all
    layers whose windows are as wide and have the same stride.
    """

    name: ClassVar[str] = "depthwise_conv2d.dsp_any"
    op: ClassVar[str] = "depthwise_conv2d"
    feature: ClassVar[str] = "dsp"
    headers: ClassVar[tuple[str, ...]] = ("aot_dsp_plane.h", "aot_dsp_any_window.h")

    def fits(self, site: Site) -> bool:
        walk = _best(site)
        return _starts(walk)[-1] + walk.kernel[1] // 2 + 2 <= LARGEST_OFFSET

    def work(self, site: Site) -> Work:
        return _work(site, _best(site))

    def dims(self, site: Site) -> dict[str, int]:
        walk = _best(site)
        return walk.dims(site) | {"PLANE": _plane(walk), "BOTH": walk.stride % 2}

    def shared(self, site: Site) -> SharedFunction:
        walk, shift = _best(site), depthwise(site).multipliers(site).shift
        name = f"dsp_windows_{walk.kernel[1]}_wide_stride{walk.stride}" + (f"_shift{shift}" if shift else "")
        return SharedFunction(name, "depthwise_conv2d.dsp_any_window",
                              {"WIDTH": walk.kernel[1], "STRIDE": walk.stride, "SHIFT": shift})

    def constants(self, site: Site) -> dict[str, Array]:
        op = depthwise(site)
        return {"weights": filters(site, _best(site)), "bias": op.bias(site),
                "multipliers": op.multipliers(site).m.astype(np.int32)}

    def pieces(self, site: Site) -> int:
        return _line(_best(site))

    def scratch(self, site: Site) -> int:
        walk = _best(site)
        return 2 * _plane(walk) + 4 * walk.kernel[0] * _pairs(walk)


def _best(site: Site) -> Walk:
    return best_walk(site, DspDepthwiseAny.name, lambda walk: _work(site, walk))


def _work(site: Site, walk: Walk) -> Work:
    """``pair``: a word of weights that is made for a filter, ``step``: an instruction of a row of the windows."""
    work = walk.work(site, BLOCK)
    return work | {"pair": work["filter"] * walk.kernel[0] * _pairs(walk), "step": work["line"] * _line(walk)}


def _plane(walk: Walk) -> int:
    """Halfwords of the plane, with those that the last block may read behind it; even, as words follow."""
    halfwords = walk.height * walk.pitch + 2 * BLOCK * walk.stride
    return halfwords + halfwords % 2


def _taps(walk: Walk) -> int:
    """Words of the plane in a row of the window; windows that start at odd columns reach into one more."""
    return walk.kernel[1] // 2 + 1 if walk.stride % 2 else -(-walk.kernel[1] // 2)


def _pairs(walk: Walk) -> int:
    """Words of weights for a row of the window; for windows that start at odd columns there are others."""
    return _taps(walk) * (1 + walk.stride % 2)


def _starts(walk: Walk) -> tuple[int, ...]:
    """The word of the plane at which the window of each output of a block starts."""
    return tuple(walk.stride * k // 2 for k in range(BLOCK))


def _line(walk: Walk) -> int:
    """Instructions which add up a row of the windows of one block."""
    taps, sets = _taps(walk), 1 + walk.stride % 2
    group = WEIGHTS // sets
    total = 0
    for first in range(0, taps, group):
        count = min(group, taps - first)
        words = {start + k for k in range(count) for start in _starts(walk)}
        total += -(-count * sets // 2) + -(-2 * len(words) // WORDS) + BLOCK * count
    return total
