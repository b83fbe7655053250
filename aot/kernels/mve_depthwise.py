"""Depthwise convolution 3 x 3 for Arm MVE: four interleaved rows, a window in one instruction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from aot.costs import Work
from aot.ir import Array
from aot.kernels import mve_matrix
from aot.kernels.base import SharedFunction, SpecialKernel
from aot.ops.base import Overlap, Site
from aot.ops.depthwise_conv2d import DepthwiseConv2d

#: Channels at a time.
CHUNK = 16
#: More groups of outputs in a row than this are a loop.
MOST_STRAIGHT = 3
LARGEST_PLACE = 65535


@dataclass(frozen=True)
class _Walk:
    """The way along four rows: turns of a loop over groups of outputs, then groups that are straight code.

    A group is whether it has eight outputs (else four) and its first column. Groups may overlap.
    """

    stride: int
    turns: int
    groups: tuple[tuple[bool, int], ...]

    @property
    def work(self) -> Work:
        """That of one channel."""
        eights = self.turns + sum(eight for eight, _ in self.groups)
        return {"channel": 1, f"eight_stride{self.stride}": eights,
                f"four_stride{self.stride}": self.turns + len(self.groups) - eights}


def _walk(stride: int, columns: int) -> _Walk:
    wide, narrow = (4, 2) if stride == 1 else (8, 4)
    whole, rest = divmod(columns, wide)
    groups = [(True, wide * i) for i in range(whole)]
    if rest > narrow and columns >= wide:
        groups.append((True, columns - wide))
    elif rest:
        groups += [(False, i) for i in range(wide * whole, columns - narrow, narrow)]
        groups.append((False, max(columns - narrow, 0)))
    turns = whole if len(groups) > MOST_STRAIGHT else 0
    return _Walk(stride, turns, tuple(groups[turns:]))


class MveDepthwise(SpecialKernel):
    """Kernel 3 x 3, stride 1 or 2, no dilation, one filter per channel."""

    name: ClassVar[str] = "depthwise_conv2d.mve"
    op: ClassVar[str] = "depthwise_conv2d"
    feature: ClassVar[str] = "mve"
    headers: ClassVar[tuple[str, ...]] = (mve_matrix.HEADER, "aot_mve_plane.h")

    def fits(self, site: Site) -> bool:
        op, shape = _op(site), site.output.type.shape
        stride = op.window.stride[0]
        return (op.window.kernel == (3, 3) and op.window.dilation == (1, 1) and op.window.stride in ((1, 1), (2, 2))
                and shape[3] == site.inputs[0].type.shape[3] and op.multipliers(site).shift == 0
                and (stride == 2 or min(shape[1:3]) >= 2)
                and (shape[2] + 8) * shape[3] <= LARGEST_PLACE)

    def dims(self, site: Site) -> dict[str, int]:
        op = _op(site)
        dims = op.dims(site)
        stride, in_c = op.window.stride[0], dims["IN_C"]
        linear = in_c < CHUNK
        chunk = min(in_c, CHUNK)
        used = ("BATCH", "IN_H", "IN_W", "IN_C", "OUT_H", "OUT_W", "OUT_C", "PAD_TOP", "PAD_LEFT", "COPY_W", "IN_ZERO",
                "OUT_ZERO", "OUT_MIN", "OUT_MAX")
        length = dims["COPY_W"] * in_c
        return {
            **{n: dims[n] for n in used},
            "OUT_ROW": dims["OUT_W"] * dims["OUT_C"], "STRIDE": stride, "CHUNK": chunk, "PITCH": 4 * chunk,
            "PAD_RIGHT": dims["PLANE_W"] - dims["PAD_LEFT"] - dims["COPY_W"], "LINEAR": int(linear),
            "STEP": CHUNK if linear else in_c, "BLOCKS": -(-length // CHUNK) if linear else dims["COPY_W"],
            "PASSES": -(-dims["OUT_H"] // 2) if stride == 1 else dims["OUT_H"], "BUFFERS": 2 if stride == 1 else 1,
            "BUFFER": 4 * chunk * (dims["PLANE_W"] + stride - 1) + (4 * (-length % CHUNK) if linear else 0),
        }

    def shared(self, site: Site) -> SharedFunction:
        dims = self.dims(site)
        stride, columns, pitch, out_c = (dims[k] for k in ("STRIDE", "OUT_W", "PITCH", "OUT_C"))
        walk = _walk(stride, columns)
        name = f"walk_3x3_stride{stride}_{columns}_pitch{pitch}_step{out_c}"
        return SharedFunction(name, "depthwise_conv2d.mve_walk", {
            "STRIDE": stride, "COLUMNS": columns, "PITCH": pitch, "OUT_COLUMN": out_c, "TURNS": walk.turns,
            "GROUPS": len(walk.groups), **{f"EIGHT_{i}": int(eight) for i, (eight, _) in enumerate(walk.groups)},
            **{f"FIRST_{i}": first for i, (_, first) in enumerate(walk.groups)}})

    def pieces(self, site: Site) -> int:
        dims = self.dims(site)
        return sum(2 if eight else 1 for eight, _ in _walk(dims["STRIDE"], dims["OUT_W"]).groups)

    def constants(self, site: Site) -> dict[str, Array]:
        op = _op(site)
        w = site.inputs[1].data
        assert w is not None
        columns = np.pad(w.transpose(2, 1, 0), ((0, 0), (0, 0), (0, 1)))  # a fourth row of zeros
        words = np.ascontiguousarray(columns).view("<u4").reshape(w.shape[2], 3)
        numbers = [np.asarray(a).astype("<i4").view("<u4")[:, None] for a in (op.bias(site), op.multipliers(site).m)]
        return {"stream": np.concatenate([words, *numbers], axis=1).astype(np.uint32)}

    def work(self, site: Site) -> Work:
        dims = self.dims(site)
        chunks = -(-dims["IN_C"] // dims["CHUNK"])
        passes = dims["BATCH"] * dims["PASSES"]
        walk = _walk(dims["STRIDE"], dims["OUT_W"]).work
        return {"layer": 1, "pass": passes * chunks, "block": passes * chunks * dims["BLOCKS"],
                **{item: passes * dims["IN_C"] * count for item, count in walk.items()}}

    def scratch(self, site: Site) -> int:
        dims = self.dims(site)
        return dims["BUFFERS"] * dims["BUFFER"]

    def overlap(self, site: Site, index: int) -> Overlap | None:
        # Sixteen channels at a time; a pass is read when all but the outputs of the pass before it are written.
        dims = self.dims(site)
        stride, behind = dims["STRIDE"], dims["BUFFERS"]
        rows = 2 if stride == 1 else 1
        for k in range(behind, dims["PASSES"]):
            top = min(k * rows, dims["OUT_H"] - rows) * stride - dims["PAD_TOP"]
            if rows * (k - behind + 1) * dims["OUT_W"] > max(top, 0) * dims["IN_W"]:
                return None
        return _op(site).overlap(site, index)


def _op(site: Site) -> DepthwiseConv2d:
    assert isinstance(site.node.op, DepthwiseConv2d)
    return site.node.op
