"""Sums of a map's pixels, strip after strip: the first part of an average whose map never exists whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from aot.costs import Work
from aot.ir import Array, TensorType
from aot.numerics import assert_int32
from aot.ops.base import Op, Overlap, Shape, Site


@dataclass(frozen=True)
class PoolSum(Op):
    """Input [1, H, W, C], and maybe the sums so far; output s32 [1, 1, 1, C] with the zero points of all pixels."""

    #: All that have been summed up when this strip has been.
    pixels: int

    name: ClassVar[str] = "pool_sum"
    part: ClassVar[bool] = True

    def infer(self, types: tuple[TensorType, ...]) -> Shape:
        return (1, 1, 1, types[0].shape[3])

    def reference(self, *x: Array) -> Array:
        total = x[0].sum(axis=(1, 2), keepdims=True)
        return np.asarray(total + x[1] if len(x) > 1 else total)

    def simulate(self, site: Site, *x: Array) -> Array:
        acc = self.reference(*(a.astype(np.int64) for a in x))
        assert_int32(acc, site.node.name)
        return acc.astype(np.int32)

    def prove(self, site: Site) -> int:
        return 31 - (128 * self.pixels).bit_length()

    def dims(self, site: Site) -> dict[str, int]:
        return {"PIXELS": _pixels(site), "CHANNELS": site.output.type.shape[3]}

    def overlap(self, site: Site, index: int) -> Overlap | None:
        return Overlap(exact=True) if index == 1 else None

    def work(self, site: Site) -> Work:
        return {"layer": 1, "places": site.inputs[0].type.size, "outputs": site.output.type.size}


def _pixels(site: Site) -> int:
    return site.inputs[0].type.shape[1] * site.inputs[0].type.shape[2]
