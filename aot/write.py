"""Writing a generated project so that nothing half-written is ever left behind."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from aot.errors import AotError


def write(files: Mapping[str, str | bytes], folder: Path, mark: str = "") -> None:
    """Write all files below the folder, which is made if needed. Other files in it are left alone.

    ``mark``: a file by which a folder of ours is known; where it is missing, no other file is replaced. If it is JSON
    that lists ``files`` with their SHA-256, as :func:`digests` makes it, those that are still the same and not written
    again are removed: they belong to what was there before.

    Everything is written to a hidden folder first, and moved from there. If that fails, an AotError says why, and
    everything is as it was.
    """
    try:
        if folder.exists() and not folder.is_dir():
            raise AotError(f"{folder} exists and is not a folder", "choose another output folder")
        if mark and not (folder / mark).is_file():
            _refuse_strangers(files, folder)
        with ExitStack() as undo:  # what to do, last first, if anything fails
            _make(folder.absolute().parent, undo)
            # inside the folder if there is one: the one above may belong to someone else, or to another disk
            made = Path(tempfile.mkdtemp(prefix=".aot-", dir=folder if folder.exists() else folder.absolute().parent))
            undo.callback(shutil.rmtree, made, ignore_errors=True)
            for path, text in files.items():
                target = made / "new" / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(text if isinstance(text, bytes) else text.encode())
            if not folder.exists():
                (made / "new").replace(folder)
            else:
                outdated = _outdated(files, folder, mark)
                for path in files:
                    _move(made / "new" / path, folder / path, made / "old" / path, undo)
                for path in outdated:
                    _move(None, folder / path, made / "old" / path, undo)
            undo.pop_all()
        shutil.rmtree(made, ignore_errors=True)
    except OSError as error:
        raise AotError(f"cannot write to {folder}: {error.strerror or error}",
                       "choose a folder that you may write to") from error


def _refuse_strangers(files: Mapping[str, str | bytes], folder: Path) -> None:
    """An AotError if a file would be replaced."""
    there = [path for path in files if (folder / path).exists()]
    if there:
        raise AotError(f"{', '.join(there)} in {folder} would be replaced, and this program did not write it",
                       "choose another output folder, or remove what is there")


def digests(files: Mapping[str, str | bytes]) -> dict[str, str]:
    """The SHA-256 of each file, by path."""
    return {path: hashlib.sha256(text if isinstance(text, bytes) else text.encode()).hexdigest()
            for path, text in sorted(files.items())}


def _outdated(files: Mapping[str, str | bytes], folder: Path, mark: str) -> list[str]:
    """What an earlier run wrote there, nobody has changed since, and is not written again."""
    try:
        listed = json.loads((folder / mark).read_bytes())["files"].items() if mark else ()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []  # of a version that kept no list, or no list of ours
    found = []
    for path, digest in listed:
        target = folder / path
        inside = ".." not in Path(path).parts and not Path(path).is_absolute()
        if inside and path not in files and target.is_file() and not target.is_symlink() \
                and hashlib.sha256(target.read_bytes()).hexdigest() == digest:
            found.append(path)
    return found


def _make(folder: Path, undo: ExitStack) -> None:
    """Make a folder and those above it."""
    if not folder.is_dir():
        _make(folder.parent, undo)
        folder.mkdir()
        undo.callback(folder.rmdir)


def _move(new: Path | None, target: Path, old: Path, undo: ExitStack) -> None:
    """Move a file to where it belongs, if there is one, and what was there out of the way."""
    _make(target.parent, undo)
    if target.is_dir() and not target.is_symlink():
        raise IsADirectoryError(0, f"{target} is a folder")
    if target.exists() or target.is_symlink():
        old.parent.mkdir(parents=True, exist_ok=True)
        target.replace(old)
        undo.callback(old.replace, target)
    else:
        undo.callback(target.unlink, missing_ok=True)
    if new is not None:
        new.replace(target)
