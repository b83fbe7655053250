"""Convolution for Arm DSP: three pixels times two channels, weights in pairs of halfwords."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from aot.costs import Work
from aot.ir import Array
from aot.kernels import dsp_matrix
from aot.kernels.base import SpecialKernel
from aot.ops.base import Overlap, Site
from aot.ops.conv2d import Conv2d
from aot.ops.exact import packable

PIXELS = 3


class DspConv2d(SpecialKernel):
    """The inputs of three output pixels are widened to a tile, which then meets all output channels in pairs.

    Where a window is one pixel, there is a kernel that does the same without looking for it.
    """

    name: ClassVar[str] = "conv2d.dsp"
    op: ClassVar[str] = "conv2d"
    feature: ClassVar[str] = "dsp"
    headers: ClassVar[tuple[str, ...]] = (dsp_matrix.HEADER,)
    all_bytes: ClassVar[bool] = True
    residual: ClassVar[bool] = True

    def fits(self, site: Site) -> bool:
        return not single_pixels(site) and self.words_fit(site)

    def words_fit(self, site: Site) -> bool:
        """Whether the products can be summed up in the words of a tile."""
        return self.sums_fit(site) and packable(filters(site)[:, element_order(site)])

    @staticmethod
    def sums_fit(site: Site) -> bool:
        """Whether there is a pair of channels, and no sum too large."""
        op = _op(site)
        return (site.output.type.shape[3] // op.groups >= 2
                and dsp_matrix.fits(op.bound(site), op.multipliers(site)))

    def dims(self, site: Site) -> dict[str, int]:
        op = _op(site)
        w = site.inputs[1]
        dims = op.dims(site)
        out_c, depth = dims["GROUP_OUT_C"], w.type.size // w.type.shape[0]
        n, pairs = dsp_matrix.blocks(depth), -(-out_c // 2)
        dims.pop("PADDED_DEPTH", None)
        return dims | {"PAIRS": pairs, "BLOCKS": n, "GROUP_WORDS": pairs * (4 + 2 * n + 2 * op.residual)}

    def constants(self, site: Site) -> dict[str, Array]:
        return {"stream": stream(site, element_order(site))}

    def work(self, site: Site) -> Work:
        dims = self.dims(site)
        tiles = dims["BATCH"] * dims["GROUPS"] * -(-dims["PIXELS"] // PIXELS)
        return dsp_matrix.work(tiles, dims["DEPTH"], dims["GROUP_OUT_C"]) | {
            "pixel": tiles * PIXELS, "row": tiles * PIXELS * dims["KERNEL_H"],
            "widened": tiles * PIXELS * dims["BLOCKS"]}

    def scratch(self, site: Site) -> int:
        depth = site.inputs[1].type.size // site.inputs[1].type.shape[0]
        n = dsp_matrix.blocks(depth)
        return PIXELS * 8 * n + (0 if site.inputs[1].type.shape[3] % 4 == 0 else 4 * n)

    def pixels_at_once(self, site: Site) -> int:
        return PIXELS

    def overlap(self, site: Site, index: int) -> Overlap | None:
        # of an odd number of channels, one is computed twice
        if index == 3 and site.output.type.shape[3] // _op(site).groups % 2:
            return None
        return _op(site).tiled_overlap(site, index, PIXELS)


def single_pixels(site: Site) -> bool:
    """Kernel 1 x 1, stride 1, no padding, channels in fours."""
    op = _op(site)
    return (op.window.kernel == op.window.stride == (1, 1) and not any(op.window.pads) and op.groups == 1
            and site.inputs[0].type.shape[3] % 4 == 0)


def stream(site: Site, elements: Array | None = None) -> Array:
    """The weights of all pairs of channels; ``elements``: those of a sum in the order of the tile, if not their own."""
    rows = filters(site)
    return stream_of(site, rows if elements is None else rows[:, elements])


def filters(site: Site) -> Array:
    """A row of weights for each output channel."""
    w = site.inputs[1].data
    assert w is not None
    return w.reshape(w.shape[0], -1)


def stream_of(site: Site, rows: Array) -> Array:
    """The stream for rows of weights in the order of the tile."""
    op = _op(site)
    per_group = len(rows) // op.groups
    order = np.arange(per_group)
    if per_group % 2:  # the first two pairs share a channel
        order = np.concatenate([order[:2], order[1:]])
    order = (np.arange(op.groups)[:, None] * per_group + order).reshape(-1)
    factors = op.residual_factors(site)[order] if op.residual else None
    return dsp_matrix.pack(rows[order], op.bias(site)[order], op.multipliers(site).m[order], 2, factors=factors)


def element_order(site: Site) -> Array:
    """Elements of a window as ``aot_matrix_window`` takes them: of each row in fours, then what is left of all rows."""
    _, height, width, channels = site.inputs[1].type.shape
    elements = np.arange(height * width * channels).reshape(height, width * channels)
    fours = width * channels // 4 * 4
    return np.concatenate([elements[:, :fours].reshape(-1), elements[:, fours:].reshape(-1)])


def _op(site: Site) -> Conv2d:
    assert isinstance(site.node.op, Conv2d)
    return site.node.op
