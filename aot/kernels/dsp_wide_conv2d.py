"""Convolution for Arm DSP with a few weights beyond 8 bits, as models with uint8 weights have them."""

from __future__ import annotations

from typing import ClassVar

from aot.ir import Array
from aot.kernels import dsp_matrix
from aot.kernels.dsp_conv2d import PIXELS, DspConv2d, element_order, filters, stream_of
from aot.ops.base import Site
from aot.ops.exact import beyond, split

#: Inputs of a window that may be read more than once.
MOST_REPEATED = 8


class DspWideConv2d(DspConv2d):
    """Inputs which meet such a weight stand in the tile once more, behind the others, and meet what is left of it.

    ``x * 143 = x * 127 + x * 16``. Where the last block of four has room for them, they cost little.
    """

    name: ClassVar[str] = "conv2d.dsp_wide"
    weights: ClassVar[tuple[str, ...]] = ("s16",)
    all_bytes: ClassVar[bool] = True

    def fits(self, site: Site) -> bool:
        return len(self._columns(site)) <= MOST_REPEATED and super().fits(site)

    @staticmethod
    def _columns(site: Site) -> tuple[int, ...]:
        """Elements of a sum, in the order of the tile, that are repeated."""
        return beyond(filters(site)[:, element_order(site)])

    def dims(self, site: Site) -> dict[str, int]:
        dims, columns = super().dims(site), self._columns(site)
        blocks = dsp_matrix.blocks(dims["DEPTH"] + len(columns))
        dims["GROUP_WORDS"] += dims["PAIRS"] * 2 * (blocks - dims["BLOCKS"])
        return dims | {"REPEATED": len(columns), "FRESH": blocks - dims["BLOCKS"], "BLOCKS": blocks,
                       **{f"AGAIN{i}": column for i, column in enumerate(columns)}}

    def constants(self, site: Site) -> dict[str, Array]:
        rows = filters(site)[:, element_order(site)]
        return {"stream": stream_of(site, split(rows, self._columns(site)))}

    def instructions(self, site: Site) -> float:
        dims = self.dims(site)
        tiles = dims["BATCH"] * dims["GROUPS"] * -(-dims["PIXELS"] // PIXELS)
        return super().instructions(site) + tiles * (30 * dims["REPEATED"] + dims["FRESH"] * 17.5 * dims["PAIRS"])

    def scratch(self, site: Site) -> int:
        more = self.dims(site)["FRESH"]
        return super().scratch(site) + 8 * PIXELS * more
