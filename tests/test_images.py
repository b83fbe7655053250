"""Folders of images and iterables of samples: the same numbers as arrays, and refusals that name the file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from frontend.models import dense, model
from onnx import helper
from road import cnn, draws, need_package, small
from test_cli import Command, command, process  # noqa: F401

import aot
from aot import data, images
from aot.errors import AotError
from aot.frontend import load
from aot.ir import Array, Graph

RNG = np.random.default_rng(0)


def network(*shape: int) -> onnx.ModelProto:
    """A network with an input of that shape; the input is also its output."""
    return model([helper.make_node("Relu", ["x"], ["y"], name="relu")], {"x": shape}, {"y": shape})


def graph(*shape: int) -> Graph:
    return load(network(*shape)).graph


NCHW, NHWC, GRAY = graph(1, 3, 6, 8), graph(1, 6, 8, 3), graph(1, 1, 6, 8)


@pytest.fixture
def pillow() -> Any:
    """Pillow; without it the test is skipped, or fails where all checks are run."""
    return need_package("PIL.Image")


@pytest.fixture
def folder(tmp_path: Path, pillow: Any) -> Path:
    """Four colour images, 8 wide and 6 high, in two subfolders, beside files that are no images."""
    place = tmp_path / "pictures"
    for name in ("cat/1", "cat/2", "dog/1", "dog/2"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        pillow.fromarray(RNG.integers(0, 256, (6, 8, 3), np.uint8)).save(place / f"{name}.png")
    (place / "cat" / "notes.txt").write_text("none")
    (place / ".hidden.png").write_text("none")
    return place


def pixels(folder: Path, pillow: Any) -> Array:
    return np.stack([np.asarray(pillow.open(f)) for f in sorted(folder.rglob("[!.]*.png"))]).astype(np.float64)


def stacked(source: Any, of: Graph, config: Any = None) -> Array:
    return np.stack([s["x"] for s in data.load(source, of, config=config)])


def refusal(source: Any, of: Graph, config: Any = None) -> str:
    with pytest.raises(AotError) as caught:
        data.load(source, of, config=config)
    problem, = caught.value.problems
    assert problem.hint
    return str(problem)


# --- folders of images -------------------------------------------------------------------------------------------

def test_pixels_in_the_models_layout(folder: Path, pillow: Any) -> None:
    expected = pixels(folder, pillow) / 255
    np.testing.assert_allclose(stacked(folder, NHWC)[:, 0], expected, atol=1e-6)
    np.testing.assert_allclose(stacked(str(folder), NCHW)[:, 0], expected.transpose(0, 3, 1, 2), atol=1e-6)
    assert data.load(folder, NCHW).arrays["x"].dtype == np.uint8, "images stay small"


def test_mean_std_and_scale(folder: Path, pillow: Any, tmp_path: Path) -> None:
    mean, std = np.array([0.4, 0.5, 0.6]), np.array([0.2, 0.25, 0.3])
    file = tmp_path / "model.toml"
    file.write_text("title = 'other'\n[data]\nmean = [0.4, 0.5, 0.6]\nstd = [0.2, 0.25, 0.3]\n")
    expected = (pixels(folder, pillow) / 255 - mean) / std
    np.testing.assert_allclose(stacked(folder, NHWC, file)[:, 0], expected, atol=1e-5)
    np.testing.assert_allclose(stacked(folder, NCHW, file)[:, 0], expected.transpose(0, 3, 1, 2), atol=1e-5)
    np.testing.assert_allclose(stacked(folder, NHWC, {"scale": 1, "mean": 127.5, "std": 127.5})[:, 0],
                               pixels(folder, pillow) / 127.5 - 1, atol=1e-5)
    np.testing.assert_allclose(stacked(folder, NHWC, {"scale": 1})[:, 0], pixels(folder, pillow))


def test_colours(folder: Path, pillow: Any) -> None:
    rgb = stacked(folder, NHWC)
    np.testing.assert_array_equal(stacked(folder, NHWC, {"color": "bgr"}), rgb[..., ::-1])
    gray = np.stack([np.asarray(pillow.open(f).convert("L")) for f in sorted(folder.rglob("[!.]*.png"))]) / 255
    for of in (GRAY, graph(1, 6, 8, 1), graph(1, 6, 8)):
        np.testing.assert_allclose(stacked(folder, of).reshape(4, 6, 8), gray, atol=1e-6)
    np.testing.assert_allclose(stacked(folder, graph(1, 48), {"size": [6, 8]}).reshape(4, 6, 8), gray, atol=1e-6)
    assert (stacked(folder, graph(1, 6, 8, 4))[..., 3] == 1).all(), "no transparency"


def test_labels_from_the_names_of_subfolders(folder: Path) -> None:
    samples = data.load(folder, NHWC, config={"classes": ["dog", "cat"]})
    assert samples.y is not None
    assert samples.y.tolist() == [0, 0, 1, 1]
    assert data.load(folder, NHWC).y is None
    assert "'bird'" in refusal(folder, NHWC, {"classes": ["cat", "bird"]})


def test_some_of_many(folder: Path) -> None:
    np.testing.assert_array_equal(stacked(folder, NHWC, {"count": 2}), stacked(folder, NHWC)[[0, 3]])


@pytest.mark.parametrize(("rule", "expected"), [
    ("stretch", [[1, 1, 0, 0]] * 4), ("crop", [[1, 1, 0, 0]] * 4),
    ("pad", [[0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]])])
def test_rules_of_resizing(rule: str, expected: list[list[int]], tmp_path: Path, pillow: Any) -> None:
    """Twice as wide as high, left half white: what becomes of it in 4 x 4."""
    picture = np.zeros((8, 16), np.uint8)
    picture[:, :8] = 255
    pillow.fromarray(picture).save(tmp_path / "a.png")
    found = stacked(tmp_path, graph(1, 4, 4), {"resize": rule, "filter": "nearest"})
    np.testing.assert_array_equal(found[0, 0], expected)
    assert "16 pixels wide and 8 high" in (words := refusal(tmp_path, graph(1, 4, 4)))
    assert "a.png" in words and "resize" in words


def test_the_middle_of_a_larger_image(tmp_path: Path, pillow: Any) -> None:
    """Resized to 8 pixels on the shorter side, of which the inner 4 are taken."""
    picture = np.zeros((16, 16), np.uint8)
    picture[4:12, 4:12] = 255
    pillow.fromarray(picture).save(tmp_path / "a.bmp")
    assert (stacked(tmp_path, graph(1, 4, 4), {"resize": "crop", "size": 8, "filter": "nearest"}) == 1).all()


def test_images_turned_by_their_camera(tmp_path: Path, pillow: Any) -> None:
    picture = pillow.fromarray(RNG.integers(0, 256, (8, 6), np.uint8))
    exif = picture.getexif()
    exif[0x0112] = 6  # a quarter turn
    picture.save(tmp_path / "a.png", exif=exif)
    np.testing.assert_allclose(stacked(tmp_path, graph(1, 6, 8))[0, 0], np.rot90(np.asarray(picture), -1) / 255,
                               atol=1e-6)


def test_broken_images_are_named(folder: Path, pillow: Any) -> None:
    whole = (folder / "dog" / "2.png").read_bytes()
    for content in (b"", b"no image", whole[:len(whole) // 2], whole[:40]):
        (folder / "dog" / "2.png").write_bytes(content)
        assert str(folder / "dog" / "2.png") in refusal(folder, NHWC)
    pillow.fromarray(np.zeros((6, 8), np.uint16)).save(folder / "dog" / "2.png")
    assert "8 bits" in (words := refusal(folder, NHWC))
    assert str(folder / "dog" / "2.png") in words


def test_a_bomb_is_not_unpacked(tmp_path: Path, pillow: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pillow.fromarray(np.zeros((100, 100), np.uint8)).save(tmp_path / "a.png")
    monkeypatch.setattr(pillow, "MAX_IMAGE_PIXELS", 5000)
    assert "a.png" in refusal(tmp_path, graph(1, 4, 4), {"resize": "stretch"})


def test_folders_that_do_not_fit(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    assert "no images" in refusal(tmp_path / "empty", NHWC)
    assert "2 inputs" in refusal(folder, load(small("a", "b")).graph)
    for shape in ((1, 5, 6, 8), (1, 48), (2, 3, 6, 8), (1, 3, 6, 8, 1), (48,)):
        assert "image" in refusal(folder, graph(*shape))
    assert "layout nhwc" in refusal(folder, NCHW, {"layout": "nhwc"})
    assert "3 channels" in refusal(folder, NHWC, {"color": "gray"})
    assert "means" in refusal(folder, NHWC, {"mean": [1, 2]})
    monkeypatch.setattr(data, "MOST_BYTES", 500)
    assert "count" in refusal(folder, NHWC)


def test_without_pillow(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert "aot[images]" in refusal(folder, NHWC)


# --- the configuration -------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("text", "words"), [
    ("[data]\nmeans = 1", "'means'"), ("mean = 'much'", "mean is 'much'"), ("mean = []", "mean is []"),
    ("std = 0", "positive"), ("std = [1, -1, 1]", "positive"), ("scale = [1]", "scale"), ("scale = nan", "scale"),
    ("resize = 'big'", "stretch"), ("size = 0.5", "pixels"), ("color = 3", "rgb"), ("classes = ['../x']", "subfolders"),
    ("count = true", "count"), ("data = 3", "'data'"), ("= 3", "not TOML"), ("mean = [[1], [2]]", "mean"),
])
def test_configurations_that_are_refused(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(AotError) as caught:
        images.preprocessing(tmp_path / "c.toml")
    assert words in str(caught.value)
    assert "c.toml" in str(caught.value)
    assert caught.value.problems[0].hint


def test_a_configuration_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes(b"# \xe9")
    for path in (tmp_path / "none.toml", tmp_path, tmp_path / "latin.toml"):
        with pytest.raises(AotError, match=path.name):
            images.preprocessing(path)


def test_arrays_take_their_scale_from_the_configuration(tmp_path: Path) -> None:
    """Unless they bring their own."""
    x = RNG.integers(0, 256, (5, 3, 6, 8), np.uint8)
    np.save(tmp_path / "x.npy", x)
    config = {"scale": 1 / 255, "mean": [0.4, 0.5, 0.6], "std": 0.5}
    expected = (x / 255 - np.array([0.4, 0.5, 0.6])[:, None, None]) / 0.5
    for source in (tmp_path / "x.npy", x, {"x": x[:, None]}, iter(x)):
        np.testing.assert_allclose(stacked(source, NCHW, config)[:, 0], expected, atol=1e-5)
    own = {"x": x, "scale": np.float32(2)}
    np.testing.assert_allclose(stacked(own, NCHW, config)[:, 0], 2.0 * x)


# --- iterables ---------------------------------------------------------------------------------------------------

def test_iterables_of_samples() -> None:
    x = RNG.normal(size=(5, 1, 6, 8)).astype(np.float32)

    class Dataset:
        def __iter__(self) -> Iterator[Array]:
            return iter(x)

    forms: dict[str, Any] = {"generator": (a for a in x), "list": list(x), "tuple": tuple(x), "set": Dataset(),
                             "dicts": [{"x": a} for a in x], "labels": ({"x": a, "y": 1} for a in x),
                             "lists": (a.tolist() for a in x), "without batch": (a[0] for a in x),
                             "with batch": (a[None] for a in x)}
    for name, form in forms.items():
        of = GRAY if name != "without batch" else graph(1, 6, 8)
        np.testing.assert_array_equal(stacked(form, of).reshape(x.shape), x, err_msg=name)
    assert data.load(({"x": a, "y": i} for i, a in enumerate(x)), GRAY).y.tolist() == [0, 1, 2, 3, 4]  # type: ignore[union-attr]
    two = load(small("a", "b")).graph
    pairs = [{"a": np.zeros(6), "b": np.ones(6)}] * 3
    assert [float(s["b"].max()) for s in data.load(iter(pairs), two)] == [1, 1, 1]


def test_iterables_that_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.zeros((1, 6, 8), np.float32)
    assert "sample 1 has shape [1, 6, 7]" in refusal([x, x[..., 1:]], GRAY)
    assert "'x' of sample 2" in refusal(iter([x, x, "text"]), GRAY)
    assert "sample 1 holds 'z'" in refusal([{"x": x}, {"z": x}], GRAY)
    assert "no samples" in refusal(iter([]), GRAY)
    broken = np.where(np.arange(48).reshape(1, 6, 8) == 19, np.nan, x)
    assert "sample 1 at [0, 2, 3]" in refusal(iter([x, broken]), GRAY)

    def endless() -> Iterator[Array]:
        while True:
            yield x
    monkeypatch.setattr(data, "MOST_BYTES", 10_000)
    assert "islice" in refusal(endless(), GRAY)


def test_an_error_in_the_callers_code_is_his_own() -> None:
    def broken() -> Iterator[Array]:
        yield np.zeros((1, 6, 8))
        raise KeyError("mine")
    with pytest.raises(KeyError, match="mine"):
        data.load(broken(), GRAY)


# --- on the road -------------------------------------------------------------------------------------------------

def test_compile_from_each_form(tmp_path: Path, pillow: Any) -> None:
    """The same network from an array, a generator and a folder."""
    pictures = RNG.integers(0, 256, (32, 9, 7, 3), np.uint8)
    (tmp_path / "p").mkdir()
    for i, picture in enumerate(pictures):
        pillow.fromarray(picture).save(tmp_path / "p" / f"{i:02}.png")
    x = ((pictures.astype(np.float32) / 255 - 0.5) / 0.25).transpose(0, 3, 1, 2)
    config = {"mean": [0.5] * 3, "std": 0.25}
    whole = aot.compile(cnn(), x, name="net")
    folder = aot.compile(cnn(), tmp_path / "p", name="net", data_config=config)
    assert aot.compile(cnn(), iter(x), name="net").files == whole.files
    for name, found in folder.calibration.ranges.items():
        assert found.high == pytest.approx(whole.calibration.ranges[name].high, rel=1e-3)


def test_the_command_line_takes_a_folder(tmp_path: Path, folder: Path, command: Command) -> None:  # noqa: F811
    onnx.save(network(1, 3, 6, 8), tmp_path / "m.onnx")
    (tmp_path / "c.toml").write_text("[data]\nmean = 0.5\nstd = 0.25\nclasses = ['cat', 'dog']\n")
    words = ["compile", tmp_path / "m.onnx", "--data", folder, "-o", tmp_path / "out"]
    done = command(*words, "--data-config", tmp_path / "c.toml")
    assert done.status == 0, done.err
    assert "4 samples" in done.err, "a warning: too few"
    (tmp_path / "c.toml").write_text("mean = 'x'")
    command(*words, "--data-config", tmp_path / "c.toml").refused("c.toml", "mean", "hint")
    (folder / "dog" / "3.jpg").write_text("broken")
    process(*words).refused("3.jpg", "hint")


def test_numpy_files_on_the_command_line(tmp_path: Path, command: Command) -> None:  # noqa: F811
    onnx.save(dense(), tmp_path / "m.onnx")
    np.save(tmp_path / "x.npy", draws(dense(), 40)["x"])
    done = command("compile", tmp_path / "m.onnx", "--data", tmp_path / "x.npy", "-o", tmp_path / "out")
    assert (done.status, done.err) == (0, "")
