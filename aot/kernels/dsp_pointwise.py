"""Convolution of single pixels for Arm DSP: as the general one, without windows."""

from __future__ import annotations

from typing import ClassVar

from aot.costs import Work
from aot.kernels import dsp_matrix
from aot.kernels.dsp_conv2d import PIXELS, DspConv2d, single_pixels
from aot.ops.base import Site
from aot.ops.conv2d import Conv2d


class DspPointwise(DspConv2d):
    """Kernel 1 x 1, stride 1, no padding, channels in fours."""

    name: ClassVar[str] = "conv2d.dsp_pointwise"

    def fits(self, site: Site) -> bool:
        return single_pixels(site) and self.words_fit(site)

    def work(self, site: Site) -> Work:
        dims = self.dims(site)
        tiles = -(-dims["PIXELS"] // PIXELS)
        return dsp_matrix.work(tiles, dims["IN_C"], dims["OUT_C"]) | {"widened": tiles * PIXELS * dims["BLOCKS"]}

    def dims(self, site: Site) -> dict[str, int]:
        op, dims = site.node.op, super().dims(site)
        assert isinstance(op, Conv2d)
        used = ("IN_C", "OUT_C", "BLOCKS", "OUT_ZERO", "OUT_MIN", "OUT_MAX", *op.residual_dims(site))
        return {"PIXELS": dims["BATCH"] * dims["PIXELS"], **{n: dims[n] for n in used}}
