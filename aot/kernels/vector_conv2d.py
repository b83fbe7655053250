"""Convolution for compilers that make vectors: products of inputs and weights that lie side by side."""

from __future__ import annotations

from typing import ClassVar

from aot.costs import estimate
from aot.ir import Array
from aot.kernels import vector_dot
from aot.kernels.base import SpecialKernel
from aot.ops.base import Overlap, Site, with_residual
from aot.ops.conv2d import Conv2d

#: Pixels at a time with many channels, and with few.
TILE, LARGE_TILE = 4, 8


class VectorConv2d(SpecialKernel):
    """The inputs of some pixels are gathered, each then meets one row of weights after the other."""

    name: ClassVar[str] = "conv2d.vector"
    op: ClassVar[str] = "conv2d"
    feature: ClassVar[str] = "vector"
    headers: ClassVar[tuple[str, ...]] = (vector_dot.HEADER,)
    residual: ClassVar[bool] = True

    def fits(self, site: Site) -> bool:
        if _op(site).residual and _op(site).multipliers(site).shift:
            return False
        return vector_dot.wanted(site) and vector_dot.fits(_rows(site), _op(site).bias(site))

    def dims(self, site: Site) -> dict[str, int]:
        op = _op(site)
        dims = op.dims(site)
        lanes = vector_dot.lanes(dims["GROUP_OUT_C"])
        window = op.window
        contiguous = (window.kernel == window.stride == (1, 1) and not any(window.pads) and op.groups == 1)
        return {k: dims[k] for k in (
            *(("PIXELS", "IN_C", "OUT_C") if contiguous else (
                "BATCH", "IN_H", "IN_W", "IN_C", "OUT_H", "OUT_W", "OUT_C", "PIXELS", "KERNEL_H", "KERNEL_W",
                "STRIDE_H", "STRIDE_W", "DILATION_H", "DILATION_W", "PAD_TOP", "PAD_LEFT", "GROUPS", "GROUP_IN_C",
                "IN_ZERO")),
            "GROUP_OUT_C", "DEPTH", "OUT_ZERO", "OUT_MIN", "OUT_MAX", "SHIFT", *op.residual_dims(site))} | {
            **({"PIXELS": dims["BATCH"] * dims["PIXELS"]} if contiguous else {}),
            "PADDED": vector_dot.padded(dims["DEPTH"]), "TILE": _tile(site), "LANES": lanes,
            "CONTIGUOUS": int(contiguous), "WHOLE_ROWS": int(op.groups == 1 and window.dilation[1] == 1)}

    def constants(self, site: Site) -> dict[str, Array]:
        op, rows = _op(site), _rows(site)
        return {"weights": vector_dot.pack(rows),
                "bias": vector_dot.raised_bias(rows, op.bias(site)).astype("int32"),
                "multipliers": op.multipliers(site).m.astype("int32"),
                **({"factors": op.residual_factors(site)} if op.residual else {})}

    def instructions(self, site: Site) -> float:
        depth = int(_rows(site).shape[1])
        pixels = site.output.type.size // site.output.type.shape[3]
        return (vector_dot.instructions(depth, site.output.type.size) + pixels * (20.0 + depth / 8)
                + estimate(self.name, site.isa.name, site.goal, with_residual({}, site)))

    def scratch(self, site: Site) -> int:
        return vector_dot.RAISED_BYTES * _tile(site) * vector_dot.padded(_rows(site).shape[1])

    def pixels_at_once(self, site: Site) -> int:
        return _tile(site) if _op(site).groups == 1 else super().pixels_at_once(site)

    def overlap(self, site: Site, index: int) -> Overlap | None:
        channels = site.output.type.shape[3] // _op(site).groups
        if index == 3 and channels % vector_dot.lanes(channels):
            return None  # some are computed twice
        return _op(site).tiled_overlap(site, index, _tile(site))


def _tile(site: Site) -> int:
    """Pixels at a time."""
    shape = site.output.type.shape
    most = TILE if vector_dot.lanes(shape[3] // _op(site).groups) > vector_dot.LANES // 2 else LARGE_TILE
    return min(most, -(-shape[1] * shape[2] // TILE) * TILE)


def _rows(site: Site) -> Array:
    w = site.inputs[1].data
    assert w is not None
    return w.reshape(w.shape[0], -1)


def _op(site: Site) -> Conv2d:
    assert isinstance(site.node.op, Conv2d)
    return site.node.op
