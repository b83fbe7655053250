"""ONNX tensors become numpy arrays; what a tensor declares is checked before a byte is allocated."""

from __future__ import annotations

from math import prod

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from aot.errors import AotError
from aot.ir import Array

#: Sizes in C are 32 bits.
MOST_ELEMENTS = (1 << 31) - 1
#: Deepest tensors that are read; no operator needs more.
MOST_AXES = 8

#: Element types of which several share a byte; older versions of onnx know fewer.
_FOUR_BITS = {number for name, number in TensorProto.DataType.items() if name in ("INT4", "UINT4", "FLOAT4E2M1")}
_TWO_BITS = {number for name, number in TensorProto.DataType.items() if name in ("INT2", "UINT2")}
#: Complex numbers are stored as pairs; 8- and 16-bit numbers in 32-bit fields.
_FIELDS: dict[str, dict[int, int]] = {
    "float_data": {TensorProto.FLOAT: 1, TensorProto.COMPLEX64: 2},
    "double_data": {TensorProto.DOUBLE: 1, TensorProto.COMPLEX128: 2},
    "int64_data": {TensorProto.INT64: 1},
    "uint64_data": {TensorProto.UINT64: 1, TensorProto.UINT32: 1},
}


def type_name(elem_type: int) -> str:
    """A tensor's element type in words, as in ``float16``."""
    known = elem_type in TensorProto.DataType.values()
    return TensorProto.DataType.Name(elem_type).lower() if known else f"unknown type {elem_type}"


def check_shape(shape: tuple[int, ...]) -> None:
    """Refuse negative, too many and overflowing dimensions."""
    if any(d < 0 for d in shape):
        raise AotError(f"shape {list(shape)} has a negative dimension", "export the model again, with fixed shapes")
    if len(shape) > MOST_AXES:
        raise AotError(f"{len(shape)} dimensions", f"at most {MOST_AXES} are supported")
    if prod(shape) > MOST_ELEMENTS:
        raise AotError(f"shape {list(shape)} has {prod(shape)} elements", f"at most {MOST_ELEMENTS} are supported")


def declared_bytes(tensor: TensorProto) -> int:
    """Bytes that the tensor's shape and type ask for as raw data."""
    check_shape(tuple(tensor.dims))
    count = prod(int(d) for d in tensor.dims)
    if tensor.data_type in _FOUR_BITS:
        return -(-count // 2)
    if tensor.data_type in _TWO_BITS:
        return -(-count // 4)
    if tensor.data_type == TensorProto.STRING or tensor.data_type not in onnx.helper.get_all_tensor_dtypes():
        raise AotError(f"its element type is {type_name(tensor.data_type)}", "use a tensor of numbers")
    return count * int(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)


def to_array(tensor: TensorProto) -> Array:
    """The tensor's data. Raises AotError when type, shape and data do not fit each other."""
    needed = declared_bytes(tensor)
    if tensor.HasField("segment"):
        raise AotError("it is stored in segments", "export the model again; no exporter of today writes these")
    hint = "the file is damaged; export the model again"
    if tensor.HasField("raw_data"):
        if len(tensor.raw_data) != needed:
            raise AotError(f"it holds {len(tensor.raw_data)} bytes, shape {list(tensor.dims)} of "
                           f"{type_name(tensor.data_type)} needs {needed}", hint)
    else:
        field = onnx.helper.tensor_dtype_to_field(tensor.data_type)
        per_element = _FIELDS.get(field, {}).get(tensor.data_type, 1)
        expected = prod(tensor.dims) * per_element
        if tensor.data_type in _FOUR_BITS | _TWO_BITS:
            expected = needed
        found = len(getattr(tensor, field))
        if found != expected:
            raise AotError(f"it holds {found} numbers, shape {list(tensor.dims)} needs {expected}", hint)
    try:
        return np.asarray(numpy_helper.to_array(tensor))
    except (ValueError, TypeError, OverflowError) as error:
        raise AotError(f"its data cannot be read: {error}", hint) from error


def plain(array: Array) -> Array:
    """The array in a number format which the graph knows: float32, int8, int16, int32 or int64."""
    if array.dtype.kind in "OUSc":
        raise AotError(f"a constant of {array.dtype} cannot be used", "constants are real numbers or integers")
    name = array.dtype.name
    if array.dtype.kind == "f" or (array.dtype.kind == "V" and "float" in name):
        with np.errstate(over="ignore"):  # infinities that arise are found along with those that were there
            return array.astype(np.float32)
    if array.dtype in (np.int8, np.int16, np.int32, np.int64):
        return array
    return array.astype(np.int64)
