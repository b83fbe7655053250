"""A Pad at the input of an NCHW model, parted from its convolution by a transpose, was a layer of its own."""

from __future__ import annotations

import numpy as np
from frontend.models import model
from onnx import helper

from aot.frontend import load
from aot.passes import run_passes


def test_the_pad_is_fused() -> None:
    nodes = [helper.make_node("Pad", ["x", "pads"], ["p"], name="pad"),
             helper.make_node("Conv", ["p", "w"], ["y"], name="conv")]
    constants = {"pads": np.array([0, 0, 0, 1, 0, 0, 2, 1]), "w": np.ones((4, 3, 3, 3), np.float32)}
    graph = run_passes(load(model(nodes, {"x": (1, 3, 5, 6)}, {"y": (1, 4, 5, 6)}, constants)).graph)
    assert [n.op.name for n in graph.nodes] == ["transpose", "conv2d", "transpose"]
    assert "pads:0,1,2,1" in str(graph)
