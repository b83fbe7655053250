"""QuantizeLinear and DequantizeLinear: what their scales and zero points mean, for constants and when the model runs.

Source: ONNX operator specification, QuantizeLinear and DequantizeLinear of opsets 10 to 25; ONNX Runtime's operators of
the same names (domain com.microsoft), which had the small integer types before ONNX.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper

from aot.errors import AotError
from aot.frontend.tensors import type_name
from aot.ir import Array
from aot.ops.quantize import Grid

if TYPE_CHECKING:
    from aot.frontend.evaluate import Fact

#: Element types with what their integers lie between; those of 4 and 2 bits only where the installed onnx has them.
INTEGERS: dict[int, tuple[int, int]] = {
    number: bounds for name, bounds in {
        "INT8": (-128, 127), "UINT8": (0, 255), "INT16": (-32768, 32767), "UINT16": (0, 65535), "INT4": (-8, 7),
        "UINT4": (0, 15), "INT2": (-2, 1), "UINT2": (0, 3), "INT32": (-2**31, 2**31 - 1)}.items()
    if (number := dict(TensorProto.DataType.items()).get(name)) is not None}
_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16)
#: Unsigned integers are stored as signed ones which are so much less.
_SHIFTS: Mapping[int, int] = {TensorProto.UINT8: 128, TensorProto.UINT16: 32768}
#: Data movement and bounds, which mean the same on integers as on the numbers that they stand for.
ON_INTEGERS = frozenset({
    "Clip", "Concat", "DepthToSpace", "Flatten", "Gather", "Identity", "Max", "MaxPool", "Min", "Pad", "ReduceMax",
    "ReduceMin", "Relu", "Reshape", "Slice", "SpaceToDepth", "Split", "Squeeze", "Transpose", "Unsqueeze"})


@dataclass(frozen=True, eq=False)
class Parameters:
    """Scale and zero point of a node, in shapes that broadcast against its input, and the type of its integers."""

    scale: Array
    zero: Array
    elem_type: int


def is_linear(node: onnx.NodeProto) -> bool:
    """Whether the node is a QuantizeLinear or DequantizeLinear."""
    return (node.op_type in ("QuantizeLinear", "DequantizeLinear") and node.domain in ("", "ai.onnx", "com.microsoft")
            and 2 <= len(node.input) <= 3 and len(node.output) == 1)


def parameters(node: onnx.NodeProto, facts: Mapping[str, Fact]) -> Parameters:
    """What the node quantizes by. Refuses what cannot be known, or makes no sense."""
    x, scale = facts[node.input[0]], facts[node.input[1]]
    zero = facts[node.input[2]] if len(node.input) > 2 and node.input[2] else None
    attributes = {a.name: a.i for a in node.attribute}
    if scale.data is None or (zero is not None and zero.data is None):
        what = "scale" if scale.data is None else "zero point"
        raise AotError(f"its {what} {node.input[1 if scale.data is None else 2]!r} is computed when the model runs",
                       "dynamic quantization is not supported; quantize the model statically, with calibration data")
    elem_type = _elem_type(node, x, zero, attributes.get("output_dtype", 0))
    if scale.elem_type not in _FLOATS:
        raise AotError(f"its scale is {type_name(scale.elem_type)}", "scales must be float32")
    steps = scale.data.astype(np.float32)
    if not bool(np.all(np.isfinite(steps) & (steps > 0))):
        raise AotError("a scale is not a finite positive number", "quantize the model again")
    offset = np.zeros(scale.shape, np.int64) if zero is None or zero.data is None else zero.data.astype(np.int64)
    if offset.shape != steps.shape and not offset.size == steps.size == 1:
        raise AotError(f"its zero point has shape {list(offset.shape)}, its scale {list(steps.shape)}",
                       "both must have the same shape")
    place = _placed(steps.shape, x.shape, attributes.get("axis", 1), attributes.get("block_size", 0))
    return Parameters(place(steps), place(offset), elem_type)


def _elem_type(node: onnx.NodeProto, x: Fact, zero: Fact | None, wanted: int) -> int:
    """The type of the integers, which several places of a node may tell."""
    quantizes = node.op_type == "QuantizeLinear"
    real, found = (x.elem_type, zero.elem_type if zero is not None else wanted or TensorProto.UINT8) if quantizes else \
        (TensorProto.FLOAT, x.elem_type)
    if real not in _FLOATS:
        raise AotError(f"its input is {type_name(real)}", "only float32 can be quantized")
    if found not in INTEGERS or (quantizes and found == TensorProto.INT32):
        raise AotError(f"quantization to {type_name(found)} is not supported",
                       "quantize the model to int8, uint8 or int16; weights also to int4")
    if zero is not None and (zero.elem_type != found or (quantizes and wanted not in (0, found))):
        raise AotError(f"its zero point is {type_name(zero.elem_type)}, its integers are "
                       f"{type_name(wanted if quantizes else found)}", "both must have the same type")
    return found


def _placed(shape: tuple[int, ...], x: tuple[int, ...], axis: int, block: int) -> Placed:
    """How parameters of that shape spread over the input: one in all, one an index of an axis, or one a block."""
    rank, count = len(x), int(np.prod(shape))
    if block == 0 and len(shape) <= 1 and count == 1:
        return Placed((1,) * rank, None, 0, 0)
    if not -rank <= axis < rank:
        raise AotError(f"axis {axis} lies outside a tensor of rank {rank}")
    axis %= rank
    if block == 0:
        if shape != (x[axis],):
            raise AotError(f"{count} scales in shape {list(shape)} for {x[axis]} indices of axis {axis}",
                           "a scale for the whole tensor, or one for each index of the axis")
        return Placed(tuple(count if i == axis else 1 for i in range(rank)), None, 0, 0)
    expected = tuple(-(-s // block) if i == axis else s for i, s in enumerate(x)) if block > 0 else None
    if shape != expected:
        raise AotError(f"scales in shape {list(shape)} do not fit blocks of {block} along axis {axis} of {list(x)}",
                       "one scale for each block")
    return Placed(shape, axis, block, x[axis])


@dataclass(frozen=True)
class Placed:
    """Brings parameters to a shape that broadcasts against the input; those of blocks are repeated along their axis."""

    shape: tuple[int, ...]
    axis: int | None
    block: int
    length: int

    def __call__(self, data: Array) -> Array:
        """The parameters in that shape."""
        data = data.reshape(self.shape)
        if self.axis is None:
            return data
        return np.take(np.repeat(data, self.block, axis=self.axis), np.arange(self.length), axis=self.axis)


def fold(node: onnx.NodeProto, facts: Mapping[str, Fact]) -> tuple[Array, Array | None]:
    """The node's output on a constant, and the size of the steps of each element if it is dequantized."""
    found, x = parameters(node, facts), facts[node.input[0]].data
    assert x is not None
    if node.op_type == "DequantizeLinear":
        real = (x.astype(np.int64) - found.zero).astype(np.float32) * found.scale
        return real.astype(np.float32), np.broadcast_to(found.scale, real.shape)
    low, high = INTEGERS[found.elem_type]
    with np.errstate(over="ignore"):
        steps = np.rint(x.astype(np.float32) / found.scale).astype(np.float64) + found.zero
    whole = np.clip(np.nan_to_num(steps), low, high).astype(np.int64)
    return whole.astype(helper.tensor_dtype_to_np_dtype(found.elem_type)), None


def grid(node: onnx.NodeProto, facts: Mapping[str, Fact]) -> Grid:
    """The numbers which integers computed at run time stand for."""
    found = parameters(node, facts)
    scales, zeros = np.unique(found.scale), np.unique(found.zero)
    if scales.size > 1 or zeros.size > 1:
        raise AotError(f"{found.scale.size} scales for a tensor that is computed when the model runs",
                       "activations need one scale and zero point a tensor; weights may have one a channel")
    low, high = INTEGERS[found.elem_type]
    if found.elem_type == TensorProto.INT32:
        raise AotError("it dequantizes int32 that is computed when the model runs", "only int8, uint8 and int16 can be")
    if not low <= zeros[0] <= high:
        raise AotError(f"its zero point {zeros[0]} lies outside {low} .. {high}", "quantize the model again")
    shift = _SHIFTS.get(found.elem_type, 0)
    zero, format = int(zeros[0]) - shift, "s16" if high - low > 255 else "s8"
    if format == "s16" and zero != 0:
        raise AotError(f"16-bit activations with zero point {zeros[0]}",
                       f"16-bit activations must be symmetric: zero point {shift}; quantize them so, or to 8 bits")
    return Grid(format, float(scales[0]), zero, low - shift, high - shift)


def real_of(constant: Array, elem_type: int, found: Grid) -> Array:
    """What integer constants among integers computed at run time stand for."""
    shift = _SHIFTS.get(elem_type, 0)
    return np.asarray((constant.astype(np.int64) - shift - found.zero) * found.scale, np.float32)
