"""Average over the whole image for Arm MVE: eight channels at a time."""

from __future__ import annotations

from typing import ClassVar

from aot.costs import Work
from aot.kernels import mve_matrix
from aot.kernels.dsp_average_pool2d import DspAveragePool2d
from aot.ops.base import Site


class MveAveragePool2d(DspAveragePool2d):
    """One window, which is the whole image, of at most 255 pixels; channels in eights."""

    name: ClassVar[str] = "average_pool2d.mve"
    feature: ClassVar[str] = "mve"
    headers: ClassVar[tuple[str, ...]] = (mve_matrix.HEADER,)

    def fits(self, site: Site) -> bool:
        return super().fits(site) and site.output.type.shape[3] % 8 == 0

    def work(self, site: Site) -> Work:
        return {"layer": 1, "inputs": site.inputs[0].type.size, "outputs": site.output.type.size}
