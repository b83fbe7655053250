"""Writing a generated project so that nothing half-written is ever left behind."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from aot.errors import AotError


def write(files: Mapping[str, str], folder: Path) -> None:
    """Write all files below the folder, which is made if needed. Other files in it are left alone.

    Everything is written to a new folder beside it first; a failure there removes it and changes nothing.
    """
    made: Path | None = None
    try:
        parent = folder.absolute().parent
        parent.mkdir(parents=True, exist_ok=True)
        if folder.exists() and not folder.is_dir():
            raise AotError(f"{folder} exists and is not a folder", "choose another output folder")
        made = Path(tempfile.mkdtemp(prefix=".aot-", dir=parent))
        for path, text in files.items():
            target = made / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8", newline="\n")
        if not folder.exists():
            made.chmod(0o755)
            made.replace(folder)
            made = None
            return
        for path in files:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
        for path in files:
            (made / path).replace(folder / path)
    except OSError as error:
        raise AotError(f"cannot write to {folder}: {error.strerror or error}",
                       "choose a folder that you may write to") from error
    finally:
        if made is not None:
            shutil.rmtree(made, ignore_errors=True)
