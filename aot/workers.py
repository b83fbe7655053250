"""Work that is done side by side: here, in processes of this machine, or on a cluster. The answers are the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Protocol, TypeVar

from aot.errors import AotError

J = TypeVar("J")
R = TypeVar("R")
#: Seconds to wait for a cluster.
PATIENCE = 10


class Map(Protocol):
    """Applies a function to every job; the answers are in the jobs' order."""

    def __call__(self, function: Callable[[J], R], jobs: Sequence[J],
                 done: Callable[[int, int], None] | None = None) -> list[R]:
        """``done`` is called with how many are done, and how many there are."""


@contextmanager
def workers(processes: int = 1, cluster: str | None = None) -> Iterator[Map]:
    """Processes of this machine (1: this one), or those of the Dask cluster whose scheduler has that address."""
    if cluster is not None:
        with _dask(cluster) as apply:
            yield apply
    elif processes <= 1:
        def alone(function: Callable[[J], R], jobs: Sequence[J],
                  done: Callable[[int, int], None] | None = None) -> list[R]:
            return _collect((function(job) for job in jobs), len(jobs), done)
        yield alone
    else:
        with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
            def local(function: Callable[[J], R], jobs: Sequence[J],
                      done: Callable[[int, int], None] | None = None) -> list[R]:
                try:
                    return _collect(pool.map(function, jobs), len(jobs), done)
                except BrokenProcessPool:
                    raise AotError("a process that searched for this one has died, maybe for want of memory",
                                   "use fewer at a time: --jobs 1") from None
            yield local


@contextmanager
def _dask(address: str) -> Iterator[Map]:
    try:
        from distributed import Client
    except ImportError:
        raise AotError("a cluster needs Dask's distributed, which is not installed", "pip install 'aot[cluster]'"
                       ) from None
    try:
        client = Client(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:
        raise AotError(f"no Dask scheduler answers at {address!r}: {error}",
                       "start one with `dask scheduler`, workers with `dask worker`, and give its address") from None
    with client:
        def remote(function: Callable[[J], R], jobs: Sequence[J],
                   done: Callable[[int, int], None] | None = None) -> list[R]:
            futures = [client.submit(function, job, pure=False) for job in jobs]
            return _collect((f.result() for f in futures), len(jobs), done)
        yield remote


def _collect(results: Iterator[R], count: int, done: Callable[[int, int], None] | None) -> list[R]:
    found = []
    for result in results:
        found.append(result)
        if done is not None:
            done(len(found), count)
    return found
