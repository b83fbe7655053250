"""Generated code, line by line: a change of templates or passes shows what it does to the C. ``make golden`` renews it.

Ranges are made up, so that no number depends on how a machine sums floats.
"""

from __future__ import annotations

import difflib
import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from kernels import project
from sketch import Sketch

from aot.calibrate import Calibration, Range
from aot.frontend import load
from aot.ir import Graph
from aot.ops import OPS
from aot.ops.add import Add
from aot.ops.average_pool2d import AveragePool2d
from aot.ops.concat import Concat
from aot.ops.max_pool2d import MaxPool2d
from aot.ops.mul import Mul
from aot.ops.pad import Pad
from aot.ops.reshape import Reshape
from aot.ops.slice import Slice
from aot.ops.softmax import Softmax
from aot.ops.transpose import Transpose
from aot.ops.unary import Unary
from aot.ops.window import Window
from aot.passes import run_passes
from aot.recipe import Formats, Recipe
from aot.targets import TARGETS

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
#: Files of more lines than this are stored as their digest.
MOST_LINES = 100
#: Name of the golden folder -> target.
CASES = {"digits_cnn_c99": "c99", "digits_cnn_dsp": "cortex-m4", "every_operator": "c99", "mixed_formats": "c99"}


def digits() -> Graph:
    """The convolutional example."""
    return run_passes(load(ROOT / "examples" / "digits_cnn" / "model.onnx").graph)


def every_operator() -> Graph:
    """All operators once, but convolutions of which the example has all kinds; two inputs and two outputs."""
    b = Sketch()
    b.input("image", (1, 4, 4, 3))
    b.input("gain", (1, 1, 1, 3))
    x = b.then(Mul((0.0, 6.0)), ["image", "gain"], "scaled")
    x = b.then(Pad((0, 1, 1, 0), (0, 1, 1, 0), 0.5), x, "padded")
    x = b.conv(x, "conv", 2)
    a = b.then(MaxPool2d(Window((2, 2), (2, 2))), x, "largest")
    c = b.then(AveragePool2d(Window((3, 3), (2, 2), pads=(1, 1, 0, 0))), x, "mean")
    x = b.then(Concat(3), [a, c], "both")
    x = b.then(Add(), [x, b.constant(np.linspace(-1, 1, 4, dtype=np.float32), "offset")], "sum")
    b.then(Transpose((0, 3, 1, 2)), b.then(Unary("tanh"), x, "tanh"), "map")
    x = b.then(Slice((0, 0, 0, 1), (1, 3, 3, 2), (1, 1, 1, 2)), x, "part")
    x = b.dense(b.then(Reshape((1, 18)), x, "flat"), "scores", 5)
    return b.graph(["image", "gain"], ["map", b.then(Softmax(), x, "answer")])


def mixed_formats() -> tuple[Graph, Recipe]:
    """A format in every layer, and conversions between."""
    b = Sketch()
    b.input("image", (1, 4, 4, 3))
    x = b.conv(b.conv("image", "nibbles", 4), "wide", 3)
    x = b.then(Softmax(), b.then(Unary("tanh"), x, "tanh"), "float")
    x = b.dense(b.then(Reshape((1, 48)), x, "flat"), "scores", 5)
    int16, float32 = Formats("s16", "s16"), Formats("f32", "f32")
    return b.graph(["image"], [x]), Recipe(Formats("s8", "s8"), {
        "nibbles": Formats("s8", "s4"), "wide": int16, "tanh": int16, "float": float32})


def made_up(graph: Graph) -> Calibration:
    """A range for every value, by its place in the graph."""
    names = [*graph.inputs, *(n.output for n in graph.nodes)]
    ranges = {n: Range(-0.25 * (i % 3), 1.0 + i % 4) for i, n in enumerate(names)}
    return Calibration(ranges, 1, "minmax")


def generated(case: str) -> dict[str, str]:
    """The C by path, without the copies of ``runtime_c`` and the self-test; of long weights only the digest."""
    graph, recipe = every_operator() if case == "every_operator" else digits(), None
    if case == "mixed_formats":
        graph, recipe = mixed_formats()
    name = case.rsplit("_", 1)[0] if case.startswith("digits") else case
    files = project(graph, TARGETS[CASES[case]], name, calibration=made_up(graph), recipe=recipe).files
    chosen = {}
    for path, text in files.items():
        if path.endswith((".c", ".h", ".txt")) and not path.startswith("src/aot_") and "selftest" not in path:
            long = text.count("\n") > MOST_LINES and path.endswith("_weights.c")
            digest = hashlib.sha256(text.encode()).hexdigest()
            chosen[f"{path}.sha256" if long else path] = f"{digest}\n" if long else text
    return chosen


def stored(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): p.read_text(encoding="utf-8")
            for p in sorted(folder.rglob("*")) if p.is_file()}


def difference(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """What differs, as a patch; empty if nothing does."""
    lines: list[str] = []
    for path in sorted({*before, *after}):
        lines += difflib.unified_diff(before.get(path, "").splitlines(), after.get(path, "").splitlines(),
                                      f"golden/{path}", f"today/{path}", lineterm="", n=1)
    return "\n".join(lines)


@pytest.mark.parametrize("case", CASES)
def test_generated_code(case: str, request: pytest.FixtureRequest) -> None:
    folder, today = HERE / case, generated(case)
    if request.config.getoption("--golden-refresh"):
        if folder.exists():
            shutil.rmtree(folder)
        for path, text in today.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8", newline="\n")
    changed = difference(stored(folder), today)
    assert not changed, f"generated code changed; if it should have, say `make golden`:\n{changed[:8000]}"


def test_all_operators_are_there() -> None:
    used = {n.op.name for graph in (digits(), every_operator()) for n in graph.nodes}
    assert used | {"quantize"} == {op.name for op in OPS}  # which the mixed formats have


def test_a_change_is_shown() -> None:
    before = {"a.c": "one\ntwo\nthree\n", "gone.c": "x\n"}
    assert difference(before, before) == ""
    patch = difference(before, {"a.c": "one\n2\nthree\n"})
    assert "-two\n+2" in patch and "--- golden/gone.c" in patch
