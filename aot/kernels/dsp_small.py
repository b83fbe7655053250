"""What the small kernels share: a table of a layer's numbers instead of a function of its own."""

from __future__ import annotations

from typing import ClassVar

from aot.kernels.base import SpecialKernel
from aot.ops.base import Site
from aot.ops.conv2d import Conv2d
from aot.ops.depthwise_conv2d import DepthwiseConv2d

#: The fields of ``aot_small_layer``, by the operators' names for them; the number of blocks comes last.
FIELDS = ("IN_H", "IN_W", "IN_C", "OUT_H", "OUT_W", "OUT_C", "KERNEL_H", "KERNEL_W", "STRIDE_H", "STRIDE_W",
          "DILATION_H", "DILATION_W", "PAD_TOP", "PAD_LEFT", "IN_ZERO", "OUT_ZERO", "OUT_MIN", "OUT_MAX")


class Small(SpecialKernel):
    """One C function for all layers of a kind: for the goal size."""

    feature: ClassVar[str] = "dsp"
    headers: ClassVar[tuple[str, ...]] = ("aot_dsp_matrix.h", "aot_dsp_plane.h", "aot_dsp_small.h")

    def suits(self, site: Site) -> bool:
        """Whether the goal asks for it and the numbers fit the table."""
        numbers = self.table(site)
        return site.goal == "size" and site.output.type.shape[0] == 1 and max(map(abs, numbers)) < 2**15

    def table(self, site: Site) -> tuple[int, ...]:
        """The numbers of the layer, but for the blocks."""
        op = site.node.op
        assert isinstance(op, Conv2d | DepthwiseConv2d)
        dims = op.dims(site)
        return tuple(dims[field] for field in FIELDS)
