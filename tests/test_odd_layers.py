"""Layers that the usual networks do not have, all in one network, on every emulated board and for every goal."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import boards
import pytest

import aot
from aot.bench import bench

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """The model that `make costs` measures, and its samples."""
    sys.path.insert(0, str(DOCS))
    yield importlib.import_module("odd_layers").write(tmp_path_factory.mktemp("odd"))
    sys.path.remove(str(DOCS))
    del sys.modules["odd_layers"]


@pytest.mark.emulator
@pytest.mark.parametrize("goal", ["speed", "balanced", "size"])
@pytest.mark.parametrize("target", boards.BOARDS)
def test_bytes_are_those_of_the_twin(target: str, goal: str, files: tuple[Path, Path]) -> None:
    net = aot.compile(files[0], data=str(files[1]), target=target, optimize=goal, name="odd")
    made = bench(net)  # raises where a byte differs
    assert made.elements > 100_000
    assert {"conv2d", "depthwise_conv2d", "max_pool2d", "average_pool2d", "add", "mul", "concat"} <= {
        r.op for r in net.report.rows}
