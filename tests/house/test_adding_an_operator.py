"""The operator that the documents teach works as it stands there."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from kernels import graph_of, project

from aot import emit, host

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "adding-an-operator.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    """The first code block of a language."""
    found = re.search(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)
    assert found is not None
    return found.group(1)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The documents' operator as a module, its template beside the others."""
    folder = tmp_path / "templates"
    shutil.copytree(ROOT / "templates", folder)
    (folder / "upsample2d.c.j2").write_text(block("jinja"), encoding="utf-8")
    original = emit.resources
    monkeypatch.setattr(emit, "resources", lambda kind: folder if kind == "templates" else original(kind))
    emit._environment.cache_clear()
    made = ModuleType("upsample2d")
    monkeypatch.setitem(sys.modules, "upsample2d", made)  # dataclasses look their module up
    exec(compile(block("python"), "upsample2d.py", "exec"), made.__dict__)
    yield made
    monkeypatch.undo()
    emit._environment.cache_clear()


def test_its_c_equals_its_twin(module: ModuleType) -> None:
    for case in module.Upsample2d.cases():
        made = project(graph_of(case))
        runner = host.runner("case", made.files, made.graph)
        for inputs, outputs in zip(made.inputs, made.outputs, strict=True):
            np.testing.assert_array_equal(runner.run(inputs)["out"], outputs["out"])


def test_it_repeats_pixels(module: ModuleType) -> None:
    x = np.arange(4.0).reshape(1, 2, 2, 1)
    assert module.Upsample2d(1, 2).reference(x).reshape(2, 4).tolist() == [[0, 0, 1, 1], [2, 2, 3, 3]]
