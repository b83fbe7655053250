"""Addition for Arm MVE: sixteen outputs at a time."""

from __future__ import annotations

from typing import ClassVar

from aot.costs import Work
from aot.kernels import mve_matrix
from aot.kernels.dsp_add import DspAdd
from aot.numerics import INT32_MAX
from aot.ops.base import Site


class MveAdd(DspAdd):
    """Two computed inputs of the output's own shape, and no activation that int8 does not saturate to anyway."""

    name: ClassVar[str] = "add.mve"
    feature: ClassVar[str] = "mve"
    headers: ClassVar[tuple[str, ...]] = (mve_matrix.HEADER,)

    def fits(self, site: Site) -> bool:
        return super().fits(site) and self._rounded(site) is not None

    def dims(self, site: Site) -> dict[str, int]:
        rounded = self._rounded(site)
        assert rounded is not None
        return super().dims(site) | {"ROUNDED": rounded}

    def _rounded(self, site: Site) -> int | None:
        """The constant without the halves which the shifts add, if no sum leaves 32 bits with it.

        A shift by more than 16 bits is one by 16 and another.
        """
        dims = super().dims(site)
        shift = dims["SHIFT"]
        rounded = dims["CONSTANT"] - 2**(shift - 1) - (2**15 if shift > 16 else 0)
        largest = abs(rounded) + 128 * (abs(dims["A_MULTIPLIER"]) + abs(dims["B_MULTIPLIER"]))
        return rounded if largest <= INT32_MAX else None

    def work(self, site: Site) -> Work:
        size = site.output.type.size
        return {"layer": 1, "vector": size // 16, "rest": size % 16}
