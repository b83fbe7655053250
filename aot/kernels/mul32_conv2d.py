"""Convolution where only 32 bits are multiplied: four pixels at a time, two products in each multiplication."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from aot.costs import Work
from aot.ir import Array
from aot.kernels import mul32_matrix
from aot.kernels.base import SpecialKernel
from aot.ops.base import Overlap, Site
from aot.ops.conv2d import Conv2d

PIXELS = 4
#: Instruction set -> output channels at a time.
CHANNELS = {"thumb1": 1, "rv32": 2}
TILE_WORDS = PIXELS * mul32_matrix.BLOCK_WORDS


class Mul32Conv2d(SpecialKernel):
    """The inputs of four output pixels are widened to a tile, which then meets one or two output channels at a time."""

    name: ClassVar[str] = "conv2d.mul32"
    op: ClassVar[str] = "conv2d"
    feature: ClassVar[str] = "mul32"
    headers: ClassVar[tuple[str, ...]] = (mul32_matrix.HEADER,)
    residual: ClassVar[bool] = True

    def fits(self, site: Site) -> bool:
        op = _op(site)
        depth = site.inputs[1].type.size // site.inputs[1].type.shape[0]
        return (TILE_WORDS * mul32_matrix.blocks(depth) <= mul32_matrix.MOST_WORDS
                and mul32_matrix.fits(op.bound(site), op.multipliers(site)))

    def dims(self, site: Site) -> dict[str, int]:
        dims = _op(site).dims(site)
        del dims["PADDED_DEPTH"]
        return dims | {"BLOCKS": mul32_matrix.blocks(dims["DEPTH"])}

    def constants(self, site: Site) -> dict[str, Array]:
        op = _op(site)
        w = site.inputs[1].data
        assert w is not None
        parts = [a.reshape(op.groups, w.shape[0] // op.groups, -1) for a in (w, op.bias(site), op.multipliers(site).m)]
        factors = op.residual_factors(site).reshape(op.groups, -1) if op.residual else [None] * op.groups
        return {"stream": np.concatenate([
            mul32_matrix.pack_channels(r, b[:, 0], m[:, 0], CHANNELS[site.isa.name], TILE_WORDS, f)
            for r, b, m, f in zip(*parts, factors, strict=True)])}

    def work(self, site: Site) -> Work:
        dims = self.dims(site)
        w = site.inputs[1].data
        assert w is not None
        tiles = dims["BATCH"] * -(-dims["PIXELS"] // PIXELS)
        blocks = dims["OUT_C"] * dims["BLOCKS"]
        pixels = tiles * dims["GROUPS"] * PIXELS
        return {"layer": 1, "block": tiles * blocks, "channel": tiles * dims["OUT_C"],
                "extra": tiles * mul32_matrix.extras(w.reshape(w.shape[0], -1)),
                "pixel": pixels, "row": pixels * dims["KERNEL_H"], "widened": pixels * dims["BLOCKS"]}

    def pixels_at_once(self, site: Site) -> int:
        return PIXELS

    def overlap(self, site: Site, index: int) -> Overlap | None:
        return _op(site).tiled_overlap(site, index, PIXELS)

    def scratch(self, site: Site) -> int:
        w = site.inputs[1].type
        n = mul32_matrix.blocks(w.size // w.shape[0])
        return 4 * TILE_WORDS * n + (0 if w.shape[3] % 4 == 0 else 4 * n)


def _op(site: Site) -> Conv2d:
    assert isinstance(site.node.op, Conv2d)
    return site.node.op
