"""Convolution for Arm MVE: two pixels times four channels, 16 products in one instruction."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd
from typing import ClassVar

import numpy as np

from aot.costs import Work
from aot.ir import Array
from aot.kernels import mve_matrix
from aot.kernels.base import SharedFunction, SpecialKernel
from aot.ops.base import Overlap, Site
from aot.ops.conv2d import Conv2d

CHANNELS = 4
#: Strips of pixels are gathered before any output of theirs is written: as many as fit, but two at least.
STRIP_BYTES, MOST_PIXELS = 1024, 32
#: Sums of so many vectors are straight code, whose offsets fit into the instructions.
MOST_STRAIGHT, LARGEST_OFFSET = 11, 508
#: How the inputs of a strip come together.
CONTIGUOUS, SPREAD, SINGLE = 0, 1, 2


@dataclass(frozen=True)
class _Strip:
    """How pixels are gathered: ``gather`` names the way, ``pitch`` is the distance of neighbouring pixels' inputs.

    With ``columns``, the columns of the input follow each other, so that windows overlap; a strip is then part of a
    row. ``instructions`` is an estimate for one pixel.
    """

    gather: int
    columns: bool
    height: int
    width: int
    pitch: int
    nbytes: int
    instructions: float

    @property
    def pixels(self) -> int:
        """Pixels of a strip."""
        return self.height * self.width


class MveConv2d(SpecialKernel):
    """The inputs of a strip of pixels are gathered row by row; pairs of them then meet four output channels each."""

    name: ClassVar[str] = "conv2d.mve"
    op: ClassVar[str] = "conv2d"
    feature: ClassVar[str] = "mve"
    headers: ClassVar[tuple[str, ...]] = (mve_matrix.HEADER,)
    all_bytes: ClassVar[bool] = True
    residual: ClassVar[bool] = True

    def fits(self, site: Site) -> bool:
        return _op(site).multipliers(site).shift == 0 and 2 * site.output.type.shape[3] < 65536 and _depth(site) < 4096

    def dims(self, site: Site) -> dict[str, int]:
        op, strip = _op(site), _strip(site)
        dims = op.dims(site)
        n, channels = mve_matrix.blocks(_depth(site)), dims["GROUP_OUT_C"]
        length, padded = dims["KERNEL_W"] * dims["IN_C"], any(op.window.pads)
        dims |= {"GATHER": strip.gather, "STRIP": strip.pixels, "PITCH": strip.pitch, "BLOCKS": n,
                 "GROUP_WORDS": -(-channels // CHANNELS) * (8 + 4 * op.residual + 16 * n),
                 "COLUMNS": int(strip.columns), "STRIP_H": strip.height, "STRIP_W": strip.width,
                 "ROW_BYTES": strip.nbytes,
                 "LONE": int(not strip.columns and 1 in (strip.height, dims["OUT_H"] % strip.height)
                             and 1 in (strip.width, dims["OUT_W"] % strip.width)),
                 "PADDED": int(padded), "LENGTH": dims["IN_C"] if strip.columns else length,
                 "TO_STEP": dims["KERNEL_H"] * dims["IN_C"] if strip.columns else strip.pitch,
                 "FROM_STEP": dims["IN_C"] * (1 if strip.columns else dims["STRIDE_W"])}
        size = ("BATCH", "IN_H", "IN_W", "IN_C", "OUT_H", "OUT_W", "OUT_C", "KERNEL_H", "KERNEL_W", "STRIDE_H",
                "STRIDE_W", "DILATION_H", "PAD_TOP", "PAD_LEFT", "DEPTH", "COLUMNS", "STRIP_H", "STRIP_W", "ROW_BYTES",
                "LONE", "PADDED", "LENGTH", "TO_STEP", "FROM_STEP")
        used = {CONTIGUOUS: ("PIXELS", "OUT_C", "STRIP"), SPREAD: size, SINGLE: (
            "BATCH", "IN_H", "IN_W", "IN_C", "OUT_H", "OUT_W", "OUT_C", "KERNEL_H", "KERNEL_W", "STRIDE_H", "STRIDE_W",
            "DILATION_H", "DILATION_W", "PAD_TOP", "PAD_LEFT", "GROUPS", "GROUP_IN_C", "GROUP_OUT_C", "PIXELS", "STRIP",
            "GROUP_WORDS")}[strip.gather]
        if strip.gather == CONTIGUOUS:
            dims["PIXELS"] *= dims["BATCH"]
        return {k: dims[k] for k in (*used, "GATHER", "PITCH", "BLOCKS", "IN_ZERO", "OUT_ZERO", "OUT_MIN", "OUT_MAX")}

    def constants(self, site: Site) -> dict[str, Array]:
        op = _op(site)
        w = site.inputs[1].data
        assert w is not None
        rows = (w.transpose(0, 2, 1, 3) if _strip(site).columns else w).reshape(w.shape[0], -1)
        per_group = w.shape[0] // op.groups
        order = (np.arange(op.groups)[:, None] * per_group + mve_matrix.order(per_group, CHANNELS)).reshape(-1)
        numbers = (op.bias(site), op.multipliers(site).m, *((op.residual_factors(site),) if op.residual else ()))
        return {"stream": mve_matrix.pack(rows[order], tuple(n[order] for n in numbers), CHANNELS)}

    def shared(self, site: Site) -> SharedFunction:
        op, loop = _op(site), _loop(site)
        return SharedFunction(f"product_{loop['BLOCKS']}_pitch{loop['PITCH']}{op.residual_name(site)}",
                              "conv2d.mve_product", loop | {"RESIDUAL": int(op.residual), **op.residual_dims(site)})

    def pieces(self, site: Site) -> int:
        loop = _loop(site)
        return loop["BLOCKS"] - (0 if loop["STRAIGHT"] else (loop["TURNS"] - 1) * loop["UNROLL"])

    def work(self, site: Site) -> Work:
        op, out, strip = _op(site), site.output.type.shape, _strip(site)
        n, per_group = mve_matrix.blocks(_depth(site)), out[3] // op.groups
        pixels = out[0] * out[1] * out[2]
        pairs = pixels / 2 * op.groups * -(-per_group // CHANNELS)
        return {"layer": 1, "pair": pairs, "block": pairs * n, "strip": 2 * pairs / strip.pixels,
                f"gathered_{strip.gather}": pixels * strip.instructions}

    def scratch(self, site: Site) -> int:
        strip = _strip(site)
        line = 0
        if strip.gather == SPREAD and any(_op(site).window.pads):
            line = ((strip.width - 1) * _op(site).window.stride[1] + _op(site).window.kernel[1]
                    ) * site.inputs[0].type.shape[3]
        return strip.nbytes + -(-line // 4) * 4

    def pixels_at_once(self, site: Site) -> int:
        strip = _strip(site)
        return strip.height * site.output.type.shape[2] if strip.gather == SPREAD else strip.pixels

    def overlap(self, site: Site, index: int) -> Overlap | None:
        strip, width = _strip(site), site.output.type.shape[2]
        if index == 3:  # of odd numbers of channels or pixels some are computed twice
            return Overlap(exact=True) if _once(site, strip) else None
        whole = strip.gather != SPREAD or strip.width == width
        return _op(site).tiled_overlap(site, index, strip.pixels if whole else gcd(strip.width, width))


def _once(site: Site, strip: _Strip) -> bool:
    """Whether no output is computed twice."""
    n, height, width, channels = site.output.type.shape
    pixels = n * height * width if strip.gather == CONTIGUOUS else height * width
    if channels // _op(site).groups % CHANNELS:
        return False
    if strip.gather != SPREAD:
        return strip.pixels % 2 == 0 and pixels % strip.pixels % 2 == 0
    heights, widths = {strip.height, height % strip.height}, {strip.width, width % strip.width}
    return all(h * w % 2 == 0 for h in heights for w in widths)


def _loop(site: Site) -> dict[str, int]:
    """The code along a sum: straight, or a loop of some blocks and those that are left before it."""
    n, pitch = mve_matrix.blocks(_depth(site)), _strip(site).pitch
    straight = n <= MOST_STRAIGHT and 2 * pitch <= LARGEST_OFFSET
    unroll = 1 if straight else min(range(2, 8), key=lambda u: (u + 1 + (n - 1) % u) * (1 + 1 / u))
    return {"BLOCKS": n, "PITCH": pitch, "STRAIGHT": int(straight), "UNROLL": unroll, "TURNS": (n - 1) // unroll}


def _op(site: Site) -> Conv2d:
    assert isinstance(site.node.op, Conv2d)
    return site.node.op


def _depth(site: Site) -> int:
    """Elements of one sum."""
    return site.inputs[1].type.size // site.inputs[1].type.shape[0]


def _strip(site: Site) -> _Strip:
    """The way of gathering that takes the fewest instructions."""
    window, out, depth = _op(site).window, site.output.type.shape, _depth(site)
    in_c = site.inputs[0].type.shape[3]
    pitch = -(-depth // 4) * 4
    most = max(2, min(STRIP_BYTES // pitch, MOST_PIXELS) // 2 * 2)
    padding = mve_matrix.VECTOR * mve_matrix.blocks(depth)
    if _op(site).groups > 1 or window.dilation[1] > 1:
        pixels = min(most, max(2, out[1] * out[2]))
        pieces = _op(site).groups * window.kernel[0] * window.kernel[1]
        return _Strip(SINGLE, False, 1, pixels, pitch, (pixels - 1) * pitch + padding, 40 + 18.0 * pieces)
    if window.kernel == window.stride == (1, 1) and not any(window.pads) and depth % 4 == 0:
        pixels = min(most, max(2, out[0] * out[1] * out[2]))
        return _Strip(CONTIGUOUS, False, 1, pixels, pitch, (pixels - 1) * pitch + padding, 3.0 * depth / 16)
    height, width = _rows(most, out[1], out[2])
    pixels = height * width
    spread = _Strip(SPREAD, False, height, width, pitch, (max(pixels, 2) - 1) * pitch + padding,
                    6.0 * window.kernel[0] * -(-window.kernel[1] * in_c // 16))
    column = window.kernel[0] * in_c
    pitch = column * window.stride[1]
    _, width = _rows(max(2, min(STRIP_BYTES // pitch, MOST_PIXELS) // 2 * 2), 1, out[2])
    if pitch % 4 or 1 in (width, out[2] % width):
        return spread
    span = (width - 1) * window.stride[1] + window.kernel[1]
    nbytes = (span - window.kernel[1]) * column + padding
    waste = (out[2] % 2) / out[2] * 8 * mve_matrix.blocks(depth) * out[3] / 4
    columns = _Strip(SPREAD, True, 1, width, pitch, -(-max(nbytes, span * column) // 4) * 4,
                     5.5 * window.kernel[0] * -(-in_c // 16) * window.stride[1] + waste)
    return min(spread, columns, key=lambda strip: strip.instructions)


def _rows(most: int, height: int, width: int) -> tuple[int, int]:
    """Height and width of a strip of up to ``most`` pixels: some rows, or an even part of one."""
    if width > most:
        parts = -(-width // most)
        even = -(-width // parts)
        return 1, even + even % 2
    rows = min(most // width, height)
    if width % 2 and rows > 1 and rows < height:
        rows = rows // 2 * 2
    return rows, width
