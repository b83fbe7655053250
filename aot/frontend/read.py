"""An ONNX file, bytes or model object becomes a ModelProto that is ours to change. Everything else is refused."""

from __future__ import annotations

from pathlib import Path

import onnx
from google.protobuf.descriptor import FieldDescriptor  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]

from aot.errors import AotError
from aot.frontend.external import embed

#: No microcontroller holds more weights; protobuf itself ends at twice this.
MOST_BYTES = 1 << 30


def read(model: str | Path | bytes | onnx.ModelProto) -> tuple[onnx.ModelProto, str]:
    """The model with all its data inside, and the name of its file or graph."""
    if isinstance(model, onnx.ModelProto):
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        embed(copy, None)
        return copy, copy.graph.name
    if isinstance(model, bytes):
        proto = _parse(model, "the bytes")
        embed(proto, None)
        return proto, proto.graph.name
    if not isinstance(model, str | Path):
        raise AotError(f"a model cannot be a {type(model).__name__}", "pass a path, bytes or an onnx.ModelProto")
    path = Path(model)
    proto = _parse(_content(path), str(path))
    embed(proto, path.parent)
    return proto, path.stem


def _content(path: Path) -> bytes:
    """The bytes of a regular file of reasonable size."""
    try:
        if path.is_dir():
            raise AotError("this is a folder", "pass the .onnx file itself", str(path))
        if path.exists() and not path.is_file():
            raise AotError("this is not a regular file", "pass an .onnx file", str(path))
        if path.stat().st_size > MOST_BYTES:
            raise AotError(f"the file has {path.stat().st_size} bytes", f"at most {MOST_BYTES} can be read", str(path))
        return path.read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise AotError(f"cannot read the model: {reason}", "check the path of the .onnx file", str(path)) from error


def _parse(content: bytes, where: str) -> onnx.ModelProto:
    """The protobuf message; text, other formats and damaged files are told apart from models."""
    if not content:
        raise AotError("the file is empty", "export the model again, or fetch it (Git LFS?)", where)
    if len(content) > MOST_BYTES:
        raise AotError(f"the model has {len(content)} bytes", f"at most {MOST_BYTES} can be read", where)
    if content.startswith(b"version https://git-lfs"):
        raise AotError("this is a Git LFS pointer, not the model", "run git lfs pull", where)
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(content)
        _check_texts(proto)
    except (DecodeError, UnicodeError, RuntimeError) as error:
        raise AotError("this is not an ONNX model, or it is damaged",
                       "pass an .onnx file; fetch or export it again if it was cut short", where) from error
    if not proto.HasField("graph") or not proto.opset_import:
        raise AotError("this is not an ONNX model: it has no graph or no opset",
                       "pass an .onnx file written by an exporter", where)
    return proto


def _check_texts(message: Message) -> None:
    """Every text must be UTF-8; protobuf answers bytes where it is not, which would surprise all that follows."""
    for field, value in message.ListFields():
        if field.type == FieldDescriptor.TYPE_STRING:
            if any(isinstance(text, bytes) for text in ([value] if isinstance(value, str | bytes) else value)):
                raise UnicodeError(f"{field.name} is no UTF-8")
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            for part in [value] if isinstance(value, Message) else value:
                _check_texts(part)
