"""What the README shows works as it stands there: the Python, and the C in firmware."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
STRICT = ["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Wundef", "-Werror"]
MAIN = "\nint main(void) { static const int8_t image[DIGITS_INPUT_LEN]; const int digit = classify(image);\n" \
       "return digit >= 0 && digit <= 9 ? 0 : 1; }\n"


def block(language: str) -> str:
    """The first code block of a language."""
    found = re.search(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)
    assert found is not None
    return found.group(1)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder which the README's Python writes, beside the examples."""
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(ROOT / "examples", folder / "examples")
    before = Path.cwd()
    os.chdir(folder)
    try:
        exec(compile(block("python"), "README.md", "exec"), {})
    finally:
        os.chdir(before)
    return folder / "build" / "digits"


def test_the_c_works_in_a_program(project: Path, tmp_path: Path) -> None:
    source, program = tmp_path / "main.c", tmp_path / "main"
    source.write_text("#include <stdint.h>\n" + block("c") + MAIN, encoding="utf-8")
    sources = [str(source), *map(str, sorted((project / "src").glob("*.c")))]
    subprocess.run(["cc", *STRICT, "-I", str(project / "include"), "-o", str(program), *sources], check=True)
    subprocess.run([str(program)], check=True)


def test_the_cmake_names_exist(project: Path) -> None:
    text = (project / "CMakeLists.txt").read_text(encoding="utf-8")
    assert "add_library(digits" in text and "DIGITS_SELFTEST" in text
