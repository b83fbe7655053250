"""Convolution for Thumb-1: four pixels at a time, two products in each multiplication."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from aot.ir import Array
from aot.kernels import thumb1_matrix
from aot.kernels.base import SpecialKernel
from aot.ops.base import Site
from aot.ops.conv2d import Conv2d

PIXELS = 4
TILE_WORDS = PIXELS * thumb1_matrix.BLOCK_WORDS


class Thumb1Conv2d(SpecialKernel):
    """The inputs of four output pixels are widened to a tile, which then meets one output channel after the other."""

    name: ClassVar[str] = "conv2d.thumb1"
    op: ClassVar[str] = "conv2d"
    feature: ClassVar[str] = "thumb1"
    headers: ClassVar[tuple[str, ...]] = (thumb1_matrix.HEADER,)

    def fits(self, site: Site) -> bool:
        op = _op(site)
        depth = site.inputs[1].type.size // site.inputs[1].type.shape[0]
        return (TILE_WORDS * thumb1_matrix.blocks(depth) <= thumb1_matrix.MOST_WORDS
                and thumb1_matrix.fits(op.bound(site), op.multipliers(site)))

    def dims(self, site: Site) -> dict[str, int]:
        dims = _op(site).dims(site)
        del dims["PADDED_DEPTH"]
        return dims | {"BLOCKS": thumb1_matrix.blocks(dims["DEPTH"])}

    def constants(self, site: Site) -> dict[str, Array]:
        op = _op(site)
        w = site.inputs[1].data
        assert w is not None
        return {"stream": thumb1_matrix.pack_channels(
            w.reshape(w.shape[0], -1), op.bias(site), op.multipliers(site).m, TILE_WORDS)}

    def instructions(self, site: Site) -> float:
        dims = self.dims(site)
        w = site.inputs[1].data
        assert w is not None
        tiles = dims["BATCH"] * -(-dims["PIXELS"] // PIXELS)
        blocks = dims["OUT_C"] * dims["BLOCKS"]
        return tiles * (31.5 * blocks + 40 * thumb1_matrix.extras(w.reshape(w.shape[0], -1)) + 100 * dims["OUT_C"]
                        + dims["GROUPS"] * PIXELS * (60 + 20 * dims["KERNEL_H"] + 16 * dims["BLOCKS"]))

    def scratch(self, site: Site) -> int:
        w = site.inputs[1].type
        n = thumb1_matrix.blocks(w.size // w.shape[0])
        return 4 * TILE_WORDS * n + (0 if w.shape[3] % 4 == 0 else 4 * n)


def _op(site: Site) -> Conv2d:
    assert isinstance(site.node.op, Conv2d)
    return site.node.op
