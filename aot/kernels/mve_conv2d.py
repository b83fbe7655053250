"""Convolution for Arm MVE: two pixels times four channels, 16 products in one instruction."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from aot.ir import Array
from aot.kernels import mve_matrix
from aot.kernels.base import SharedFunction, SpecialKernel
from aot.ops.base import Overlap, Site
from aot.ops.conv2d import Conv2d

CHANNELS = 4
#: Strips of pixels are gathered before any output of theirs is written: as many as fit, but two at least.
STRIP_BYTES, MOST_PIXELS = 1024, 32
#: Sums of so many vectors are straight code, whose offsets fit into the instructions.
MOST_STRAIGHT, LARGEST_OFFSET = 8, 508


class MveConv2d(SpecialKernel):
    """The inputs of a strip of pixels are gathered row by row; pairs of them then meet four output channels each."""

    name: ClassVar[str] = "conv2d.mve"
    op: ClassVar[str] = "conv2d"
    feature: ClassVar[str] = "mve"
    headers: ClassVar[tuple[str, ...]] = (mve_matrix.HEADER,)

    def fits(self, site: Site) -> bool:
        return _op(site).multipliers(site).shift == 0 and 2 * site.output.type.shape[3] < 65536 and _pitch(site) < 4096

    def dims(self, site: Site) -> dict[str, int]:
        op = _op(site)
        dims = op.dims(site)
        n, channels = mve_matrix.blocks(_depth(site)), dims["GROUP_OUT_C"]
        dims |= {"STRIP": _strip(site), "PITCH": _pitch(site), "BLOCKS": n, "CONTIGUOUS": int(_contiguous(site)),
                 "GROUP_WORDS": -(-channels // CHANNELS) * (8 + 16 * n)}
        if _contiguous(site):
            used = ("OUT_C", "STRIP", "PITCH", "BLOCKS", "CONTIGUOUS", "OUT_ZERO", "OUT_MIN", "OUT_MAX")
            return {"PIXELS": dims["BATCH"] * dims["PIXELS"], **{k: dims[k] for k in used}}
        del dims["PADDED_DEPTH"], dims["DEPTH"]
        return dims

    def constants(self, site: Site) -> dict[str, Array]:
        op = _op(site)
        w = site.inputs[1].data
        assert w is not None
        per_group = w.shape[0] // op.groups
        order = (np.arange(op.groups)[:, None] * per_group + mve_matrix.order(per_group, CHANNELS)).reshape(-1)
        return {"stream": mve_matrix.pack(w.reshape(w.shape[0], -1)[order], op.bias(site)[order],
                                          op.multipliers(site).m[order], CHANNELS)}

    def shared(self, site: Site) -> SharedFunction:
        n, pitch = mve_matrix.blocks(_depth(site)), _pitch(site)
        straight = n <= MOST_STRAIGHT and 2 * pitch <= LARGEST_OFFSET
        unroll = 1 if straight else min(range(4, 8), key=lambda u: u + 1 + (n - 1) % u)
        return SharedFunction(f"product_{n}_pitch{pitch}", "conv2d.mve_product", {
            "BLOCKS": n, "PITCH": pitch, "STRAIGHT": int(straight), "UNROLL": unroll, "TURNS": (n - 1) // unroll})

    def instructions(self, site: Site) -> float:
        op, out = _op(site), site.output.type.shape
        n, per_group = mve_matrix.blocks(_depth(site)), out[3] // op.groups
        pixels = out[0] * out[1] * out[2]
        pairs = pixels / 2 * op.groups * -(-per_group // CHANNELS)
        gather = 3.0 * n if _contiguous(site) else 20 + op.groups * op.window.kernel[0] * (12 + 3.0 * n)
        return pairs * (16 + 14 * n + 11 * 2 / _strip(site)) + pixels * gather

    def scratch(self, site: Site) -> int:
        return (_strip(site) - 1) * _pitch(site) + mve_matrix.VECTOR * mve_matrix.blocks(_depth(site))

    def overlap(self, site: Site, index: int) -> Overlap | None:
        return _op(site).tiled_overlap(site, index, _strip(site))


def _op(site: Site) -> Conv2d:
    assert isinstance(site.node.op, Conv2d)
    return site.node.op


def _depth(site: Site) -> int:
    """Elements of one sum."""
    return site.inputs[1].type.size // site.inputs[1].type.shape[0]


def _pitch(site: Site) -> int:
    """Bytes from one gathered pixel to the next."""
    return -(-_depth(site) // 4) * 4


def _contiguous(site: Site) -> bool:
    """Whether the pixels of a strip lie in the input as they are needed."""
    window = _op(site).window
    return (window.kernel == window.stride == (1, 1) and not any(window.pads) and _op(site).groups == 1
            and _depth(site) % 4 == 0)


def _strip(site: Site) -> int:
    """Pixels that are gathered at a time, an even number."""
    shape = site.output.type.shape
    pixels = shape[1] * shape[2] * (shape[0] if _contiguous(site) else 1)
    return max(2, min(STRIP_BYTES // _pitch(site), MOST_PIXELS, pixels + pixels % 2) // 2 * 2)
