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


_ALL = _discover()
OPS: tuple[type[Op], ...] = tuple(op for op in _ALL if not op.part)
#: What only the compiler makes, in integer graphs.
PARTS: tuple[type[Op], ...] = tuple(op for op in _ALL if op.part)
#: ONNX operator type -> the operator that reads it.
REGISTRY: dict[str, type[Op]] = {onnx: op for op in OPS for onnx in op.onnx}
