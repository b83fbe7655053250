"""Convolution of single pixels with 4-bit weights for Arm DSP: as the general one, without windows."""

from __future__ import annotations

from typing import ClassVar

from aot.kernels.dsp_conv2d import DspConv2d
from aot.kernels.dsp_pointwise import DspPointwise
from aot.kernels.dsp_s4_conv2d import DspS4Conv2d


class DspS4Pointwise(DspS4Conv2d):
    """Kernel 1 x 1, stride 1, no padding, channels in fours."""

    name: ClassVar[str] = "conv2d.dsp_pointwise_s4"
    wide: ClassVar[DspConv2d] = DspPointwise()
