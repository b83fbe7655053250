"""The model's inputs: what they must be, and the batch dimension, which becomes 1."""

from __future__ import annotations

import onnx
from onnx import TensorProto

from aot.errors import AotError, Problem
from aot.frontend.tensors import check_shape, type_name


def bind(graph: onnx.GraphProto) -> list[Problem]:
    """Give every input a fixed shape, in place: a first dimension without a number is the batch, and 1.

    Initializers that are listed as inputs are taken off the list: they are constants. Answers what is refused.
    """
    constants = {t.name for t in graph.initializer}
    inputs = [v for v in graph.input if v.name not in constants]
    del graph.input[:]
    graph.input.extend(inputs)
    batch = {v.type.tensor_type.shape.dim[0].dim_param for v in graph.input if v.type.tensor_type.shape.dim}
    problems: list[Problem] = []
    for value in graph.input:
        try:
            _bind_input(value, batch - {""})
        except AotError as error:
            problems += error.at(value.name).problems
    if not graph.input:
        problems.append(Problem("the model has no inputs", "a network without inputs computes a constant"))
    if not graph.output:
        problems.append(Problem("the model has no outputs", "export the model again"))
    return problems


def _bind_input(value: onnx.ValueInfoProto, batch: set[str]) -> None:
    if value.type.WhichOneof("value") != "tensor_type":
        raise AotError("this input is not a tensor", "export the model with tensors as its inputs")
    tensor = value.type.tensor_type
    if tensor.elem_type != TensorProto.FLOAT:
        raise AotError(f"this input is {type_name(tensor.elem_type)}",
                       "inputs must be float32; export the model in float32, without casts of its inputs")
    if not tensor.HasField("shape"):
        raise AotError("this input has no shape", "export the model with fixed input shapes")
    for axis, dim in enumerate(tensor.shape.dim):
        if dim.HasField("dim_value"):
            continue
        if axis > 0 and dim.dim_param not in batch:
            raise AotError(f"dimension {axis} of this input is {dim.dim_param!r}, not a number" if dim.dim_param else
                           f"dimension {axis} of this input is not given",
                           "only the first dimension, the batch, may be open; export with fixed shapes")
        dim.dim_value = 1
    shape = tuple(d.dim_value for d in tensor.shape.dim)
    check_shape(shape)
    if 0 in shape:
        raise AotError(f"this input has shape {list(shape)}, no elements", "export the model with fixed input shapes")
