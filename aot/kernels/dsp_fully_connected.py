"""Fully connected layer for Arm DSP: four rows at a time, weights in pairs of halfwords."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from aot.costs import Work
from aot.ir import Array
from aot.kernels import dsp_matrix
from aot.kernels.base import SpecialKernel
from aot.ops.base import Site
from aot.ops.exact import packable
from aot.ops.fully_connected import FullyConnected

ROWS = 4
#: At most so many blocks of the input are widened beforehand; the others are widened again for every four rows, at 3
#: instructions in 17 more. It bounds the working memory, except where speed is all that counts.
MOST_WIDE = 80


class DspFullyConnected(SpecialKernel):
    """The input is widened and then meets four rows of weights at a time; the last four may hold rows of zeros.

    Multipliers are short where they can be, except where speed is all that counts: an instruction a row more.
    """

    name: ClassVar[str] = "fully_connected.dsp"
    op: ClassVar[str] = "fully_connected"
    feature: ClassVar[str] = "dsp"
    headers: ClassVar[tuple[str, ...]] = (dsp_matrix.HEADER, "aot_dsp_rows.h")
    all_bytes: ClassVar[bool] = True

    def fits(self, site: Site) -> bool:
        op, w = _op(site), site.inputs[1].data
        assert w is not None
        return dsp_matrix.fits(op.bound(site), op.multipliers(site)) and packable(w)

    def dims(self, site: Site) -> dict[str, int]:
        dims = _op(site).dims(site)
        n, outputs = dsp_matrix.blocks(dims["IN_LENGTH"]), dims["OUT_LENGTH"]
        wide, exponent = _wide(site), _exponent(site)
        row = n + (2 if exponent is None else 1.5)
        return dims | {"BYTE_BLOCKS": n - wide, "WIDE_BLOCKS": wide, "WHOLE_FOURS": outputs // ROWS,
                       "LEFT_OVER": outputs % ROWS, "WHOLE_WORDS": int(outputs // ROWS * ROWS * row),
                       "SHORT": int(exponent is not None), "LAST_SHIFT": 8 if exponent is None else 24 - exponent}

    def constants(self, site: Site) -> dict[str, Array]:
        op = _op(site)
        w = site.inputs[1].data
        assert w is not None
        more, exponent = -w.shape[0] % ROWS, _exponent(site)
        mult = np.pad(op.multipliers(site).m, (0, more)) >> (exponent or 0)
        return {"stream": dsp_matrix.pack(np.pad(w, ((0, more), (0, 0))), np.pad(op.bias(site), (0, more)), mult, ROWS,
                                          exponent is not None)}

    def work(self, site: Site) -> Work:
        dims = self.dims(site)
        rows, fours = dims["ROWS"], dims["ROWS"] * (dims["WHOLE_FOURS"] + bool(dims["LEFT_OVER"]))
        return {"row": rows, "widened": rows * dims["WIDE_BLOCKS"], "four": fours, "short": fours * dims["SHORT"],
                "wide_block": fours * dims["WIDE_BLOCKS"], "byte_block": fours * dims["BYTE_BLOCKS"]}

    def variant(self, site: Site) -> str:
        return "long" if _exponent(site) is None else "short"

    def scratch(self, site: Site) -> int:
        return 8 * _wide(site)


def _wide(site: Site) -> int:
    """Blocks of the input that are widened beforehand."""
    n = dsp_matrix.blocks(site.inputs[1].type.shape[1])
    return n if site.goal == "speed" else min(n, MOST_WIDE)


def _exponent(site: Site) -> int | None:
    """What short multipliers are shifted by, or None for long ones."""
    return None if site.goal == "speed" else dsp_matrix.exponent(_op(site).multipliers(site))


def _op(site: Site) -> FullyConnected:
    assert isinstance(site.node.op, FullyConnected)
    return site.node.op
