"""The command line: parses, calls, prints; nothing else."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from enum import StrEnum
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

import aot
from aot import bench as bench_model
from aot import data as sample_data
from aot import doctor_page, front_picture, terminal
from aot.calibrate import DEFAULT_METHOD, METHODS
from aot.compiler import Net, Options
from aot.config import as_toml
from aot.config import read as read_config
from aot.errors import AotError, Problem, printable
from aot.front import Front
from aot.inspect import inspect as inspect_model
from aot.prepare import CORRECTIONS
from aot.quantize import WEIGHTS
from aot.sanity import look
from aot.targets import OPTIMIZE_FLAGS, TARGETS
from aot.terminal import err, out, progress, warn
from aot.verify import verify as verify_net
from aot.write import write

app = typer.Typer(name="aot", help="Compile neural networks to fixed-point C for microcontrollers.",
                  no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


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


class Corrections(StrEnum):
    """--corrections"""

    all_of_them = "all"
    none = "none"


DEFAULT = Method(DEFAULT_METHOD)
#: Evaluation data of which a larger share leaves the calibrated range is worth a warning.
MANY_CLIPPED = 0.01
assert [*Goal] == [*OPTIMIZE_FLAGS] and [*Method] == [*METHODS] and [*Scales] == [*WEIGHTS]
assert [*Corrections] == [*CORRECTIONS]

Model = Annotated[str, typer.Argument(metavar="MODEL", help="ONNX file.")]
Data = Annotated[str | None, typer.Option(help="Calibration samples: .npz, .npy, or a folder of images.")]
DataConfig = Annotated[str | None, typer.Option(
    "--data-config", metavar="FILE", help="TOML with a table \\[data]: mean, std, scale, resize, ... of images.")]
TargetName = Annotated[str, typer.Option("--target", help="See `aot targets`.")]
Name = Annotated[str | None, typer.Option(help="C identifier; default: the model's file name.")]
Optimize = Annotated[Goal, typer.Option(help="What to favour.")]
Format = Annotated[Precision, typer.Option(help="Number format.")]
Calibration = Annotated[Method, typer.Option(help="How ranges are chosen from the calibration samples.")]
Mend = Annotated[Corrections, typer.Option("--corrections", help="Whether losses are made good where they can be: "
                                                                 "equalized, fitted, rounded by what samples show.")]
Weights = Annotated[Scales, typer.Option(help="Scales of weights: one for each output channel, or one in all.")]
Ram = Annotated[int | None, typer.Option(metavar="BYTES", min=0,
                                         help="Bytes of arena to stay within, if need be at the cost of speed.")]
Flash = Annotated[int | None, typer.Option(metavar="BYTES", min=0,
                                           help="Bytes of weights and code (estimated) to stay within, likewise.")]
Instructions = Annotated[int | None, typer.Option(metavar="N", min=0,
                                                  help="Instructions of an inference (estimated) to stay within.")]
MaxLoss = Annotated[float | None, typer.Option(
    "--max-loss", metavar="POINTS", help=f"What --precision auto may lose; default: {Options().max_loss:g}.")]
ConfigFile = Annotated[str | None, typer.Option(
    "--config", metavar="FILE", help="TOML with formats of layers, as --precision auto writes it; instead of that.")]
JudgeData = Annotated[str | None, typer.Option(
    "--judge", metavar="DATA", help="Samples by which auto judges losses; default: the calibration samples.")]
Picture = Annotated[str | None, typer.Option("--picture", metavar="FILE",
                                             help="Draw what auto found: .svg, .png or .pdf.")]
Jobs = Annotated[int | None, typer.Option("--jobs", metavar="N", min=1,
                                          help="Processes for auto; default: one for each processor.")]
Cluster = Annotated[str | None, typer.Option(metavar="ADDRESS", help="Dask scheduler whose workers search for auto.")]
Json = Annotated[str | None, typer.Option("--json", metavar="FILE", help="Write the result as JSON; - for stdout.")]


def _version(wanted: bool) -> None:
    if wanted:
        out.print(f"aot {aot.__version__}")
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
    weights: Weights = Scales.per_channel, corrections: Mend = Corrections.all_of_them, ram: Ram = None,
    flash: Flash = None, instructions: Instructions = None,
    max_loss: MaxLoss = None, config: ConfigFile = None, judge: JudgeData = None, picture: Picture = None,
    jobs: Jobs = None, cluster: Cluster = None,
) -> None:
    """Compile MODEL to a folder of C sources."""
    net = _compile(model, data, data_config, target, name, optimize, precision, calibration, weights, corrections,
                   ram, flash,
                   instructions, max_loss, config, judge, picture, jobs, cluster)
    net.write(output)
    out.print(escape(str(net.report)))
    out.print(f"written to {escape(printable(str(output)))}")


@app.command("verify")
def verify_command(
    model: Model,
    data: Annotated[str, typer.Option(help="Evaluation samples, with labels y if there are any.")],
    calib: Annotated[str | None, typer.Option(help="Calibration samples; default: the evaluation samples.")] = None,
    data_config: DataConfig = None, target: TargetName = "c99", name: Name = None,
    optimize: Optimize = Goal.balanced, precision: Format = Precision.int8, calibration: Calibration = DEFAULT,
    weights: Weights = Scales.per_channel, corrections: Mend = Corrections.all_of_them, ram: Ram = None,
    flash: Flash = None, instructions: Instructions = None,
    max_loss: MaxLoss = None, config: ConfigFile = None, judge: JudgeData = None, picture: Picture = None,
    jobs: Jobs = None, cluster: Cluster = None, json_file: Json = None,
) -> None:
    """Compare the float model, the numpy twin and the compiled C, layer by layer."""
    preprocessing = read_config(config).data if data_config is None and config is not None else data_config
    net = _compile(model, calib if calib is not None else data, preprocessing, target, name, optimize, precision,
                   calibration, weights, corrections, ram, flash, instructions, max_loss, config, judge, picture, jobs,
                   cluster, quiet=json_file == "-")
    samples = sample_data.load(data, net.float_graph, "the evaluation data", preprocessing)
    if calib is not None:
        for warning in look(net.float_graph, samples, "the evaluation data", few=False):
            warn(warning)
    with progress("verifying") as tick:
        result = verify_net(net, samples, tick)
    _write_json(json_file, result.as_json())
    if json_file != "-":
        terminal.verification(result, str(precision) if config is None else "config")
    if result.clipped > MANY_CLIPPED * result.inputs:
        warn(Problem(f"{100 * result.clipped / result.inputs:.1f} % of the evaluation data's elements leave the range "
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
    weights: Weights = Scales.per_channel, corrections: Mend = Corrections.all_of_them, ram: Ram = None,
    flash: Flash = None, instructions: Instructions = None,
    max_loss: MaxLoss = None, config: ConfigFile = None, judge: JudgeData = None, picture: Picture = None,
    jobs: Jobs = None, cluster: Cluster = None, json_file: Json = None,
) -> None:
    """Run MODEL on an emulated board: instructions, bytes of flash and RAM, and bytes equal to this machine's."""
    net = _compile(model, data, data_config, target, name, optimize, precision, calibration, weights, corrections,
                   ram, flash,
                   instructions, max_loss, config, judge, picture, jobs, cluster, quiet=json_file == "-")
    result = bench_model.bench(net)
    _write_json(json_file, result.as_json())
    if json_file != "-":
        out.print(escape(str(result)))


@app.command("search")
def search_command(
    model: Model,
    data: Annotated[str, typer.Option(help="Calibration samples: .npz, .npy, or a folder of images.")],
    output: Annotated[str | None, typer.Option("-o", "--output", metavar="FILE",
                                               help="Write the choice, for --config to take.")] = None,
    data_config: DataConfig = None, target: TargetName = "c99", name: Name = None,
    optimize: Optimize = Goal.balanced, calibration: Calibration = DEFAULT, weights: Weights = Scales.per_channel,
    ram: Ram = None, flash: Flash = None, instructions: Instructions = None, max_loss: MaxLoss = None,
    judge: JudgeData = None, picture: Picture = None, jobs: Jobs = None, cluster: Cluster = None,
    json_file: Json = None,
) -> None:
    """Show what --precision auto has to choose from: formats of layers, what they cost, and what they lose."""
    _check_picture(picture)
    with progress("calibrating") as tick:
        front = aot.search(model, data, name=name, data_config=data_config, target=target, optimize=str(optimize),
                           calibration=str(calibration), weights=str(weights), ram=ram, flash=flash,
                           instructions=instructions, max_loss=max_loss, judge=judge, cluster=cluster,
                           processes=jobs or os.cpu_count() or 1,
                           progress=lambda stage, done, total: tick(done, total, stage))
    for warning in front.warnings:
        warn(warning)
    if output is not None:
        _write_text(output, as_toml(front.chosen.recipe, front))
    _show(front, picture, quiet=json_file == "-")
    _write_json(json_file, front.as_json())


@app.command("doctor")
def doctor_command(
    model: Model,
    data: Annotated[str, typer.Option(help="Samples to examine, with labels y if there are any.")],
    calib: Annotated[str | None, typer.Option(help="Calibration samples; default: the samples to examine.")] = None,
    data_config: DataConfig = None, target: TargetName = "c99", name: Name = None,
    optimize: Optimize = Goal.balanced, precision: Format = Precision.int8, calibration: Calibration = DEFAULT,
    weights: Weights = Scales.per_channel, corrections: Mend = Corrections.all_of_them, ram: Ram = None,
    flash: Flash = None, json_file: Json = None,
    html: Annotated[str | None, typer.Option("--html", metavar="FILE", help="Write a page with plots.")] = None,
) -> None:
    """Find out which layers of MODEL lose what in quantization, and which options mend it."""
    with progress("examining") as tick:
        found = aot.doctor(model, data, calib=calib, data_config=data_config, target=target, name=name,
                           optimize=str(optimize), precision=str(precision), calibration=str(calibration),
                           weights=str(weights), corrections=str(corrections), ram=ram, flash=flash,
                           progress=lambda stage, done, total: tick(done, total, stage))
    for warning in found.warnings:
        warn(warning)
    if html is not None:
        _write_text(html, doctor_page.page(found))
    _write_json(json_file, found.as_json())
    if json_file != "-":
        terminal.diagnosis(found)


@app.command("inspect")
def inspect_command(model: Model) -> None:
    """Show what MODEL holds: operators, shapes, MACs, parameters, and what is not supported and why."""
    found = inspect_model(model)
    out.print(escape(found.table()))


@app.command("targets")
def targets_command() -> None:
    """List the known targets."""
    table = Table("target", "kernels", "compiler", "emulated by", "description")
    for t in TARGETS.values():
        table.add_row(t.name, t.isa.name, t.compiler, " ".join(t.emulator[:3]), t.description)
    out.print(table)


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
            err.print(f"[bold red]error:[/] {escape(str(problem))}")
        sys.exit(1)
    except MemoryError:
        err.print("[bold red]error:[/] the memory of this machine is not enough for this model")
        sys.exit(1)
    except OSError as error:
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the rest goes nowhere
        if not isinstance(error, BrokenPipeError):  # a reader that has seen enough is no error to tell
            err.print(f"[bold red]error:[/] the answer cannot be written: {escape(error.strerror or str(error))}")
        sys.exit(1)


def _compile(model: str, data: str | None, data_config: sample_data.Config | None, target: str, name: str | None,
             optimize: Goal, precision: Precision, calibration: Method, weights: Scales, corrections: Corrections,
             ram: int | None, flash: int | None, instructions: int | None, max_loss: float | None, config: str | None,
             judge: str | None, picture: str | None, jobs: int | None, cluster: str | None, quiet: bool = False) -> Net:
    _check_picture(picture)
    _check_search(precision, {"--max-loss": max_loss, "--judge": judge, "--picture": picture, "--jobs": jobs,
                              "--cluster": cluster})
    with progress("calibrating") as tick:
        net = aot.compile(model, data, name=name, data_config=data_config, target=target, optimize=str(optimize),
                          precision=str(precision), calibration=str(calibration), weights=str(weights),
                          corrections=str(corrections), ram=ram, flash=flash, instructions=instructions,
                          max_loss=max_loss, config=config, judge=judge,
                          processes=jobs or os.cpu_count() or 1, cluster=cluster,
                          progress=lambda stage, done, total: tick(done, total, stage))
    for warning in net.report.warnings:
        warn(warning)
    if net.front is not None:
        _show(net.front, picture, quiet)
    return net


def _check_search(precision: Precision, given: Mapping[str, object]) -> None:
    """Refuse options of a search where there is none."""
    said = [option for option, value in given.items() if value is not None]
    if said and precision is not Precision.auto:
        raise AotError(f"{', '.join(said)}: without --precision auto, nothing is searched",
                       "add --precision auto, or leave that out")


def _check_picture(file: str | None) -> None:
    if file is not None:
        front_picture.check(Path(file).suffix)


def _show(front: Front, picture: str | None, quiet: bool) -> None:
    """The front as a table, and in a file."""
    if not quiet:
        terminal.front_table(front)
    if picture is not None:
        _write_bytes(picture, front_picture.draw(front, Path(picture).suffix))


def _write_json(file: str | None, content: dict[str, Any]) -> None:
    if file is None:
        return
    text = json.dumps(content, indent=2) + "\n"
    if file == "-":
        sys.stdout.write(text)
    else:
        _write_text(file, text)


def _write_text(file: str, text: str) -> None:
    _write_bytes(file, text.encode())


def _write_bytes(file: str, content: bytes) -> None:
    path = Path(file)
    if path.exists() and not path.is_file() and not path.is_dir():  # a pipe or a device stays what it is
        path.write_bytes(content)
    else:
        path = path.resolve()
        write({path.name: content}, path.parent)


