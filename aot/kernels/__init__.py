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


#: Goal -> instructions of an inference for which a byte of constants is worth spending, no more.
PRICE = {"speed": 0.0, "balanced": 100.0, "size": 1e6}
#: The same for a byte of the arena.
PRICE_OF_MEMORY = {"speed": 0.0, "balanced": 30.0, "size": 0.0}


def choose(site: Site) -> Kernel:
    """The kernel for one use of an operator: the cheapest that was made for it, else the operator's own.

    Cost is in instructions; a byte of constants weighs as many as the user's goal says.
    """
    fitting = [kernel for kind in KERNELS if (kernel := kind()).computes(site)]

    def cost(kernel: SpecialKernel) -> float:
        return kernel.instructions(site) + PRICE[site.goal] * kernel.flash(site)

    return min(fitting, key=cost) if fitting else site.node.op
