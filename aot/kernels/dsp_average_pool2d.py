"""Average over the whole image for Arm DSP: four channels at a time, sums of two in a word."""

from __future__ import annotations

from typing import ClassVar

from aot.costs import Work
from aot.ir import Array
from aot.kernels.base import SpecialKernel
from aot.ops.average_pool2d import AveragePool2d
from aot.ops.base import Site

#: So many int8 numbers have a sum of 16 bits.
MOST_PIXELS = 255


class DspAveragePool2d(SpecialKernel):
    """One window, which is the whole image, of at most 255 pixels; channels in fours."""

    name: ClassVar[str] = "average_pool2d.dsp"
    op: ClassVar[str] = "average_pool2d"
    feature: ClassVar[str] = "dsp"

    def fits(self, site: Site) -> bool:
        window, shape = _op(site).window, site.inputs[0].type.shape
        return (window.kernel == shape[1:3] and window.dilation == (1, 1) and not any(window.pads)
                and shape[1] * shape[2] <= MOST_PIXELS and shape[3] % 4 == 0)

    def work(self, site: Site) -> Work:
        return {"layer": 1, "inputs": site.inputs[0].type.size, "outputs": site.output.type.size}

    def dims(self, site: Site) -> dict[str, int]:
        dims = _op(site).dims(site)
        used = ("BATCH", "IN_C", "IN_ZERO", "OUT_ZERO", "OUT_MIN", "OUT_MAX", "SHIFT")
        return {"PIXELS": dims["IN_H"] * dims["IN_W"], **{n: dims[n] for n in used},
                "MULTIPLIER": int(_op(site).constants(site)["multipliers"][-1])}

    def constants(self, site: Site) -> dict[str, Array]:
        return {}


def _op(site: Site) -> AveragePool2d:
    assert isinstance(site.node.op, AveragePool2d)
    return site.node.op
