"""How windows of any size, stride and dilation walk over one channel that was copied to a padded plane."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import gcd

import numpy as np

from aot.costs import Work, estimate
from aot.ir import Array
from aot.ops.base import Site
from aot.ops.depthwise_conv2d import DepthwiseConv2d


@dataclass(frozen=True)
class Phase:
    """Outputs of a row whose windows lie on one grid of input columns."""

    first: int      # column of the first output
    outputs: int
    at: int         # where in a row of the plane its columns lie, even
    padding: int    # columns of the plane before those which come from the input
    source: int     # column of the input that comes first
    copied: int     # columns which come from the input


@dataclass(frozen=True)
class Walk:
    """One channel as the kernel sees it, maybe turned so that the better dimension runs along the rows.

    The columns that a row of a dilated window reads lie beside each other on the plane: dilation of columns is gone.
    """

    turned: bool
    rows: int                   # of outputs
    kernel: tuple[int, int]
    stride: int                 # from output to output of a phase, in columns of the plane
    apart: int                  # from output to output of a phase, in columns of the image
    spread: int                 # from column to column of the plane, in columns of the input
    phases: tuple[Phase, ...]
    height: int                 # of the plane
    pitch: int                  # elements from row to row of the plane, even
    pad: int                    # rows above those which come from the input
    copied: int                 # rows which come from the input
    row_step: tuple[int, int]   # rows of the plane from output to output, and from row to row of a window
    in_step: tuple[int, int]    # bytes from row to row and from column to column of the input
    out_step: tuple[int, int]

    def work(self, site: Site, block: int) -> dict[str, float]:
        """What is done, how often, if so many outputs are summed up at a time; ``line`` is a row of all their windows.

        ``filter``: around each, ``walk``: around each walk over a phase, ``copied`` and ``copied_row``: to the plane.
        """
        planes = site.inputs[0].type.shape[0] * site.inputs[0].type.shape[3]
        filters = site.inputs[0].type.shape[0] * site.output.type.shape[3]
        blocks = filters * self.rows * sum(-(-p.outputs // block) for p in self.phases)
        phases = len(self.phases)
        return {"layer": 1, "copied": planes * self.copied * sum(p.copied for p in self.phases),
                "copied_row": planes * self.copied * phases, "filter": filters, "walk": filters * phases,
                "row": filters * phases * self.rows, "block": blocks, "line": blocks * self.kernel[0]}

    def dims(self, site: Site) -> dict[str, int]:
        """The named numbers of the layer's function: ``COUNT_0`` and the others with a number are those of a phase."""
        dims = depthwise(site).dims(site)
        used = ("BATCH", "IN_C", "OUT_C", "FILTERS", "IN_ZERO", "OUT_ZERO", "OUT_MIN", "OUT_MAX")
        phases = {f"{key}_{i}": value for i, p in enumerate(self.phases) for key, value in (
            ("COUNT", p.copied), ("TO", p.at + p.padding), ("FROM", p.source * self.in_step[1]), ("AT", p.at),
            ("OUTPUTS", p.outputs), ("FIRST", p.first * self.out_step[1]))}
        return {
            **{n: dims[n] for n in used},
            "IN_BYTES": dims["IN_H"] * dims["IN_W"] * dims["IN_C"],
            "OUT_BYTES": dims["OUT_H"] * dims["OUT_W"] * dims["OUT_C"],
            "PITCH": self.pitch, "PAD_ROWS": self.pad, "COPY_ROWS": self.copied, "IN_ROW": self.in_step[0],
            "IN_COLUMN": self.spread * self.in_step[1], "KERNEL_ROWS": self.kernel[0], "KERNEL_COLUMNS": self.kernel[1],
            "ROWS": self.rows, "ROW_STEP": self.row_step[0], "WINDOW_STEP": self.row_step[1],
            "OUT_ROW": self.out_step[0], "OUT_COLUMN": self.apart * self.out_step[1], **phases,
        }


def depthwise(site: Site) -> DepthwiseConv2d:
    """The operator of the site."""
    assert isinstance(site.node.op, DepthwiseConv2d)
    return site.node.op


def best_walk(site: Site, kernel: str, work: Callable[[Walk], Work]) -> Walk:
    """Of the upright walk and the turned one that which is less work for a kernel."""
    walks = _walk(site, turned=False), _walk(site, turned=True)
    return min(walks, key=lambda walk: estimate(kernel, site.isa.name, site.goal, work(walk)))


def filters(site: Site, walk: Walk) -> Array:
    """Weights, filter after filter, each row by row as the walk sees them; int8 [outputs, kernel]."""
    w = site.inputs[1].data
    assert w is not None
    ordered = w.transpose(2, 1, 0) if walk.turned else w.transpose(2, 0, 1)
    return np.ascontiguousarray(ordered).astype(np.int8).reshape(w.shape[2], -1)


def _walk(site: Site, *, turned: bool) -> Walk:
    """The walk over an image; turned, its columns are the rows of the plane."""
    order = (1, 0) if turned else (0, 1)
    window = depthwise(site).window
    size, out = site.inputs[0].type.shape, site.output.type.shape

    def ordered(pair: tuple[int, int]) -> tuple[int, int]:
        return pair[order[0]], pair[order[1]]

    kernel, stride, dilation, pads = map(ordered, (window.kernel, window.stride, window.dilation, window.pads[:2]))
    (rows, columns), (input_rows, input_columns) = ordered((out[1], out[2])), ordered((size[1], size[2]))
    common = gcd(stride[1], dilation[1])
    apart, step = dilation[1] // common, stride[1] // common
    phases: list[Phase] = []
    pitch = 0
    for first in range(min(apart, columns)):
        outputs = -(-(columns - first) // apart)
        width = step * (outputs - 1) + kernel[1]
        start = stride[1] * first - pads[1]  # the column of the input that is the first of the plane
        padding = min(-(-max(-start, 0) // dilation[1]), width)
        source = start + padding * dilation[1]
        copied = max(min(-(-(input_columns - source) // dilation[1]), width - padding), 0)
        phases.append(Phase(first, outputs, pitch, padding, source if copied else 0, copied))
        pitch += width + width % 2
    height = stride[0] * (rows - 1) + (kernel[0] - 1) * dilation[0] + 1
    return Walk(turned, rows, kernel, step, apart, dilation[1], tuple(phases), height, pitch, pads[0],
                max(min(input_rows, height - pads[0]), 0), (stride[0], dilation[0]),
                ordered((size[2] * size[3], size[3])), ordered((out[2] * out[3], out[3])))
