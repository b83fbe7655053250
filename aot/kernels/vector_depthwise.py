"""Depthwise convolution for compilers that make vectors: channels, and pixels if there are few, lie side by side."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from aot.ir import Array
from aot.kernels import vector_dot
from aot.kernels.base import SpecialKernel
from aot.ops.base import Overlap, Site
from aot.ops.depthwise_conv2d import DepthwiseConv2d


class VectorDepthwise(SpecialKernel):
    """The rows of the input that windows reach are kept with their padding, columns of equal phase together.

    So the outputs of a row need neighbouring inputs, whatever the stride. A unit is a pixel, or as many as have 64
    channels together; weights, biases and multipliers are repeated for each.
    """

    name: ClassVar[str] = "depthwise_conv2d.vector"
    op: ClassVar[str] = "depthwise_conv2d"
    feature: ClassVar[str] = "vector"
    headers: ClassVar[tuple[str, ...]] = (vector_dot.HEADER,)

    def fits(self, site: Site) -> bool:
        return vector_dot.wanted(site)

    def dims(self, site: Site) -> dict[str, int]:
        op = _op(site)
        dims = op.dims(site)
        stride = dims["STRIDE_W"]
        phase = -(-dims["PLANE_W"] // stride) * dims["OUT_C"]
        plain = stride == 1 and dims["FILTERS"] == 1
        unit = _pixels(site) * dims["OUT_C"]
        return {k: dims[k] for k in (
            "BATCH", "IN_H", "IN_W", "IN_C", "OUT_H", "OUT_W", "OUT_C", "KERNEL_H", "KERNEL_W", "STRIDE_H", "STRIDE_W",
            "DILATION_H", "DILATION_W", "PAD_TOP", "PAD_LEFT", "COPY_W", "FILTERS", "IN_ZERO", "OUT_ZERO", "OUT_MIN",
            "OUT_MAX", "SHIFT")} | {
            "LINES": op.window.extent()[0], "PHASE": phase, "LINE": stride * phase,
            "UNIT_W": _pixels(site), "UNIT": unit, "LANES": vector_dot.lanes(unit), "PLAIN": int(plain)}

    def constants(self, site: Site) -> dict[str, Array]:
        op, w, n = _op(site), site.inputs[1].data, _pixels(site)
        assert w is not None
        return {"weights": np.tile(w.reshape(-1, w.shape[2]), (1, n)), "bias": np.tile(op.bias(site), n),
                "multipliers": np.tile(op.multipliers(site).m.astype(np.int32), n)}

    def instructions(self, site: Site) -> float:
        kernel = _op(site).window.kernel
        return site.output.type.size * (1.0 + 0.5 * kernel[0] * kernel[1]) + 0.1 * site.inputs[0].type.size

    def scratch(self, site: Site) -> int:
        dims = self.dims(site)
        return -(-dims["LINES"] * dims["LINE"] // 4) * 4

    def overlap(self, site: Site, index: int) -> Overlap | None:
        n, height, width, in_c = site.inputs[0].type.shape
        _, oh, ow, out_c = site.output.type.shape
        window = _op(site).window
        if index != 0 or n != 1:
            return None
        # a row of the output is written when the rows of the input which it needs have been copied
        ends = [y * window.stride[0] + window.extent()[0] - window.pads[0] for y in range(oh)]
        return Overlap(max(((y + 1) * ow * out_c - max(end, 0) * width * in_c
                            for y, end in enumerate(ends) if end < height), default=-height * width * in_c))


def _pixels(site: Site) -> int:
    """Neighbouring pixels of a unit."""
    shape = site.output.type.shape
    return max(min(vector_dot.LANES // shape[3], shape[2]), 1)


def _op(site: Site) -> DepthwiseConv2d:
    assert isinstance(site.node.op, DepthwiseConv2d)
    return site.node.op
