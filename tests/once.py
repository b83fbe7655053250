"""What several tests compile alike is calibrated, quantized and arranged once in a run, by whichever process is first.

All three are functions of their arguments alone, so that results can be kept: pickled, in a folder of the run, under a
digest of the function's name and of everything it was given. Processes that tests start themselves do without.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import pytest

from aot import compiler
from aot.data import Samples
from aot.ir import Graph
from aot.prepare import Prepared
from aot.recipe import Recipe

PREPARE, QUANTIZE, WITHIN = compiler.prepare, Prepared.quantize, compiler.within


class Once:
    """Results of pure functions in a folder, which processes may share."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._digests: WeakKeyDictionary[object, str] = WeakKeyDictionary()
        folder.mkdir(parents=True, exist_ok=True)

    def __call__(self, function: Callable[..., Any], *args: Any) -> Any:
        """What the function answers; an exception is raised and not kept."""
        name = self._digest((function.__qualname__, *args))
        path = self._folder / name
        with path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # another process may be at the very same
            if path.is_file():
                result = pickle.loads(path.read_bytes())
            else:
                result = function(*args)
                path.write_bytes(pickle.dumps(result))
        if isinstance(result, Graph | Prepared):
            self._digests[result] = name  # they go into the next functions, and are large
        return result

    def _digest(self, what: object) -> str:
        text = io.BytesIO()
        pickler = pickle.Pickler(text)
        pickler.persistent_id = lambda x: (  # type: ignore[method-assign]
            self._digests.get(x) if isinstance(x, Graph | Prepared) else None)
        pickler.dump(what)
        return hashlib.sha256(text.getbuffer()).hexdigest()


@contextmanager
def compiled_once(folder: Path) -> Iterator[None]:
    """Within, ``aot.compile`` and ``aot.search`` take from the folder what they find there."""
    once = Once(folder)

    def prepared(graph: Graph, samples: Samples, calibration: str, weights: str, corrections: str,
                 progress: Callable[[], None]) -> Prepared:
        made: Prepared = once(PREPARE, graph, samples, calibration, weights, corrections)
        for _ in range(len(samples)):
            progress()
        return made

    def quantized(self: Prepared, recipe: Recipe, learn: bool = True, trial: Any = None) -> Graph:
        made: Graph = once(QUANTIZE, self, recipe, learn) if trial is None else QUANTIZE(self, recipe, learn, trial)
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiler, "prepare", prepared)
        patch.setattr(Prepared, "quantize", quantized)
        patch.setattr(compiler, "within", lambda *args: once(WITHIN, *args))
        yield
