"""What goes to the terminal: tables, warnings, progress."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Column, Table

from aot.errors import Problem, printable
from aot.front import Front
from aot.health import Diagnosis
from aot.verify import Verification

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)
#: Layers in the table of the doctor.
MOST_ROWS = 16


def warn(problem: Problem) -> None:
    """A warning."""
    err.print(f"[bold yellow]warning:[/] {escape(str(problem))}")


@contextmanager
def progress(title: str) -> Iterator[Any]:
    """A progress bar on a terminal, nothing in a pipe."""
    with Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=err, transient=True,
                  disable=not err.is_terminal) as bar:
        task = bar.add_task(title, total=None)

        def tick(done: int, total: int, stage: str = title) -> None:
            bar.update(task, description=stage, completed=done, total=total)

        yield tick


def front_table(front: Front) -> None:
    """What a search found."""
    head, *rows = front.table
    table = Table(*(Column(c, no_wrap=True, justify="left" if i < 2 else "right") for i, c in enumerate(head)),
                  box=SIMPLE, padding=(0, 1, 0, 0), pad_edge=False)
    for row in rows:
        table.add_row(*map(escape, row))
    out.print(table)
    for line in front.legend:
        out.print(escape(line))


def diagnosis(found: Diagnosis) -> None:
    """What the doctor found."""
    def number(x: float | None, form: str = ".1f") -> str:
        return "-" if x is None else f"{x:{form}}"
    columns = [Column(c, no_wrap=True, justify="right") for c in
               ("dB", "alone", "weights", "clipped", "harm w.", "harm o.")]
    table = Table(Column("layer", no_wrap=True), *columns, box=SIMPLE, padding=(0, 1, 0, 0), pad_edge=False)
    for x in found.worst()[:MOST_ROWS]:
        name = printable(x.origin)
        table.add_row(escape(name if len(name) <= 28 else f"...{name[-25:]}"), number(x.sqnr_db), number(x.own_sqnr_db),
                      number(x.weights_sqnr_db), f"{100 * x.clipped:.2f} %", number(x.weights.alone, ".3f"),
                      number(x.output.alone, ".3f"))
    if len(found.layers) > MOST_ROWS:
        table.caption = f"the {MOST_ROWS} most harmful of {len(found.layers)} layers; all: --json, --html"
    out.print(table)
    out.print("dB: signal-to-noise ratio of the output in the network, with this layer alone rounded; of the weights")
    out.print("harm: squared error of the network's output with its weights, or its output, alone rounded (1: all)\n")
    for line in found.verdict:
        out.print(escape(printable(line)))


def verification(v: Verification, precision: str) -> None:
    """How float, twin and C compare."""
    def percent(x: float | None) -> str:
        return "-" if x is None else f"{100 * x:.2f} %"
    table = Table("layer", "type", "SQNR dB")
    for layer in v.layers:
        table.add_row(escape(printable(layer.name)), layer.type, f"{layer.sqnr_db:.1f}")
    out.print(table)
    out.print(f"samples            {v.samples}")
    if v.metric == "top1":
        out.print(f"accuracy           float {percent(v.float_)}, {precision} {percent(v.quantized)}")
    elif v.metric is not None:
        out.print(f"{v.metric:<19}float {v.float_:.6g}, {precision} {v.quantized:.6g}")
    out.print(f"agreement          {percent(v.agreement)}")
    out.print(f"mean abs. error    {v.mean_abs_error:.6g}  (SQNR {v.sqnr_db:.1f} dB)")
    out.print(f"clipped inputs     {v.clipped:,} of {v.inputs:,} elements leave the calibrated range")
    out.print(f"C equals its twin  {v.elements - v.mismatches:,} of {v.elements:,} elements")
