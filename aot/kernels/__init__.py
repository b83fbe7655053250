"""Kernels made for an instruction set: every module of this folder that defines one is found by itself."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from dataclasses import dataclass

from aot import costs
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


#: Goal -> instructions of an inference on a Cortex-M4 for which a byte of flash is worth spending, no more.
PRICE = {"speed": 0.0, "balanced": 80.0, "size": 1e6}
#: The same for a byte of the arena.
PRICE_OF_MEMORY = {"speed": 0.0, "balanced": 60.0, "size": 0.0}
#: Goal -> so many layers are thought to share what can be shared. Where size counts, that is most of the code.
SHARED_BY = {"speed": 4, "balanced": 4, "size": 16}


@dataclass(frozen=True, eq=False)
class Candidate:
    """A kernel for one use of an operator: estimated instructions, bytes of constants and of code, cost by the goal."""

    kernel: Kernel
    instructions: float
    constants: int
    code: int
    cost: float


def judge(kernel: Kernel, site: Site) -> Candidate:
    """What a kernel would cost there. Of code that layers share, this one pays as if there were some."""
    instructions = kernel.instructions(site)
    common, own, shape = costs.code(kernel.priced(site), site.isa.name, site.goal)
    constants = sum(data.nbytes for data in kernel.constants(site).values())
    known = kernel.code(site) if isinstance(kernel, SpecialKernel) else 0
    code = own + (common + (0 if known or kernel.shared(site) is None else shape)) // SHARED_BY[site.goal] + known
    price = PRICE[site.goal] * site.isa.pace
    return Candidate(kernel, instructions, constants, code, instructions + price * (constants + code))


def competing(site: Site) -> list[Candidate]:
    """The kernels that compete for one use of an operator, cheapest first.

    The operator's own is among them where none was made for the use, or size alone counts: its bytes are known better
    than its instructions, which depend on how the compiler sees the loops.
    """
    made: list[Kernel] = [kernel for kind in KERNELS if (kernel := kind()).computes(site)]
    own: list[Kernel] = [site.node.op] if not made or site.goal == "size" else []
    return sorted((judge(kernel, site) for kernel in made + own), key=lambda c: c.cost)


def candidates(site: Site) -> list[Candidate]:
    """Those of them which may be taken: the one that the node names, where it fits; else all."""
    wanted = site.node.kernel
    if wanted == site.node.op.name:
        return [judge(site.node.op, site)]
    found = competing(site)
    return [c for c in found if c.kernel.name == wanted] or found


def choose(site: Site) -> Kernel:
    """The cheapest kernel for one use of an operator.

    Cost is in instructions; a byte of constants or code weighs as many as the user's goal says.
    """
    return candidates(site)[0].kernel


def runner_up(site: Site, chosen: Kernel) -> Candidate | None:
    """The best of the kernels that were not chosen; the operator's own where no other fits."""
    others = [c for c in competing(site) if c.kernel.name != chosen.name]
    if others:
        return others[0]
    return judge(site.node.op, site) if chosen.name != site.node.op.name else None
