"""Convolution for Arm DSP with a few weights beyond 8 bits, or of -128, as quantized models have them."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from aot.ir import Array
from aot.kernels import dsp_matrix
from aot.kernels.dsp_conv2d import PIXELS, DspConv2d, element_order, filters, stream_of
from aot.ops.base import Site
from aot.ops.exact import spread

#: Inputs of a window that may be read more than once.
MOST_REPEATED = 24


class DspWideConv2d(DspConv2d):
    """Inputs which meet such a weight stand in the tile once more, behind the others, and meet what is left of it.

    ``x * 143 = x * 127 + x * 16``. Where the last block of four has room for them, they cost little.
    """

    name: ClassVar[str] = "conv2d.dsp_wide"
    weights: ClassVar[tuple[str, ...]] = ("s8", "s16")
    residual: ClassVar[bool] = False

    def fits(self, site: Site) -> bool:
        largest = int(np.abs(filters(site).astype(np.int64)).max(initial=0))
        return 127 < largest <= 2 * 127 and 0 < len(_spread(site)[0]) <= MOST_REPEATED and self.sums_fit(site)

    def dims(self, site: Site) -> dict[str, int]:
        dims, columns = super().dims(site), _spread(site)[0]
        blocks = dsp_matrix.blocks(dims["DEPTH"] + len(columns))
        dims["GROUP_WORDS"] += dims["PAIRS"] * 2 * (blocks - dims["BLOCKS"])
        return dims | {"REPEATED": len(columns), "FRESH": blocks - dims["BLOCKS"], "BLOCKS": blocks,
                       **{f"AGAIN{i}": column for i, column in enumerate(columns)}}

    def constants(self, site: Site) -> dict[str, Array]:
        return {"stream": stream_of(site, _spread(site)[1])}

    def pieces(self, site: Site) -> int:
        return self.dims(site)["REPEATED"]

    def instructions(self, site: Site) -> float:
        dims = self.dims(site)
        tiles = dims["BATCH"] * dims["GROUPS"] * -(-dims["PIXELS"] // PIXELS)
        return super().instructions(site) + tiles * (30 * dims["REPEATED"] + dims["FRESH"] * 17.5 * dims["PAIRS"])

    def scratch(self, site: Site) -> int:
        more = self.dims(site)["FRESH"]
        return super().scratch(site) + 8 * PIXELS * more


def _spread(site: Site) -> tuple[tuple[int, ...], Array]:
    """Elements of a sum, in the order of the tile, that are repeated, and the rows with what is left of them."""
    return spread(filters(site)[:, element_order(site)])
