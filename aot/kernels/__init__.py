"""Kernels made for an instruction set: every module of this folder that defines one is found by itself."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

from aot.kernels.base import Kernel, SpecialKernel
from aot.ops.base import Site


def _discover() -> tuple[type[SpecialKernel], ...]:
    found: dict[str, type[SpecialKernel]] = {}
    for module in sorted(m.name for m in pkgutil.iter_modules(__path__)):
        for _, kind in sorted(inspect.getmembers(importlib.import_module(f"{__name__}.{module}"), inspect.isclass)):
            if issubclass(kind, SpecialKernel) and kind.name and kind.__module__ == f"{__name__}.{module}":
                found[kind.name] = kind
    return tuple(found.values())


KERNELS: tuple[type[SpecialKernel], ...] = _discover()


def choose(site: Site) -> Kernel:
    """The kernel for one use of an operator: the fastest that was made for it, else the operator's own."""
    made = [kind() for kind in KERNELS if kind.op == site.node.op.name and kind.feature in site.isa.features]
    fitting = [kernel for kernel in made if kernel.fits(site)]
    return min(fitting, key=lambda kernel: kernel.instructions(site)) if fitting else site.node.op
