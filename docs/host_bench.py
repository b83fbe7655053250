"""Time generated C on this machine beside other ways to run the same models: ``make hostbench``.

Measured are our C for target ``host``, and of the others those that are there: the float C that the programs ``onnx2c``
and ``emx-onnx-cgen`` generate, and CMSIS-NN's plain C, called layer by layer without an interpreter. They are not part
of the project: build them as their authors say, with the flags below, and say where they are (or put the programs on
the path). All are compiled with the same compiler and flags, run in turn in one process, and the fastest of many turns
counts; a ratio is that of two such minima. Time is that of the processor, so that other programs do not count.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cmsis_nn_driver import driver
from tables import MLPERF, ROOT, Model, models_folder

import aot
from aot import build
from aot.errors import AotError

DOCUMENT = ROOT / "docs" / "host.md"
TABLE = re.compile(r"(?<=<!-- measured -->\n).*?(?=<!-- /measured -->)", re.DOTALL)
#: Nanoseconds of one turn, roughly.
TURN = 2e6
_TIMER = """
#define _POSIX_C_SOURCE 199309L
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
%(head)s

/* Nanoseconds of processor time of so many inferences; negative: one of them failed. */
double bench_ns(int times)
{
    struct timespec from, to;
    int wrong = 0;
    for (size_t i = 0; i < sizeof input / sizeof input[0]; ++i) {
        input[i] = %(value)s;
    }
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
    for (int i = 0; i < times; ++i) {
        %(call)s;
    }
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
    return wrong ? -1.0 : (double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec);
}
"""
_BYTES, _REALS = "(int8_t)(i * 37u)", "(float)(i * 37u % 256u) / 128.0f - 1.0f"


@dataclass(frozen=True)
class Contender:
    """One way to run a model: files to compile (by path), more arguments for the compiler, and ``bench_ns`` in them."""

    name: str
    files: dict[str, str]
    arguments: tuple[str, ...] = ()

    def load(self, folder: Path, options: argparse.Namespace) -> Callable[[int], float]:
        """Compile and load it: a function from a number of inferences to nanoseconds."""
        build.put(self.files, folder)
        sources = sorted(p for p in self.files if p.endswith(".c"))
        build.compile_c(options.compiler, [*options.flags.split(), "-w", "-fPIC", "-shared"],
                        [*sources, *self.arguments, "-lm"], "bench.so", folder)
        library: Any = build.load(folder / "bench.so", "double bench_ns(int times);")[1]
        return lambda times: float(library.bench_ns(times))


def ours(net: aot.Net) -> Contender:
    """Our C."""
    n = net.name
    head = (f'#include "{n}.h"\nstatic uint64_t arena[({n}_ARENA_BYTES + 15u) / 8u] __attribute__((aligned(64)));\n'
            f"static int8_t input[{n}_INPUT_LEN], output[{n}_OUTPUT_LEN];")
    files = {p: t for p, t in net.files.items() if p.startswith(("src/", "include/"))}
    timer = _TIMER % {"head": head, "value": _BYTES, "call": f"wrong |= {n}_run(arena, input, output)"}
    return Contender("aot", {**files, "timer.c": timer})


def cmsis_nn(net: aot.Net, include: str, library: str) -> Contender:
    """CMSIS-NN, its headers and its library being given."""
    x, y = (net.graph.values[names[0]].type.size for names in (net.graph.inputs, net.graph.outputs))
    head = (f"int cmsis_nn_run(const int8_t *input, int8_t *output);\nstatic int8_t input[{x}], output[{y}];")
    timer = _TIMER % {"head": head, "value": _BYTES, "call": "wrong |= cmsis_nn_run(input, output)"}
    return Contender("CMSIS-NN", {"timer.c": timer, "driver.c": driver(net)},
                     (f"-I{Path(include).resolve()}", str(Path(library).resolve())))


def generated(name: str, command: Sequence[str], model: Path, net: aot.Net, function: str) -> Contender:
    """Float C which another program makes of the model; the command has MODEL and, unless it prints, OUTPUT in it."""
    with tempfile.TemporaryDirectory() as folder:
        words = [w.replace("MODEL", str(model)).replace("OUTPUT", "model.inc") for w in command]
        done = build.run(words, Path(folder))
        made = Path(folder) / "model.inc"
        text = made.read_text() if made.exists() else done.out
    if done.status != 0 or f" {function}(" not in text:
        raise AotError(f"{command[0]} could not translate {model.name}: {done.err[:300]}", "measure without it")
    x, y = (net.graph.values[names[0]].type.size for names in (net.graph.inputs, net.graph.outputs))
    head = f'#include "model.inc"\nstatic float input[{x}], output[{y}];'
    timer = _TIMER % {"head": head, "value": _REALS, "call": f"{function}((void *)input, (void *)output)"}
    return Contender(name, {"model.inc": text, "timer.c": timer})


def contenders(net: aot.Net, model: Path, options: argparse.Namespace) -> Iterator[Contender]:
    """Ours, and those of the others that are there."""
    yield ours(net)
    if options.cmsis_nn_library:
        yield cmsis_nn(net, options.cmsis_nn_include, options.cmsis_nn_library)
    if shutil.which(options.onnx2c):
        yield generated("onnx2c", [options.onnx2c, "MODEL"], model, net, "entry")
    if shutil.which(options.emx_onnx_cgen):
        yield generated("emx-onnx-cgen", [
            options.emx_onnx_cgen, "compile", "--model-name", "peer", "--large-weight-threshold", "0", "MODEL",
            "OUTPUT"], model, net, "peer")


def measure(runs: dict[str, Callable[[int], float]], rounds: int) -> dict[str, float]:
    """Microseconds of one inference by name: the least of so many turns, taken in turn."""
    times = {}
    for name, run in runs.items():
        once = run(1)
        if once < 0:
            raise AotError(f"{name} answers that it failed")
        times[name] = max(int(TURN / max(min(once, run(1)), 1.0)), 1)
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(rounds):
        for name, run in runs.items():
            best[name] = min(best[name], run(times[name]) / times[name])
    return {name: ns / 1000 for name, ns in best.items()}


def one_model(model: Model, folder: Path, options: argparse.Namespace) -> dict[str, float]:
    """Microseconds of each contender on a model."""
    file = folder / f"{model.file}.onnx"
    net = aot.compile(file, data=str(folder.parent / "data" / f"{model.calib}.npz"), target="host", optimize="speed",
                      name=model.file)
    with tempfile.TemporaryDirectory() as made:
        runs = {c.name: c.load(Path(made) / c.name, options) for c in contenders(net, file.resolve(), options)}
        return measure(runs, options.rounds)


def table(results: dict[str, dict[str, float]]) -> str:
    """Microseconds, and how many times as long as ours the others take, in Markdown."""
    names = list(next(iter(results.values())))
    rows = ["| model | " + " | ".join(f"{n}, µs" for n in names) + " |", "|---" * (len(names) + 1) + "|"]
    for title, times in results.items():
        cells = [f"{times[n]:.3g}" if n == "aot" or times[n] < 100 else f"{times[n]:,.0f}" for n in names]
        ratios = ["" if n == "aot" else f" ({times[n] / times['aot']:.1f}×)" for n in names]
        rows.append(f"| {title} | " + " | ".join(c + r for c, r in zip(cells, ratios, strict=True)) + " |")
    return "\n".join(rows) + "\n"


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print; the answer is the exit status."""
    options = _options(words)
    folder = models_folder()
    if folder is None:
        print("the MLPerf Tiny models are not here; AOT_MODELS may name their folder", file=sys.stderr)
        return 1
    absent = [what for what, there in (
        ("CMSIS-NN (--cmsis-nn-include, --cmsis-nn-library)", options.cmsis_nn_library),
        ("onnx2c", shutil.which(options.onnx2c)), ("emx-onnx-cgen", shutil.which(options.emx_onnx_cgen))) if not there]
    for what in absent:
        print(f"not here, so not measured: {what}")
    try:
        results = {m.title: one_model(m, folder, options) for m in MLPERF}
    except AotError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"\n{options.compiler} {options.flags}\n\n{table(results)}")
    if options.accept:
        if absent:
            print("the table in docs/host.md stays, since not all were measured", file=sys.stderr)
            return 1
        DOCUMENT.write_text(TABLE.sub(lambda _: table(results), DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
        print(f"written: docs/{DOCUMENT.name}")
    return 0


def _options(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time generated C on this machine beside other ways to run a model.")
    parser.add_argument("--compiler", default="gcc")
    parser.add_argument("--flags", default="-O3 -march=native", help="for everything that is compiled here")
    parser.add_argument("--rounds", type=int, default=60, help="turns of which the fastest counts")
    parser.add_argument("--cmsis-nn-include", default=os.environ.get("CMSIS_NN_INCLUDE", ""), help="its folder Include")
    parser.add_argument("--cmsis-nn-library", default=os.environ.get("CMSIS_NN_LIBRARY", ""),
                        help="a library of it for this machine: position-independent, same flags")
    parser.add_argument("--onnx2c", default=os.environ.get("ONNX2C", "onnx2c"), help="the program")
    parser.add_argument("--emx-onnx-cgen", default=os.environ.get("EMX_ONNX_CGEN", "emx-onnx-cgen"), help="the program")
    parser.add_argument("--accept", action="store_true", help="write the table into docs/host.md")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
