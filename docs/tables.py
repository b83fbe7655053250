"""Fill the tables of README.md and of the examples: ``make tables``. No number in them is typed.

A table stands between ``<!-- table:NAME -->`` and ``<!-- /table -->``. The MLPerf Tiny models are not part of the
project: their table is measured when the environment variable ``AOT_MODELS`` names the folder which holds them
(``*.onnx``, with their samples in ``../data``), and stays as it is otherwise.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from pathlib import Path

import aot
from aot import bench, verify
from aot import data as sample_data
from aot.bench import Bench
from aot.ops import OPS
from aot.targets import TARGETS
from aot.verify import Verification

ROOT = Path(__file__).parents[1]
EXAMPLES = ("digits_dense", "digits_cnn")
BOARDS = ("cortex-m0", "cortex-m4", "cortex-m7", "cortex-m55", "rv32imc")
#: MLPerf Tiny: title -> model file, calibration and evaluation samples (none: no labels of the usual form).
MLPERF = {
    "keyword spotting, DS-CNN": ("kws01_dscnn", "kws01_calib", "kws01_eval"),
    "image classification, ResNet-8": ("ic01_resnet8", "ic01_calib", "ic01_eval"),
    "person detection, MobileNetV1": ("vww96_mobilenetv1_025", "vww01_calib", "vww01_eval"),
    "anomaly detection, autoencoder": ("ad01_autoencoder", "ad01_calib", None),
}
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
    right = [all(re.match(r"[\d,.]+( |$)", row[i]) for row in rows) for i in range(len(head))]
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
    rows = []
    for board in BOARDS:
        b = _bench(str(_files("digits_cnn") / "model.onnx"), str(_files("digits_cnn") / "calib.npz"), board)
        rows.append((f"`{board}`", *_costs(b)))
    return table(("target", *COSTS), rows)


def mlperf() -> str | None:
    """The MLPerf Tiny models on a Cortex-M4, if they are here."""
    folder = os.environ.get("AOT_MODELS")
    if folder is None:
        return None
    models, samples = Path(folder), Path(folder).parent / "data"
    rows = []
    for title, (name, calib, evaluation) in MLPERF.items():
        model, calib = str(models / f"{name}.onnx"), str(samples / f"{calib}.npz")
        accuracy = ("–", "–")
        if evaluation is not None:
            result = _verify(_compile(model, calib), samples / f"{evaluation}.npz")
            accuracy = (_percent(result.float_), _percent(result.quantized))
        rows.append((title, *accuracy, *_costs(_bench(model, calib, "cortex-m4"))))
    return table(("model", "accuracy float", "int8", *COSTS), rows)


COSTS = ("MACs", "instructions", "per MAC", "code, bytes", "weights, bytes", "arena, bytes", "stack, bytes")


def _costs(b: Bench) -> tuple[object, ...]:
    j = b.as_json()
    return (j["macs"], j["instructions"], f"{j['instructions_per_mac']:.2f}", j["flash"]["code"], j["flash"]["weights"],
            j["ram"]["arena"], j["ram"]["stack"])


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


def _files(name: str) -> Path:
    return ROOT / "examples" / name


@cache
def _compile(model: str, calib: str, target: str = "c99") -> aot.Net:
    return aot.compile(model, data=calib, target=target)


def _example(name: str) -> aot.Net:
    return _compile(str(_files(name) / "model.onnx"), str(_files(name) / "calib.npz"))


@cache
def _bench(model: str, calib: str, target: str) -> Bench:
    return bench.bench(_compile(model, calib, target))


@cache
def _verified(name: str) -> Verification:
    return _verify(_example(name), _files(name) / "eval.npz")


def _verify(net: aot.Net, samples: Path) -> Verification:
    result = verify.verify(net, sample_data.load(samples, net.float_graph))
    if result.mismatches:
        raise SystemExit(f"{net.name}: the C differs from its twin in {result.mismatches} elements")
    return result


TABLES: dict[str, Callable[[], str | None]] = {
    "operators": operators, "targets": targets, "examples": examples, "boards": boards, "mlperf": mlperf,
    **{name: partial(example, name) for name in EXAMPLES},
}

if __name__ == "__main__":
    main()
