"""Depthwise convolution 3 x 3 of stride 2 for Arm DSP: straight from the interleaved channels, without a plane."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from aot.costs import Work
from aot.ir import Array
from aot.kernels.base import SharedFunction, SpecialKernel
from aot.ops.base import Overlap, Site
from aot.ops.depthwise_conv2d import DepthwiseConv2d

#: Halfwords of code for an output, and around each kind of row.
OUTPUT, ROW = 36, 30
#: Offsets in load and store instructions have 12 bits.
LARGEST_OFFSET = 4095
#: Outputs in the body of the loop along a row; rows of less than twice as many have no loop.
UNROLL = 8


class DspDepthwiseStride2(SpecialKernel):
    """Kernel 3 x 3, stride 2, no dilation, at most one row and column of padding at each side.

    A window goes along each row of a channel; its last column is the next one's first. Rows at the border are code of
    their own, with one row of the filter less.
    """

    name: ClassVar[str] = "depthwise_conv2d.dsp_stride2"
    op: ClassVar[str] = "depthwise_conv2d"
    feature: ClassVar[str] = "dsp"
    headers: ClassVar[tuple[str, ...]] = ("aot_dsp_window.h",)
    all_bytes: ClassVar[bool] = True

    def fits(self, site: Site) -> bool:
        window, d = _op(site).window, self._walk(site)
        if not (window.kernel == (3, 3) and window.stride == (2, 2) and window.dilation == (1, 1)
                and max(d["TOP"], d["LEFT"], d["BOTTOM"], d["RIGHT"]) <= 1):
            return False
        longest = UNROLL if d["GROUPS"] else d["COLUMNS"]
        return (2 * d["IN_ROW"] + 2 * longest * d["IN_COLUMN"] <= LARGEST_OFFSET
                and longest * d["OUT_COLUMN"] <= LARGEST_OFFSET and d["ROWS"] < 65536)

    def work(self, site: Site) -> Work:
        d = self._walk(site)
        channels = site.output.type.shape[0] * site.output.type.shape[3]
        return {"layer": 1, "channel": channels, "row": channels * d["ROWS"], "outputs": site.output.type.size}

    def pieces(self, site: Site) -> int:
        d = self._walk(site)
        outputs = d["COLUMNS"] - UNROLL * max(d["GROUPS"] - 1, 0)
        return (1 + d["TOP"] + d["BOTTOM"]) * (ROW + OUTPUT * outputs)

    def dims(self, site: Site) -> dict[str, int]:
        dims = _op(site).dims(site)
        used = ("BATCH", "IN_C", "OUT_C", "FILTERS", "OUT_ZERO", "OUT_MIN", "OUT_MAX")
        return {**{n: dims[n] for n in used}, "IN_BYTES": dims["IN_H"] * dims["IN_W"] * dims["IN_C"],
                "OUT_BYTES": dims["OUT_H"] * dims["OUT_W"] * dims["OUT_C"]}

    def shared(self, site: Site) -> SharedFunction:
        d = self._walk(site)
        sides = "".join(f"_{side.lower()}" for side in ("TOP", "LEFT", "BOTTOM", "RIGHT") if d[side])
        name = (f"window_3x3_stride2_{d['ROWS']}x{d['COLUMNS']}_from{d['IN_COLUMN']}_{d['IN_ROW']}"
                f"_to{d['OUT_COLUMN']}_{d['OUT_ROW']}" + (f"{sides}_of{d['IN_ZERO'] + 128}" if sides else "")
                + (f"_shift{d['SHIFT']}" if d["SHIFT"] else ""))
        return SharedFunction(name, "depthwise_conv2d.dsp_window", d)

    def constants(self, site: Site) -> dict[str, Array]:
        op = _op(site)
        w = site.inputs[1].data
        assert w is not None
        nine = w.reshape(9, -1).T
        # bytes 0 and 2 of a word come apart from bytes 1 and 3, into pairs of weights that follow each other
        words = np.pad(nine, ((0, 0), (0, 3)))[:, [0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11]].copy().view("<u4")
        last = np.stack([op.bias(site), op.multipliers(site).m], axis=1) & 0xFFFFFFFF
        return {"filters": np.concatenate([words, last], axis=1).astype(np.uint32)}

    def overlap(self, site: Site, index: int) -> Overlap | None:
        # An output lies before every input that it and later ones of its channel need, as rows get no longer.
        return _op(site).overlap(site, index)

    def _walk(self, site: Site) -> dict[str, int]:
        """The numbers of the code: outputs, padding at each side as far as a window reaches it, steps in bytes."""
        dims = _op(site).dims(site)
        rows, columns = dims["OUT_H"], dims["OUT_W"]
        return {
            "IN_H": dims["IN_H"], "IN_W": dims["IN_W"], "ROWS": rows, "COLUMNS": columns, "TOP": dims["PAD_TOP"],
            "LEFT": dims["PAD_LEFT"],
            "BOTTOM": max(2 * rows + 1 - dims["PAD_TOP"] - dims["IN_H"], 0),
            "RIGHT": max(2 * columns + 1 - dims["PAD_LEFT"] - dims["IN_W"], 0),
            "IN_ROW": dims["IN_W"] * dims["IN_C"], "IN_COLUMN": dims["IN_C"],
            "OUT_ROW": columns * dims["OUT_C"], "OUT_COLUMN": dims["OUT_C"],
            "IN_ZERO": dims["IN_ZERO"], "SHIFT": dims["SHIFT"],
            "GROUPS": (columns - 1) // UNROLL if columns >= 2 * UNROLL else 0,
        }


def _op(site: Site) -> DepthwiseConv2d:
    assert isinstance(site.node.op, DepthwiseConv2d)
    return site.node.op
