"""A diagnosis as one HTML page that needs nothing beside it: tables, and plots as SVG."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from aot.emit import emit_page
from aot.errors import printable
from aot.figure import BLUE, GREY, ORANGE, drawn
from aot.health import Diagnosis, Layer

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Layers whose channels are drawn, and channels drawn at most.
DETAILED, MOST_CHANNELS = 6, 1024
#: Inches for a row of a plot, and across.
ROW, WIDTH = 0.24, 9.0


def page(found: Diagnosis) -> str:
    """The page. Refused where matplotlib is not installed."""
    layers = found.layers
    plots = [
        ("Signal-to-noise ratio of every layer's output",
         "In the quantized network, and with nothing but this layer rounded. Each 6 dB are one bit.",
         _rows(layers, _draw_noise)),
        ("Harm to the network's output",
         "Squared output error with nothing but this layer's weights or output rounded; 1 is the error of the whole.",
         _rows(layers, _draw_harm)),
        ("Ranges", "What the float network reaches on the samples (bar), and what the quantized value can hold (ends).",
         _rows(layers, _draw_ranges)),
        ("Error left as layers are put back to float", "From the most harmful on; in squared error, 1 is all rounded.",
         _figure(lambda axes: _draw_restored(axes, found), 3.0)),
    ]
    channels = [(f"Channels of {printable(layer.origin)}", f"{layer.op}: {layer.reason}.",
                 _figure(partial(_draw_channels, layer=layer), 2.2))
                for layer in found.worst()[:DETAILED] if len(layer.channels) > 1]
    return emit_page({"found": found, "plots": plots, "channels": channels, "printable": printable})


def _figure(draw: Callable[[Axes], None], height: float) -> str:
    """What is drawn, as SVG to stand inside HTML."""
    svg = drawn(draw, WIDTH, height, "svg", "the page").decode()
    return re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg"):], flags=re.DOTALL)


def _rows(layers: Sequence[Layer], draw: Callable[[Axes, Sequence[Layer], Any], None]) -> str:
    """A plot with one row a layer, the first on top."""
    def whole(axes: Axes) -> None:
        rows = np.arange(len(layers))
        draw(axes, layers, rows)
        axes.set_yticks(rows, [_short(layer.origin) for layer in layers])
        axes.set_ylim(len(layers) - 0.4, -0.6)
        axes.grid(axis="x", alpha=0.3)
    return _figure(whole, 1.0 + ROW * len(layers))


def _short(text: str) -> str:
    """A label: no markup of the plotting library in it, and not too long."""
    clean = printable(text).replace("$", "\\$")
    return clean if len(clean) <= 40 else "..." + clean[-37:]


def _draw_noise(axes: Axes, layers: Sequence[Layer], rows: Any) -> None:
    axes.barh(rows - 0.2, [min(x.sqnr_db, 80) for x in layers], 0.4, color=BLUE, label="quantized network")
    axes.barh(rows + 0.2, [min(x.own_sqnr_db, 80) for x in layers], 0.4, color=GREY, label="this layer alone")
    axes.set_xlabel("dB")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False)


def _draw_harm(axes: Axes, layers: Sequence[Layer], rows: Any) -> None:
    axes.barh(rows - 0.2, [x.weights.alone or 0 for x in layers], 0.4, color=ORANGE, label="weights")
    axes.barh(rows + 0.2, [x.output.alone or 0 for x in layers], 0.4, color=BLUE, label="output")
    axes.set_xlabel("share of the squared output error")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False)


def _draw_ranges(axes: Axes, layers: Sequence[Layer], rows: Any) -> None:
    axes.barh(rows, [x.high - x.low for x in layers], 0.5, [x.low for x in layers], color=BLUE, alpha=0.6)
    for row, layer in zip(rows, layers, strict=True):
        if layer.limits is not None:
            axes.plot(layer.limits, [row, row], "|", color="black", markersize=9)
    axes.set_xscale("symlog", linthresh=1.0)
    axes.set_xlabel("value")


def _draw_restored(axes: Axes, found: Diagnosis) -> None:
    axes.plot([0, *range(1, len(found.restored) + 1)], [1.0, *(max(r.left, 1e-9) for r in found.restored)], "o-",
              color=ORANGE, markersize=3)
    axes.set_yscale("log")
    axes.set_ylim(1e-5, None)
    axes.set_xlabel("layers in float")
    axes.set_ylabel("error left")
    axes.grid(alpha=0.3)


def _draw_channels(axes: Axes, layer: Layer) -> None:
    """Signal-to-noise ratio by channel, and the size of its weights (or its range, where there are none)."""
    chosen = layer.channels[:MOST_CHANNELS]
    axes.bar(range(len(chosen)), [min(c.sqnr_db, 80) for c in chosen], color=BLUE, width=1.0)
    axes.set_xlabel("channel")
    axes.set_ylabel("output, dB", color=BLUE)
    weighted = any(c.largest_weight for c in chosen)
    sizes = [(c.largest_weight or 0.0) if weighted else max(c.high, -c.low) for c in chosen]
    smallest = min((s for s in sizes if s > 0), default=1.0)
    other = axes.twinx()
    other.plot(range(len(chosen)), [max(s, smallest) for s in sizes], ".", color=ORANGE)
    other.set_yscale("log")
    other.set_ylabel("largest weight" if weighted else "largest value", color=ORANGE)
