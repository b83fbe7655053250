"""Fully connected layer for compilers that make vectors."""

from __future__ import annotations

from typing import ClassVar

from aot.ir import Array
from aot.kernels import vector_dot
from aot.kernels.base import SpecialKernel
from aot.ops.base import Site
from aot.ops.fully_connected import FullyConnected


class VectorFullyConnected(SpecialKernel):
    """A raised copy of the input meets one row of weights after the other."""

    name: ClassVar[str] = "fully_connected.vector"
    op: ClassVar[str] = "fully_connected"
    feature: ClassVar[str] = "vector"
    headers: ClassVar[tuple[str, ...]] = (vector_dot.HEADER,)

    def fits(self, site: Site) -> bool:
        return vector_dot.wanted(site) and vector_dot.fits(_weights(site), _op(site).bias(site))

    def dims(self, site: Site) -> dict[str, int]:
        dims = _op(site).dims(site)
        return {**dims, "PADDED": vector_dot.padded(dims["IN_LENGTH"]), "LANES": vector_dot.lanes(dims["OUT_LENGTH"])}

    def constants(self, site: Site) -> dict[str, Array]:
        op, rows = _op(site), _weights(site)
        return {"weights": vector_dot.pack(rows),
                "bias": vector_dot.raised_bias(rows, op.bias(site)).astype("int32"),
                "multipliers": op.multipliers(site).m.astype("int32")}

    def instructions(self, site: Site) -> float:
        depth = int(_weights(site).shape[1])
        return vector_dot.instructions(depth, site.output.type.size) + depth / 8

    def scratch(self, site: Site) -> int:
        return vector_dot.RAISED_BYTES * vector_dot.padded(_weights(site).shape[1])


def _weights(site: Site) -> Array:
    w = site.inputs[1].data
    assert w is not None
    return w


def _op(site: Site) -> FullyConnected:
    assert isinstance(site.node.op, FullyConnected)
    return site.node.op
