"""Fully connected layer where only 32 bits are multiplied: four rows at a time, two products in each multiplication."""

from __future__ import annotations

from typing import ClassVar

from aot.costs import Work
from aot.ir import Array
from aot.kernels import mul32_matrix
from aot.kernels.base import SpecialKernel
from aot.ops.base import Site
from aot.ops.fully_connected import FullyConnected

#: At most so many rows have a sum each in working memory, and so many blocks of the input are widened at a time; more
#: than that is widened again for the next rows. It bounds the working memory.
MOST_ROWS, MOST_BLOCKS = 32, 40


class Mul32FullyConnected(SpecialKernel):
    """The input is widened, in parts if it is long, and meets four rows of weights at a time."""

    name: ClassVar[str] = "fully_connected.mul32"
    op: ClassVar[str] = "fully_connected"
    feature: ClassVar[str] = "mul32"
    headers: ClassVar[tuple[str, ...]] = (mul32_matrix.HEADER, "aot_mul32_rows.h")

    def fits(self, site: Site) -> bool:
        op = _op(site)
        return mul32_matrix.fits(op.bound(site), op.multipliers(site))

    def dims(self, site: Site) -> dict[str, int]:
        dims = _op(site).dims(site)
        return dims | {"MOST_ROWS": min(MOST_ROWS, -(-dims["OUT_LENGTH"] // 4) * 4),
                       "BLOCKS": mul32_matrix.blocks(dims["IN_LENGTH"]), "MOST_BLOCKS": MOST_BLOCKS}

    def constants(self, site: Site) -> dict[str, Array]:
        op = _op(site)
        w = site.inputs[1].data
        assert w is not None
        return {"stream": mul32_matrix.pack_rows(w, op.bias(site), op.multipliers(site).m, MOST_ROWS, MOST_BLOCKS)}

    def work(self, site: Site) -> Work:
        dims = self.dims(site)
        w = site.inputs[1].data
        assert w is not None
        n, fours = dims["BLOCKS"], -(-dims["OUT_LENGTH"] // 4)
        widened = n * (-(-dims["OUT_LENGTH"] // MOST_ROWS) if n > MOST_BLOCKS else 1)
        work = {"row": 1, "widened": widened, "four": fours, "part": fours * -(-n // MOST_BLOCKS), "block": fours * n,
                "extra": mul32_matrix.extras(w)}
        return {item: dims["ROWS"] * count for item, count in work.items()}

    def scratch(self, site: Site) -> int:
        dims = self.dims(site)
        return 4 * (dims["MOST_ROWS"] + mul32_matrix.BLOCK_WORDS * min(dims["BLOCKS"], MOST_BLOCKS))


def _op(site: Site) -> FullyConnected:
    assert isinstance(site.node.op, FullyConnected)
    return site.node.op
