"""What the documents say exists: commands, options, make targets, links, and the tables that are made."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import typer.main

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*/README.md")])
IDS = [d.relative_to(ROOT).as_posix() for d in DOCUMENTS]


def commands(text: str) -> Iterator[list[str]]:
    """Words of every ``aot ...`` line in code blocks and of every `aot ...` in a sentence."""
    text = text.replace("\\\n", " ")
    blocks = re.findall(r"```(?:sh|bash|console)?\n(.*?)```", text, flags=re.DOTALL)
    lines = [line.strip().removeprefix("$ ") for block in blocks for line in block.splitlines()]
    lines += re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text)
    for line in lines:
        words = line.split("#")[0].split()
        if words[:1] == ["aot"] and len(words) > 1 and words[1].isalpha():
            yield words[1:]


@pytest.mark.parametrize("document", DOCUMENTS, ids=IDS)
def test_commands_and_options_exist(document: Path) -> None:
    from aot.cli import app

    group = typer.main.get_command(app)
    known = {name: {o for p in c.params for o in p.opts} for name, c in group.commands.items()}  # type: ignore[attr-defined]
    for name, *rest in commands(document.read_text(encoding="utf-8")):
        assert name in known, f"no command: aot {name}"
        for option in (w for w in rest if w.startswith("-") and w != "-"):
            assert option in known[name] | {"--help"}, f"aot {name} has no option {option}"


def test_commands_are_found() -> None:
    text = "```sh\naot compile a.onnx \\\n  -o out   # comment\n```\nand `aot verify x --json -` but not `aot.compile`"
    assert list(commands(text)) == [["compile", "a.onnx", "-o", "out"], ["verify", "x", "--json", "-"]]


@pytest.mark.parametrize("document", DOCUMENTS, ids=IDS)
def test_make_targets_exist(document: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    known = set(re.findall(r"^([a-z]+):", makefile, flags=re.MULTILINE))
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"(?:^|`)make ([a-z]+)", text, flags=re.MULTILINE):
        assert target in known, f"no target: make {target}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=IDS)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", document.read_text(encoding="utf-8")):
        if not target.startswith(("http:", "https:")):
            assert (document.parent / target).exists(), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=IDS)
def test_tables_are_known_and_filled(document: Path) -> None:
    tables, text = _tables(), document.read_text(encoding="utf-8")
    assert text.count("<!-- table:") == text.count("<!-- /table -->") == len(tables.BLOCK.findall(text))
    for _, name, content in tables.BLOCK.findall(text):
        assert name in tables.TABLES, name
        assert "|" in content, f"table {name} is empty; run make tables"


def test_the_table_of_operators_is_up_to_date() -> None:
    """Of the tables, those which need no measurement are compared."""
    tables = _tables()
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in ("operators", "targets", "boards", "mlperf", "mlperf_boards"):
        content = next(c for _, n, c in tables.BLOCK.findall(text) if n == name)
        assert content.strip() == tables.TABLES[name]().strip(), f"{name}: run make tables"


def _tables() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tables", ROOT / "docs" / "tables.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


