"""Sample data: from .npz files, arrays or dicts to samples in the model's input shapes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aot.errors import AotError
from aot.ir import Array, Graph

#: What a caller may pass as data.
DataLike = str | Path | Array | Mapping[str, Array]


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples of all model inputs; ``y`` holds integer labels or a target array, if there are any.

    Arrays keep their own type (images stay uint8); :meth:`sample` converts one sample at a time to float32.
    """

    arrays: Mapping[str, Array]
    shapes: Mapping[str, tuple[int, ...]]
    scale: Array | None
    offset: Array | None
    y: Array | None

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def __iter__(self) -> Iterator[dict[str, Array]]:
        return (self.sample(i) for i in range(len(self)))

    def sample(self, index: int) -> dict[str, Array]:
        """One sample as float32, by input name, in the model's shapes."""
        result = {}
        for name, array in self.arrays.items():
            x = array[index].astype(np.float32)
            if self.scale is not None:
                x = x * _part(self.scale, index, array).astype(np.float32)
            if self.offset is not None:
                x = x + _part(self.offset, index, array).astype(np.float32)
            result[name] = np.ascontiguousarray(x, np.float32).reshape(self.shapes[name])
        return result

    def first(self, count: int) -> Samples:
        """At most the first ``count`` samples."""
        return Samples({n: a[:count] for n, a in self.arrays.items()}, self.shapes, self.scale, self.offset,
                       None if self.y is None else self.y[:count])


def load(data: DataLike, graph: Graph, what: str = "data") -> Samples:
    """Samples for the graph's inputs.

    Accepts an ``.npz`` file, one array, or a dict: one array per input under its name, or a single array ``x``; first
    axis = samples. ``scale`` and ``offset`` (broadcastable to ``x``), ``y`` are taken if present, other keys ignored.
    """
    where = str(data) if isinstance(data, str | Path) else what
    shapes = {n: graph.values[n].type.shape for n in graph.inputs}
    arrays = _read(data, where)
    if "x" in arrays and len(shapes) == 1 and next(iter(shapes)) not in arrays:
        found = {next(iter(shapes)): arrays["x"]}
    else:
        missing = [n for n in shapes if n not in arrays]
        if missing:
            raise AotError(f"{where} holds no array for input {', '.join(map(repr, missing))}; "
                           f"it has {', '.join(map(repr, sorted(arrays))) or 'nothing'}",
                           "give one array for each input, under its name, or a single array 'x'")
        found = {n: arrays[n] for n in shapes}
    samples = Samples({n: _fit(n, a, shapes[n], where) for n, a in found.items()}, shapes,
                      _numeric(arrays, "scale", where), _numeric(arrays, "offset", where), arrays.get("y"))
    counts = {n: len(a) for n, a in samples.arrays.items()}
    if len(set(counts.values())) > 1:
        raise AotError(f"{where} holds different numbers of samples: {counts}")
    if not len(samples):
        raise AotError(f"{where} holds no samples")
    if samples.y is not None and (samples.y.ndim == 0 or len(samples.y) != len(samples)):
        raise AotError(f"{where}: y has shape {samples.y.shape} for {len(samples)} samples")
    try:
        samples.sample(0)
    except ValueError as error:
        raise AotError(f"{where}: scale or offset does not broadcast to x ({error})") from error
    return samples


def _read(data: DataLike, where: str) -> dict[str, Array]:
    """All arrays of the source."""
    if isinstance(data, Mapping):
        return {str(k): np.asarray(v) for k, v in data.items()}
    if not isinstance(data, str | Path):
        return {"x": np.asarray(data)}
    path = Path(data)
    if not path.is_file():
        raise AotError(f"{where} is not a file", "give the path of an .npz file")
    try:
        loaded: Any = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {"x": loaded}
        with loaded:
            return {k: loaded[k] for k in loaded.files if _wanted(loaded, k)}
    except (ValueError, OSError, EOFError, KeyError, SyntaxError) as error:
        raise AotError(f"{where} cannot be read as .npz: {error}", "save it with numpy.savez") from error
    except Exception as error:  # zipfile.BadZipFile, zlib.error: a damaged archive
        if type(error).__module__ not in ("zipfile", "zlib"):
            raise
        raise AotError(f"{where} is a damaged .npz file: {error}", "save it again with numpy.savez") from error


def _wanted(loaded: Any, key: str) -> bool:
    return str(key) != "meta"


def _fit(name: str, array: Array, shape: tuple[int, ...], where: str) -> Array:
    """The array as [samples, *shape]; refused when its samples have another shape or are not finite numbers."""
    if array.dtype.kind not in "fiub":
        raise AotError(f"{where}: the array for {name!r} holds {array.dtype}, not numbers", node=name)
    tail = array.shape[1:]
    if array.ndim == 0 or (tail != shape and not (shape and shape[0] == 1 and tail == shape[1:])):
        known = dict.fromkeys((shape[1:] if shape[:1] == (1,) else shape, shape))
        expected = " or ".join(str(["samples", *s]) for s in known)
        raise AotError(f"{where}: the array for {name!r} has shape {list(array.shape)}",
                       f"expected {expected.replace(chr(39), '')}", name)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).sum())
        raise AotError(f"{where}: the array for {name!r} holds {bad} NaN or infinite values", node=name)
    return array


def _numeric(arrays: Mapping[str, Array], key: str, where: str) -> Array | None:
    value = arrays.get(key)
    if value is not None and (value.dtype.kind not in "fiub" or not np.isfinite(value).all()):
        raise AotError(f"{where}: {key} must be finite numbers")
    return value


def _part(factor: Array, index: int, array: Array) -> Array:
    """The part of a broadcastable factor that belongs to one sample."""
    if factor.ndim < array.ndim:
        return factor
    return np.asarray(factor[index if factor.shape[0] > 1 else 0])
