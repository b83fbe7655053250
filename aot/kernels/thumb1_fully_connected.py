"""Fully connected layer for Thumb-1: four rows at a time, two products in each multiplication."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from aot.ir import Array
from aot.kernels import thumb1_matrix
from aot.kernels.base import SpecialKernel
from aot.ops.base import Site
from aot.ops.fully_connected import FullyConnected

ROWS = 4


class Thumb1FullyConnected(SpecialKernel):
    """The input is widened and then meets four rows of weights at a time; the last four may hold rows of zeros."""

    name: ClassVar[str] = "fully_connected.thumb1"
    op: ClassVar[str] = "fully_connected"
    feature: ClassVar[str] = "thumb1"
    headers: ClassVar[tuple[str, ...]] = (thumb1_matrix.HEADER,)

    def fits(self, site: Site) -> bool:
        op = _op(site)
        return thumb1_matrix.fits(op.bound(site), op.multipliers(site))

    def dims(self, site: Site) -> dict[str, int]:
        dims = _op(site).dims(site)
        outputs = dims["OUT_LENGTH"]
        return dims | {"BLOCKS": thumb1_matrix.blocks(dims["IN_LENGTH"]), "WHOLE": outputs // ROWS * ROWS,
                       "LEFT_OVER": outputs % ROWS}

    def constants(self, site: Site) -> dict[str, Array]:
        op = _op(site)
        w = site.inputs[1].data
        assert w is not None
        more = -w.shape[0] % ROWS
        return {"stream": np.concatenate(thumb1_matrix.pack(
            np.pad(w, ((0, more), (0, 0))), np.pad(op.bias(site), (0, more)),
            np.pad(op.multipliers(site).m, (0, more)), ROWS, 4 * thumb1_matrix.BLOCK_WORDS))}

    def instructions(self, site: Site) -> float:
        dims = self.dims(site)
        w = site.inputs[1].data
        assert w is not None
        fours = -(-dims["OUT_LENGTH"] // ROWS)
        return dims["ROWS"] * (60 + 16 * dims["BLOCKS"] + fours * (120 + 38 * dims["BLOCKS"])
                               + 16 * thumb1_matrix.extras(w))

    def scratch(self, site: Site) -> int:
        return 4 * thumb1_matrix.BLOCK_WORDS * thumb1_matrix.blocks(site.inputs[1].type.shape[1])


def _op(site: Site) -> FullyConnected:
    assert isinstance(site.node.op, FullyConnected)
    return site.node.op
