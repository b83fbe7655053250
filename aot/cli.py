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
from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Column, Table

import aot
from aot import bench as bench_model
from aot import data as sample_data
from aot import doctor_page
from aot.calibrate import DEFAULT_METHOD, METHODS
from aot.compiler import Net
from aot.errors import AotError, Problem, printable
from aot.health import Diagnosis
from aot.inspect import inspect as inspect_model
from aot.quantize import WEIGHTS
from aot.sanity import look
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

    auto = "auto"
    mse = "mse"
    minmax = "minmax"
    percentile = "percentile"
    entropy = "entropy"


class Scales(StrEnum):
    """--weights"""

    per_channel = "per-channel"
    per_tensor = "per-tensor"


DEFAULT = Method(DEFAULT_METHOD)
#: Evaluation data of which a larger share leaves the calibrated range is worth a warning.
MANY_CLIPPED = 0.01
#: Layers in the table of the doctor.
MOST_ROWS = 16
assert [*Goal] == [*OPTIMIZE_FLAGS] and [*Method] == [*METHODS] and [*Scales] == [*WEIGHTS]

Model = Annotated[str, typer.Argument(metavar="MODEL", help="ONNX file.")]
Data = Annotated[str | None, typer.Option(help="Calibration samples: .npz, .npy, or a folder of images.")]
DataConfig = Annotated[str | None, typer.Option(
    "--data-config", metavar="FILE", help="TOML with a table [data]: mean, std, scale, resize, ... of images.")]
TargetName = Annotated[str, typer.Option("--target", help="See `aot targets`.")]
Name = Annotated[str | None, typer.Option(help="C identifier; default: the model's file name.")]
Optimize = Annotated[Goal, typer.Option(help="What to favour.")]
Format = Annotated[Precision, typer.Option(help="Number format.")]
Calibration = Annotated[Method, typer.Option(help="How ranges are chosen from the calibration samples.")]
Weights = Annotated[Scales, typer.Option(help="Scales of weights: one for each output channel, or one in all.")]
Ram = Annotated[int | None, typer.Option(metavar="BYTES", min=0,
                                         help="Bytes of arena to stay within, if need be at the cost of speed.")]
Flash = Annotated[int | None, typer.Option(metavar="BYTES", min=0,
                                           help="Bytes of weights and code (estimated) to stay within, likewise.")]
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
    data: Data = None, data_config: DataConfig = None, target: TargetName = "c99", name: Name = None,
    optimize: Optimize = Goal.balanced, precision: Format = Precision.int8, calibration: Calibration = DEFAULT,
    weights: Weights = Scales.per_channel, ram: Ram = None, flash: Flash = None,
) -> None:
    """Compile MODEL to a folder of C sources."""
    net = _compile(model, data, data_config, target, name, optimize, precision, calibration, weights, ram, flash)
    net.write(output)
    _out.print(escape(str(net.report)))
    _out.print(f"written to {escape(printable(str(output)))}")


@app.command("verify")
def verify_command(
    model: Model,
    data: Annotated[str, typer.Option(help="Evaluation samples, with labels y if there are any.")],
    calib: Annotated[str | None, typer.Option(help="Calibration samples; default: the evaluation samples.")] = None,
    data_config: DataConfig = None, target: TargetName = "c99", name: Name = None,
    optimize: Optimize = Goal.balanced, precision: Format = Precision.int8, calibration: Calibration = DEFAULT,
    weights: Weights = Scales.per_channel, ram: Ram = None, flash: Flash = None, json_file: Json = None,
) -> None:
    """Compare the float model, the numpy twin and the compiled C, layer by layer."""
    net = _compile(model, calib if calib is not None else data, data_config, target, name, optimize, precision,
                   calibration, weights, ram, flash)
    samples = sample_data.load(data, net.float_graph, "the evaluation data", data_config)
    if calib is not None:
        for warning in look(net.float_graph, samples, "the evaluation data", few=False):
            _warn(warning)
    with _progress("verifying") as tick:
        result = verify_net(net, samples, tick)
    _write_json(json_file, result.as_json())
    if json_file != "-":
        _print_verification(result, str(precision))
    if result.clipped > MANY_CLIPPED * result.inputs:
        _warn(Problem(f"{100 * result.clipped / result.inputs:.1f} % of the evaluation data's elements leave the range "
                      "of the calibration data", "expected data of the same kind and in the same scale in both"))
    if result.mismatches:
        raise AotError(f"the compiled C differs from its numpy twin in {result.mismatches} of "
                       f"{result.elements} elements, first in {result.first_mismatch}",
                       "this is an error in the compiler; please report it")


@app.command("bench")
def bench_command(
    model: Model,
    target: Annotated[str, typer.Option(help="See `aot targets`.")],
    data: Data = None, data_config: DataConfig = None, name: Name = None,
    optimize: Optimize = Goal.balanced, precision: Format = Precision.int8, calibration: Calibration = DEFAULT,
    weights: Weights = Scales.per_channel, ram: Ram = None, flash: Flash = None, json_file: Json = None,
) -> None:
    """Run MODEL on an emulated board: instructions, bytes of flash and RAM, and bytes equal to this machine's."""
    net = _compile(model, data, data_config, target, name, optimize, precision, calibration, weights, ram, flash)
    result = bench_model.bench(net)
    _write_json(json_file, result.as_json())
    if json_file != "-":
        _out.print(escape(str(result)))


@app.command("doctor")
def doctor_command(
    model: Model,
    data: Annotated[str, typer.Option(help="Samples to examine, with labels y if there are any.")],
    calib: Annotated[str | None, typer.Option(help="Calibration samples; default: the samples to examine.")] = None,
    data_config: DataConfig = None, target: TargetName = "c99", name: Name = None,
    optimize: Optimize = Goal.balanced, precision: Format = Precision.int8, calibration: Calibration = DEFAULT,
    weights: Weights = Scales.per_channel, ram: Ram = None, flash: Flash = None, json_file: Json = None,
    html: Annotated[str | None, typer.Option("--html", metavar="FILE", help="Write a page with plots.")] = None,
) -> None:
    """Find out which layers of MODEL lose what in quantization, and which options mend it."""
    with _progress("examining") as tick:
        found = aot.doctor(model, data, calib=calib, data_config=data_config, target=target, name=name,
                           optimize=str(optimize), precision=str(precision), calibration=str(calibration),
                           weights=str(weights), ram=ram, flash=flash,
                           progress=lambda stage, done, total: tick(done, total, stage))
    for warning in found.warnings:
        _warn(warning)
    if html is not None:
        _write_text(html, doctor_page.page(found))
    _write_json(json_file, found.as_json())
    if json_file != "-":
        _print_diagnosis(found)


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


def _compile(model: str, data: str | None, data_config: str | None, target: str, name: str | None, optimize: Goal,
             precision: Precision, calibration: Method, weights: Scales, ram: int | None, flash: int | None) -> Net:
    with _progress("calibrating") as tick:
        net = aot.compile(model, data, name=name, data_config=data_config, target=target, optimize=str(optimize),
                          precision=str(precision), calibration=str(calibration), weights=str(weights), ram=ram,
                          flash=flash, progress=lambda stage, done, total: tick(done, total))
    for warning in net.report.warnings:
        _warn(warning)
    return net


def _warn(problem: Problem) -> None:
    _err.print(f"[bold yellow]warning:[/] {escape(str(problem))}")


@contextmanager
def _progress(title: str) -> Iterator[Any]:
    """A progress bar on a terminal, nothing in a pipe."""
    with Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=_err, transient=True,
                  disable=not _err.is_terminal) as bar:
        task = bar.add_task(title, total=None)

        def tick(done: int, total: int, stage: str = title) -> None:
            bar.update(task, description=stage, completed=done, total=total)

        yield tick


def _write_json(file: str | None, content: dict[str, Any]) -> None:
    if file is None:
        return
    text = json.dumps(content, indent=2) + "\n"
    if file == "-":
        sys.stdout.write(text)
    else:
        _write_text(file, text)


def _write_text(file: str, text: str) -> None:
    path = Path(file)
    if path.exists() and not path.is_file() and not path.is_dir():  # a pipe or a device stays what it is
        path.write_text(text, encoding="utf-8")
    else:
        path = path.resolve()
        write({path.name: text}, path.parent)


def _print_diagnosis(found: Diagnosis) -> None:
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
    _out.print(table)
    _out.print("dB: signal-to-noise ratio of the output in the network, with this layer alone rounded; of the weights")
    _out.print("harm: squared error of the network's output with its weights, or its output, alone rounded (1: all)\n")
    for line in found.verdict:
        _out.print(escape(printable(line)))


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
    _out.print(f"clipped inputs     {v.clipped:,} of {v.inputs:,} elements leave the calibrated range")
    _out.print(f"C equals its twin  {v.elements - v.mismatches:,} of {v.elements:,} elements")
