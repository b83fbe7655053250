"""A folder with files of the user's was taken for one of ours: its CMakeLists.txt was replaced without a word."""

from __future__ import annotations

from pathlib import Path

import pytest

from aot.errors import AotError
from aot.write import write

FILES = {"CMakeLists.txt": "ours", "src/a.c": "ours", "report.json": "{}"}


def test_files_of_others_are_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "CMakeLists.txt").write_text("theirs")
    with pytest.raises(AotError, match=r"CMakeLists\.txt in .* would be replaced"):
        write(FILES, tmp_path, mark="report.json")
    assert [f.name for f in tmp_path.iterdir()] == ["CMakeLists.txt"]
    assert (tmp_path / "CMakeLists.txt").read_text() == "theirs"


def test_other_files_beside_ours_stay(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("theirs")
    write(FILES, tmp_path, mark="report.json")
    write(FILES | {"src/a.c": "newer"}, tmp_path, mark="report.json")
    assert (tmp_path / "src/a.c").read_text() == "newer"
    assert (tmp_path / "notes.txt").read_text() == "theirs"
