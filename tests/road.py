"""What tests of the whole road share: examples, small models, the shared models, and building what was generated."""

from __future__ import annotations

import importlib
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from frontend.models import Dims, model
from onnx import helper

import aot
from aot import build
from aot.compiler import Net
from aot.interpret import run_quantized
from aot.ir import Array

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
#: Folder of the shared models; their data lies in ``../data`` beside it.
MODELS = Path(os.environ.get("AOT_MODELS", ROOT.parent / "shared" / "models"))


@dataclass(frozen=True)
class Shared:
    """A shared model with its data, and what it has to reach: agreement with float, bytes of arena."""

    name: str
    calib: str
    eval: str
    agreement: float | None = None
    arena: int | None = None


SHARED = (
    Shared("mnist_mlp", "mnist_flat_calib", "mnist_flat_eval", 0.999),
    Shared("digits_mlp", "digits_calib", "digits_eval", 1.0),
    Shared("fashion_lenet", "fashion_nchw_calib", "fashion_nchw_eval", 0.997),
    Shared("fashion_lenet_dynamo", "fashion_nchw_calib", "fashion_nchw_eval", 0.994),
    Shared("cifar_mbv2", "cifar_nchw_calib", "cifar_nchw_eval", 0.990),
    Shared("kws01_dscnn", "kws01_calib", "kws01_eval", 0.990, 16_000),
    Shared("ic01_resnet8", "ic01_calib", "ic01_eval", 0.985, 49_728),
    Shared("vww96_mobilenetv1_025", "vww01_calib", "vww01_eval", 0.992, 55_296),
    Shared("ad01_autoencoder", "ad01_calib", "ad01_eval", None, 768),
)


def shared_files(item: Shared) -> tuple[Path, Path, Path]:
    """Model, calibration and evaluation data of a shared model; the test is skipped where they are not."""
    if not MODELS.is_dir():
        pytest.skip(f"no folder of shared models at {MODELS}; set AOT_MODELS")
    data = MODELS.parent / "data"
    return MODELS / f"{item.name}.onnx", data / f"{item.calib}.npz", data / f"{item.eval}.npz"


def compile_shared(item: Shared, target: str = "c99") -> Net:
    """A shared model, compiled."""
    path, calib, _ = shared_files(item)
    return aot.compile(path, calib, target=target)


def need(*tools: str) -> None:
    """Skip without these programs on a developer's machine; fail without them where all checks are run."""
    for tool in tools:
        if shutil.which(tool) is None:
            if os.environ.get("CI"):
                pytest.fail(f"{tool} is missing")
            pytest.skip(f"{tool} is not installed")


def need_package(name: str) -> Any:
    """A package of an extra: skip without it on a developer's machine; fail without it where all checks are run."""
    return importlib.import_module(name) if os.environ.get("CI") else pytest.importorskip(name)


# --- small models ------------------------------------------------------------------------------------------------

def draws(model: onnx.ModelProto, count: int = 8, seed: int = 0, spread: float = 1.0) -> dict[str, Array]:
    """Random samples for every input of a model, stacked; a symbolic first dimension counts as 1."""
    rng = np.random.default_rng(seed)
    constants = {t.name for t in model.graph.initializer}
    result = {}
    for value in model.graph.input:
        if value.name not in constants:
            shape = [d.dim_value or 1 for d in value.type.tensor_type.shape.dim]
            result[value.name] = (spread * rng.normal(size=(count, *shape))).astype(np.float32)
    return result


def small(*inputs: str, outputs: Sequence[str] = ("y",), nodes: Sequence[str] = ("fc", "act"),
          seed: int = 0) -> onnx.ModelProto:
    """A dense network of given names: inputs [1, 6] are added, then Gemm, then Relu or Tanh for each output."""
    rng = np.random.default_rng(seed)
    names = list(inputs) or ["x"]
    layers, total = [], names[0]
    for i, name in enumerate(names[1:]):
        layers.append(helper.make_node("Add", [total, name], [f"sum of {i}"], name=f"{nodes[0]}{i}"))
        total = f"sum of {i}"
    layers.append(helper.make_node("Gemm", [total, "weights!", "bias!"], ["hidden!"], name=nodes[0]))
    layers += [helper.make_node("Relu" if i % 2 == 0 else "Tanh", ["hidden!"], [name], name=nodes[1])
               for i, name in enumerate(outputs)]
    constants: Mapping[str, Any] = {"weights!": rng.normal(size=(6, 5)).astype(np.float32),
                                    "bias!": rng.normal(size=5).astype(np.float32)}
    ports: dict[str, Dims] = {n: [1, 6] for n in names}
    return model(layers, ports, {n: [1, 5] for n in outputs}, constants)


def cnn() -> onnx.ModelProto:
    """x [1, 3, 9, 7]: convolutions strided, depthwise and dilated, a residual, a concatenation, pools, softmax."""
    rng = np.random.default_rng(1)

    def weights(*shape: int) -> Array:
        return (rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], name="stem", pads=[1, 1, 1, 1]),
        helper.make_node("Clip", ["c1", "zero", "six"], ["r1"], name="relu6"),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], name="dw", group=8, pads=[1, 1, 1, 1]),
        helper.make_node("Sigmoid", ["c2"], ["g"], name="gate"),
        helper.make_node("Mul", ["c2", "g"], ["silu"], name="silu"),
        helper.make_node("Add", ["silu", "r1"], ["res"], name="residual"),
        helper.make_node("Conv", ["res", "w3"], ["c3"], name="dilated", dilations=[2, 2], pads=[2, 2, 2, 2]),
        helper.make_node("MaxPool", ["res"], ["m"], name="pool", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Concat", ["c3", "m"], ["cat"], name="cat", axis=1),
        helper.make_node("Conv", ["cat", "w4"], ["c4"], name="strided", strides=[2, 2]),
        helper.make_node("GlobalAveragePool", ["c4"], ["gap"], name="gap"),
        helper.make_node("Flatten", ["gap"], ["flat"], name="flat"),
        helper.make_node("Gemm", ["flat", "w5", "b5"], ["logits"], name="head", transB=1),
        helper.make_node("Softmax", ["logits"], ["y"], name="softmax"),
    ]
    constants = {"w1": weights(8, 3, 3, 3), "b1": weights(8), "w2": weights(8, 1, 3, 3), "w3": weights(5, 8, 3, 3),
                 "w4": weights(7, 13, 3, 3), "w5": weights(4, 7), "b5": weights(4),
                 "zero": np.float32(0), "six": np.float32(6)}
    return model(nodes, {"x": [1, 3, 9, 7]}, {"y": [1, 4]}, constants)


# --- what was generated ------------------------------------------------------------------------------------------

def golden(net: Net, seed: int = 0) -> list[tuple[dict[str, Array], dict[str, Array]]]:
    """Quantized inputs, extremes among them, and what the twin makes of them."""
    rng = np.random.default_rng(seed)
    pairs = []
    for choices in (np.arange(-128, 128), np.array([-128]), np.array([127]), np.array([-128, 127])):
        q = {n: rng.choice(choices, size=net.graph.values[n].type.shape).astype(np.int8) for n in net.graph.inputs}
        pairs.append((q, run_quantized(net.graph, q)))
    return pairs


def c_array(name: str, data: Array) -> str:
    """An array of int8, int16 or float32 as a C definition."""
    kind = {"int8": "int8_t", "int16": "int16_t", "float32": "float"}[str(data.dtype)]
    numbers = [f"{v.hex()}f" if kind == "float" else str(v) for v in data.reshape(-1).tolist()]
    return f"static const {kind} {name}[] = {{{', '.join(numbers)}}};\n"


def run_c(net: Net, folder: Path, main: str, compiler: str = "gcc",
          flags: Sequence[str] = (*build.STRICT, "-O1", *build.SANITIZE)) -> build.Finished:
    """Build the project with a program of its own, and run that."""
    need(compiler)
    program = build.host_program({**net.files, "main.c": main}, folder, "main.c", compiler, flags)
    return build.run([str(program)], folder)
