"""Kernels made for an instruction set: every module of this folder that defines one is found by itself."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass

from aot import costs
from aot.kernels.base import Kernel, SpecialKernel
from aot.ops.base import Site, with_residual


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


def built(kernel: Kernel, site: Site) -> str:
    """Under which name ``costs`` has a kernel's bytes of code: layers of another one call other functions."""
    words = (kernel.priced(site), kernel.variant(site), *with_residual({}, site))
    return " ".join(filter(None, words))


@dataclass(frozen=True)
class CodeSize:
    """Bytes of code of a layer: its ``own``, and by name those of functions that it shares with others."""

    own: int
    shared: Mapping[str, int]


def code_size(kernel: Kernel, site: Site, goal: str) -> CodeSize:
    """What a kernel takes there in a network that is compiled for a goal."""
    found, function = costs.code(built(kernel, site), site.isa.name, goal), kernel.shared(site)
    more = round(found.piece * kernel.pieces(site))
    if function is None:
        return CodeSize(found.own + more, found.library)
    return CodeSize(found.own, {**found.library, function.name: found.shape + more})


def judge(kernel: Kernel, site: Site) -> Candidate:
    """What a kernel would cost there. Of code that layers share, this one pays as if there were some.

    Code that is made for the site it pays alone.
    """
    instructions, size = kernel.instructions(site), code_size(kernel, site, site.goal)
    constants = sum(data.nbytes for data in kernel.constants(site).values())
    function = kernel.shared(site)
    alone = size.shared[function.name] if function is not None and kernel.pieces(site) else 0
    code = size.own + alone + (sum(size.shared.values()) - alone) // SHARED_BY[site.goal]
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
