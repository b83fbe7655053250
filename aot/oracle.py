"""The float model as others run it: ONNX Runtime, the reference that everything here is measured against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime

from aot.errors import AotError
from aot.ir import Array


class Oracle:
    """An ONNX Runtime session on the float model: one thread, so that results repeat.

    ``exact``: node by node as the model has them, without optimizations, which replace float operators between
    DequantizeLinear and QuantizeLinear by integer ones that saturate on some machines.
    """

    def __init__(self, model: bytes, exact: bool = False) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        # further optimizations replace float layers behind integer weights by approximations
        level = onnxruntime.GraphOptimizationLevel
        options.graph_optimization_level = level.ORT_DISABLE_ALL if exact else level.ORT_ENABLE_BASIC
        options.log_severity_level = 4
        try:
            self._session: Any = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's exceptions have no common base of their own
            raise AotError(f"ONNX Runtime refuses the model: {error}", "check the model with its exporter") from error
        self._outputs = [o.name for o in self._session.get_outputs()]

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The model's outputs in float32 for one sample."""
        results = self._session.run(self._outputs, dict(inputs))
        return {n: np.asarray(r, np.float32) for n, r in zip(self._outputs, results, strict=True)}

    def run_whole(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The same, each output in its own type."""
        return dict(zip(self._outputs, map(np.asarray, self._session.run(self._outputs, dict(inputs))), strict=True))
