"""All operators: every module of this folder that defines an :class:`~aot.ops.base.Op` is found by itself."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

from aot.ops.base import Op


def _discover() -> tuple[type[Op], ...]:
    found: dict[str, type[Op]] = {}
    for module in sorted(m.name for m in pkgutil.iter_modules(__path__)):
        for _, kind in sorted(inspect.getmembers(importlib.import_module(f"{__name__}.{module}"), inspect.isclass)):
            if issubclass(kind, Op) and kind.name and kind.__module__ == f"{__name__}.{module}":
                found[kind.name] = kind
    return tuple(found.values())


OPS: tuple[type[Op], ...] = _discover()
#: ONNX operator type -> the operator that reads it.
REGISTRY: dict[str, type[Op]] = {onnx: op for op in OPS for onnx in op.onnx}
