"""Drawing, with matplotlib: what the pages and pictures of this program have in common."""

from __future__ import annotations

import io
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING

from aot.errors import AotError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Colours that are told apart without seeing red and green.
BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#999999"
#: Formats, and what not to write into files of each, so that the same data give the same bytes.
FORMATS = {"svg": {"Date": None, "Creator": None}, "png": {"Software": None},
           "pdf": {"CreationDate": None, "Creator": None, "Producer": None}}


def ready(format: str, what: str) -> None:
    """Refuse what cannot be drawn: another format than those, or any where matplotlib is not installed.

    ``what`` is what is to be drawn.
    """
    if format not in FORMATS:
        raise AotError(f"{what} cannot be written as {format or 'a file without suffix'!r}",
                       f"choose a name that ends in .{', .'.join(FORMATS)}")
    if find_spec("matplotlib") is None:
        raise AotError(f"{what} needs matplotlib, which is not installed", "pip install 'aot[html]', or use --json")


def drawn(draw: Callable[[Axes], None], width: float, height: float, format: str, what: str) -> bytes:
    """A figure of so many inches, as a file of one of :data:`FORMATS`; see :func:`ready`."""
    ready(format, what)
    import matplotlib
    from matplotlib.figure import Figure
    with matplotlib.rc_context({"svg.hashsalt": "aot", "svg.fonttype": "none", "font.size": 8}):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots()
        axes.spines[["top", "right"]].set_visible(False)
        draw(axes)
        content = io.BytesIO()
        figure.savefig(content, format=format, metadata=FORMATS[format], dpi=150)
    return content.getvalue()
