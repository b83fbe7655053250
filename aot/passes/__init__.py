"""Graph to Graph, in float: the ordered list of passes, each verified before the next one runs."""

from __future__ import annotations

from collections.abc import Callable

from aot.errors import AotError
from aot.ir import Graph, check
from aot.passes.crop import crop
from aot.passes.fold import fold_constants
from aot.passes.fuse import fuse_clamps, fuse_pads, fuse_scales, scales_to_depthwise
from aot.passes.grids import settle
from aot.passes.layout import layout
from aot.passes.lift import lift
from aot.passes.shrink import shrink

PASSES: tuple[Callable[[Graph], Graph], ...] = (
    fold_constants,  # what depends on no input
    settle,  # roundings that a quantized model repeats
    layout,  # NHWC everywhere; exporters' transposes and reshapes vanish
    lift,  # activations and scales of 1-D layers, to where they can be fused
    settle,  # roundings that came next to each other
    fuse_pads,  # Pad + Conv
    fuse_scales,  # Conv + Mul + Add: batch normalization, bias
    fuse_clamps,  # Conv + Relu, Clip
    fuse_scales,  # scales which stood behind a pad or reshape
    scales_to_depthwise,  # normalization with no layer to go into
    fuse_clamps,  # activations behind those
    crop,  # places that nobody reads
    shrink,  # channels that are constant, or that nobody reads
)


def run_passes(graph: Graph, passes: tuple[Callable[[Graph], Graph], ...] = PASSES) -> Graph:
    """The graph after all passes. A pass that breaks it is named in the error, with those that ran before."""
    check(graph)
    done: list[str] = []
    for function in passes:
        try:
            graph = function(graph)
            check(graph)
        except AotError as error:
            raise AotError(f"internal error in pass {function.__name__}: {error}",
                           f"please report this model; passes before it: {', '.join(done) or 'none'}") from error
        done.append(function.__name__)
    return graph
