"""Two nodes of one name, as some exporters write them: ONNX Runtime refused such a model."""

from frontend.models import dense
from road import draws

import aot


def test_duplicate_node_names() -> None:
    model = dense()
    for node in model.graph.node:
        node.name = "layer"
    assert aot.compile(model, draws(model)).run([0.1, 0.2, 0.3, 0.4]).shape == (1, 3)
