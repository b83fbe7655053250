"""A folder of images as samples, and the preprocessing which a model wants, stated in a small TOML file.

The float input is ``(pixel * scale - mean) / std``; mean and std are one number, or one for each channel.
"""

from __future__ import annotations

import tomllib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from math import isqrt
from pathlib import Path
from typing import Any

import numpy as np

from aot.errors import AotError
from aot.ir import Array

Shape = tuple[int, ...]
SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff", ".tga"}
RESIZE = ("none", "stretch", "crop", "pad")
FILTERS = ("bilinear", "bicubic", "nearest", "box", "lanczos")
LAYOUTS = ("nchw", "nhwc")
COLORS = ("gray", "rgb", "bgr", "rgba")
CHANNELS = {"gray": 1, "rgb": 3, "bgr": 3, "rgba": 4}


@dataclass(frozen=True)
class Preprocessing:
    """What is done to the data before the model sees it; the keys of the table ``[data]``.

    ``resize`` says what happens to images of another size than the model's: ``none`` refuses them; ``stretch`` changes
    their proportions; ``crop`` makes the shorter side fit, or ``size`` pixels long, and takes the middle; ``pad`` makes
    the longer side fit and surrounds the rest with black. ``size`` is also height and width of a model whose input is
    flat. ``classes`` names the subfolders whose images have the labels 0, 1, ... ``count`` images, spread over the
    folder, are read, or all.
    """

    scale: float | None = None
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    resize: str = "none"
    size: tuple[int, ...] = ()
    filter: str = "bilinear"
    layout: str | None = None
    color: str | None = None
    classes: tuple[str, ...] = ()
    count: int | None = None


@dataclass(frozen=True)
class Picture:
    """How an input holds an image: ``axis`` of the channels in the input's shape, None if it has none."""

    height: int
    width: int
    color: str
    axis: int | None


def preprocessing(source: str | Path | Mapping[str, Any] | None, what: str = "the data configuration") -> Preprocessing:
    """From a TOML file (its table ``[data]``, or all of it if there is none) or the same as a dict.

    ``what`` is what messages call a dict.
    """
    if source is None:
        return Preprocessing()
    where = what if isinstance(source, Mapping) else str(source)
    table = source if isinstance(source, Mapping) else _toml(Path(source))
    table = table.get("data", table)
    known = [f.name for f in fields(Preprocessing)]
    unknown = sorted(set(table) - set(known)) if isinstance(table, Mapping) else ["data"]
    if unknown:
        raise AotError(f"{where}: unknown key {', '.join(map(repr, unknown))}", f"keys of [data]: {', '.join(known)}")
    values: dict[str, Any] = {}
    for key, value in table.items():
        check, expected = _KEYS[key]
        listed = tuple(value) if isinstance(value, list | tuple) else (value,)
        if not listed or not all(check(v) for v in listed) or (key not in _LISTS and listed != (value,)):
            raise AotError(f"{where}: {key} is {value!r}", f"expected {expected}", key)
        values[key] = listed if key in _LISTS else value
    return Preprocessing(**values)


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise AotError(f"{path} cannot be read: {error.strerror or error}",
                       "give a TOML file with a table [data]") from None
    except ValueError as error:
        raise AotError(f"{path} is not TOML: {error}",
                       "see https://toml.io; mean = [0.5, 0.5, 0.5] is a line of it") from None


def _number(v: Any) -> bool:
    return isinstance(v, int | float) and not isinstance(v, bool) and bool(np.isfinite(v))


def _whole(v: Any) -> bool:
    return isinstance(v, int) and not isinstance(v, bool) and v > 0


_KEYS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "scale": (lambda v: _number(v) and v != 0, "a number other than 0"),
    "mean": (_number, "a number, or one for each channel"),
    "std": (lambda v: _number(v) and v > 0, "a positive number, or one for each channel"),
    "resize": (lambda v: v in RESIZE, f"one of {', '.join(RESIZE)}"),
    "size": (_whole, "pixels of the shorter side, or [height, width]"),
    "filter": (lambda v: v in FILTERS, f"one of {', '.join(FILTERS)}"),
    "layout": (lambda v: v in LAYOUTS, f"one of {', '.join(LAYOUTS)}"),
    "color": (lambda v: v in COLORS, f"one of {', '.join(COLORS)}"),
    "classes": (lambda v: isinstance(v, str) and v not in ("", ".", "..") and "/" not in v, "names of subfolders"),
    "count": (_whole, "a number of images"),
}
_LISTS = {"mean", "std", "size", "classes"}


def factors(options: Preprocessing, shape: Shape, default_scale: float) -> tuple[Array | None, Array | None]:
    """``scale`` and ``offset`` for an input of that shape; None for 1 and 0."""
    scale = default_scale if options.scale is None else options.scale
    mean, std = np.asarray(options.mean), np.asarray(options.std)
    several = max(len(mean), len(std))
    if several > 1:
        picture = view(shape, options)
        if picture.axis is None or {len(mean), len(std)} - {1, shape[picture.axis]}:
            raise AotError(f"{len(mean)} means and {len(std)} standard deviations do not fit an input of shape "
                           f"{list(shape)}", "give one number, or one for each channel")
        form = [-1 if i == picture.axis else 1 for i in range(len(shape))]
        mean, std = (v.reshape(form) if len(v) > 1 else v for v in (mean, std))
    factor, offset = np.squeeze(scale / std, axis=0), np.squeeze(-mean / std, axis=0)
    return (None if np.all(factor == 1) else factor), (None if np.all(offset == 0) else offset)


def view(shape: Shape, options: Preprocessing) -> Picture:
    """How an input of that shape holds an image; an AotError if it does not, or in a way that must be stated."""
    if len(shape) == 4 and shape[0] == 1:
        fitting = [name for name, axis in (("nchw", 1), ("nhwc", 3)) if shape[axis] in CHANNELS.values()]
        chosen = options.layout or next(iter(fitting), None)
        if chosen in fitting:
            axis = 1 if chosen == "nchw" else 3
            height, width = (s for i, s in enumerate(shape) if i not in (0, axis))
            return Picture(height, width, _color(shape[axis], options), axis)
    elif len(shape) == 3 and shape[0] == 1:
        return Picture(shape[1], shape[2], _color(1, options), None)
    elif len(shape) == 2 and shape[0] == 1:
        side = isqrt(shape[1])
        height, width = options.size if len(options.size) == 2 else (options.size or (side,)) * 2
        if height * width == shape[1]:
            return Picture(height, width, _color(1, options), None)
        raise AotError(f"an input of shape {list(shape)} is no grey image of {height}x{width}",
                       "state size = [height, width], or give arrays")
    layout = f" in layout {options.layout}" if options.layout else ""
    raise AotError(f"an input of shape {list(shape)}{layout} does not hold an image of 1, 3 or 4 channels",
                   "check layout, or give arrays")


def _color(channels: int, options: Preprocessing) -> str:
    color = options.color or {1: "gray", 3: "rgb", 4: "rgba"}[channels]
    if CHANNELS[color] != channels:
        raise AotError(f"color {color!r} does not fit the model's input of {channels} channels", "leave color out")
    return color


def read_folder(folder: Path, shape: Shape, options: Preprocessing, most_bytes: int) -> dict[str, Array]:
    """The images below a folder, in the order of their paths: ``x`` as uint8, and ``y`` where classes are named."""
    picture = view(shape, options)
    files, labels = _files(folder, options)
    if options.count is not None and len(files) > options.count:
        chosen = np.linspace(0, len(files) - 1, options.count).round().astype(int)
        files, labels = [files[i] for i in chosen], [labels[i] for i in chosen]
    size = len(files) * int(np.prod(shape))
    if size > most_bytes:
        raise AotError(f"the {len(files)} images in {folder} make {size} bytes", f"at most {most_bytes} are read; "
                       "state count = 200 to read fewer of them")
    x = np.empty((len(files), *shape[1:]), np.uint8)
    for i, file in enumerate(files):
        pixels = _pixels(file, picture, options)
        x[i] = (np.moveaxis(pixels, 2, 0) if picture.axis == 1 else pixels).reshape(shape[1:])
    return {"x": x, "y": np.asarray(labels)} if options.classes else {"x": x}


def _files(folder: Path, options: Preprocessing) -> tuple[list[Path], list[int]]:
    """Images and their labels."""
    def below(place: Path) -> list[Path]:
        return sorted(f for f in place.rglob("*") if f.is_file() and f.suffix.lower() in SUFFIXES
                      and not any(p.startswith(".") for p in f.relative_to(folder).parts))

    if not options.classes:
        files = below(folder)
        if not files:
            raise AotError(f"{folder} holds no images", f"known endings: {' '.join(sorted(SUFFIXES))}")
        return files, [-1] * len(files)
    found: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(options.classes):
        files = below(folder / name) if (folder / name).is_dir() else []
        if not files:
            raise AotError(f"{folder} holds no images of class {name!r}",
                           f"expected a folder {folder / name} of images")
        found += files
        labels += [label] * len(files)
    return found, labels


def _pixels(file: Path, picture: Picture, options: Preprocessing) -> Array:
    """One image in the model's size, [height, width, channels] uint8."""
    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise AotError("reading images needs Pillow, which is not installed",
                       "pip install 'aot[images]', or save the images as arrays with numpy.savez") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file) as image:
                if image.mode[0] in "IF":
                    raise AotError(f"{file} has more than 8 bits a channel (mode {image.mode})",
                                   "save it with 8 bits a channel, or give arrays", str(file))
                image.load()
                upright = ImageOps.exif_transpose(image)
                fitted = _fit(upright.convert({"gray": "L", "rgba": "RGBA"}.get(picture.color, "RGB")), file, picture,
                              options, getattr(Image.Resampling, options.filter.upper()))
                pixels = np.asarray(fitted, np.uint8).reshape(picture.height, picture.width, -1)
    except AotError:
        raise
    except Exception as error:  # whatever damaged files make Pillow raise
        words = str(error).splitlines()[0] if str(error) else type(error).__name__
        words = words.replace(f" {str(file)!r}", "").replace(f" {str(file.absolute())!r}", "")  # it was named already
        raise AotError(f"{file} cannot be read as an image: {words}", "remove it, or save it again",
                       str(file)) from error
    return np.ascontiguousarray(pixels[:, :, ::-1]) if picture.color == "bgr" else pixels


def _fit(image: Any, file: Path, picture: Picture, options: Preprocessing, resample: Any) -> Any:
    """The image in the model's size."""
    width, height = image.size
    if (height, width) == (picture.height, picture.width):
        return image
    if options.resize == "none":
        raise AotError(f"{file} is {width} pixels wide and {height} high, the model takes {picture.width} by "
                       f"{picture.height}", f"state resize = one of {', '.join(RESIZE[1:])} with --data-config",
                       str(file))
    if options.resize == "stretch":
        return image.resize((picture.width, picture.height), resample)
    if options.resize == "crop":
        ratio = max(picture.height / height, picture.width / width)
        if len(options.size) == 1:
            ratio = max(ratio, options.size[0] / min(height, width))
        large = image.resize((max(round(width * ratio), picture.width), max(round(height * ratio), picture.height)),
                             resample)
        left, top = (large.size[0] - picture.width) // 2, (large.size[1] - picture.height) // 2
        return large.crop((left, top, left + picture.width, top + picture.height))
    ratio = min(picture.height / height, picture.width / width)
    small = image.resize((max(round(width * ratio), 1), max(round(height * ratio), 1)), resample)
    left, top = (picture.width - small.size[0]) // 2, (picture.height - small.size[1]) // 2
    return small.crop((-left, -top, picture.width - left, picture.height - top))  # what lies outside is black
