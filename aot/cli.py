"""The command line: parses, calls, prints; nothing else."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

import aot
from aot import bench as bench_model
from aot import data as sample_data
from aot.calibrate import DEFAULT_METHOD, METHODS
from aot.compiler import Net
from aot.errors import AotError, printable
from aot.inspect import inspect as inspect_model
from aot.targets import OPTIMIZE_FLAGS, TARGETS
from aot.verify import Verification
from aot.verify import verify as verify_net
from aot.write import write

app = typer.Typer(name="aot", help="Compile neural networks to fixed-point C for microcontrollers.",
                  no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
_out = Console(highlight=False, soft_wrap=True)
_err = Console(stderr=True, highlight=False, soft_wrap=True)


class Goal(StrEnum):
    """--optimize"""

    speed = "speed"
    balanced = "balanced"
    size = "size"


class Precision(StrEnum):
    """--precision"""

    int8 = "int8"
    int16 = "int16"
    int16x8 = "int16x8"
    int4 = "int4"
    float32 = "float32"
    auto = "auto"


class Method(StrEnum):
    """--calibration"""

    mse = "mse"
    minmax = "minmax"
    percentile = "percentile"


DEFAULT = Method(DEFAULT_METHOD)
assert [*Goal] == [*OPTIMIZE_FLAGS] and [*Method] == [*METHODS]

Model = Annotated[str, typer.Argument(metavar="MODEL", help="ONNX file.")]
Data = Annotated[str | None, typer.Option(help="Calibration samples, .npz.")]
TargetName = Annotated[str, typer.Option("--target", help="See `aot targets`.")]
Name = Annotated[str | None, typer.Option(help="C identifier; default: the model's file name.")]
Optimize = Annotated[Goal, typer.Option(help="What to favour.")]
Format = Annotated[Precision, typer.Option(help="Number format.")]
Calibration = Annotated[Method, typer.Option(help="How ranges are chosen from the calibration samples.")]
Ram = Annotated[int | None, typer.Option(metavar="BYTES", min=0,
                                         help="Bytes of arena to stay within, if need be at the cost of speed.")]
Flash = Annotated[int | None, typer.Option(metavar="BYTES", min=0,
                                           help="Refuse a network that needs more for its weights.")]
Json = Annotated[str | None, typer.Option("--json", metavar="FILE", help="Write the result as JSON; - for stdout.")]


def _version(wanted: bool) -> None:
    if wanted:
        _out.print(f"aot {aot.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False,
) -> None:
    """Compile neural networks to fixed-point C for microcontrollers."""


@app.command("compile")
def compile_command(
    model: Model,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder for the generated project.")],
    data: Data = None, target: TargetName = "c99", name: Name = None, optimize: Optimize = Goal.balanced,
    precision: Format = Precision.int8, calibration: Calibration = DEFAULT,
    ram: Ram = None, flash: Flash = None,
) -> None:
    """Compile MODEL to a folder of C sources."""
    net = _compile(model, data, target, name, optimize, precision, calibration, ram, flash)
    net.write(output)
    _out.print(escape(str(net.report)))
    _out.print(f"written to {escape(printable(str(output)))}")


@app.command("verify")
def verify_command(
    model: Model,
    data: Annotated[str, typer.Option(help="Evaluation samples, .npz, with labels y if there are any.")],
    calib: Annotated[str | None, typer.Option(help="Calibration samples; default: the evaluation samples.")] = None,
    target: TargetName = "c99", name: Name = None, optimize: Optimize = Goal.balanced,
    precision: Format = Precision.int8, calibration: Calibration = DEFAULT,
    ram: Ram = None, flash: Flash = None, json_file: Json = None,
) -> None:
    """Compare the float model, the numpy twin and the compiled C, layer by layer."""
    net = _compile(model, calib if calib is not None else data, target, name, optimize, precision, calibration, ram,
                   flash)
    samples = sample_data.load(data, net.float_graph, "the evaluation data")
    with _progress("verifying") as tick:
        result = verify_net(net, samples, tick)
    _write_json(json_file, result.as_json())
    if json_file != "-":
        _print_verification(result, str(precision))
    if result.mismatches:
        raise AotError(f"the compiled C differs from its numpy twin in {result.mismatches} of "
                       f"{result.elements} elements, first in {result.first_mismatch}",
                       "this is an error in the compiler; please report it")


@app.command("bench")
def bench_command(
    model: Model,
    target: Annotated[str, typer.Option(help="See `aot targets`.")],
    data: Data = None, name: Name = None, optimize: Optimize = Goal.balanced, precision: Format = Precision.int8,
    calibration: Calibration = DEFAULT, ram: Ram = None, flash: Flash = None, json_file: Json = None,
) -> None:
    """Run MODEL on an emulated board: instructions, bytes of flash and RAM, and bytes equal to this machine's."""
    net = _compile(model, data, target, name, optimize, precision, calibration, ram, flash)
    result = bench_model.bench(net)
    _write_json(json_file, result.as_json())
    if json_file != "-":
        _out.print(escape(str(result)))


@app.command("inspect")
def inspect_command(model: Model) -> None:
    """Show what MODEL holds: operators, shapes, MACs, parameters, and what is not supported and why."""
    found = inspect_model(model)
    _out.print(escape(found.table()))


@app.command("targets")
def targets_command() -> None:
    """List the known targets."""
    table = Table("target", "kernels", "compiler", "emulated by", "description")
    for t in TARGETS.values():
        table.add_row(t.name, t.isa.name, t.compiler, " ".join(t.emulator[:3]), t.description)
    _out.print(table)


def main() -> None:
    """Entry point: refusals become a message and exit status 1."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a name in letters which the terminal does not have is no reason to stop
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            app()
        finally:
            sys.stdout.flush()  # what cannot be written shows here, and not when Python ends
    except AotError as error:
        for problem in error.problems:
            _err.print(f"[bold red]error:[/] {escape(str(problem))}")
        sys.exit(1)
    except MemoryError:
        _err.print("[bold red]error:[/] the memory of this machine is not enough for this model")
        sys.exit(1)
    except OSError as error:
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the rest goes nowhere
        if not isinstance(error, BrokenPipeError):  # a reader that has seen enough is no error to tell
            _err.print(f"[bold red]error:[/] the answer cannot be written: {escape(error.strerror or str(error))}")
        sys.exit(1)


def _compile(model: str, data: str | None, target: str, name: str | None, optimize: Goal, precision: Precision,
             calibration: Method, ram: int | None, flash: int | None) -> Net:
    with _progress("calibrating") as tick:
        return aot.compile(model, data, name=name, target=target, optimize=str(optimize), precision=str(precision),
                           calibration=str(calibration), ram=ram, flash=flash,
                           progress=lambda stage, done, total: tick(done, total))


@contextmanager
def _progress(title: str) -> Iterator[Any]:
    """A progress bar on a terminal, nothing in a pipe."""
    with Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=_err, transient=True,
                  disable=not _err.is_terminal) as bar:
        task = bar.add_task(title, total=None)

        def tick(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield tick


def _write_json(file: str | None, content: dict[str, Any]) -> None:
    if file is None:
        return
    text = json.dumps(content, indent=2) + "\n"
    path = Path(file)
    if file == "-":
        sys.stdout.write(text)
    elif path.exists() and not path.is_file() and not path.is_dir():  # a pipe or a device stays what it is
        path.write_text(text, encoding="utf-8")
    else:
        path = path.resolve()
        write({path.name: text}, path.parent)


def _print_verification(v: Verification, precision: str) -> None:
    def percent(x: float | None) -> str:
        return "-" if x is None else f"{100 * x:.2f} %"
    table = Table("layer", "type", "SQNR dB")
    for layer in v.layers:
        table.add_row(escape(printable(layer.name)), layer.type, f"{layer.sqnr_db:.1f}")
    _out.print(table)
    _out.print(f"samples            {v.samples}")
    if v.metric == "top1":
        _out.print(f"accuracy           float {percent(v.float_)}, {precision} {percent(v.quantized)}")
    elif v.metric is not None:
        _out.print(f"{v.metric:<19}float {v.float_:.6g}, {precision} {v.quantized:.6g}")
    _out.print(f"agreement          {percent(v.agreement)}")
    _out.print(f"mean abs. error    {v.mean_abs_error:.6g}  (SQNR {v.sqnr_db:.1f} dB)")
    _out.print(f"C equals its twin  {v.elements - v.mismatches:,} of {v.elements:,} elements")
