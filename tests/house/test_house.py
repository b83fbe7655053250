"""The house in order: folders, sizes of files, nothing of one machine, a template for every operator."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from aot.ir import FORMATS
from aot.kernels import KERNELS
from aot.ops import OPS, PARTS

ROOT = Path(__file__).parents[2]
FOLDERS = {".ci", "aot", "docs", "examples", "runtime_c", "templates", "tests"}
MOST_LINES = 500
BINARY = {".npz", ".onnx", ".png"}
#: Folders of a machine or its user: /home/x, /tmp/x and the like. Interpreter lines and devices are no such paths.
MACHINE_PATH = re.compile(
    r"(?<![\w.})\]/-])/(?:home|root|opt|work|tmp|mnt|Users|usr/(?!bin/env))[/\w]|[A-Z]:\\\\?Users")


def tracked() -> list[Path]:
    """The project's files, as the version control knows them; all files outside a checkout."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    except FileNotFoundError:
        done = None
    if done is not None and done.returncode == 0:
        return [ROOT / line for line in done.stdout.splitlines() if (ROOT / line).is_file()]
    return [f for folder in FOLDERS for f in (ROOT / folder).rglob("*") if f.is_file() and "__pycache__" not in f.parts]


TEXTS = [f for f in tracked() if f.suffix not in BINARY]


def test_top_level_folders() -> None:
    assert {f.relative_to(ROOT).parts[0] for f in tracked() if f.parent != ROOT} == FOLDERS


def test_no_path_of_a_machine() -> None:
    found = [f"{f.relative_to(ROOT)}:{number}: {line.strip()}"
             for f in TEXTS if f != Path(__file__)
             for number, line in enumerate(f.read_text(encoding="utf-8").splitlines(), 1) if MACHINE_PATH.search(line)]
    assert not found, "\n".join(found)


def test_no_path_of_a_machine_in_binary_files() -> None:
    for file in tracked():
        if file.suffix in BINARY:
            assert not re.search(rb"/(home|root|work|tmp)/\w", file.read_bytes()), file


@pytest.mark.parametrize("line", ["see /home/me/file", "open('/tmp/x')", "-I/opt/tools/include", "in C:\\Users\\me"])
def test_a_path_of_a_machine_is_seen(line: str) -> None:
    assert MACHINE_PATH.search(line.replace("-I", "-I "))


@pytest.mark.parametrize("line", ["#!/usr/bin/env bash", "examples/home/x", "../tmp/x", "{{ a }}/opt/x", "https://a/work/"])
def test_other_slashes_are_left_alone(line: str) -> None:
    assert not MACHINE_PATH.search(line)


def test_files_are_short() -> None:
    """Generated code in a golden folder is as long as it is."""
    lengths = {str(f.relative_to(ROOT)): len(f.read_text(encoding="utf-8").splitlines())
               for f in TEXTS if "golden" not in f.relative_to(ROOT).parts}
    assert not {name: lines for name, lines in lengths.items() if lines > MOST_LINES}


def test_every_operator_has_its_template_and_file() -> None:
    for op in (*OPS, *PARTS):
        assert (ROOT / "templates" / f"{op.name}.c.j2").is_file(), op.name
        assert op.__module__ == f"aot.ops.{op.name}"


def test_every_template_is_used() -> None:
    """A template belongs to an operator or kernel, is one of the project's files, or is included by another."""
    texts = {f.name: f.read_text(encoding="utf-8") for f in (ROOT / "templates").iterdir()}
    emit = (ROOT / "aot" / "emit.py").read_text(encoding="utf-8")
    kernels = sorted((ROOT / "aot" / "kernels").glob("*.py"))
    operators = {f"{kernel.name}.c.j2" for kernel in (*OPS, *PARTS, *KERNELS)}
    for name in texts:
        shared = any(f'"{name.removesuffix(".c.j2")}"' in f.read_text(encoding="utf-8") for f in kernels)
        op, _, variant = name.removesuffix(".c.j2").partition(".")
        module = ROOT / "aot" / "ops" / f"{op}.py"
        of_a_format = bool(variant) and module.is_file() and (
            f'.{variant}"' in module.read_text(encoding="utf-8") or variant in FORMATS)
        in_others = any(f"'{name}'" in t or f'"{name}"' in t for n, t in texts.items() if n != name)
        assert name in operators or f'"{name}"' in emit or in_others or shared or of_a_format, name


def test_kernels_use_no_heap_no_stdio_no_float() -> None:
    """Templates of operators and the headers they include; what computes in float, self-test and bench stand apart."""
    forbidden = re.compile(r"\b(malloc|calloc|realloc|free|printf|float|double|stdio|stdlib)\b")
    kernels = [ROOT / "templates" / f"{kernel.name}.c.j2" for kernel in (*OPS, *PARTS, *KERNELS)]
    kernels += sorted(f for f in (ROOT / "runtime_c").glob("*.h") if f.name != "aot_float.h")
    for file in kernels:
        code = re.sub(r"/\*.*?\*/|\{#.*?#\}|//[^\n]*", "", file.read_text(encoding="utf-8"), flags=re.DOTALL)
        found = forbidden.search(code)
        assert found is None, f"{file.name}: {found and found.group()}"
