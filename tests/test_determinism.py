"""The same input makes the same bytes: under any hash seed, from any folder, in any order of work."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from road import EXAMPLES, ROOT, SHARED, Shared, cnn, compile_shared, draws, shared_files

import aot


def digest(folder: Path) -> dict[str, str]:
    """A digest of every file in a folder."""
    return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest()
            for f in sorted(folder.rglob("*")) if f.is_file()}


def compiled(model: str, calib: str, cwd: Path, out: str, seed: str) -> dict[str, str]:
    """What a process of its own makes, started in some folder; the locale is another one each time."""
    env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT), "LC_ALL": "C" if seed == "1" else "C.UTF-8",
           "TZ": f"UTC-{seed}"}
    done = subprocess.run([sys.executable, "-m", "aot", "compile", model, "--data", calib, "-o", out, "--target",
                           "cortex-m4"], cwd=cwd, env=env, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return digest(cwd / out)


def check(model: Path, calib: Path, tmp_path: Path) -> None:
    odd = tmp_path / "an odd 'folder' %s {{ x }} ü"
    odd.mkdir()
    (odd / "in").mkdir()
    (odd / "in" / model.name).write_bytes(model.read_bytes())
    first = compiled(str(model), str(calib), tmp_path, "out", "1")
    assert first
    assert compiled(str(model), str(calib), odd, "elsewhere/out", "2") == first
    assert compiled(f"in/{model.name}", os.path.relpath(calib, odd), odd, "-out-"[1:], "3") == first
    text = "".join(f.read_text() for f in (tmp_path / "out").rglob("*") if f.is_file())
    assert str(tmp_path) not in text
    assert str(ROOT) not in text


def test_examples(tmp_path: Path) -> None:
    check(EXAMPLES / "digits_cnn" / "model.onnx", EXAMPLES / "digits_cnn" / "calib.npz", tmp_path)


def test_many_kinds_of_layers(tmp_path: Path) -> None:
    onnx.save(cnn(), tmp_path / "cnn.onnx")
    np.savez(tmp_path / "c.npz", **draws(cnn(), 32))
    check(tmp_path / "cnn.onnx", tmp_path / "c.npz", tmp_path)


@pytest.mark.shared
@pytest.mark.parametrize("item", SHARED, ids=lambda item: item.name)
def test_shared_models(item: Shared, tmp_path: Path) -> None:
    """What a process of its own makes in another folder is what this one, or one beside it, has compiled."""
    model, calib, _ = shared_files(item)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / model.name).write_bytes(model.read_bytes())
    compile_shared(item, "cortex-m4").write(tmp_path / "here")
    assert compiled(f"in/{model.name}", os.path.relpath(calib, tmp_path), tmp_path, "there", "2") == digest(
        tmp_path / "here")


def test_twice_in_one_process() -> None:
    """Nothing is carried over from what was compiled before."""
    first = aot.compile(cnn(), draws(cnn()), name="cnn").files
    aot.compile(EXAMPLES / "digits_dense" / "model.onnx", EXAMPLES / "digits_dense" / "calib.npz")
    assert aot.compile(cnn(), draws(cnn()), name="cnn").files == first
