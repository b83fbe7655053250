"""What a search found, as a picture: flash against instructions, and what each choice loses."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from aot.errors import printable
from aot.figure import BLUE, GREY, ORANGE, drawn, ready
from aot.front import Front, Point

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Inches.
WIDTH, HEIGHT = 7.5, 5.0
WHAT = "the picture"


def check(format: str) -> None:
    """Refuse a picture that could not be drawn, before work is done for it."""
    ready(_plain(format), WHAT)


def draw(front: Front, format: str) -> bytes:
    """A file of that format (``svg``, ``png`` or ``pdf``). Refused where matplotlib is not installed."""
    return drawn(partial(_draw, front=front), WIDTH, HEIGHT, _plain(format), WHAT)


def _plain(format: str) -> str:
    return format.removeprefix(".").lower()


def _draw(axes: Axes, front: Front) -> None:
    beaten = [p for p in front.references if p not in front.points]
    for points, color, label in (
            ([p for p in front.points if p.loss.points <= front.max_loss], BLUE,
             f"loses at most {front.max_loss:g} points"),
            ([p for p in front.points if p.loss.points > front.max_loss], ORANGE, "loses more"),
            (beaten, GREY, "beaten by another")):
        if points:
            axes.scatter([p.flash / 1000 for p in points], [p.instructions / 1e6 for p in points], 26, color=color,
                         label=label)
    chosen = front.chosen
    axes.scatter([chosen.flash / 1000], [chosen.instructions / 1e6], 120, facecolors="none", edgecolors="black",
                 label="taken")
    for p in (*front.points, *beaten):
        axes.annotate(_label(p), (p.flash / 1000, p.instructions / 1e6), (4, 4), textcoords="offset points", fontsize=6)
    axes.set_xlabel("flash, 1000 bytes")
    axes.set_ylabel("million instructions of an inference")
    title = f"{front.name} for {front.target}, optimized for {front.optimize}; in brackets: points lost"
    axes.set_title(printable(title))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)


def _label(p: Point) -> str:
    return f"{p.name} ({p.loss.points:.2f})"
