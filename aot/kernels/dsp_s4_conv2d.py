"""Convolution with 4-bit weights for Arm DSP: those of some channels are unpacked, then all pixels meet them."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from aot.costs import Work
from aot.ir import Array
from aot.kernels import dsp_matrix
from aot.kernels.base import SpecialKernel
from aot.kernels.dsp_conv2d import PIXELS, DspConv2d, element_order, stream
from aot.ops.base import Overlap, Site
from aot.ops.conv2d import Conv2d
from aot.ops.linear import constant, nibbles

#: Instructions for which a byte of memory is worth spending. Widening the inputs of a tile again takes some 24 a block.
MEMORY = {"speed": 10.0, "balanced": 60.0, "size": 60.0}
WIDENING = 24.0
#: Which of eight weights the halves of four bytes hold, lower ones first (``runtime_c/aot_dsp_nibble.h``).
ORDER = (0, 4, 1, 5, 2, 6, 3, 7)


class DspS4Conv2d(SpecialKernel):
    """As the kernel for 8-bit weights, whose stream is made for a part of the channels at a time.

    For each part, the inputs are widened again: a part is as large as the memory for it is worth.
    """

    name: ClassVar[str] = "conv2d.dsp_s4"
    op: ClassVar[str] = "conv2d"
    feature: ClassVar[str] = "dsp"
    weights: ClassVar[tuple[str, ...]] = ("s4",)
    headers: ClassVar[tuple[str, ...]] = (dsp_matrix.HEADER, "aot_dsp_nibble.h")
    wide: ClassVar[DspConv2d] = DspConv2d()

    def fits(self, site: Site) -> bool:
        op = site.node.op
        assert isinstance(op, Conv2d)
        return (op.groups == 1 and op.window.dilation[1] == 1 and site.inputs[0].type.shape[0] == 1
                and site.output.type.shape[3] % 2 == 0 and self.wide.fits(site))

    def dims(self, site: Site) -> dict[str, int]:
        dims = self.wide.dims(site)
        dims = {n: v for n, v in dims.items() if n not in ("PAIRS", "GROUP_WORDS", "BATCH")}
        pairs = dims["OUT_C"] // 2
        widening = WIDENING * dims["BLOCKS"] * -(-dims["PIXELS"] // PIXELS)
        # read more than once, inputs cannot make room for outputs on the way
        apart = site.output.type.nbytes if self._together(site, 0) is not None else 0
        pair, price = _pair_bytes(dims["BLOCKS"]), MEMORY[site.goal]
        costs = {parts: widening * (parts - 1) + price * (-(-pairs // parts) * pair + (apart if parts > 1 else 0))
                 for parts in range(1, pairs + 1)}
        best = min(costs, key=lambda parts: (costs[parts], parts))
        return dims | {"PART_C": 2 * -(-pairs // best), "TILE_WORDS": self.wide.scratch(site) // 4}

    def constants(self, site: Site) -> dict[str, Array]:
        return {"packed": packed(site)}

    def work(self, site: Site) -> Work:
        dims = self.dims(site)
        parts = -(-dims["OUT_C"] // dims["PART_C"])
        once = ("pair", "block")
        work = {kind: count * (1 if kind in once else parts) for kind, count in self.wide.work(site).items()}
        return work | {"layer": 1, "part": parts, "unpacked": dims["OUT_C"] // 2 * dims["BLOCKS"]}

    def scratch(self, site: Site) -> int:
        dims = self.dims(site)
        return 4 * dims["TILE_WORDS"] + dims["PART_C"] // 2 * _pair_bytes(dims["BLOCKS"])

    def overlap(self, site: Site, index: int) -> Overlap | None:
        dims = self.dims(site)
        return self._together(site, index) if dims["PART_C"] >= dims["OUT_C"] else None

    def _together(self, site: Site, index: int) -> Overlap | None:
        """What holds if the inputs are read once only."""
        assert isinstance(site.node.op, Conv2d)
        return site.node.op.tiled_overlap(site, index, PIXELS)


def packed(site: Site) -> Array:
    """Pairs of channels: biases, eight weights of each channel at a time in one word, multipliers; uint32."""
    elements = element_order(site)
    w = constant(site.inputs[1]).reshape(site.output.type.shape[3], -1)
    words = np.ascontiguousarray(nibbles(w[:, elements], 8, ORDER)).view("<u4")
    words = words.reshape(len(w) // 2, 2, -1).transpose(0, 2, 1)
    rows = stream(site, elements).reshape(len(w) // 2, -1)
    return np.concatenate([rows[:, :2], words.reshape(len(words), -1), rows[:, -2:]], axis=1)


def _pair_bytes(blocks: int) -> int:
    """Bytes of the stream of two channels."""
    return 4 * (4 + 2 * blocks)
