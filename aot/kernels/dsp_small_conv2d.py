"""Convolution for Arm DSP in little code."""

from __future__ import annotations

from typing import ClassVar

from aot.costs import Work
from aot.ir import Array
from aot.kernels import dsp_matrix
from aot.kernels.dsp_conv2d import PIXELS, DspConv2d, stream
from aot.kernels.dsp_small import FIELDS, Small
from aot.ops.base import Overlap, Site
from aot.ops.conv2d import Conv2d


class DspSmallConv2d(Small):
    """As the kernel for single layers, one group of channels."""

    name: ClassVar[str] = "conv2d.dsp_small"
    op: ClassVar[str] = "conv2d"
    residual: ClassVar[bool] = True

    def fits(self, site: Site) -> bool:
        assert isinstance(site.node.op, Conv2d)
        return self.suits(site) and site.node.op.groups == 1 and DspConv2d().words_fit(site)

    def work(self, site: Site) -> Work:
        dims = self.dims(site)
        tiles = -(-dims["OUT_H"] * dims["OUT_W"] // PIXELS)
        return dsp_matrix.work(tiles, 4 * dims["BLOCKS"], dims["OUT_C"]) | {
            "widened": tiles * PIXELS * dims["BLOCKS"], "place": tiles * PIXELS * dims["KERNEL_H"] * dims["KERNEL_W"]}

    def dims(self, site: Site) -> dict[str, int]:
        blocks = dsp_matrix.blocks(site.inputs[1].type.size // site.inputs[1].type.shape[0])
        assert isinstance(site.node.op, Conv2d)
        return dict(zip(FIELDS, self.table(site), strict=True)) | {"BLOCKS": blocks} | site.node.op.residual_dims(site)

    def constants(self, site: Site) -> dict[str, Array]:
        return {"stream": stream(site)}

    def pixels_at_once(self, site: Site) -> int:
        return PIXELS

    def overlap(self, site: Site, index: int) -> Overlap | None:
        return DspConv2d().overlap(site, index)

    def scratch(self, site: Site) -> int:
        return (8 * PIXELS + 4) * self.dims(site)["BLOCKS"]
