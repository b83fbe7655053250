"""Fit the tables of ``aot/prices`` to layers measured on emulated boards: ``make costs``.

All models of ``make bench``, one of odd layers and some small ones are compiled for boards and goals; the larger ones,
where there is a choice, also with the next best kernels, and with plain ones; some also in other formats than int8, and
in formats that change from layer to layer.
Each layer's instructions are counted, and for each kernel the prices of its kinds of work are found by least squares of
the relative error, near the old ones where the layers do not tell. ``--refit`` takes what was measured last.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import re
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import odd_layers
import small_networks
from bench import Run, runs
from tables import models_folder

import aot
from aot import build, costs, elf, emulate
from aot.compiler import Net
from aot.emit import emit
from aot.kernels import KERNELS, built, candidates, choose
from aot.kernels.base import Kernel, SpecialKernel
from aot.ops.base import Site, with_residual
from aot.plan import plan
from aot.program import Program, Step, lower, sameness
from aot.recipe import Formats, Recipe
from aot.targets import OPTIMIZE_FLAGS, TARGETS, Target

ROOT = Path(__file__).parents[1]
MEASURED = ROOT / "build" / "costs.json"
TARGETS_MEASURED = ("cortex-m0", "cortex-m3", "cortex-m4", "cortex-m55", "rv32imc")
#: How strongly prices stay near the old ones, against relative errors; and the share of those which is left at least.
STIFFNESS = 1e-3
LEAST = 0.2
#: What is measured in other formats than int8; of whole networks in float, only small ones.
OTHERS = ("int4", "int16", "int16x8", "float32")
IN_OTHERS, LARGE = ("digits_cnn", "kws01_dscnn", "ic01_resnet8"), "ic01_resnet8"
#: Formats of one layer after the other, so that every conversion comes up.
IN_TURN = (Formats(), Formats("s16", "s8"), Formats("f32", "f32"), Formats("s8", "s4"), Formats("f32", "f32"),
           Formats("s16", "s4"))
Numbers = np.ndarray[Any, np.dtype[np.float64]]
#: Instruction set and goal -> kernel -> bytes of code, as in costs.py.
Code = dict[str, dict[str, tuple[int, int, float, list[str]]]]
#: Instruction set and goal -> library function -> bytes.
Library = dict[str, dict[str, int]]
#: A model whose functions are so alike that compilers make one of several: it tells nothing of code that is shared.
ODD = "odd_layers"
#: The share of networks whose code is within what it is said to be at most.
NEARLY_ALL = 0.98
#: How the names of small networks begin.
SMALL = "small_"
SPECIAL = {kernel.name for kernel in KERNELS}


def main(words: Sequence[str] | None = None) -> int:
    """Measure or read, fit, write prices and page; the answer is the exit status."""
    parser = argparse.ArgumentParser(description="Fit aot/prices to layers measured on emulated boards.")
    parser.add_argument("--refit", action="store_true", help="take what was measured last")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time")
    options = parser.parse_args(words)
    if not options.refit:
        MEASURED.parent.mkdir(exist_ok=True)
        MEASURED.write_text(json.dumps(measure(options.jobs)), encoding="utf-8")
    programs = json.loads(MEASURED.read_text(encoding="utf-8"))
    layers = [layer for program in programs for layer in program["layers"]]
    prices = fit(layers)
    errors = {row: float(f"{np.mean(np.abs(off)):.2g}") for row, off in _errors(layers, prices, key).items()}
    tables = fit_code(programs)
    for name, text in files(prices, errors, *tables, margins(programs, *tables)).items():
        (ROOT / "aot" / "prices" / f"{name}.json").write_text(text, encoding="utf-8")
    (ROOT / "docs" / "costs.md").write_text(document(layers, programs, prices, *tables), encoding="utf-8")
    return 0


# --- measuring ---------------------------------------------------------------------------------------------------

def measure(jobs: int) -> list[dict[str, Any]]:
    """What every program's layers cost, and its bytes of code."""
    folder = models_folder()
    models = {run.model: run for run in runs(folder, ("cortex-m4",))}
    models[ODD] = Run(ODD, "cortex-m4", "speed", *odd_layers.write(MEASURED.parent))
    models |= {name: Run(name, "cortex-m4", "speed", *files)
               for name, files in small_networks.write(MEASURED.parent).items()}
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        return [program for found in pool.map(_measure, models.values()) for program in found]


def _measure(run: Run) -> list[dict[str, Any]]:
    found = []
    for k, net in enumerate(_nets(run)):
        picks = (_chosen, _second, _plain) if k == 0 and not run.model.startswith(SMALL) else (_chosen,)
        for target in TARGETS_MEASURED:
            for goal in OPTIMIZE_FLAGS:
                found += [_program(net, target, goal, other) for other in picks]
                print(f"{run.model:<24}{target:<12}{goal:<10}{found[-1]['code']:>8} bytes of code", flush=True)
    return found


def _nets(run: Run) -> Iterator[Net]:
    """The model in all formats in which it is measured."""
    def made(**options: Any) -> Net:
        return aot.compile(run.file, data=str(run.calib), target="c99", name=run.model, optimize="speed", **options)
    yield (net := made())
    if run.model in IN_OTHERS or run.model.startswith(SMALL):
        yield from (made(precision=p) for p in OTHERS if (p, run.model) != ("float32", LARGE))
        names = [n.output for n in net.float_graph.nodes]
        yield made(recipe=Recipe(layers=dict(zip(names, cycle(IN_TURN), strict=False))))


def _chosen(site: Site) -> Kernel:
    """The kernel that the compiler takes."""
    return choose(site)


def _second(site: Site) -> Kernel:
    """The next best of those that were made for an instruction set."""
    made = [c.kernel for c in candidates(site) if c.kernel.name in SPECIAL]
    return made[1] if len(made) > 1 else choose(site)


def _plain(site: Site) -> Kernel:
    """The operator's own."""
    return site.node.op


def _program(net: Net, target: str, goal: str, pick: Callable[[Site], Kernel]) -> dict[str, Any]:
    """One program on a board: the layers' work and instructions, bytes of functions by kernel."""
    processor = TARGETS[target]
    program = lower(net.graph, processor.isa, goal)
    program = lower(net.graph, processor.isa, goal, (), {sameness(s.site): pick(s.site) for s in program.steps})
    arena = plan(program.buffers, program.sharings, exact=False)
    files = emit(net.graph, program, arena, processor, net.name, goal, net.golden, {})
    job = emulate.Job(net.name, files, net.graph, tuple(s.function for s in program.steps), (net.golden[0][0],))
    ran = emulate.emulate([job], processor, goal)
    layers = [{"kernel": s.kernel.priced(s.site), "isa": processor.isa.name, "model": net.name, "goal": goal,
               "work": dict(_work(s)), "saved": _saved(s), "instructions": count}
              for s, count in zip(program.steps, ran.samples[0][0].layers, strict=True) if _counts(s.kernel)]
    return {"pick": pick.__name__.strip("_"), "model": net.name, "target": target, "isa": processor.isa.name,
            "goal": goal, "code": ran.code,
            "layers": layers, **_code(program, net.name, image(ran.program, processor))}


def _counts(kernel: Kernel) -> bool:
    """Whether it is priced by its work; a few kernels know their instructions."""
    return not isinstance(kernel, SpecialKernel) or type(kernel).instructions is SpecialKernel.instructions


def _work(step: Step) -> costs.Work:
    return with_residual(step.kernel.work(step.site), step.site)


def _saved(step: Step) -> float:
    """Instructions which a kernel's estimate is below the price of its work: what its own kind of code saves."""
    site = step.site
    return costs.estimate(step.kernel.priced(site), site.isa.name, site.goal, _work(step)) \
        - step.kernel.instructions(site)


@dataclass(frozen=True)
class Image:
    """Functions of a linked program but not of the bench: bytes, and the names of those that each calls.

    Copies which the compiler specialized count under the name of the function; of those that it merged, and of entries
    into one function, the first has the bytes.
    """

    sizes: Mapping[str, int]
    calls: Mapping[str, frozenset[str]]

    def reached(self, name: str) -> list[str]:
        """The functions which a function calls, and those that these call."""
        seen, left = {name}, [name]
        while left:
            new = self.calls.get(left.pop(), frozenset()) - seen
            seen |= new
            left += new
        return sorted(seen - {name})


def image(program: bytes, processor: Target) -> Image:
    """Read by the tools of the target's compiler."""
    linked = elf.read(program)
    bench = next(s for s in linked.sections if s.name == ".bench")
    sizes, names, here, end = defaultdict(int), {}, "", 0
    for f in linked.functions:
        if not bench.address <= f.first < bench.address + bench.size:
            here = here if f.first < end else f.name.split(".")[0]
            sizes[here] += max(f.end - max(f.first, end), 0)
            names[f.name], end = here, max(f.end, end)
    with tempfile.TemporaryDirectory(prefix="aot-costs-") as folder:
        (Path(folder) / "program.elf").write_bytes(program)
        tool = f"{processor.compiler.removesuffix('gcc')}objdump"
        text = build.run([tool, "-d", "--no-show-raw-insn", "program.elf"], Path(folder)).out
    calls, caller = defaultdict(set), None
    for line in text.splitlines():
        if found := re.match(r"[0-9a-f]+ <([^>]+)>:$", line):
            caller = names.get(found[1], caller if found[1].startswith("$") else None)
        elif (found := re.search(r"<([^>+]+)>", line)) and found[1] in names and caller is not None:
            calls[caller].add(names[found[1]])
    return Image(sizes, {here: frozenset(called - {here}) for here, called in calls.items()})


def _code(program: Program, name: str, linked: Image) -> dict[str, Any]:
    """Bytes of the run function, of the layers' own and of shared functions, and the library functions they call.

    Beside the bytes stand the pieces of which the code consists.
    """
    made = {step.function for step in program.functions} | {
        shared.name for step in program.functions if (shared := step.kernel.shared(step.site)) is not None}
    own, shared, uses = defaultdict(list), defaultdict(dict), defaultdict(list)
    for step in program.functions:
        row, function = built(step.kernel, step.site), step.kernel.shared(step.site)
        if not linked.sizes.get(step.function):
            continue  # merged with another one
        own[row].append((linked.sizes[step.function], 0 if function is not None else step.kernel.pieces(step.site)))
        uses[row].append([f for f in linked.reached(step.function) if f not in made])
        if function is not None:
            shared[row][function.name] = (linked.sizes.get(function.name, 0), step.kernel.pieces(step.site))
    library = {f: linked.sizes[f] for found in uses.values() for names in found for f in names if linked.sizes.get(f)}
    return {"calls": len(program.steps), "run": linked.sizes[f"{name}_run"], "own": own,
            "shared": {row: list(v.values()) for row, v in shared.items()}, "uses": uses, "library": library}


# --- fitting -----------------------------------------------------------------------------------------------------

def key(layer: Mapping[str, Any]) -> str:
    """The row of the table: an operator's own kernel is plain C, compiled for an instruction set and a goal."""
    name = costs.measured(layer["kernel"])
    return name if name in SPECIAL else f"{name}@{layer['isa']}, {layer['goal']}"


def fit(layers: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Prices of all kernels; of those which were not measured, the old ones."""
    groups: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for layer in layers:
        groups[key(layer)].append(layer)
    prices = {name: dict(row) for name, row in costs.INSTRUCTIONS.items() if name in SPECIAL}
    for name, group in groups.items():
        done = dict.fromkeys(k for x in group for k, n in x["work"].items() if n)
        old = costs.INSTRUCTIONS.get(name) or {kind: costs.PLAIN[kind] for kind in done if kind not in costs.RESIDUAL}
        added = {kind: price for kind, price in costs.RESIDUAL.items() if kind in done}
        prices[name] = least_squares({**added, **old}, group)
    return dict(sorted(prices.items()))


def least_squares(old: Mapping[str, float], group: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Prices of least relative error over the layers."""
    kinds = list(old)
    start = np.array([max(old[k], 1.0) for k in kinds])
    rows = np.array([[x["work"].get(k, 0) / (x["instructions"] + x["saved"]) for k in kinds] for x in group]) * start
    factors = positive(rows, np.ones(len(rows)), np.ones(len(kinds)), STIFFNESS, LEAST)
    return {k: float(f"{p:.3g}") for k, p in zip(kinds, factors * start, strict=True)}


def positive(a: Numbers, b: Numbers, old: Numbers, stiffness: float, least: float) -> Numbers:
    """The x of least squares of ``a x - b`` and, weighed by ``stiffness``, of ``x - old``; none below ``least``."""
    x, free = np.full(len(old), least), np.ones(len(old), bool)
    near = np.sqrt(stiffness) * np.eye(len(old))
    while free.any():
        left = np.concatenate([b - a[:, ~free] @ x[~free], (np.sqrt(stiffness) * old)[free]])
        x[free] = np.linalg.lstsq(np.vstack([a[:, free], near[free][:, free]]), left, rcond=None)[0]
        if not (x[free] < least).any():
            break
        free &= x >= least
        x[~free] = least
    return x


def fit_code(programs: Sequence[Mapping[str, Any]]) -> tuple[Code, Library]:
    """The tables of bytes of code.

    A function takes what is nearest to what was measured, relatively, and is said to call the library functions that at
    least half of its kind reach. What is left of a program's code, tables and what the linker adds, is spread over its
    layers.
    """
    code: Code = {}
    library: Library = {}
    everywhere = {what: _gathered(programs, what) for what in ("own", "shared")}
    for isa, goal in dict.fromkeys((p["isa"], p["goal"]) for p in programs):
        chosen, row = [p for p in programs if (p["isa"], p["goal"]) == (isa, goal)], f"{isa}, {goal}"
        own, shared, uses = (_gathered(chosen, what) for what in ("own", "shared", "uses"))
        sizes = _gathered(({"library": {f: [n] for f, n in p["library"].items()}} for p in chosen), "library")
        called = {name: sorted(f for f in sizes if 2 * sum(f in functions for functions in found) >= len(found))
                  for name, found in uses.items()}
        networks = [p for p in chosen if p["model"] != ODD]
        call, start = np.polyfit([p["calls"] for p in networks], [p["run"] for p in networks], 1)
        more = _left(networks, sorted(own))
        code[row] = {"": (round(start), round(call), 0, [])}
        for name in sorted(own):
            alike = name.partition(" ")[0]
            (alone, piece), (shape, part) = (_line(found.get(name, []), everywhere[what].get(alike, []))
                                             for what, found in (("own", own), ("shared", shared)))
            code[row][name] = (round(alone + more[name]), round(shape), float(f"{piece or part:.3g}"), called[name])
        library[row] = {f: round(np.mean(sizes[f])) for f in sorted({f for found in called.values() for f in found})}
    return code, library


def _line(sizes: Sequence[tuple[int, int]], alike: Sequence[tuple[int, int]]) -> tuple[float, float]:
    """Bytes of a function, and of each piece in it: of these, and where they do not tell, of those that are alike."""
    if not any(pieces for _, pieces in sizes):
        return float(np.mean([n for n, _ in sizes] or [0.0])), 0.0
    found = {"function": 100.0, "piece": 10.0}
    for samples in (alike, sizes):
        if samples:
            found = least_squares(found, [{"work": {"function": 1, "piece": k}, "instructions": n, "saved": 0}
                                          for n, k in samples])
    return found["function"], found["piece"]


def _left(programs: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, float]:
    """Bytes that functions have besides, by kernel: those of the programs which no function has."""
    left = [p["code"] - p["run"] - sum(p["library"].values())
            - sum(n for what in ("own", "shared") for found in p[what].values() for n, _ in found) for p in programs]
    counts = [[sum(len(found) for row, found in p["own"].items() if costs.sized_as(row) == name) for name in names]
              for p in programs]
    found = positive(np.array(counts, np.float64), np.array(left, np.float64), np.zeros(len(names)), 1.0, 0.0)
    return dict(zip(names, found, strict=True))


def _gathered(programs: Iterable[Mapping[str, Any]], what: str) -> dict[str, list[Any]]:
    """What all programs have, by kernel, those together that are as large."""
    found: dict[str, list[Any]] = defaultdict(list)
    for p in programs:
        for name, items in p[what].items():
            found[costs.sized_as(name)] += items
    return found


# --- writing -----------------------------------------------------------------------------------------------------

def files(prices: Mapping[str, Mapping[str, float]], errors: Mapping[str, float], code: Code, library: Library,
          margin: Mapping[str, float]) -> dict[str, str]:
    """The tables as JSON, by file: one for kernels that were made for something, and one for each instruction set."""
    def of(isa: str) -> str:
        return as_text({what: {n: row for n, row in table.items() if _isa(n.partition("@")[2]) == isa}
                        for what, table in (("instructions", prices), ("errors", errors))}
                       | {what: {goal: rows for goal, rows in table.items() if _isa(goal) == isa}
                          for what, table in (("code", code), ("library", library))}, margin if not isa else {})
    return {isa or "kernels": of(isa) for isa in sorted({"", *map(_isa, code)})}


def _isa(row: str) -> str:
    """Of a row of a table."""
    return row.partition(",")[0]


def as_text(tables: Mapping[str, Mapping[str, Any]], margin: Mapping[str, float]) -> str:
    """Tables as JSON, a line for each row of instructions and of code, for library functions of a goal, and errors."""
    def lines(rows: Mapping[str, Any], indent: str) -> str:
        return ",\n".join(f"{indent}{json.dumps(name)}: {json.dumps(row)}" for name, row in rows.items())
    code = ",\n".join(f"  {json.dumps(goal)}: {{\n{lines(rows, '    ')}\n  }}" for goal, rows in tables["code"].items())
    parts = [("instructions", lines(tables["instructions"], "  ")),
             ("code", code), ("library", lines(tables["library"], "  "))]
    return "{\n" + "".join(f'"{what}": {{\n{text}\n}},\n' for what, text in parts) + \
        f'"errors": {json.dumps(tables["errors"])},\n"margin": {json.dumps(margin)}\n}}\n'


def margins(programs: Iterable[Mapping[str, Any]], code: Code, library: Library) -> dict[str, float]:
    """By goal, the share of the estimate that the code of nearly all networks is within, besides the slack.

    Those count whose kernels are what the compiler takes.
    """
    found: dict[str, list[float]] = {goal: [] for goal in OPTIMIZE_FLAGS}
    for p in (p for p in programs if p["pick"] == "chosen" and p["model"] != ODD):
        guess = estimated_code(p, code, library)
        found[p["goal"]].append((p["code"] - costs.at_most(guess, 0.0)) / guess)
    return {goal: max(float(np.ceil(100 * np.quantile(shares, NEARLY_ALL)) / 100), 0.0)
            for goal, shares in found.items()}


def estimated_code(program: Mapping[str, Any], code: Code, library: Library) -> float:
    """Bytes of a measured program's code by the tables."""
    row = f"{program['isa']}, {program['goal']}"
    total, called = code[row][""][0] + code[row][""][1] * program["calls"], set()
    for name, found in program["own"].items():
        own, shape, piece, functions = code[row][costs.sized_as(name)]
        total += sum(own + piece * k for _, k in found)
        total += sum(shape + piece * k for _, k in program["shared"].get(name, ()))
        called |= set(functions)
    return total + sum(library[row][f] for f in called)


def guessed(layer: Mapping[str, Any], prices: Mapping[str, Mapping[str, float]]) -> float:
    """Instructions of a measured layer by the table."""
    return float(sum(prices[key(layer)][k] * n for k, n in layer["work"].items() if n) - layer["saved"])


def _errors(layers: Sequence[Mapping[str, Any]], prices: Mapping[str, Mapping[str, float]],
            name: Callable[[Mapping[str, Any]], str]) -> dict[str, list[float]]:
    """Relative errors of the estimates, by a name of the layers."""
    found: dict[str, list[float]] = defaultdict(list)
    for x in layers:
        found[name(x)].append(guessed(x, prices) / x["instructions"] - 1)
    return found


def document(layers: Sequence[Mapping[str, Any]], programs: Sequence[Mapping[str, Any]],
             prices: Mapping[str, Mapping[str, float]], code: Code, library: Library) -> str:
    """docs/costs.md."""
    groups = _errors(layers, prices, lambda x: key(x).partition(",")[0])
    networks: dict[tuple[str, str], list[float]] = defaultdict(list)
    for p in programs:
        took = sum(x["instructions"] for x in p["layers"])
        guess = sum(guessed(x, prices) for x in p["layers"])
        networks[p["isa"], p["goal"]].append(guess / took - 1)
    codes: dict[tuple[str, str], list[float]] = defaultdict(list)
    for p in (p for p in programs if p["model"] != ODD):
        codes[p["isa"], p["goal"]].append(estimated_code(p, code, library) / p["code"] - 1)

    margin = margins(programs, code, library)

    def row(name: str, errors: Sequence[float]) -> str:
        return (f"| {name} | {len(errors)} | {np.mean(np.abs(errors)):.1%} | {min(errors):+.1%} | {max(errors):+.1%} |")

    head = ["| {} | {} | mean error | least | most |", "|---|---|---|---|---|"]
    lines = ["# How good the estimates are", "",
             "The compiler chooses kernels, strips and memory by estimates: the counts in each kernel's `work`, times",
             "the prices in [aot/prices](../aot/prices). `make costs` fits them to layers measured on emulated",
             "boards and writes this page: relative errors of the estimates over the models of `make bench`,",
             f"one of odd layers and some small ones, {len(layers)} layers of {len(programs)} programs.", "",
             "## Layers, compiled for all goals", "", head[0].format("kernel", "layers"), head[1],
             *(row(f"`{name}`", errors) for name, errors in sorted(groups.items())), "",
             "## Whole networks, instructions", "", head[0].format("instruction set, goal", "networks"), head[1],
             *(row(", ".join(name), errors) for name, errors in sorted(networks.items())), "",
             "## Whole networks, bytes of code", "", head[0].format("instruction set, goal", "networks"), head[1],
             *(row(", ".join(name), errors) for name, errors in sorted(codes.items())), "",
             f"A budget of flash counts code as what {NEARLY_ALL:.0%} of these programs with the compiler's own choice",
             f"of kernels keep: the estimate, {costs.SLACK[0]} bytes (of little code {costs.SLACK[1]:.0%}),",
             f"and for the goal {', '.join(f'{goal} {share:.0%}' for goal, share in margin.items())}."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
