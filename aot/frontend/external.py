"""External data: weights in files beside the model are taken in, from the model's own folder only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

import onnx

from aot.errors import AotError, Problem
from aot.frontend.tensors import declared_bytes


def tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every dense tensor of the model: initializers and attributes, in subgraphs and functions too."""
    yield from _of_graph(model.graph)
    for function in model.functions:
        for node in function.node:
            yield from _of_node(node)


def _of_graph(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        yield from _of_node(node)


def _of_node(node: onnx.NodeProto) -> Iterator[onnx.TensorProto]:
    for attribute in node.attribute:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        if attribute.HasField("g"):
            yield from _of_graph(attribute.g)
        for graph in attribute.graphs:
            yield from _of_graph(graph)


def embed(model: onnx.ModelProto, folder: Path | None) -> None:
    """Replace references to external files by their content, in place.

    ``folder`` is the model's; None for a model that came without one. Raises AotError with one problem a tensor.
    """
    problems: list[Problem] = []
    for tensor in tensors(model):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        try:
            tensor.raw_data = _content(tensor, folder)
            tensor.ClearField("external_data")
            tensor.data_location = onnx.TensorProto.DEFAULT
        except AotError as error:
            problems += error.at(tensor.name or "a tensor without a name").problems
    if problems:
        raise AotError(problems=tuple(problems))


def _content(tensor: onnx.TensorProto, folder: Path | None) -> bytes:
    entries = {e.key: e.value for e in tensor.external_data}
    location = entries.get("location", "")
    if folder is None:
        raise AotError(f"its data lies in an external file, {location!r}",
                       "pass the path of the model, so that its folder is known")
    path = _inside(location, folder)
    expected = declared_bytes(tensor)
    offset = _number(entries.get("offset", "0"), "offset")
    length = _number(entries.get("length", str(expected)), "length")
    if length != expected:
        raise AotError(f"its external data has {length} bytes, its shape and type need {expected}",
                       "export the model again")
    try:
        if not path.is_file():
            raise AotError(f"its external data file {location!r} is missing", "put it into the model's folder")
        if offset + length > path.stat().st_size:
            raise AotError(f"its external data ends at byte {offset + length}, {location!r} has "
                           f"{path.stat().st_size}", "the file was cut short; copy or export it again")
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(length)
    except (OSError, ValueError) as error:
        raise AotError(f"its external data file {location!r} cannot be read: {error}") from error


def _inside(location: str, folder: Path) -> Path:
    """The file a location names, which must lie in the folder whatever links there are."""
    hint = "external data must lie in the model's own folder; export the model again"
    parts = PurePosixPath(location.replace("\\", "/")).parts
    absolute = PurePosixPath(location).is_absolute() or PureWindowsPath(location).anchor or ":" in location
    if not location or absolute or ".." in parts:
        raise AotError(f"its external data is at {location!r}, outside the model's folder", hint)
    try:
        home = folder.resolve()
        path = home.joinpath(*parts).resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise AotError(f"its external data location {location!r} is not a path", hint) from error
    if not path.is_relative_to(home):
        raise AotError(f"its external data is at {location!r}, which leads outside the model's folder", hint)
    return path


def _number(text: str, what: str) -> int:
    """A byte count of an external data entry."""
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise AotError(f"the {what} of its external data, {text!r}, is not a number of bytes", "export the model again")
    return int(text)
