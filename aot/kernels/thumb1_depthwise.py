"""Depthwise convolution 3 x 3 for Thumb-1: one channel at a time on a plane of words, two outputs at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from aot.costs import Work, estimate
from aot.ir import Array
from aot.kernels import mul32_matrix
from aot.kernels.base import SpecialKernel
from aot.ops.base import Site
from aot.ops.depthwise_conv2d import DepthwiseConv2d

#: The magnitudes of three weights whose products with inputs in [-128, 127] may be summed in 16 bits.
LARGEST_THREE = 255
#: Marks the multiplier of a channel that has a second set of weights.
SECOND_SET = 2**31


@dataclass(frozen=True)
class _Plane:
    """How a channel lies on the plane, and how it is walked. Pairs are (rows, columns) of the image."""

    along: int              # image dimension (0: rows, 1: columns) whose neighbours are neighbouring words
    paired: int             # image dimension in which the two outputs of a word are apart
    size: tuple[int, int]   # of the plane, in words
    count: tuple[int, int]  # outputs, two at a time counting once
    apart: int              # outputs from the first to the second of a word, in the paired dimension
    second: int             # channels with a second set of weights

    @property
    def inner(self) -> int:
        """Image dimension of a line of outputs: the longer one."""
        return int(self.count[1] > self.count[0])

    @property
    def steps(self) -> tuple[int, int]:
        """Words of the plane from row to row and from column to column of the image."""
        return (1, self.size[0]) if self.along == 0 else (self.size[1], 1)

    def work(self, channels: int) -> Work:
        """That of all channels."""
        outputs = self.count[0] * self.count[1]
        return {"channel": channels, "word": channels * self.size[0] * self.size[1], "two": channels * outputs,
                "line": channels * self.count[1 - self.inner], "second": self.second * outputs}


class Thumb1Depthwise(SpecialKernel):
    """Kernel 3 x 3 without dilation, of any stride.

    Each channel is copied to a padded plane of words, of which each holds an element for each of two outputs.
    """

    name: ClassVar[str] = "depthwise_conv2d.thumb1"
    op: ClassVar[str] = "depthwise_conv2d"
    feature: ClassVar[str] = "thumb1"
    headers: ClassVar[tuple[str, ...]] = ("aot_thumb1_plane.h",)

    def fits(self, site: Site) -> bool:
        op = _op(site)
        return (op.window.kernel == (3, 3) and op.window.dilation == (1, 1)
                and mul32_matrix.fits(op.bound(site), op.multipliers(site)))

    def work(self, site: Site) -> Work:
        out = site.output.type.shape
        return {"layer": 1, **{item: out[0] * count for item, count in _plane(site).work(out[3]).items()}}

    def dims(self, site: Site) -> dict[str, int]:
        plane, dims, op = _plane(site), _op(site).dims(site), _op(site)
        used = ("BATCH", "IN_C", "OUT_C", "FILTERS", "IN_ZERO", "OUT_ZERO", "OUT_MIN", "OUT_MAX")
        in_step = (dims["IN_W"] * dims["IN_C"], dims["IN_C"])
        out_step = (dims["OUT_W"] * dims["OUT_C"], dims["OUT_C"])
        paired, inner, stride, step = plane.paired, plane.inner, op.window.stride, plane.steps
        pitch = plane.size[plane.along]
        line = 1 - paired  # lines of the plane are filled along this dimension of the image
        pads, in_size = op.window.pads, (dims["IN_H"], dims["IN_W"])
        return {
            **{n: dims[n] for n in used},
            "IN_BYTES": in_size[0] * in_step[0], "OUT_BYTES": dims["OUT_H"] * out_step[0],
            "WORDS": plane.size[0] * plane.size[1],
            # filling: lines in the paired dimension, elements along the other
            "LINES": plane.size[paired], "LINE_STEP": step[paired], "LINE_IN": in_step[paired],
            "LINE_PAD": pads[paired], "LINE_IN_SIZE": in_size[paired], "SECOND_LINE": stride[paired] * plane.apart,
            "FILL_STEP": step[line], "FILL_IN": in_step[line], "FILL_PAD": pads[line],
            "FILL_COUNT": max(min(in_size[line], plane.size[line] - pads[line]), 0),
            # walking
            "COLUMN": 4 * pitch - 12, "NEXT": 4 * stride[inner] * step[inner] - 8 * pitch - 12,
            "DISTANCE": plane.apart * out_step[paired], "OUT_STEP": out_step[inner], "COUNT": plane.count[inner],
            "OUTER_COUNT": plane.count[1 - inner], "OUTER_STEP": stride[1 - inner] * step[1 - inner],
            "OUTER_OUT": out_step[1 - inner], "SECOND_SETS": plane.second,
        }

    def constants(self, site: Site) -> dict[str, Array]:
        op = _op(site)
        first, second = split(_filters(site, _plane(site).along))
        has = np.abs(second).sum(axis=(1, 2)) > 0
        mult = op.multipliers(site).m.astype(np.int64) - np.where(has, SECOND_SET, 0)
        found = {"weights": first.reshape(-1, 9).astype(np.int8), "bias": op.bias(site),
                 "multipliers": mult.astype(np.int32)}
        if has.any():
            found["more"] = second[has].reshape(-1, 9).astype(np.int8)
        return found

    def scratch(self, site: Site) -> int:
        size = _plane(site).size
        return 4 * size[0] * size[1]


def split(filters: Array) -> tuple[Array, Array]:
    """Filters [C, 3, 3] as two terms, in each of which every three weights may be summed in 16 bits; int64."""
    w = filters.astype(np.int64)
    excess = np.maximum(np.abs(w).sum(axis=2, keepdims=True) - LARGEST_THREE, 0)
    second = np.zeros_like(w)
    for i in range(3):
        taken = np.minimum(np.abs(w[..., i:i + 1]), excess)
        second[..., i:i + 1] = np.sign(w[..., i:i + 1]) * taken
        excess = excess - taken
    return w - second, second


def _op(site: Site) -> DepthwiseConv2d:
    assert isinstance(site.node.op, DepthwiseConv2d)
    return site.node.op


def _filters(site: Site, along: int) -> Array:
    """Filters [C, 3, 3] whose last dimension is the image dimension ``along``."""
    w = site.inputs[1].data
    assert w is not None
    return w.transpose(2, 0, 1) if along == 1 else w.transpose(2, 1, 0)


def _plane(site: Site) -> _Plane:
    """The cheapest plane."""
    out, stride = site.output.type.shape, _op(site).window.stride
    planes: list[_Plane] = []
    for along in (1, 0):
        second = int((np.abs(split(_filters(site, along))[1]).sum(axis=(1, 2)) > 0).sum())
        for paired in (0, 1):
            count = [out[1], out[2]]
            apart = count[paired] // 2
            count[paired] -= apart
            planes.append(_Plane(along, paired, (stride[0] * (count[0] - 1) + 3, stride[1] * (count[1] - 1) + 3),
                                 (count[0], count[1]), apart, second))
    return min(planes, key=lambda plane: estimate(Thumb1Depthwise.name, site.isa.name, site.goal, plane.work(out[3])))
