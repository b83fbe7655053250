"""Sample data: every accepted form means the same, and what is broken is refused with a reason."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from frontend.models import dense, model
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper
from road import EXAMPLES, small
from test_cli import process

import aot
from aot import data
from aot.calibrate import Range
from aot.errors import AotError
from aot.frontend import load
from aot.ir import Array
from aot.numerics import stored

ONE = load(dense()).graph  # x [1, 4]
TWO = load(small("a", "b")).graph  # a, b [1, 6]
X = np.arange(20, dtype=np.float32).reshape(5, 4) / 7


def refusal(given: Any, graph: Any = ONE) -> str:
    """What is said of refused data; there is a hint, and one line a fact."""
    with pytest.raises(AotError) as caught:
        samples = data.load(given, graph)
        for i in range(len(samples)):
            samples.sample(i)
    problem, = caught.value.problems
    assert problem.hint
    assert "\n" not in str(problem.fact)
    return str(problem)


# --- what is accepted --------------------------------------------------------------------------------------------

def forms(tmp_path: Path) -> dict[str, Any]:
    """The same five samples in many forms."""
    np.savez(tmp_path / "x.npz", x=X)
    np.savez_compressed(tmp_path / "named.npz", x=X, meta=np.array({"any": "thing"}, object), other=np.array(["t"]))
    np.save(tmp_path / "plain.npy", X)
    np.savez(tmp_path / "bytes.npz", x=np.arange(20, dtype=np.uint8).reshape(5, 1, 4), scale=1 / 7, offset=0)
    np.savez(tmp_path / "channels.npz", x=np.zeros((5, 4), np.int8), scale=np.ones(4), offset=X)
    return {"file": tmp_path / "x.npz", "text": str(tmp_path / "x.npz"), "others": tmp_path / "named.npz",
            "npy": tmp_path / "plain.npy", "array": X, "dict": {"x": X}, "leading one": X[:, None], "list": X.tolist(),
            "double": X.astype(">f8"), "uint8": tmp_path / "bytes.npz", "offset for each": tmp_path / "channels.npz",
            "scale of one": {"x": X / 2, "scale": np.full((1, 1), 2.0)}}


def test_forms_of_the_same_samples(tmp_path: Path) -> None:
    for name, form in forms(tmp_path).items():
        samples = data.load(form, ONE)
        assert len(samples) == 5, name
        for i, sample in enumerate(samples):
            assert sample["x"].shape == (1, 4)
            assert sample["x"].dtype == np.float32
            np.testing.assert_allclose(sample["x"][0], X[i], rtol=1e-6, err_msg=name)


def test_inputs_called_like_the_other_arrays() -> None:
    """Names of inputs come first: here ``scale`` and ``y`` are inputs, not factors or labels."""
    graph = load(small("scale", "y", outputs=("z",))).graph
    a, b = np.ones((3, 6), np.float32), np.full((3, 6), 2, np.float32)
    samples = data.load({"scale": a, "y": b}, graph)
    assert samples.y is None
    assert {n: float(v.max()) for n, v in samples.sample(1).items()} == {"scale": 1.0, "y": 2.0}


@pytest.mark.parametrize(("kind", "scale", "offset", "expected"), [
    (np.uint8, 1 / 255, 0.0, (0.0, 1.0)),
    (np.int8, 0.5, -83 * 0.5, (-211 * 0.5, 44 * 0.5)),
    (np.uint8, 2.0, -255.0, None),  # zero lies between two bytes
    (np.uint8, 1.0, 3.0, None),  # or beyond them
    (np.uint8, [[0.5, 0.25, 0.5, 0.5]], 0.0, None),
    (np.int16, 0.5, 0.0, None),
    (np.float32, 0.5, 0.0, None)])
def test_inputs_that_are_bytes_keep_them(kind: type, scale: Any, offset: float,
                                         expected: tuple[float, float] | None) -> None:
    """The network's input is then those bytes, whatever part of them the samples use."""
    x = np.arange(20).reshape(5, 4).astype(kind)
    samples = data.load({"x": x, "scale": np.asarray(scale), "offset": np.asarray(offset)}, ONE)
    assert samples.bytes() == ({} if expected is None else {"x": Range(*expected)})
    if expected is not None:
        net = aot.compile(dense(), {"x": x, "scale": np.asarray(scale), "offset": np.asarray(offset)})
        value = net.graph.values["x"]
        q = stored(samples.sample(3)["x"], value.type)[0].astype(int)
        assert (np.diff(q) == 1).all() and (q - x[3] == value.type.quant.zero + offset / scale).all()


def test_the_first_samples() -> None:
    samples = data.load({"x": X, "y": np.arange(5)}, ONE).first(2)
    assert len(samples) == 2
    assert samples.y is not None
    assert samples.y.tolist() == [0, 1]


# --- what is refused ---------------------------------------------------------------------------------------------

OTHERS: dict[str, tuple[dict[str, Any], str]] = {
    "other shape": ({"x": np.zeros((5, 3))}, "expected [samples, 4]"),
    "no axis of samples": ({"x": np.zeros(4)}, "shape [4]"),
    "a number": ({"x": np.float32(1)}, "shape []"),
    "another name": ({"images": X}, "it has 'images'"),
    "nothing": ({}, "it has nothing"),
    "no samples": ({"x": np.zeros((0, 4))}, "no samples"),
    "text": ({"x": np.array([["a"] * 4])}, "not numbers"),
    "objects": ({"x": np.array([[None] * 4])}, "not numbers"),
    "complex numbers": ({"x": np.zeros((5, 4), complex)}, "not numbers"),
    "dates": ({"x": np.zeros((5, 4), "datetime64[s]")}, "not numbers"),
    "NaN": ({"x": np.where(X > 2, np.nan, X)}, "NaN or infinite"),
    "infinity": ({"x": np.where(X > 2, -np.inf, X)}, "NaN or infinite"),
    "too large for float32": ({"x": X.astype(np.float64) * 1e300}, "range of float32"),
    "too large when scaled": ({"x": X, "scale": np.float64(1e39)}, "range of float32"),
    "scale of another shape": ({"x": X, "scale": np.ones(3)}, "scale of shape [3]"),
    "scale for other samples": ({"x": X, "scale": np.ones((3, 4))}, "scale of shape [3, 4]"),
    "scale that enlarges": ({"x": np.zeros((5, 1, 4)), "scale": np.ones((1, 2, 4))}, "scale of shape [1, 2, 4]"),
    "offset of higher rank": ({"x": X, "offset": np.ones((2, 5, 4))}, "offset of shape [2, 5, 4]"),
    "scale that is NaN": ({"x": X, "scale": np.float32("nan")}, "scale holds 1 NaN"),
    "scale that is text": ({"x": X, "scale": np.array("much")}, "'scale' holds"),
    "too few labels": ({"x": X, "y": np.arange(4)}, "y has shape [4] for 5 samples"),
    "one label": ({"x": X, "y": np.int64(1)}, "y has shape []"),
    "labels in words": ({"x": X, "y": np.array(list("abcde"))}, "'y' holds"),
    "labels that are NaN": ({"x": X, "y": np.full(5, np.nan)}, "NaN"),
}


@pytest.mark.parametrize("what", OTHERS)
def test_arrays_that_do_not_fit(what: str, tmp_path: Path) -> None:
    """From Python and from a file alike."""
    arrays, words = OTHERS[what]
    assert words in refusal(arrays)
    np.savez(tmp_path / "d.npz", **arrays)
    found = refusal(tmp_path / "d.npz")
    assert words in found or (what == "objects" and "holds objects" in found)


def test_several_inputs() -> None:
    a = np.zeros((3, 6), np.float32)
    assert "no array for input 'b'" in refusal({"a": a}, TWO)
    assert "no array for input 'a', 'b'" in refusal({"x": a}, TWO)
    assert "different numbers of samples" in refusal({"a": a, "b": a[:2]}, TWO)


def test_things_that_are_no_arrays() -> None:
    assert "no array" in refusal([[1, 2, 3, 4], [1]])
    assert "not numbers" in refusal(None)
    assert "not numbers" in refusal({"x": b"text"})


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    assert "holds no images" in refusal(tmp_path)
    assert "is not a file" in refusal(tmp_path / "none.npz")
    assert "is not a file" in refusal("a\0b")


def archive(**members: bytes) -> bytes:
    """A zip archive of raw members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in members.items():
            packed.writestr(f"{name}.npy", content)
    return buffer.getvalue()


def npy(header: str, content: bytes = b"") -> bytes:
    """An .npy file with any header."""
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + content


@pytest.mark.parametrize(("content", "words"), [
    (b"", "cannot be read"),
    (b"x,y\n1,2\n", "cannot be read"),
    (b"PK\x03\x04 not really", "cannot be read"),
    (archive(x=b"no header"), "not numbers"),
    (archive(x=b"\x93NUMPY\x01\x00"), "cannot be read"),
    (archive(x=npy("{'descr': '<f4', 'fortran_order': False, 'shape': (5, 4)}\n", bytes(10))), "cannot be read"),
    (archive(x=npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1 << 50, 4)}\n")), "cannot be read"),
    (archive(x=npy(f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({1 << 50}, 4)}}\n")), ""),
    (archive(x=npy(f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({1 << 62}, 4)}}\n")), ""),
    (archive(x=npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-5, 4)}\n", bytes(80))), ""),
    (archive(x=npy("{'descr': '|O', 'fortran_order': False, 'shape': (5, 4)}\n", bytes(80))), "holds objects"),
    (archive(x=npy("{'descr': 'zzz', 'fortran_order': False, 'shape': (5, 4)}\n", bytes(80))), "cannot be read"),
    (archive(x=npy("(" * 200)), "cannot be read"),
    (npy(f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({1 << 50}, 4)}}\n"), ""),
])
def test_files_that_are_no_archives(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "d.npz").write_bytes(content)
    assert words in refusal(tmp_path / "d.npz")


def test_an_archive_that_unpacks_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is known from the directory of the archive: nothing is unpacked."""
    monkeypatch.setattr(data, "MOST_BYTES", 1000)
    np.savez_compressed(tmp_path / "d.npz", x=np.zeros((100, 4), np.float32))
    monkeypatch.setattr(np.lib.npyio.NpzFile, "__getitem__", lambda *_: pytest.fail("unpacked"))
    assert "unpacks to" in refusal(tmp_path / "d.npz")


def test_pickles_are_never_run(tmp_path: Path) -> None:
    """Neither in an array that is used nor in one that is not."""
    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "sprung",))
    traps = np.array([[Trap()] * 4])
    np.savez(tmp_path / "x.npz", x=traps)
    np.savez(tmp_path / "meta.npz", x=X, meta=traps)
    np.save(tmp_path / "x.npy", traps)
    (tmp_path / "x.pkl").write_bytes(traps.dumps())
    refusal(tmp_path / "x.npz")
    refusal(tmp_path / "x.npy")
    refusal(tmp_path / "x.pkl")
    assert len(data.load(tmp_path / "meta.npz", ONE)) == 5
    assert not (tmp_path / "sprung").exists()


WHOLE = io.BytesIO()
np.savez_compressed(WHOLE, x=X, scale=np.float32(2), y=np.arange(5))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_files(tmp_path: Path, drawn: st.DataObject) -> None:
    """Bytes changed, or the end cut off: it loads, or is refused."""
    content = bytearray(WHOLE.getvalue())
    for _ in range(drawn.draw(st.integers(1, 4))):
        content[drawn.draw(st.integers(0, len(content) - 1))] = drawn.draw(st.integers(0, 255))
    if drawn.draw(st.booleans()):
        del content[drawn.draw(st.integers(1, len(content))):]
    (tmp_path / "d.npz").write_bytes(content)
    try:
        assert all(np.isfinite(s["x"]).all() for s in data.load(tmp_path / "d.npz", ONE))
    except AotError as error:
        assert all(p.fact and p.hint for p in error.problems)


# --- on the road -------------------------------------------------------------------------------------------------

def test_the_command_line_refuses_the_same(tmp_path: Path) -> None:
    onnx.save(dense(), tmp_path / "m.onnx")
    out = tmp_path / "out"
    (tmp_path / "broken.npz").write_bytes(WHOLE.getvalue()[:100])
    np.savez(tmp_path / "shape.npz", x=np.zeros((5, 3)))
    for name, words in (("broken", "cannot be read"), ("shape", "[samples, 4]"), ("none", "not a file")):
        done = process("compile", tmp_path / "m.onnx", "--data", tmp_path / f"{name}.npz", "-o", out)
        done.refused(words, "hint", f"{name}.npz")
    assert not out.exists()


def test_labels_that_fit_nothing() -> None:
    """Neither one label a sample nor a target for the output."""
    net = aot.compile(EXAMPLES / "digits_cnn" / "model.onnx", EXAMPLES / "digits_cnn" / "calib.npz")
    from aot.verify import verify
    x = np.zeros((2, 1, 28, 28), np.float32)
    with pytest.raises(AotError, match="neither one integer label"):
        verify(net, data.load({"x": x, "y": np.zeros((2, 3))}, net.float_graph))


def logarithm() -> onnx.ModelProto:
    return model([helper.make_node("Log", ["x"], ["y"], name="log")], {"x": [1, 4]}, {"y": [1, 4]})


def test_samples_on_which_the_model_has_no_value() -> None:
    """The data is at fault, not the compiler."""
    with pytest.raises(AotError) as caught:
        aot.compile(logarithm(), np.full((3, 4), -1, np.float32))
    text = str(caught.value)
    assert "sample 0" in text
    assert "report" not in text
    assert caught.value.problems[0].hint
    assert aot.compile(logarithm(), X + 1).run(X[:2] + 1).shape == (2, 4)


def test_one_sample_is_enough() -> None:
    y: Array = aot.compile(dense(), X[:1]).run(X[0])
    assert y.shape == (1, 3)
