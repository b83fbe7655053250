"""Depthwise convolution 3 x 3 for Arm DSP: one channel at a time on a plane of halfwords, two products at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from aot.costs import Work, estimate
from aot.ir import Array
from aot.kernels.base import SharedFunction, SpecialKernel
from aot.ops.base import Overlap, Site
from aot.ops.depthwise_conv2d import DepthwiseConv2d

#: Halfwords of code for two neighbouring outputs, and for one.
PAIR, SINGLE = 47, 27
#: Offsets in load and store instructions have 12 bits.
LARGEST_OFFSET = 4095
#: Pairs in the body of the loop along a row; rows of less than twice as many have no loop.
UNROLL = 4


@dataclass(frozen=True)
class _Plane:
    """One channel as the kernel sees it, maybe transposed so that the better dimension runs along the rows."""

    stride: int
    rows: int       # of outputs
    columns: int
    height: int     # of the plane
    pitch: int      # halfwords from row to row of the plane, even
    pad: tuple[int, int]
    copied: tuple[int, int]     # rows and columns which come from the input
    in_step: tuple[int, int]    # bytes from row to row and from column to column of the input
    out_step: tuple[int, int]

    @property
    def singles(self) -> int:
        """Outputs of a row that are computed alone."""
        return self.columns if self.stride == 2 else self.columns % 2

    @property
    def pairs(self) -> int:
        """Outputs of a row that are computed two at a time, in pairs."""
        return 0 if self.stride == 2 else self.columns // 2

    @property
    def work(self) -> Work:
        """That of one channel; an output that is computed alone is the last of an odd number, or of stride 2."""
        return {"channel": 1, "copied": self.copied[0] * self.copied[1], "row": self.rows,
                "pair": self.rows * self.pairs, f"single_stride{self.stride}": self.rows * self.singles}

    @property
    def pieces(self) -> int:
        """Halfwords of code for the outputs of a row."""
        looped = 2 * UNROLL * max(self.groups - 1, 0)  # outputs which the body of the loop stands for once more
        pairs, singles = self.pairs, self.singles
        if self.pairs:
            pairs -= looped // 2
        else:
            singles -= looped
        return PAIR * pairs + SINGLE * singles

    @property
    def groups(self) -> int:
        """Turns of the loop along a row, of eight outputs each; 0 where a row is short enough for none."""
        loops = self.columns >= 4 * UNROLL or (self.columns - 1) * self.out_step[1] > LARGEST_OFFSET
        return self.columns // (2 * UNROLL) if loops else 0

    @property
    def encodable(self) -> bool:
        """Whether all offsets fit into instructions."""
        last = 2 * UNROLL - 1 if self.groups else self.columns - 1
        return (4 * self.pitch + 4 * 4 * UNROLL <= LARGEST_OFFSET and last * self.out_step[1] <= LARGEST_OFFSET
                and self.rows < 65536)


class DspDepthwise(SpecialKernel):
    """Kernel 3 x 3, stride 1 or 2, no dilation.

    Each channel is copied to a padded plane of int16, rows of which are read a pair of columns at a time; a window
    slides along the rows in registers.
    """

    name: ClassVar[str] = "depthwise_conv2d.dsp"
    op: ClassVar[str] = "depthwise_conv2d"
    feature: ClassVar[str] = "dsp"
    headers: ClassVar[tuple[str, ...]] = ("aot_dsp_plane.h",)
    all_bytes: ClassVar[bool] = True

    def fits(self, site: Site) -> bool:
        window = _op(site).window
        return (window.kernel == (3, 3) and window.dilation == (1, 1) and window.stride in ((1, 1), (2, 2))
                and _plane(site).encodable)

    def work(self, site: Site) -> Work:
        planes = site.output.type.shape[0] * site.output.type.shape[3]
        return {"layer": 1, **{item: planes * count for item, count in _plane(site).work.items()}}

    def dims(self, site: Site) -> dict[str, int]:
        plane, dims = _plane(site), _op(site).dims(site)
        used = ("BATCH", "IN_C", "OUT_C", "FILTERS", "IN_ZERO", "OUT_ZERO", "OUT_MIN", "OUT_MAX")
        return {
            **{n: dims[n] for n in used},
            "IN_BYTES": dims["IN_H"] * dims["IN_W"] * dims["IN_C"],
            "OUT_BYTES": dims["OUT_H"] * dims["OUT_W"] * dims["OUT_C"],
            "PLANE_H": plane.height, "PITCH": plane.pitch, "PAD_ROWS": plane.pad[0], "PAD_COLUMNS": plane.pad[1],
            "COPY_ROWS": plane.copied[0], "COPY_COLUMNS": plane.copied[1],
            "IN_ROW": plane.in_step[0], "IN_COLUMN": plane.in_step[1],
        }

    def shared(self, site: Site) -> SharedFunction:
        plane = _plane(site)
        shift = _op(site).multipliers(site).shift
        name = (f"plane_3x3_stride{plane.stride}_{plane.rows}x{plane.columns}_pitch{plane.pitch}"
                f"_step{plane.out_step[1]}_{plane.out_step[0]}" + (f"_shift{shift}" if shift else ""))
        return SharedFunction(name, "depthwise_conv2d.dsp_plane", {
            "STRIDE": plane.stride, "ROWS": plane.rows, "COLUMNS": plane.columns, "PITCH": plane.pitch,
            "OUT_ROW": plane.out_step[0], "OUT_COLUMN": plane.out_step[1], "SHIFT": shift, "GROUPS": plane.groups})

    def constants(self, site: Site) -> dict[str, Array]:
        op = _op(site)
        w = site.inputs[1].data
        assert w is not None
        filters = w.transpose(2, 1, 0) if _transposed(site) else w.transpose(2, 0, 1)
        # each row's weights 0 1 1 2, which come apart into the pairs that meet two neighbouring outputs
        rows = np.ascontiguousarray(filters[:, :, [0, 1, 1, 2]]).view("<u4").reshape(-1, 3)
        last = np.stack([op.bias(site), op.multipliers(site).m], axis=1) & 0xFFFFFFFF
        return {"filters": np.concatenate([rows, last], axis=1).astype(np.uint32)}

    def pieces(self, site: Site) -> int:
        return _plane(site).pieces

    def scratch(self, site: Site) -> int:
        plane = _plane(site)
        return 2 * plane.height * plane.pitch

    def overlap(self, site: Site, index: int) -> Overlap | None:
        return _op(site).overlap(site, index)


def _op(site: Site) -> DepthwiseConv2d:
    assert isinstance(site.node.op, DepthwiseConv2d)
    return site.node.op


def _make(site: Site, order: tuple[int, int]) -> _Plane:
    """The plane with image dimension ``order[0]`` (0: height, 1: width) as rows and ``order[1]`` as columns."""
    window = _op(site).window
    size, out = site.inputs[0].type.shape, site.output.type.shape
    stride = window.stride[0]
    rows, columns = (out[1 + d] for d in order)
    pad = (window.pads[order[0]], window.pads[order[1]])
    height = stride * (rows - 1) + 3
    width = stride * (columns - 1) + 3
    return _Plane(
        stride, rows, columns, height, width + width % 2 if stride == 1 else 2 * columns + 2, pad,
        (min(size[1 + order[0]], height - pad[0]), min(size[1 + order[1]], width - pad[1])),
        tuple((size[2] * size[3], size[3])[d] for d in order),  # type: ignore[arg-type]
        tuple((out[2] * out[3], out[3])[d] for d in order))     # type: ignore[arg-type]


def _transposed(site: Site) -> bool:
    """Whether columns of the image become rows of the plane."""
    def instructions(plane: _Plane) -> float:
        return estimate(DspDepthwise.name, site.isa.name, site.goal, plane.work)

    upright, turned = _make(site, (0, 1)), _make(site, (1, 0))
    return turned.encodable and (not upright.encodable or instructions(turned) < instructions(upright))


def _plane(site: Site) -> _Plane:
    return _make(site, (1, 0) if _transposed(site) else (0, 1))
