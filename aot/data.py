"""Sample data: from files, folders of images, arrays or iterables to samples in the model's input shapes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aot import images
from aot.calibrate import Range
from aot.errors import AotError
from aot.ir import Array, Graph

#: What a caller may pass as data.
DataLike = str | Path | Array | Mapping[str, Array] | Iterable[Array | Mapping[str, Array]]
#: Preprocessing: a TOML file, or its table as a dict; see :class:`aot.images.Preprocessing`.
Config = str | Path | Mapping[str, Any]
#: A file that unpacks to more is refused.
MOST_BYTES = 1 << 31


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
        """One sample as float32, by input name, in the model's shapes; an AotError if it is not finite."""
        result = {}
        for name, array in self.arrays.items():
            with np.errstate(over="ignore", invalid="ignore"):
                x = array[index].astype(np.float32)
                if self.scale is not None:
                    x = x * _part(self.scale, index, array).astype(np.float32)
                if self.offset is not None:
                    x = x + _part(self.offset, index, array).astype(np.float32)
            if not np.isfinite(x).all():
                place = np.argwhere(~np.isfinite(x))[0].tolist()
                raise AotError(f"sample {index} of {name!r} leaves the range of float32 at {place}",
                               "check the data, its scale and its offset", name)
            result[name] = np.ascontiguousarray(x, np.float32).reshape(self.shapes[name])
        return result

    def bytes(self) -> dict[str, Range]:
        """Of inputs that are bytes with one scale and offset: the range whose 8-bit quantization is those bytes.

        Nothing is lost by it, however little of the range is used. Not of inputs whose zero is none of the bytes.
        """
        found = {}
        for name, array in self.arrays.items():
            scales, offsets = np.unique(1.0 if self.scale is None else self.scale), np.unique(
                0.0 if self.offset is None else self.offset)
            if array.dtype.kind not in "iu" or array.dtype.itemsize != 1 or len(scales) != 1 or len(offsets) != 1:
                continue
            scale, offset = float(scales[0]), float(offsets[0])
            info = np.iinfo(array.dtype)
            zero = -offset / scale if scale > 0 else np.inf
            if info.min <= zero <= info.max and abs(zero - round(zero)) < 1e-3:
                found[name] = Range((info.min - round(zero)) * scale, (info.max - round(zero)) * scale)
        return found

    def first(self, count: int) -> Samples:
        """At most the first ``count`` samples."""
        return Samples({n: a[:count] for n, a in self.arrays.items()}, self.shapes, self.scale, self.offset,
                       None if self.y is None else self.y[:count])


def class_labels(samples: Samples, classes: int, what: str) -> Array | None:
    """The labels, if y holds an integer for each sample and there are classes; an AotError if one names no class."""
    y = samples.y
    if y is None or y.ndim != 1 or y.dtype.kind not in "iu" or classes < 2:
        return None
    outside = np.flatnonzero((y < 0) | (y >= classes))
    if outside.size:
        raise AotError(f"{what}: y has the label {int(y[outside[0]])} in sample {int(outside[0])}, and the model has "
                       f"{classes} outputs", f"expected labels from 0 to {classes - 1}", "y")
    return y


def load(data: DataLike, graph: Graph, what: str = "data", config: Config | None = None) -> Samples:
    """Samples for the graph's inputs.

    Accepts an ``.npz`` or ``.npy`` file, one array, or a dict: one array per input under its name, or a single array
    ``x``; first axis = samples. ``scale`` and ``offset`` (broadcastable to ``x``), ``y`` are taken if present, other
    keys ignored. Also a folder of images, and any iterable of samples: arrays, or dicts by input name.

    ``config`` states the preprocessing of images, and scale, mean and std of arrays that come without scale and offset.
    Pixels are divided by 255 unless it says otherwise.
    """
    options = images.preprocessing(config)
    where = str(data) if isinstance(data, str | Path) else what
    shapes = {n: graph.values[n].type.shape for n in graph.inputs}
    wanted = {*shapes, "x", "scale", "offset", "y"}
    folder = isinstance(data, str | Path) and Path(data).is_dir()
    if folder:
        arrays, others = _folder(Path(str(data)), where, shapes, options), list[str]()
    else:
        arrays, others = _read(data, where, wanted)
    if config is not None or folder:
        arrays = _with_factors(arrays, shapes, options, 1 / 255 if folder else 1.0)
    if "x" in arrays and len(shapes) == 1 and next(iter(shapes)) not in arrays:
        found = {next(iter(shapes)): arrays["x"]}
    else:
        missing = [n for n in shapes if n not in arrays]
        if missing:
            raise AotError(f"{where} holds no array for input {', '.join(map(repr, missing))}; "
                           f"it has {', '.join(map(repr, sorted([*arrays, *others]))) or 'nothing'}",
                           "give one array for each input, under its name, or a single array 'x'", missing[0])
        found = {n: arrays[n] for n in shapes}
    factors = {k: None if k in found else _numeric(arrays, k, where) for k in ("scale", "offset", "y")}
    samples = Samples({n: _fit(n, a, shapes[n], where) for n, a in found.items()}, shapes,
                      factors["scale"], factors["offset"], factors["y"])
    counts = {n: len(a) for n, a in samples.arrays.items()}
    if len(set(counts.values())) > 1:
        raise AotError(f"{where} holds different numbers of samples: {counts}",
                       "give as many samples for each input as for the others")
    if not len(samples):
        raise AotError(f"{where} holds no samples", "give at least one; 100 or more are better", next(iter(found)))
    if samples.y is not None and (samples.y.ndim == 0 or len(samples.y) != len(samples)):
        raise AotError(f"{where}: y has shape {list(samples.y.shape)} for {len(samples)} samples",
                       "give one label or target a sample, or leave y out", "y")
    for name, array in samples.arrays.items():
        for key in ("scale", "offset"):
            _broadcasts(factors[key], array, key, name, where)
    if samples.scale is not None and not np.all(samples.scale):
        place = "" if np.size(samples.scale) == 1 else " somewhere"
        raise AotError(f"{where}: scale is 0{place}, which makes all samples the same there",
                       "the float input is x * scale + offset; give the true scale, or leave it out", "scale")
    return samples


def _read(data: DataLike, where: str, wanted: set[str]) -> tuple[dict[str, Array], list[str]]:
    """Those of the wanted arrays which the source has, and the names of all others."""
    if isinstance(data, Mapping):
        return ({str(k): as_array(v, f"{where}: the array {k!r}") for k, v in data.items() if str(k) in wanted},
                [str(k) for k in data if str(k) not in wanted])
    if not isinstance(data, str | Path):
        if _is_iterable_of_samples(data):
            return _collect(data, where)
        return {"x": as_array(data, where)}, []
    path = Path(data)
    if not path.is_file():
        raise AotError(f"{where} is not a file", "give the path of an .npz or .npy file, or of a folder of images")
    try:
        loaded: Any = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {"x": as_array(loaded, where)}, []
        with loaded:
            size = sum(entry.file_size for entry in loaded.zip.infolist())
            if size > MOST_BYTES:
                raise AotError(f"{where} unpacks to {size} bytes", f"at most {MOST_BYTES} are read; give fewer samples")
            return ({k: as_array(loaded[k], f"{where}: the array {k!r}") for k in loaded.files if k in wanted},
                    [k for k in loaded.files if k not in wanted])
    except AotError:
        raise
    except MemoryError:
        raise AotError(f"{where} does not fit into memory", "give fewer samples") from None
    except Exception as error:  # whatever a damaged archive makes numpy, zipfile and zlib raise
        words = str(error).splitlines()[0] if str(error) else type(error).__name__
        if "pickle" in words:  # numpy's words for all that is not its own
            words = "it is no such file, or holds objects instead of numbers"
        raise AotError(f"{where} cannot be read as .npz or .npy: {words}",
                       "save plain arrays of numbers with numpy.savez, or give a folder of images") from error


def _folder(folder: Path, where: str, shapes: Mapping[str, tuple[int, ...]],
            options: images.Preprocessing) -> dict[str, Array]:
    """The images in a folder, as the array ``x`` (and ``y``) of the only input."""
    if len(shapes) != 1:
        raise AotError(f"{where} is a folder, and the model has {len(shapes)} inputs",
                       "a folder of images fits a model of one input; give an .npz file with one array for each input")
    name, shape = next(iter(shapes.items()))
    found = images.read_folder(folder, shape, options, MOST_BYTES)
    return {name if k == "x" else k: a for k, a in found.items() if k != name or k == "x"}


def _with_factors(arrays: dict[str, Array], shapes: Mapping[str, tuple[int, ...]], options: images.Preprocessing,
                  default_scale: float) -> dict[str, Array]:
    """The arrays with scale and offset as configured, unless they bring their own."""
    if any(k in arrays and k not in shapes for k in ("scale", "offset")) or len(shapes) != 1:
        return arrays
    pairs = zip(("scale", "offset"), images.factors(options, next(iter(shapes.values())), default_scale), strict=True)
    return arrays | {k: f for k, f in pairs if f is not None and k not in shapes}


def _is_iterable_of_samples(data: object) -> bool:
    """Not what numpy makes one array of: generators, data sets, lists of dicts or arrays."""
    if isinstance(data, list | tuple):
        return any(isinstance(s, Mapping) or hasattr(s, "__array__") for s in data)
    return isinstance(data, Iterable) and not hasattr(data, "__array__") and not isinstance(data, bytes | bytearray)


def _collect(samples: Any, where: str) -> tuple[dict[str, Array], list[str]]:
    """Samples stacked by name; all of them have the names and shapes of the first."""
    kept: dict[str, list[Array]] = {}
    size = 0
    for i, sample in enumerate(samples):
        named = sample if isinstance(sample, Mapping) else {"x": sample}
        if kept and set(kept) != {str(k) for k in named}:
            raise AotError(f"{where}: sample {i} holds {', '.join(map(repr, map(str, named)))}, sample 0 "
                           f"{', '.join(map(repr, kept))}", "give every sample the same arrays")
        for name, value in named.items():
            array = as_array(value, f"{where}: {str(name)!r} of sample {i}")
            first = kept.setdefault(str(name), [array])[0]
            if array.shape != first.shape:
                raise AotError(f"{where}: {str(name)!r} of sample {i} has shape {list(array.shape)}, of sample 0 "
                               f"{list(first.shape)}", "give samples of one shape, without an axis of samples")
            if i:
                kept[str(name)].append(array)
            size += array.nbytes
        if size > MOST_BYTES:
            raise AotError(f"{where} gives more than {MOST_BYTES} bytes in {i + 1} samples",
                           "give fewer samples, such as itertools.islice(samples, 200)")
    if not kept:
        raise AotError(f"{where} holds no samples", "give at least one; 100 or more are better")
    return {name: np.stack(arrays) for name, arrays in kept.items()}, []


def as_array(value: Any, what: str) -> Array:
    """An array of real numbers, as they were given; an AotError if it is anything else."""
    try:
        result = np.asarray(value)
    except (ValueError, TypeError) as error:  # lists of unequal length
        raise AotError(f"{what} is no array: {error}", "give an array of numbers") from error
    if result.dtype.kind not in "fiub":
        raise AotError(f"{what} holds {result.dtype}, not numbers", "give real numbers, such as float32 or uint8")
    return result


def _fit(name: str, array: Array, shape: tuple[int, ...], where: str) -> Array:
    """The array as [samples, *shape]; refused when its samples have another shape or are not finite numbers."""
    _refuse_nan(array, f"{where}: the array for {name!r}", name)
    tail = array.shape[1:]
    if array.ndim == 0 or (tail != shape and not (shape and shape[0] == 1 and tail == shape[1:])):
        known = dict.fromkeys((shape[1:] if shape[:1] == (1,) else shape, shape))
        expected = " or ".join(str(["samples", *s]) for s in known)
        raise AotError(f"{where}: the array for {name!r} has shape {list(array.shape)}",
                       f"expected {expected.replace(chr(39), '')}", name)
    return array


def _numeric(arrays: Mapping[str, Array], key: str, where: str) -> Array | None:
    value = arrays.get(key)
    if value is not None:
        _refuse_nan(value, f"{where}: {key}", key)
    return value


def _refuse_nan(array: Array, what: str, node: str) -> None:
    """Only finite numbers are data."""
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = np.argwhere(~np.isfinite(array))
        where = f", the first in sample {bad[0][0]}" if array.ndim else ""
        where += f" at {bad[0][1:].tolist()}" if array.ndim > 1 else ""
        raise AotError(f"{what} holds {len(bad)} NaN or infinite values{where}",
                       "finite numbers were expected; leave out the samples that hold others", node)


def _broadcasts(factor: Array | None, array: Array, key: str, name: str, where: str) -> None:
    """Refuse a scale or offset that does not broadcast to the array."""
    if factor is None:
        return
    try:
        fits = np.broadcast_shapes(factor.shape, array.shape) == array.shape
    except ValueError:
        fits = False
    if not fits:
        raise AotError(f"{where}: {key} of shape {list(factor.shape)} does not broadcast to the array for {name!r}, "
                       f"which has shape {list(array.shape)}",
                       "give one number, or an array that numpy broadcasts to that shape", key)


def _part(factor: Array, index: int, array: Array) -> Array:
    """The part of a broadcastable factor that belongs to one sample."""
    if factor.ndim < array.ndim:
        return factor
    return np.asarray(factor[index if factor.shape[0] > 1 else 0])
