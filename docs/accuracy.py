"""What each precision does to the answers of the shared models: the generated C on this machine beside ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

import aot
from aot import data as sample_data
from aot.oracle import Oracle


class Shared(NamedTuple):
    """A model whose outputs are scores of classes, and its samples.

    ``agreement`` and ``error`` are what the best static int8 of ONNX Runtime (``quantize_static``) reaches with equal
    calibration on the same samples; they are typed, as the library's costs in ``tables.py`` are.
    """

    file: str
    calib: str
    evaluation: str
    agreement: float
    error: float


SHARED = (
    Shared("kws01_dscnn", "kws01_calib", "kws01_eval", 0.989, 0.0022),
    Shared("ic01_resnet8", "ic01_calib", "ic01_eval", 0.975, 0.0051),
    Shared("ic01_resnet8", "ic01_calib", "ic01_jpeg_eval", 0.969, 0.0066),
    Shared("vww96_mobilenetv1_025", "vww01_calib", "vww01_eval", 0.988, 0.0126),
    Shared("cifar_mbv2", "cifar_nchw_calib", "cifar_nchw_eval", 0.994, 0.0318),
    Shared("fashion_lenet", "fashion_nchw_calib", "fashion_nchw_eval", 0.995, 0.0169),
    Shared("mnist_mlp", "mnist_flat_calib", "mnist_flat_eval", 0.998, 6.3e-4),
    Shared("digits_mlp", "digits_calib", "digits_eval", 1.0, 7.6e-4),
    Shared("fsdd_tcn", "fsdd_mfcc_ct_calib", "fsdd_mfcc_ct_eval", 0.998, 0.0402),
)
PRECISIONS = ("int8", "int16", "int4")


class Answers(NamedTuple):
    """Shares of right answers, and of those that are the float model's; the mean absolute difference of outputs."""

    right: float
    same: float
    error: float


def answers(folder: Path, item: Shared, precision: str) -> tuple[float, Answers]:
    """Share of right answers of the float model, and what the compiled C answers, on all evaluation samples."""
    path, data = folder / f"{item.file}.onnx", folder.parent / "data"
    net = aot.compile(path, data / f"{item.calib}.npz", precision=precision)
    samples = sample_data.load(data / f"{item.evaluation}.npz", net.float_graph)
    oracle = Oracle(path.read_bytes())
    exact = np.stack([next(iter(oracle.run(s).values())) for s in samples]).reshape(len(samples), -1)
    stacked = {name: np.stack([s[name] for s in samples]) for name in net.float_graph.inputs}
    found = np.asarray(net.run(stacked)).reshape(exact.shape)
    ours, theirs, y = found.argmax(axis=1), exact.argmax(axis=1), samples.y
    assert y is not None
    return float((theirs == y).mean()), Answers(float((ours == y).mean()), float((ours == theirs).mean()),
                                                float(np.abs(found - exact).mean()))


def rows(folder: Path) -> Iterator[tuple[str, ...]]:
    """The lines of the README's table."""
    for item in SHARED:
        made = {p: answers(folder, item, p) for p in PRECISIONS}
        float_, (eight, sixteen, four) = made["int8"][0], (made[p][1] for p in PRECISIONS)
        yield (f"`{item.file}`{', JPEG copies' if 'jpeg' in item.evaluation else ''}", f"{100 * float_:.1f} %",
               f"{100 * eight.right:.1f} %", f"{100 * eight.same:.1f} %", f"{eight.error:.2g}",
               f"{100 * item.agreement:.1f} %", f"{item.error:.2g}", f"{100 * sixteen.same:.1f} %",
               f"{sixteen.error:.1g}", f"{100 * four.right:.1f} %")


HEAD = ("model", "accuracy float", "int8", "same answer", "error", "ONNX Runtime: same answer", "error",
        "int16: same answer", "error", "int4: accuracy")
