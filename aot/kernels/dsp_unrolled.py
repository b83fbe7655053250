"""Convolution for Arm DSP whose inner product is code for one depth: no counters, constant offsets."""

from __future__ import annotations

from typing import ClassVar

from aot.kernels import dsp_matrix
from aot.kernels.base import SharedFunction
from aot.kernels.dsp_conv2d import PIXELS, DspConv2d
from aot.kernels.dsp_pointwise import DspPointwise
from aot.ops.base import Site
from aot.ops.conv2d import Conv2d

#: Blocks of four elements in the body of the loop along a sum at most.
MOST_BLOCKS = 32
#: Offsets in store instructions have 12 bits; that of the third pixel is twice the distance between pixels.
LARGEST_STEP = 4095 // 2
#: Tiles are gone back over in one instruction with a constant of 12 bits.
DEEPEST = 4095 // 24


class DspConv2dUnrolled(DspConv2d):
    """The general convolution; partial tiles go the way of all depths."""

    name: ClassVar[str] = "conv2d.dsp_unrolled"

    def fits(self, site: Site) -> bool:
        return _fits(site) and super().fits(site)

    def instructions(self, site: Site) -> float:
        return super().instructions(site) - _saved(self.dims(site))

    def pieces(self, site: Site) -> int:
        return _body(self.dims(site)["BLOCKS"])

    def shared(self, site: Site) -> SharedFunction:
        return _function(site, self.dims(site))


class DspPointwiseUnrolled(DspPointwise):
    """Single pixels; partial tiles go the way of all depths."""

    name: ClassVar[str] = "conv2d.dsp_pointwise_unrolled"

    def fits(self, site: Site) -> bool:
        return _fits(site) and super().fits(site)

    def instructions(self, site: Site) -> float:
        return super().instructions(site) - _saved(self.dims(site))

    def pieces(self, site: Site) -> int:
        return _body(self.dims(site)["BLOCKS"])

    def shared(self, site: Site) -> SharedFunction:
        return _function(site, self.dims(site))


def _fits(site: Site) -> bool:
    weights = site.inputs[1].type
    return (site.output.type.shape[3] <= LARGEST_STEP
            and dsp_matrix.blocks(weights.size // weights.shape[0]) <= DEEPEST)


def _turns(blocks: int) -> int:
    """Turns of the loop along a sum."""
    return -(-blocks // MOST_BLOCKS)


def _body(blocks: int) -> int:
    """Blocks in its body."""
    return -(-blocks // _turns(blocks))


def _saved(dims: dict[str, int]) -> float:
    """Instructions that the code for any depth would take in addition."""
    blocks, turns = dims["BLOCKS"], _turns(dims["BLOCKS"])
    pair = 11 + 0.75 * blocks - (4 + 4 * turns if turns > 1 else 0)
    return dims.get("BATCH", 1) * (dims["PIXELS"] // PIXELS) * (dims["OUT_C"] // 2) * pair


def _function(site: Site, dims: dict[str, int]) -> SharedFunction:
    blocks, step, op = dims["BLOCKS"], dims["OUT_C"], site.node.op
    assert isinstance(op, Conv2d)
    turns, body = _turns(blocks), _body(blocks)
    return SharedFunction(f"matrix_{blocks}_blocks_step{step}{op.residual_name(site)}", "conv2d.dsp_matrix", {
        "BLOCKS": blocks, "STEP": step, "TURNS": turns, "BODY": body, "SKIPPED": turns * body - blocks,
        "RESIDUAL": int(op.residual), **op.residual_dims(site)})
