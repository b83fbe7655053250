"""What the marks of tests mean, ``emulator`` and ``shared``, and the option that renews the golden files."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from once import compiled_once
from road import MODELS

from aot import emulate
from aot.targets import TARGETS


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--golden-refresh``: generated code of today becomes what tests/golden compares with."""
    parser.addoption("--golden-refresh", action="store_true", help="write tests/golden instead of comparing with it")


@pytest.fixture(scope="session", autouse=True)
def once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests share what they compile alike, also where several processes run them."""
    own = tmp_path_factory.getbasetemp()
    with compiled_once((own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "once"):
        yield


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test whose tools or models are not here is skipped; tools have to be here where CI is set."""
    mark = item.get_closest_marker("emulator")
    if mark is not None:
        targets = mark.args or [name for name, t in TARGETS.items() if t.emulator]
        missing = sorted({tool for name in targets for tool in emulate.missing(TARGETS[name])})
        if missing:
            message = f"not installed: {', '.join(missing)} (make toolchain)"
            if os.environ.get("CI"):
                pytest.fail(message)
            pytest.skip(message)
    if item.get_closest_marker("shared") is not None and not MODELS.is_dir():
        message = f"no folder of shared models at {MODELS}; set AOT_MODELS"
        if "AOT_MODELS" in os.environ:
            pytest.fail(message)
        pytest.skip(message)
