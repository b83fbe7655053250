"""Generated projects on an emulated board: what they compute, and what they cost.

Any number of projects are linked into one program, which reads their inputs from a file on the host and writes their
outputs to another (``runtime_c/bench``). A plugin of the emulator counts every executed instruction by function.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import cache
from pathlib import Path

import numpy as np

from aot import build, elf
from aot.emit import emit_bench, resources
from aot.errors import AotError
from aot.ir import FORMATS, Array, Graph
from aot.targets import OPTIMIZE_FLAGS, TARGETS, Target

#: Seconds until an emulated board is taken for stuck.
TIMEOUT = 600.0
#: Debian's packages, by what they provide.
_PACKAGES = {
    "arm-none-eabi-gcc": "gcc-arm-none-eabi and libnewlib-arm-none-eabi",
    "riscv64-unknown-elf-gcc": "gcc-riscv64-unknown-elf and picolibc-riscv64-unknown-elf",
    "qemu-system-arm": "qemu-system-arm",
    "qemu-system-riscv32": "qemu-system-misc",
}
#: How a compiler says that its C library is not installed.
_NO_LIBRARY = re.compile(r"(stdint|string)\.h: No such file|picolibc\.specs")
#: The bench itself must call no library function: those in the program are then the networks'. Where it calls a run
#: function, its stack must stand as it did the line before.
_BENCH_FLAGS = ("-std=gnu99", "-O2", "-ffreestanding", "-fno-builtin", "-fno-tree-loop-distribute-patterns",
                "-fno-optimize-sibling-calls")
_NETWORK_FLAGS = ("-std=c99", "-ffunction-sections", "-fdata-sections")
_STACK_BYTES = 4
_REPORT = "this is an error in the compiler; please report it"


@dataclass(frozen=True, eq=False)
class Job:
    """A generated project (``name`` is its prefix, ``layers`` its layer functions in order) and inputs to run it on."""

    name: str
    files: Mapping[str, str]
    graph: Graph
    layers: tuple[str, ...]
    inputs: tuple[Mapping[str, Array], ...]


@dataclass(frozen=True, eq=False)
class Ran:
    """One sample's outputs by name, the instructions of its second inference (in all, in each layer, and in the run
    function between them) and the bytes of stack that it used. Cycles (in all, in each layer) are an estimate, and None
    for a target without one."""

    outputs: Mapping[str, Array]
    instructions: int
    layers: tuple[int, ...]
    overhead: int
    stack: int
    cycles: int | None
    layer_cycles: tuple[int, ...] | None


@dataclass(frozen=True, eq=False)
class Emulation:
    """What every job's samples gave, in order; bytes of the linked program which belong to the networks.

    ``program`` is the linked program itself, an ELF file with the bench in it.
    """

    samples: tuple[tuple[Ran, ...], ...]
    code: int
    weights: int
    static: int
    program: bytes


def missing(target: Target) -> list[str]:
    """The programs that are needed to emulate the target and are not installed."""
    return [tool for tool in (target.compiler, *target.emulator[:1]) if not build.have(tool)]


def emulate(jobs: Sequence[Job], target: Target, optimize: str = "balanced", flags: Sequence[str] = (),
            timeout: float = TIMEOUT) -> Emulation:
    """Build the jobs for the target and run each twice on each of its inputs (arrays by name, in their formats).

    ``flags`` are added when the generated code is compiled. Names of jobs must differ; headers that they share must be
    equal. An AotError says which tool is missing, what the compiler refused, or how the program ended.
    """
    _check(jobs, target)
    with tempfile.TemporaryDirectory(prefix="aot-bench-") as name:
        folder = Path(name)
        program = _link(jobs, target, (*target.flags, *_NETWORK_FLAGS, OPTIMIZE_FLAGS[optimize], *flags), folder)
        linked = program.read_bytes()
        image = elf.read(linked)
        numbers = _write_regions(jobs, image, folder)
        (folder / "input.bin").write_bytes(b"".join(
            x[n].tobytes() for job in jobs for x in job.inputs for n in job.graph.inputs))
        _run(target, folder, timeout)
        output = (folder / "output.bin").read_bytes()
        counts = (folder / "counts.txt").read_text().splitlines()
    network = [s for s in image.sections if not s.name.startswith(".bench")]
    weights = sum(s.size for s in network if s.name == ".weights")
    samples = _results(jobs, output, counts, numbers, target.cycles is not None)
    return Emulation(samples, sum(s.size for s in network if not s.writable) - weights,
                     weights, sum(s.size for s in network if s.writable), linked)


def _check(jobs: Sequence[Job], target: Target) -> None:
    """What must hold before anything is built."""
    if not target.emulator:
        raise AotError(f"no emulated board stands for target {target.name!r}",
                       f"choose from {', '.join(n for n, t in TARGETS.items() if t.emulator)}")
    for tool in missing(target):
        raise AotError(f"{tool} was not found", _install(tool))
    if len({job.name.lower() for job in jobs}) != len(jobs):
        raise AotError("two projects of one program have the same name", "compile them under different names")
    for job in jobs:
        for x in job.inputs:
            for n in job.graph.inputs:
                kind = job.graph.values[n].type
                if x[n].size != kind.size or x[n].dtype != FORMATS[kind.format]:
                    raise AotError(f"input {n!r} is not {kind.size} numbers of {FORMATS[kind.format]}", node=n)


def _install(tool: str) -> str:
    """The hint for a missing program."""
    return f"say `make toolchain`, or install {_PACKAGES.get(tool, tool)} (Debian, Ubuntu)"


def _link(jobs: Sequence[Job], target: Target, flags: Sequence[str], folder: Path) -> Path:
    """The linked program. Objects are kept apart by folder, so that the linker script can tell them apart."""
    bench = resources("runtime_c") / "bench"
    start = "start_riscv.S" if target.compiler.startswith("riscv") else "start_arm.c"
    files: dict[str, str] = {}
    for job in jobs:
        for path, text in job.files.items():
            if path.startswith(("include/", "src/")) and files.setdefault(path, text) != text:
                raise AotError(f"two projects of one program have different files {path}",
                               "generate both for one target")
    files |= {f"bench/{n}": (bench / n).read_text(encoding="utf-8") for n in ("bench.h", "host.h", "main.c", start)}
    files |= {n: (bench / n).read_text(encoding="utf-8") for n in ("sections.ld", f"{target.board}.ld")}
    files["bench/jobs.c"] = emit_bench([(job.name, job.graph, len(job.inputs)) for job in jobs])
    build.put(files, folder)
    parts = {
        "bench": ([*target.flags, *_BENCH_FLAGS], ["bench/main.c", f"bench/{start}", "bench/jobs.c"]),
        "code": ([*target.libc, *flags], [f"src/{job.name}.c" for job in jobs]),
        "weights": ([*target.libc, *flags], [f"src/{job.name}_weights.c" for job in jobs]),
    }
    try:
        objects = [o for part, (options, sources) in parts.items()
                   for o in build.objects(target.compiler, options, sources, folder, f"objects/{part}")]
    except AotError as error:
        if _NO_LIBRARY.search(str(error)):
            raise AotError(f"{target.compiler} has no C library", _install(target.compiler)) from error
        raise
    return build.compile_c(target.compiler, [*target.flags, *target.libc, "-nostartfiles", "-Wl,--gc-sections",
                                             "-T", f"{target.board}.ld"], objects, "program.elf", folder)


def _write_regions(jobs: Sequence[Job], image: elf.Elf, folder: Path) -> dict[int, tuple[str, str]]:
    """Address ranges for the plugin: 0 is the bench, others are the run and layer functions; the answer names them."""
    own = next(s for s in image.sections if s.name == ".bench")
    wanted = {job.name: set(job.layers) for job in jobs}
    ranges, names = [(own.address, own.address + own.size, 0)], {}
    for f in image.functions:
        plain = f.name.split(".")[0]  # a copy which the compiler specialized has a suffix
        name = plain.removesuffix("_run") if not f.file and plain.endswith("_run") else f.file.removesuffix(".c")
        if name not in wanted or (f.file and plain not in wanted[name]) or f.first == ranges[-1][0]:
            continue
        number = len(ranges)
        ranges.append((f.first, f.end, number))
        names[number] = (name, plain if f.file else "")
    (folder / "regions.txt").write_text("".join(f"{a:x} {b:x} {n:x}\n" for a, b, n in sorted(ranges)))
    return names


def _run(target: Target, folder: Path, timeout: float) -> None:
    """Run program.elf on the board."""
    (folder / "count.so").write_bytes(_plugin(target.emulator[0]))
    plugin = "./count.so"
    if target.cycles is not None:
        plugin += ",cycles=" + ":".join(map(str, astuple(target.cycles)))
    done = build.run([*target.emulator, "-display", "none", "-monitor", "none", "-serial", "none", "-net", "none",
                      "-semihosting-config", "enable=on,target=native", "-plugin", plugin, "-kernel", "program.elf"],
                     folder, timeout)
    if done.status != 0:
        words = " ".join((done.out + done.err).split())
        raise AotError(f"{target.emulator[0]} ended with status {done.status}: {words}"[:380],
                       "this is an error in the compiler, or the emulator has no plugins; please report it")


@cache
def _plugin(emulator: str) -> bytes:
    """The counting plugin, compiled for this machine's emulator."""
    with tempfile.TemporaryDirectory(prefix="aot-plugin-") as name:
        folder = Path(name)
        build.put({"count.c": (resources("runtime_c") / "bench" / "count.c").read_text(encoding="utf-8")}, folder)
        version = re.search(r"version (\d+)", build.run([emulator, "--version"], folder).out)
        interface = 2 if version is not None and int(version[1]) >= 9 else 1
        build.compile_c(build.host_compiler(), ["-O2", "-shared", "-fPIC", f"-DINTERFACE_VERSION={interface}"],
                        ["count.c"], "count.so", folder)
        return (folder / "count.so").read_bytes()


def _results(jobs: Sequence[Job], output: bytes, counts: Sequence[str],
             names: Mapping[int, tuple[str, str]], estimated: bool) -> tuple[tuple[Ran, ...], ...]:
    """Output bytes and counted inferences, by job and sample; ``estimated``: with cycles."""
    results, place, line = [], 0, 0
    for job in jobs:
        ran = []
        for sample in range(len(job.inputs)):
            passes = []
            for _ in range(2):
                outputs = {}
                for n in job.graph.outputs:
                    value = job.graph.values[n].type
                    flat = np.frombuffer(output, FORMATS[value.format], value.size, place)
                    outputs[n] = flat.reshape(value.shape).copy()
                    place += value.nbytes
                passes.append(outputs)
            for n in job.graph.outputs:
                if passes[0][n].tobytes() != passes[1][n].tobytes():
                    raise AotError(f"{job.name}: a second run on sample {sample} differs from the first", _REPORT, n)
            stack = int.from_bytes(output[place:place + _STACK_BYTES], "little")
            place += _STACK_BYTES
            layers, overhead = _attribute(job, counts[line + 1], names)
            line += 2
            instructions, cycles = tuple(n for n, _ in layers), tuple(n for _, n in layers)
            ran.append(Ran(passes[1], sum(instructions) + overhead[0], instructions, overhead[0], stack,
                           sum(cycles) + overhead[1] if estimated else None, cycles if estimated else None))
        results.append(tuple(ran))
    if place != len(output) or line != len(counts):
        raise AotError("the emulated program ran other inferences than it was given", _REPORT)
    return tuple(results)


def _attribute(job: Job, line: str, names: Mapping[int, tuple[str, str]]) \
        -> tuple[list[tuple[int, int]], tuple[int, int]]:
    """Instructions and cycles of each layer and of the run function, from one line of the plugin.

    The run function calls every layer once, in order. So the k-th stretch outside it is the k-th layer, also where the
    compiler merged two equal layers into one function.
    """
    layers, overhead = [], (0, 0)
    for word in line.split():
        number, instructions, cycles = map(int, word.split(":"))
        name, function = names[number]
        if name != job.name:
            raise AotError(f"{job.name}: code of {name} was executed", _REPORT)
        if function:
            layers.append((instructions, cycles))
        else:
            overhead = (overhead[0] + instructions, overhead[1] + cycles)
    if len(layers) != len(job.layers):
        raise AotError(f"{job.name}: {len(layers)} calls of layers were counted, the network has {len(job.layers)}",
                       _REPORT)
    return layers, overhead
