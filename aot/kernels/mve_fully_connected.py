"""Fully connected layer for Arm MVE: eight rows of weights at a time, 16 products in one instruction."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from aot.costs import Work
from aot.ir import Array
from aot.kernels import mve_matrix
from aot.kernels.base import SharedFunction, SpecialKernel
from aot.ops.base import Site
from aot.ops.fully_connected import FullyConnected

#: Sums of so many vectors are straight code, whose offsets fit into the instructions.
MOST_STRAIGHT = 8
#: The multipliers of eight channels in the order of the requantization: even ones, then odd ones.
EIGHT = np.array([0, 2, 4, 6, 1, 3, 5, 7])


class MveFullyConnected(SpecialKernel):
    """Each vector of the input meets eight rows of weights; what is left over of them comes in fours."""

    name: ClassVar[str] = "fully_connected.mve"
    op: ClassVar[str] = "fully_connected"
    feature: ClassVar[str] = "mve"
    headers: ClassVar[tuple[str, ...]] = (mve_matrix.HEADER,)
    all_bytes: ClassVar[bool] = True

    def fits(self, site: Site) -> bool:
        return _op(site).multipliers(site).shift == 0

    def dims(self, site: Site) -> dict[str, int]:
        dims = _op(site).dims(site)
        n, outputs = mve_matrix.blocks(dims["IN_LENGTH"]), dims["OUT_LENGTH"]
        return dims | {"EIGHTS": outputs // 8, "FOURS": outputs % 8 // 4, "LEFT_OVER": outputs % 4,
                       "WHOLE_WORDS": outputs // 4 * 4 * (2 + 4 * n)}

    def constants(self, site: Site) -> dict[str, Array]:
        op = _op(site)
        w = site.inputs[1].data
        assert w is not None
        bias, mult = op.bias(site), op.multipliers(site).m
        whole = len(bias) // 8 * 8
        swapped = mult[:whole].reshape(-1, 8)[:, EIGHT].reshape(-1)
        rest = mve_matrix.order(len(bias), 4)[whole:]
        return {"stream": np.concatenate([
            mve_matrix.pack(w[:whole], (bias[:whole], swapped), 8).reshape(-1),
            mve_matrix.pack(w[rest], (bias[rest], mult[rest]), 4).reshape(-1)])}

    def shared(self, site: Site) -> SharedFunction:
        loop = _loop(self.dims(site))
        name = f"row_{loop['BLOCKS']}" + "_by8" * loop["EIGHTS"] + "_by4" * loop["FOURS"]
        return SharedFunction(name, "fully_connected.mve_row", loop)

    def pieces(self, site: Site) -> int:
        loop = _loop(self.dims(site))
        return (loop["BLOCKS"] - max(loop["TURNS"] - 1, 0) * loop["UNROLL"]) * (2 * loop["EIGHTS"] + loop["FOURS"])

    def work(self, site: Site) -> Work:
        dims = self.dims(site)
        n, fours = mve_matrix.blocks(dims["IN_LENGTH"]), dims["FOURS"] + bool(dims["LEFT_OVER"])
        work = {"row": 1, "eight": dims["EIGHTS"], "eight_block": dims["EIGHTS"] * n, "four": fours,
                "four_block": fours * n}
        return {item: dims["ROWS"] * count for item, count in work.items()}

    def scratch(self, site: Site) -> int:
        length = site.inputs[1].type.shape[1]
        return mve_matrix.VECTOR * mve_matrix.blocks(length) if length % mve_matrix.VECTOR else 0


def _loop(dims: dict[str, int]) -> dict[str, int]:
    """The code along a row: straight, or a loop of some blocks and those that are left before it."""
    n = mve_matrix.blocks(dims["IN_LENGTH"])
    unroll = 1 if n <= MOST_STRAIGHT else min(range(4, 8), key=lambda u: u + n % u)
    return {"BLOCKS": n, "UNROLL": unroll, "TURNS": n // unroll if n > MOST_STRAIGHT else 0,
            "EIGHTS": int(dims["EIGHTS"] > 0), "FOURS": int(dims["FOURS"] + dims["LEFT_OVER"] > 0)}


def _op(site: Site) -> FullyConnected:
    assert isinstance(site.node.op, FullyConnected)
    return site.node.op
