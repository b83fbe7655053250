"""What a kernel is: one way to compute an operator in C."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

from aot.costs import Work, estimate
from aot.ir import Array
from aot.ops.base import Overlap, Site, with_residual


@dataclass(frozen=True)
class SharedFunction:
    """A C function which layers of one shape have in common: its name, template and named numbers.

    Two layers whose functions have the same name get the same function.
    """

    name: str
    template: str
    dims: Mapping[str, int]


class Kernel(Protocol):
    """One way to compute an operator in C. Whatever it does, its bytes are those of the operator's numpy twin.

    An operator is a kernel itself, the plain one, which fits every use and every target.
    """

    name: ClassVar[str]
    #: Headers of ``runtime_c`` which the C needs besides the instruction set's.
    headers: ClassVar[tuple[str, ...]]

    def includes(self, site: Site) -> tuple[str, ...]:
        """Those of them which this use needs."""

    def template(self, site: Site) -> str:
        """The template: ``templates/<answer>.c.j2``."""

    def dims(self, site: Site) -> dict[str, int]:
        """The named numbers of the C body."""

    def numbers(self, site: Site) -> dict[str, float]:
        """Those which are float32."""

    def constants(self, site: Site) -> dict[str, Array]:
        """Packed arrays for the weights file, by the name which the template uses."""

    def operands(self, site: Site) -> tuple[int, ...]:
        """Indices of the inputs which the C function takes as pointers."""

    def work(self, site: Site) -> Work:
        """What it does in one inference, how often, for an estimate of its instructions."""

    def priced(self, site: Site) -> str:
        """Under which name ``costs.py`` has its prices and bytes of code."""

    def instructions(self, site: Site) -> float:
        """Estimate of the instructions executed in one inference."""

    def shared(self, site: Site) -> SharedFunction | None:
        """A function besides the layer's own which it calls."""

    def variant(self, site: Site) -> str:
        """Layers with another one have functions of their own, also where layers of the kernel share some."""

    def pieces(self, site: Site) -> int:
        """Of how many alike the code consists that is made for the site."""

    def scratch(self, site: Site) -> int:
        """Bytes of working memory, 4-byte aligned."""

    def overlap(self, site: Site, index: int) -> Overlap | None:
        """How the output may share memory with input ``index`` when that input dies here; None: not at all."""

    def pixels_at_once(self, site: Site) -> int:
        """Neighbouring pixels of which outputs are written in any order, where a residual is read beside that."""


class SpecialKernel:
    """A kernel for some uses of an operator on one instruction set. Has no state: all it knows is the site."""

    name: ClassVar[str] = ""
    #: The operator which it computes, and the feature of an instruction set which it needs.
    op: ClassVar[str] = ""
    feature: ClassVar[str] = ""
    #: The formats of inputs and output, and of weights, with which it can compute.
    activations: ClassVar[tuple[str, ...]] = ("s8",)
    weights: ClassVar[tuple[str, ...]] = ("s8",)
    headers: ClassVar[tuple[str, ...]] = ()
    #: Whether weights of -128 are as good as others to it; given weights may have some.
    all_bytes: ClassVar[bool] = False
    #: Whether it can add a residual input to sums of products.
    residual: ClassVar[bool] = False

    def computes(self, site: Site) -> bool:
        """Whether the instruction set has what it needs, it computes in the formats of this use, and it fits."""
        linear = site.node.op.linear
        read = tuple(v for v in (site.inputs[0], site.residual) if v is not None) if linear else site.inputs
        return (self.op == site.node.op.name and self.feature in site.isa.features
                and (self.residual or site.residual is None)
                and all(v.type.format in self.activations for v in (*read, site.output))
                and (not linear or site.inputs[1].type.format in self._weights(site))
                and (not linear or self.all_bytes or _symmetric(site.inputs[1].data)) and self.fits(site))

    def _weights(self, site: Site) -> tuple[str, ...]:
        """Formats of weights. Depthwise ones are few: those of 4 bits are kept in bytes unless size alone counts."""
        few = self.op == "depthwise_conv2d" and "s8" in self.weights and site.goal != "size"
        return (*self.weights, "s4") if few else self.weights

    def fits(self, site: Site) -> bool:
        """Whether it can compute this use of the operator."""
        raise AssertionError(f"{self.name} does not say what it fits")

    def work(self, site: Site) -> Work:
        """What it does in one inference, how often; ``costs.py`` has the instructions for each kind."""
        raise AssertionError(f"{self.name} does not say what it does")

    def priced(self, site: Site) -> str:
        return self.name

    def instructions(self, site: Site) -> float:
        """Estimate of the instructions executed in one inference."""
        return estimate(self.name, site.isa.name, site.goal, with_residual(self.work(site), site))

    def includes(self, site: Site) -> tuple[str, ...]:
        return self.headers

    def template(self, site: Site) -> str:
        """The template: ``templates/<answer>.c.j2``."""
        return self.name

    def numbers(self, site: Site) -> dict[str, float]:
        return {}

    def dims(self, site: Site) -> dict[str, int]:
        raise AssertionError(f"{self.name} does not say its numbers")

    def constants(self, site: Site) -> dict[str, Array]:
        raise AssertionError(f"{self.name} does not say its constants")

    def shared(self, site: Site) -> SharedFunction | None:
        return None

    def pieces(self, site: Site) -> int:
        """Of how many alike the code consists that is made for the site; ``costs.py`` has the bytes of one.

        They are in the function that layers share, if there is one, else in the layer's own.
        """
        return 0

    def variant(self, site: Site) -> str:
        """Layers with another one have functions of their own, also where layers of the kernel share some."""
        return ""

    def scratch(self, site: Site) -> int:
        return 0

    def operands(self, site: Site) -> tuple[int, ...]:
        """What the operator says."""
        return site.node.op.operands(site)

    def overlap(self, site: Site, index: int) -> Overlap | None:
        """What the operator says, for kernels that read before they write as the plain one does."""
        return site.node.op.overlap(site, index)

    def pixels_at_once(self, site: Site) -> int:
        return site.node.op.pixels_at_once(site)


def _symmetric(weights: Array | None) -> bool:
    """Whether no weight is -128."""
    return weights is None or weights.dtype.name != "int8" or int(weights.min(initial=0)) > -128
