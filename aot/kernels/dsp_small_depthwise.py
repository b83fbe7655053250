"""Depthwise convolution for Arm DSP in little code."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from aot.costs import Work
from aot.ir import Array
from aot.kernels.dsp_small import FIELDS, Small
from aot.ops.base import Site
from aot.ops.depthwise_conv2d import DepthwiseConv2d


class DspSmallDepthwise(Small):
    """Kernel 3 x 3, stride 1 or 2, no dilation, one filter a channel."""

    name: ClassVar[str] = "depthwise_conv2d.dsp_small"
    op: ClassVar[str] = "depthwise_conv2d"

    def fits(self, site: Site) -> bool:
        op = _op(site)
        window = op.window
        return (self.suits(site) and window.kernel == (3, 3) and window.dilation == (1, 1)
                and window.stride in ((1, 1), (2, 2)) and op.dims(site)["FILTERS"] == 1
                and op.multipliers(site).shift == 0)

    def work(self, site: Site) -> Work:
        dims, out = self.dims(site), site.output.type
        return {"layer": 1, "channel": out.shape[3], "copied": out.shape[3] * dims["PLANE_H"] * dims["PITCH"],
                "outputs": out.size}

    def dims(self, site: Site) -> dict[str, int]:
        dims = _op(site).dims(site)
        return dict(zip(FIELDS, self.table(site), strict=True)) | {
            "BLOCKS": 0, "PLANE_H": dims["PLANE_H"], "PITCH": dims["PLANE_W"]}

    def constants(self, site: Site) -> dict[str, Array]:
        op = _op(site)
        w = site.inputs[1].data
        assert w is not None
        return {"weights": np.ascontiguousarray(w.transpose(2, 0, 1)).reshape(-1, 9), "bias": op.bias(site),
                "multipliers": op.multipliers(site).m.astype(np.int32)}

    def scratch(self, site: Site) -> int:
        dims = self.dims(site)
        return 2 * dims["PLANE_H"] * dims["PITCH"]


def _op(site: Site) -> DepthwiseConv2d:
    assert isinstance(site.node.op, DepthwiseConv2d)
    return site.node.op
