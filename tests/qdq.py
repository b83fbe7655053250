"""Models that are quantized already, as exporters write them: float layers between nodes that round."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from aot.ir import Array

#: Element types of activations, with what their integers lie between.
TYPES = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767), "uint16": (0, 65535), "int4": (-8, 7),
         "uint4": (0, 15)}


@dataclass
class Qdq:
    """A model as it grows. Scales of activations come at the end, from ranges that random inputs show.

    ``kind``: the type of activations. ``narrow``: how much of the shown range is covered, so that some saturates.
    """

    rng: np.random.Generator
    opset: int = 17
    kind: str = "int8"
    narrow: float = 1.0
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, onnx.TensorProto] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    like: dict[str, str] = field(default_factory=dict)
    domain: str = ""

    def const(self, data: Any, name: str, elem_type: int | None = None) -> str:
        """An initializer."""
        array = np.asarray(data)
        self.constants[name] = numpy_helper.from_array(array, name) if elem_type is None else helper.make_tensor(
            name, elem_type, array.shape, array.reshape(-1).astype(int).tolist())
        return name

    def add(self, kind: str, inputs: Sequence[str], **attributes: Any) -> str:
        """A node; answers its output."""
        output = f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], f"node {output}", **attributes))
        return output

    def rounded(self, x: str, kind: str | None = None, like: str | None = None) -> str:
        """``x`` through QuantizeLinear and DequantizeLinear; by the scale of another such value if ``like`` says so."""
        output = f"{x}_dq{len(self.nodes)}"
        self.nodes.append(helper.make_node("Identity", [x], [output], f"round {output}"))
        self.kinds[output] = kind or self.kind
        if like is not None:
            self.like[output] = like
            self.kinds[output] = self.kinds[like]
        return output

    def weights(self, shape: Sequence[int], kind: str = "int8", axis: int | None = None, block: int = 0,
                zero: bool = False, largest: float = 1.0) -> str:
        """Integers behind a DequantizeLinear, with one scale, one for each index of an axis, or one a block."""
        name = f"w{len(self.nodes)}"
        low, high = TYPES[kind]
        whole = np.clip(np.round(self.rng.normal(size=shape) * high / 3), low, high)
        if kind.startswith("u"):
            whole = np.clip(whole + (high + 1) // 2, low, high)
        if block:
            assert axis is not None
            size = [-(-s // block) if i == axis else s for i, s in enumerate(shape)]
        else:
            size = [] if axis is None else [shape[axis]]
        scale = np.asarray(self.rng.uniform(0.3, 1.0, size) * largest / (high + 1), np.float32)
        offset = self.rng.integers(low, high, size) if zero else np.full(size, (high + 1) // 2 if low == 0 else 0)
        number = TensorProto.DataType.Value(kind.upper())
        names = [self.const(whole, name, number), self.const(scale, f"{name}_s"),
                 self.const(offset, f"{name}_z", number)]
        along = {} if axis is None else {"axis": axis}
        if block:
            along["block_size"] = block
        output = f"{name}_dq"
        self.nodes.append(helper.make_node("DequantizeLinear", names, [output], f"node {output}", domain=self.domain,
                                           **along))
        return output

    def bias(self, size: int) -> str:
        """Float32."""
        return self.const(self.rng.normal(size=size).astype(np.float32), f"b{len(self.nodes)}")

    def finish(self, shape: Sequence[int], outputs: Sequence[str], spread: float = 1.0) -> onnx.ModelProto:
        """The model; its input is ``x``."""
        names = [n for node in self.nodes for n in node.output]
        session = onnxruntime.InferenceSession(
            self._model(self.nodes, shape, names).SerializeToString(), providers=["CPUExecutionProvider"])
        low, high = dict[str, float](), dict[str, float]()
        for _ in range(4):
            x = (spread * self.rng.normal(size=shape)).astype(np.float32)
            for name, y in zip(names, session.run(names, {"x": x}), strict=True):
                low[name], high[name] = min(low.get(name, 0.0), y.min()), max(high.get(name, 0.0), y.max())
        nodes = []
        for node in self.nodes:
            output = node.output[0]
            if output not in self.kinds:
                nodes.append(node)
                continue
            nodes += self._pair(node.input[0], output, *self._scale(output, low, high))
        return self._model(nodes, shape, outputs)

    def _scale(self, name: str, low: dict[str, float], high: dict[str, float]) -> tuple[Array, Array]:
        source = self.like.get(name, name)
        first, last = TYPES[self.kinds[name]]
        a, b = low[source] * self.narrow, high[source] * self.narrow
        if self.kinds[name].endswith("16"):
            return np.float32(max(-a, b, 1e-3) / 32767), np.asarray(32768 if first == 0 else 0)
        scale = np.float32(max(b - a, 1e-3) / (last - first))
        return scale, np.clip(np.round(first - a / scale), first, last)

    def _pair(self, x: str, output: str, scale: Array, zero: Array) -> list[onnx.NodeProto]:
        names = [self.const(scale, f"{output}_s"),
                 self.const(zero, f"{output}_z", TensorProto.DataType.Value(self.kinds[output].upper()))]
        return [helper.make_node("QuantizeLinear", [x, *names], [f"{output}_q"], f"{output}_Q", domain=self.domain),
                helper.make_node("DequantizeLinear", [f"{output}_q", *names], [output], f"{output}_DQ",
                                 domain=self.domain)]

    def _model(self, nodes: Sequence[onnx.NodeProto], shape: Sequence[int], outputs: Sequence[str]) -> onnx.ModelProto:
        graph = helper.make_graph(list(nodes), "qdq", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
                                  [onnx.ValueInfoProto(name=o) for o in outputs], list(self.constants.values()))
        for output in graph.output:
            if nodes is not self.nodes:
                output.type.tensor_type.elem_type = TensorProto.FLOAT
        return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", self.opset),
                                                                      helper.make_opsetid("com.microsoft", 1)])


def network(seed: int, kind: str = "int8", weights: str = "int8", layers: int = 5) -> onnx.ModelProto:
    """A random small convolutional network, every layer between QuantizeLinear and DequantizeLinear."""
    rng = np.random.default_rng(seed)
    q = Qdq(rng, opset=21 if {kind, weights} & {"int16", "uint16", "int4", "uint4"} else 17, kind=kind,
            narrow=float(rng.choice([1.0, 0.7])))
    channels = int(rng.integers(1, 9))
    shape = (1, channels, int(rng.integers(5, 9)), int(rng.integers(5, 9)))
    x = q.rounded("x")
    for _ in range(layers):
        x, channels = _layer(q, x, channels, weights)
    pooled = q.rounded(q.add("GlobalAveragePool", [x]))
    flat = q.add("Flatten", [pooled])
    if rng.random() < 0.5:
        flat = q.rounded(flat, like=pooled)
    outputs = int(rng.integers(2, 6))
    if rng.random() < 0.5:
        y = q.add("Gemm", [flat, q.weights((outputs, channels), weights, 0 if rng.random() < 0.5 else None),
                           q.bias(outputs)], transB=1)
    else:
        y = q.add("MatMul", [flat, q.weights((channels, outputs), weights, 1 if rng.random() < 0.5 else None)])
        y = q.add("Add", [y, q.bias(outputs)])
    return q.finish(shape, [q.rounded(y)])


def _layer(q: Qdq, x: str, channels: int, kind: str) -> tuple[str, int]:
    """One random layer with the rounding behind it; answers output and channels."""
    rng = q.rng
    choice = rng.choice(["conv", "conv", "depthwise", "grouped", "pool", "mean", "add", "concat", "mul", "sigmoid"])
    size = int(rng.choice([1, 3]))
    pads = [size // 2] * 4
    axis = 0 if rng.random() < 0.6 else None
    zero = kind.startswith("u") and rng.random() < 0.5
    if choice in ("conv", "depthwise", "grouped"):
        groups = {"conv": 1, "depthwise": channels, "grouped": 2 if channels % 2 == 0 else 1}[choice]
        out = channels if choice != "conv" else int(rng.integers(1, 9))
        w = q.weights((out, channels // groups, size, size), kind, axis, zero=zero, largest=2.0)
        y = q.add("Conv", [x, w, q.bias(out)], group=groups, pads=pads)
        act = rng.choice(["none", "Relu", "Clip"])
        if act == "Relu":
            y = q.add("Relu", [y])
        elif act == "Clip":
            ends = [q.const(np.float32(end), f"end{end}_{len(q.nodes)}") for end in (0, 2)]
            y = q.add("Clip", [y, *ends])
        return q.rounded(y), out
    if choice == "pool":
        y = q.add("MaxPool", [x], kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        return (q.rounded(y, like=x) if x in q.kinds and rng.random() < 0.5 else q.rounded(y)), channels
    if choice == "mean":
        return q.rounded(q.add("AveragePool", [x], kernel_shape=[2, 2], pads=[0, 0, 1, 1])), channels
    if choice == "sigmoid":
        return q.rounded(q.add("Sigmoid", [x])), channels
    w = q.weights((channels, channels, 1, 1), kind, axis, largest=2.0)
    other = q.rounded(q.add("Conv", [x, w], pads=[0, 0, 0, 0]))
    if choice == "concat":
        return q.rounded(q.add("Concat", [x, other], axis=1)), 2 * channels
    return q.rounded(q.add("Add" if choice == "add" else "Mul", [x, other])), channels
