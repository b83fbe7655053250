"""The mean of sums over a whole map: the last part of an average whose map never exists whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from aot.ir import Array, TensorType
from aot.numerics import Multipliers, multipliers, requantize
from aot.ops.base import NO_CLAMP, Clamp, Op, Shape, Site, apply_clamp, clamp_limits


@dataclass(frozen=True)
class PoolMean(Op):
    """Input s32 [1, 1, 1, C], sums of so many pixels; output [1, 1, 1, C]."""

    pixels: int
    clamp: Clamp = NO_CLAMP

    name: ClassVar[str] = "pool_mean"
    part: ClassVar[bool] = True

    def infer(self, types: tuple[TensorType, ...]) -> Shape:
        return types[0].shape

    def reference(self, *x: Array) -> Array:
        return apply_clamp(x[0] / self.pixels, self.clamp)

    def _mult(self, site: Site) -> Multipliers:
        return multipliers(site.inputs[0].scale / site.output.scale / self.pixels, 255.0 * self.pixels)

    def simulate(self, site: Site, *x: Array) -> Array:
        y = requantize(x[0].astype(np.int64) - site.inputs[0].zero, self._mult(site)) + site.output.zero
        return np.asarray(np.clip(y, *clamp_limits(self.clamp, site.output)), np.int8)

    def prove(self, site: Site) -> int:
        return 31 - ((255 * self.pixels) << self._mult(site).shift).bit_length()

    def dims(self, site: Site) -> dict[str, int]:
        low, high = clamp_limits(self.clamp, site.output)
        mult = self._mult(site)
        return {"CHANNELS": site.output.type.size, "MULTIPLIER": int(mult.m[0]), "SUM_ZERO": site.inputs[0].zero,
                "OUT_ZERO": site.output.zero, "OUT_MIN": low, "OUT_MAX": high, "SHIFT": mult.shift}
