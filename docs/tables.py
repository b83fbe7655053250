"""Fill the tables of README.md and of the examples: ``make tables``. No number in them is typed.

A table stands between ``<!-- table:NAME -->`` and ``<!-- /table -->``. Costs on boards are taken from
``docs/bench.json``, which ``docs/bench.py`` writes; accuracy is measured here. The MLPerf Tiny models are not part of
the project: see ``models_folder``. Without them their table of accuracy stays as it is.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import aot
from aot import data as sample_data
from aot import verify
from aot.ops import OPS
from aot.targets import TARGETS
from aot.verify import Verification

ROOT = Path(__file__).parents[1]
EXAMPLES = ("digits_dense", "digits_cnn")
BOARDS = ("cortex-m0", "cortex-m4", "cortex-m7", "cortex-m55", "rv32imc")
BENCH = ROOT / "docs" / "bench.json"
#: What one inference costs, by name, and such entries by model, target and goal.
Entry = dict[str, int | None]
Table = dict[str, dict[str, dict[str, Entry]]]


class Library(NamedTuple):
    """What CMSIS-NN (commit 99f736a6) costs, called directly: arm-none-eabi-gcc 12.2 -O3 -flto.

    Instructions, cycles by the rule of ``runtime_c/bench/count.c``, and bytes are those on a Cortex-M4.
    """

    instructions: int
    cycles: int
    code: int
    weights: int
    arena: int
    stack: int
    instructions_m0: int
    instructions_m55: int


class Model(NamedTuple):
    """A model of MLPerf Tiny: its files, and what the best library written by hand needs.

    ``macs`` are those of the model as it is, constant channels included; ``evaluation`` is None where there are no
    labels of the usual form.
    """

    title: str
    file: str
    macs: int
    calib: str
    evaluation: str | None
    library: Library


MLPERF = (
    Model("keyword spotting, DS-CNN", "kws01_dscnn", 2_656_768, "kws01_calib", "kws01_eval",
          Library(7_153_900, 8_300_000, 19_796, 28_976, 16_000, 376, 23_982_861, 1_602_182)),
    Model("image classification, ResNet-8", "ic01_resnet8", 12_501_632, "ic01_calib", "ic01_eval",
          Library(26_945_101, 32_600_000, 20_636, 81_432, 49_728, 312, 94_747_816, 4_170_293)),
    Model("person detection, MobileNetV1", "vww96_mobilenetv1_025", 7_489_664, "vww01_calib", "vww01_eval",
          Library(23_344_365, 27_400_000, 17_848, 240_952, 55_296, 480, 85_673_588, 5_895_631)),
    Model("anomaly detection, autoencoder", "ad01_autoencoder", 264_192, "ad01_calib", None,
          Library(577_738, 716_000, 5_464, 270_880, 768, 252, 1_752_479, 146_790)),
)
BLOCK = re.compile(r"(<!-- table:([a-z_]+) -->\n)(.*?)(?=<!-- /table -->)", re.DOTALL)


def main() -> None:
    """Fill every table of every document."""
    for document in (ROOT / "README.md", *(ROOT / "examples" / name / "README.md" for name in EXAMPLES)):
        print(document.relative_to(ROOT))
        document.write_text(fill(document.read_text(encoding="utf-8")), encoding="utf-8")


def fill(text: str) -> str:
    """The text with every table made anew; one that cannot be measured here keeps its content."""
    def replace(match: re.Match[str]) -> str:
        head, name, content = match.groups()
        print(f"  {name}")
        made = TABLES[name]()
        return head + (content if made is None else made)
    return BLOCK.sub(replace, text)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Markdown; columns of numbers to the right."""
    rows = [[f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in rows]
    right = [all(re.match(r"[\d,.]+( |$)|–$", row[i]) for row in rows) for i in range(len(head))]
    rule = ["---:" if r else "---" for r in right]
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, rule, *rows))


def operators() -> str:
    """What the registry holds: ONNX operators, by the operator that reads them."""
    return table(("ONNX operators", "become"),
                 ((", ".join(sorted(op.onnx)), f"`{op.name}`") for op in OPS if op.onnx))


def targets() -> str:
    """The known targets."""
    return table(("target", "processor", "kernels", "emulated by `aot bench`"),
                 ((f"`{t.name}`", t.description, f"`{t.isa.header}`", "yes" if t.emulator else "no")
                  for t in TARGETS.values()))


def examples() -> str:
    """Accuracy and memory of the examples."""
    rows = []
    for name in EXAMPLES:
        net, result = _example(name), _verified(name)
        rows.append((f"[{name}](examples/{name})", net.report.macs, net.report.parameters, _percent(result.float_),
                     _percent(result.quantized), _percent(result.agreement), net.report.weights, net.report.arena))
    return table(("example", "MACs", "parameters", "accuracy float", "int8", "same answer", "weights, bytes",
                  "arena, bytes"), rows)


def example(name: str) -> str:
    """One example's layers."""
    report, result = _example(name).report, _verified(name)
    rows = [(f"`{r.name}`", "×".join(map(str, r.output)), r.macs, r.weights, r.scratch) for r in report.rows]
    text = table(("layer", "output", "MACs", "weights, bytes", "scratch, bytes"), rows)
    return text + (f"\nAccuracy on {result.samples} samples: float {_percent(result.float_)}, int8 "
                   f"{_percent(result.quantized)}; the same answer in {_percent(result.agreement)}. "
                   f"Arena {report.arena:,} bytes, weights and tables {report.weights:,} bytes.\n")


def boards() -> str:
    """The small CNN on every emulated board."""
    made = read_bench()["digits_cnn"]
    return table(("target", "MACs", "instructions", "per MAC", "code, bytes", "weights, bytes", "arena, bytes",
                  "stack, bytes"),
                 ((f"`{board}`", e["macs"], e["instructions"], _ratio(e["instructions"], e["macs"]), e["code"],
                   e["weights"], e["arena"], e["stack"]) for board in BOARDS for e in [made[board]["balanced"]]))


def mlperf() -> str:
    """The MLPerf Tiny models on a Cortex-M4, for every goal, and what the library needs."""
    rows: list[tuple[object, ...]] = []
    for model in MLPERF:
        made, ref = read_bench()[model.file]["cortex-m4"], model.library
        costs = [(f"`{goal}`", e["instructions"], e["cycles"], (e["code"] or 0) + (e["weights"] or 0), e["arena"],
                  e["stack"]) for goal, e in made.items()]
        costs.append(("CMSIS-NN", ref.instructions, ref.cycles, ref.code + ref.weights, ref.arena, ref.stack))
        rows += ((model.title, who, n, _ratio(n, model.macs), cycles, _ratio(cycles, model.macs), *rest)
                 for who, n, cycles, *rest in costs)
    return table(("model", "", "instructions", "per MAC", "cycles, estimate", "per MAC", "flash, bytes",
                  "arena, bytes", "stack, bytes"), rows)


def mlperf_boards() -> str:
    """Instructions of the MLPerf Tiny models on the other boards."""
    rows = []
    for model in MLPERF:
        made, ref = read_bench()[model.file], model.library
        library = {"cortex-m0": ref.instructions_m0, "cortex-m55": ref.instructions_m55}
        for board in (b for b in BOARDS if b != "cortex-m4"):
            speed, balanced = (made.get(board, {}).get(goal, {}) for goal in ("speed", "balanced"))
            rows.append((model.title, f"`{board}`", speed.get("instructions") or "–",
                         balanced.get("instructions") or "–",
                         _ratio(balanced.get("instructions"), model.macs), library.get(board, "–")))
    return table(("model", "target", "`speed`", "`balanced`", "per MAC", "CMSIS-NN"), rows)


def shared_accuracy() -> str | None:
    """Accuracy of the shared models, if they are here."""
    folder = models_folder()
    if folder is None:
        return None
    import accuracy  # beside this file; what only looks at the tables does without

    return table(accuracy.HEAD, accuracy.rows(folder))


def models_folder() -> Path | None:
    """Where the MLPerf Tiny models are (``*.onnx``, with their samples in ``../data``); None if they are not here.

    The environment variable ``AOT_MODELS`` names the folder; otherwise it is looked for beside the checkout.
    """
    named = os.environ.get("AOT_MODELS")
    folder = Path(named) if named else ROOT.parent / "shared" / "models"
    return folder if all((folder / f"{m.file}.onnx").is_file() for m in MLPERF) else None


def read_bench() -> Table:
    """The table in ``docs/bench.json``; empty before it is first written."""
    found: Table = json.loads(BENCH.read_text(encoding="utf-8")) if BENCH.is_file() else {}
    return found


def example_files(name: str) -> tuple[Path, Path, Path]:
    """An example's model, calibration and evaluation samples."""
    folder = ROOT / "examples" / name
    return folder / "model.onnx", folder / "calib.npz", folder / "eval.npz"


def _ratio(cost: int | None, macs: int | None) -> str:
    return f"{cost / macs:.2f}" if cost and macs else "–"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


@cache
def _compile(model: str, calib: str) -> aot.Net:
    return aot.compile(model, data=calib)


def _example(name: str) -> aot.Net:
    model, calib, _ = example_files(name)
    return _compile(str(model), str(calib))


@cache
def _verified(name: str) -> Verification:
    return _verify(_example(name), example_files(name)[2])


def _verify(net: aot.Net, samples: Path) -> Verification:
    result = verify.verify(net, sample_data.load(samples, net.float_graph))
    if result.mismatches:
        raise SystemExit(f"{net.name}: the C differs from its twin in {result.mismatches} elements")
    return result


TABLES: dict[str, Callable[[], str | None]] = {
    "operators": operators, "targets": targets, "examples": examples, "boards": boards, "mlperf": mlperf,
    "mlperf_boards": mlperf_boards, "shared_accuracy": shared_accuracy,
    **{name: partial(example, name) for name in EXAMPLES},
}

if __name__ == "__main__":
    main()
