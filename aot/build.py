"""Compilers and what they make: the only file that starts a process or loads a library.

Host builds go into a shared library, which cffi opens in ABI mode: the generated sources are compiled exactly as a
firmware project would compile them, with no wrapper around them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cffi

from aot.errors import AotError

#: What every generated file compiles under without a warning, with gcc and with clang.
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Wundef", "-Werror")
#: Any undefined behaviour or stray access ends the program.
SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g1")
#: Seconds until a compiler or a host program is taken for stuck.
TIMEOUT = 300.0


@dataclass(frozen=True)
class Finished:
    """A process that ended: exit status and what it printed."""

    status: int
    out: str
    err: str


def have(tool: str) -> bool:
    """Whether a program can be started by this name."""
    return shutil.which(tool) is not None


def host_compiler() -> str:
    """The C compiler of this machine: $CC, or the first of cc, gcc and clang."""
    for name in filter(None, (os.environ.get("CC"), "cc", "gcc", "clang")):
        if have(name):
            return name
    raise AotError("no C compiler was found", "install gcc or clang, or name one in the environment variable CC")


def run(command: Sequence[str], cwd: Path, timeout: float = TIMEOUT) -> Finished:
    """Run a program to its end; an AotError if it cannot be started or does not end in time."""
    try:
        done = subprocess.run([*command], cwd=cwd, capture_output=True, text=True, errors="replace", timeout=timeout,
                              check=False, stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        raise AotError(f"{command[0]} was not found", "install it; `make toolchain` installs all of them") from None
    except OSError as error:
        raise AotError(f"{command[0]} cannot be started: {error.strerror}", "see that it is a program") from error
    except subprocess.TimeoutExpired:
        raise AotError(f"{command[0]} did not end in {timeout:.0f} seconds", "the machine may be overloaded") from None
    return Finished(done.returncode, done.stdout, done.stderr)


def put(files: Mapping[str, str], folder: Path) -> None:
    """Write files by their paths in a folder."""
    for path, text in files.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8", newline="\n")


def sources(files: Mapping[str, str]) -> list[str]:
    """Paths of the library's C files."""
    return sorted(p for p in files if p.startswith("src/") and p.endswith(".c"))


def compile_c(compiler: str, flags: Iterable[str], inputs: Iterable[str], output: str, folder: Path) -> Path:
    """Compile and link in a folder that holds ``src`` and ``include``; an AotError gives the compiler's first words."""
    compiled(compiler, [*flags, "-Iinclude", "-Isrc", *inputs, "-o", output], folder)
    return folder / output


def compiled(compiler: str, arguments: Iterable[str], folder: Path) -> None:
    """Run a compiler in a folder; an AotError gives its first words if it refuses."""
    done = run([compiler, *arguments], folder)
    if done.status != 0:
        words = "\n".join(done.err.strip().splitlines()[:12])
        raise AotError(f"{compiler} refused generated code:\n{words}",
                       "this is an error in the compiler, or the C compiler is not for this target; please report it")


def objects(compiler: str, flags: Iterable[str], inputs: Iterable[str], folder: Path, into: str) -> list[str]:
    """Compile C files of a folder, each to an object in ``into`` below it; the answer is the objects' paths."""
    paths = [*inputs]
    up = "../" * len(Path(into).parts)
    (folder / into).mkdir(parents=True, exist_ok=True)
    compiled(compiler, [*flags, f"-I{up}include", f"-I{up}src", "-c", *(up + p for p in paths)], folder / into)
    return [f"{into}/{Path(p).stem}.o" for p in paths]


def host_library(files: Mapping[str, str], folder: Path, flags: Sequence[str] = ("-O2",)) -> Path:
    """The generated sources as a shared library of this machine."""
    put(files, folder)
    return compile_c(host_compiler(), ["-std=c99", *flags, "-fPIC", "-shared"], sources(files), "libmodel.so", folder)


def host_program(files: Mapping[str, str], folder: Path, main: str, compiler: str | None = None,
                 flags: Sequence[str] = (*STRICT, "-O1", *SANITIZE)) -> Path:
    """The generated sources and a program's main file (a path among ``files``), linked for this machine."""
    put(files, folder)
    return compile_c(compiler or host_compiler(), flags, [*sources(files), main], Path(main).stem, folder)


def load(library: Path, declarations: str) -> tuple[Any, Any]:
    """A shared library opened: cffi's interface object and the library."""
    ffi = cffi.FFI()
    ffi.cdef(declarations)
    return ffi, ffi.dlopen(str(library))
