"""Measure on emulated boards and compare with ``docs/bench.json``: ``make bench``; nothing is measured by the clock.

The table holds what the examples and the MLPerf Tiny models cost: model -> target -> goal -> numbers. The comparison
fails, naming model and number, where instructions, cycles, flash or arena grew by more than 1 %, the stack by more than
16 bytes, or an entry is missing. ``--accept`` writes what was measured into the table.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

from tables import BENCH, BOARDS, EXAMPLES, MLPERF, Entry, Table, example_files, models_folder, read_bench

import aot
from aot import bench, emulate
from aot.errors import AotError
from aot.targets import TARGETS

#: What is measured of every model: target -> goals.
GOALS: dict[str, tuple[str, ...]] = dict.fromkeys(BOARDS, ("balanced",)) | {
    "cortex-m0": ("speed", "balanced"), "cortex-m4": ("speed", "balanced", "size"), "cortex-m55": ("speed", "balanced")}
#: A number may grow by this share before that is a regression; the stack, by so many bytes.
SHARE = 0.01
STACK = 16


class Run(NamedTuple):
    """One measurement: the key into the table, then model and calibration samples."""

    model: str
    target: str
    goal: str
    file: Path
    calib: Path


class Change(NamedTuple):
    """A number that differs from the table's by more than is allowed, for the worse or the better."""

    what: str
    before: int
    now: int

    def __str__(self) -> str:
        share = f", {self.now / self.before - 1:+.1%}" if self.before else ""
        return f"{self.what} {self.before:,} -> {self.now:,}{share}"


def main(words: Sequence[str] | None = None) -> int:
    """Measure, print, compare or accept; the answer is the exit status."""
    options = _options(words)
    folder = models_folder()
    if folder is None:
        print("The MLPerf Tiny models are not here (AOT_MODELS may name their folder): measuring the examples only.\n")
    planned = list(runs(folder, options.target or tuple(GOALS)))
    lacking = sorted({tool for run in planned for tool in emulate.missing(TARGETS[run.target])})
    if lacking:
        print(f"not found: {', '.join(lacking)}; say `make toolchain`", file=sys.stderr)
        return 1
    committed = read_bench()
    measured, failed = measure(planned, committed, options.jobs)
    if options.accept:
        BENCH.write_text(as_text(merged(committed, measured, GOALS)), encoding="utf-8")
        print(f"\nwritten: docs/{BENCH.name}; `make tables` takes it into the README")
    status = 0 if options.accept else judge(committed, measured)
    if failed:
        print("\nfailed:\n  " + "\n  ".join(failed), file=sys.stderr)
    return 1 if failed else status


def runs(folder: Path | None, targets: Sequence[str]) -> Iterator[Run]:
    """Everything to measure on the targets; without the folder of models, the examples."""
    models = {name: example_files(name)[:2] for name in EXAMPLES}
    if folder is not None:
        models |= {m.file: (folder / f"{m.file}.onnx", folder.parent / "data" / f"{m.calib}.npz") for m in MLPERF}
    for name, files in models.items():
        for target in targets:
            for goal in GOALS[target]:
                yield Run(name, target, goal, *files)


def measure(planned: Sequence[Run], committed: Table, jobs: int) -> tuple[Table, list[str]]:
    """What the runs cost, a line printed for each, and what went wrong in words."""
    measured: Table = {}
    failed = []
    names = ("instructions", "cycles", "code", "weights", "arena", "stack")
    print(f"{'model':<22} {'target':<11} {'goal':<9}" + "".join(f"{n:>13}" for n in names))
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        for run, result in zip(planned, pool.map(_measure, planned), strict=True):
            head = f"{run.model:<22} {run.target:<11} {run.goal:<9}"
            if isinstance(result, str):
                failed.append(f"{run.model}, {run.target}, {run.goal}: {result}")
                print(f"{head} failed", flush=True)
                continue
            measured.setdefault(run.model, {}).setdefault(run.target, {})[run.goal] = result
            numbers = "".join(f"{'–' if result[n] is None else format(result[n], ',d'):>13}" for n in names)
            before = committed.get(run.model, {}).get(run.target, {}).get(run.goal)
            print(f"{head}{numbers}  {'new' if before is None else difference(before, result)}", flush=True)
    return measured, failed


def difference(before: Entry, now: Entry) -> str:
    """How the instructions changed, if they did."""
    a, b = before["instructions"], now["instructions"]
    return "" if a == b or not a or b is None else f"{b / a - 1:+.2%}"


def _measure(run: Run) -> Entry | str:
    """One run, in a process of its own; an error in words, since it has to come back from there."""
    try:
        b = bench.bench(aot.compile(run.file, data=str(run.calib), target=run.target, optimize=run.goal,
                                    name=run.model))
    except (AotError, OSError) as error:
        return str(error)
    return {"macs": b.macs, "instructions": b.instructions, "cycles": b.cycles, "code": b.code, "weights": b.weights,
            "arena": b.arena, "stack": b.stack}


def judge(committed: Table, measured: Table) -> int:
    """Print what differs from the table; 1 if anything is worse or missing."""
    worse, better = compare(committed, measured)
    if better:
        print("\nbetter:\n  " + "\n  ".join(better))
    if worse:
        print("\nworse:\n  " + "\n  ".join(worse), file=sys.stderr)
    if worse or better:
        print("\nIf this is meant: make bench ACCEPT=1, then make tables")
    else:
        print("\nnothing differs from docs/bench.json by more than 1 %")
    return 1 if worse else 0


def compare(committed: Table, measured: Table) -> tuple[list[str], list[str]]:
    """What is worse (with entries that the table does not have) and what is better than the table, in words."""
    worse, better = [], []
    for model, target, goal, now in entries(measured):
        name = f"{model}, {target}, {goal}"
        before = committed.get(model, {}).get(target, {}).get(goal)
        if before is None:
            worse.append(f"{name}: not in docs/bench.json")
            continue
        for change in changes(before, now):
            (worse if change.now > change.before else better).append(f"{name}: {change}")
    return worse, better


def changes(before: Entry, now: Entry) -> Iterator[Change]:
    """The numbers that changed by more than is allowed."""
    for what in ("instructions", "cycles", "flash", "arena", "stack"):
        a, b = _number(before, what), _number(now, what)
        if a is not None and b is not None and abs(b - a) > (STACK if what == "stack" else SHARE * a):
            yield Change(what, a, b)


def _number(entry: Entry, what: str) -> int | None:
    """A number of an entry; flash is code and weights. None if the target has none."""
    if what == "flash":
        return (entry["code"] or 0) + (entry["weights"] or 0)
    return entry[what]


def entries(table: Table) -> Iterator[tuple[str, str, str, Entry]]:
    """Model, target, goal and numbers of each entry."""
    for model, targets in table.items():
        for target, goals in targets.items():
            for goal, entry in goals.items():
                yield model, target, goal, entry


def merged(committed: Table, measured: Table, goals: Mapping[str, Sequence[str]]) -> Table:
    """The table with the measured entries; others stay as they are if they are still wanted."""
    models = (*EXAMPLES, *(m.file for m in MLPERF))
    found = {(m, t, g): e for table in (committed, measured) for m, t, g, e in entries(table)}
    new: Table = {}
    for model in models:
        for target in goals:
            for goal in goals[target]:
                if (model, target, goal) in found:
                    new.setdefault(model, {}).setdefault(target, {})[goal] = found[model, target, goal]
    return new


def as_text(table: Table) -> str:
    """JSON with a line an entry, so that a difference reads well."""
    models = []
    for model, targets in table.items():
        boards = [f'  {json.dumps(target)}: {{\n' + ",\n".join(f"   {json.dumps(goal)}: {json.dumps(entry)}"
                                                               for goal, entry in goals.items()) + "}"
                  for target, goals in targets.items()]
        models.append(f" {json.dumps(model)}: {{\n" + ",\n".join(boards) + "}")
    return "{\n" + ",\n".join(models) + "\n}\n"


def _options(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure on emulated boards and compare with docs/bench.json.")
    parser.add_argument("--target", action="append", choices=tuple(GOALS), help="this one only; may be repeated")
    parser.add_argument("--accept", action="store_true", help="write what was measured into docs/bench.json")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
