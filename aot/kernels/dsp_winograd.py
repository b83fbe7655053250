"""Convolution 3x3 for Arm DSP by Winograd's algorithm: a quarter of the products, eight times the weights."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from aot.costs import Work
from aot.ir import Array
from aot.kernels.base import SpecialKernel
from aot.ops.base import Overlap, Site
from aot.ops.conv2d import Conv2d

#: Outputs of a window are a square of 4x4, inputs of 6x6.
SIDE, PLACES = 4, 36
#: Sums are carried times 576.
LARGEST_SUM = 2**31 // 576
#: The unrolled loop over channels ends here.
MOST_CHANNELS = 64
#: The weights' transform, rows scaled by 4, 6, 6, 24, 24, 1 to be integers. What scales the sums to 576 is in
#: ``aot_winograd_outputs``.
TRANSFORM = np.array([[1, 0, 0], [-1, -1, -1], [-1, 1, -1], [1, 2, 4], [1, -2, 4], [0, 0, 1]])


class DspWinograd(SpecialKernel):
    """Windows of 6x6 inputs in pairs, output channels in pairs.

    Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks"; integers are our own arrangement.
    """

    name: ClassVar[str] = "conv2d.dsp_winograd"
    op: ClassVar[str] = "conv2d"
    feature: ClassVar[str] = "dsp"
    headers: ClassVar[tuple[str, ...]] = ("aot_dsp_winograd.h",)
    residual: ClassVar[bool] = True

    def fits(self, site: Site) -> bool:
        op = _op(site)
        window, in_c, out_c = op.window, site.inputs[0].type.shape[3], site.output.type.shape[3]
        dims = op.dims(site)
        return (window.kernel == (3, 3) and window.stride == window.dilation == (1, 1) and op.groups == 1
                and in_c % 4 == 0 and in_c <= MOST_CHANNELS and out_c % 2 == 0
                and (dims["OUT_MIN"], dims["OUT_MAX"]) == (-128, 127) and dims["SHIFT"] == 0
                and bool(np.all(op.bound(site) < LARGEST_SUM)))

    def work(self, site: Site) -> Work:
        dims = self.dims(site)
        pairs = dims["BATCH"] * -(-dims["WINDOWS"] // 2)
        outputs = pairs * dims["OUT_C"] // 2
        return {"layer": 1, "windows": pairs, "inputs": pairs * dims["IN_C"], "outputs": outputs,
                "four": outputs * PLACES * dims["FOURS"]}

    def dims(self, site: Site) -> dict[str, int]:
        op = _op(site)
        dims = op.dims(site)
        used = ("BATCH", "IN_H", "IN_W", "IN_C", "OUT_H", "OUT_W", "OUT_C", "PAD_TOP", "PAD_LEFT", "IN_ZERO",
                "OUT_ZERO", *op.residual_dims(site))
        across = -(-dims["OUT_W"] // SIDE)
        fours = dims["IN_C"] // 4
        return {**{n: dims[n] for n in used}, "ACROSS": across, "WINDOWS": across * -(-dims["OUT_H"] // SIDE),
                "FOURS": fours, "STEP": 4 * fours, "PAIR_WORDS": PLACES * 4 * fours}

    def constants(self, site: Site) -> dict[str, Array]:
        op = _op(site)
        w = site.inputs[1].data
        assert w is not None
        u = np.einsum("ik,oklc,jl->oijc", TRANSFORM, w.astype(np.int64), TRANSFORM)
        assert np.abs(u).max(initial=0) < 2**15
        o, c = w.shape[0], w.shape[3]
        fours = u.reshape(o, PLACES, c // 4, 4)
        # channels 0 and 2 of four are one word, 1 and 3 another, as the inputs' bytes are taken apart
        words = (fours[..., :2] & 0xFFFF) | ((fours[..., 2:] & 0xFFFF) << 16)
        pairs = words.reshape(o // 2, 2, PLACES, c // 4, 2).transpose(0, 2, 3, 1, 4)
        more = {"factors": (64 * op.residual_factors(site)).astype(np.int32)} if op.residual else {}
        return {"weights": pairs.reshape(o // 2, -1).astype(np.uint32), "bias": (64 * op.bias(site)).astype(np.int32),
                "multipliers": op.multipliers(site).m.astype(np.int32), **more}

    def scratch(self, site: Site) -> int:
        # both windows' inputs, four sums for each place, a window half transformed, a pixel of padding
        in_c = site.inputs[0].type.shape[3]
        return 4 * (PLACES * in_c + 4 * PLACES) + in_c

    def pixels_at_once(self, site: Site) -> int:
        return SIDE * site.output.type.shape[2]

    def overlap(self, site: Site, index: int) -> Overlap | None:
        # a last, single window is computed twice
        return Overlap(exact=True) if index == 3 and self.dims(site)["WINDOWS"] % 2 == 0 else None


def _op(site: Site) -> Conv2d:
    assert isinstance(site.node.op, Conv2d)
    return site.node.op
