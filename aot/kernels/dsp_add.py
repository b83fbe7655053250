"""Addition for Arm DSP: both products of an output in one instruction."""

from __future__ import annotations

from typing import ClassVar

from aot.costs import Work
from aot.ir import Array
from aot.kernels.base import SpecialKernel
from aot.ops.add import Add
from aot.ops.base import Site


class DspAdd(SpecialKernel):
    """Two computed inputs of the output's own shape, and no activation that int8 does not saturate to anyway."""

    name: ClassVar[str] = "add.dsp"
    op: ClassVar[str] = "add"
    feature: ClassVar[str] = "dsp"

    def fits(self, site: Site) -> bool:
        dims = _op(site).dims(site)
        return (not _op(site).fine and (dims["OUT_MIN"], dims["OUT_MAX"]) == (-128, 127)
                and all(v.type.shape == site.output.type.shape for v in site.inputs))

    def work(self, site: Site) -> Work:
        return {"layer": 1, "outputs": site.output.type.size}

    def dims(self, site: Site) -> dict[str, int]:
        a, b, constant, shift = _op(site).fixed_point(site)
        return {"LENGTH": site.output.type.size, "A_MULTIPLIER": a, "B_MULTIPLIER": b, "CONSTANT": constant,
                "SHIFT": shift}

    def constants(self, site: Site) -> dict[str, Array]:
        return {}


def _op(site: Site) -> Add:
    assert isinstance(site.node.op, Add)
    return site.node.op
