"""Who may import what: one road, walked in one direction."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]

#: Modules and packages of ``aot``, from the door to the cellar. A line imports only from its own and those below it.
FLOORS = (
    "__main__",
    "cli",
    "__init__ terminal",
    "doctor_page front_picture",
    "diagnosis figure",
    "bench verify inspect",
    "compiler",
    "agree prequantized config pareto layerwise",
    "descent front sensitivity",
    "options judge",
    "prepare",
    "host emulate workers",
    "build",
    "emit report write",
    "strips",
    "cut flash",
    "plan",
    "program",
    "kernels",
    "sanity",
    "frontend data",
    "images health",
    "given",
    "repeat between",
    "passes",
    "quantize equalize",
    "scores",
    "reach",
    "calibrate oracle",
    "observe",
    "interpret batch",
    "sums",
    "ops",
    "builder",
    "numerics",
    "targets names elf costs recipe ties",
    "ir",
    "errors",
)

#: Packages from outside -> the only places that may import them.
SOLE_IMPORTERS = {
    "onnx": {"frontend"},
    "onnx_ir": {"frontend"},
    "onnxscript": {"frontend"},
    "onnxslim": {"frontend"},
    "onnxruntime": {"oracle"},
    "PIL": {"images"},
    "matplotlib": {"figure"},
    "distributed": {"workers"},
    "tomlkit": {"config"},
    "jinja2": {"emit"},
    "cffi": {"build"},
    "subprocess": {"build"},
    "typer": {"cli"},
    "rich": {"cli", "terminal"},
}

FILES = sorted((ROOT / "aot").rglob("*.py"))


def place(file: Path) -> str:
    """The module or package directly under ``aot`` that holds the file."""
    return file.relative_to(ROOT / "aot").parts[0].removesuffix(".py")


def imports(file: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of everything that the file imports when it runs; imports for types only are left out."""
    def visit(node: ast.AST) -> Iterator[tuple[int, str]]:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            children: list[ast.AST] = list(node.orelse)
        else:
            children = list(ast.iter_child_nodes(node))
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file.name}:{node.lineno}: imports are absolute here"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
        for child in children:
            yield from visit(child)
    return visit(ast.parse(file.read_text(encoding="utf-8")))


def floor(module: str) -> int:
    """The line of FLOORS that holds a place; 0 is the door."""
    return next(i for i, line in enumerate(FLOORS) if module in line.split())


def test_every_module_has_a_floor() -> None:
    named = [module for line in FLOORS for module in line.split()]
    assert sorted(named) == sorted({place(f) for f in FILES})


def test_imports_go_down() -> None:
    modules = {place(f) for f in FILES}
    upward = []
    for file in FILES:
        for line, name in imports(file):
            parts = name.split(".")
            wanted = parts[1] if len(parts) > 1 and parts[1] in modules else "__init__"
            if parts[0] == "aot" and floor(place(file)) > floor(wanted):
                upward.append(f"{file.relative_to(ROOT)}:{line} imports {name}, which stands above it")
    assert not upward, "\n".join(upward)


def test_packages_from_outside_have_one_importer() -> None:
    wrong = [f"{file.relative_to(ROOT)}:{line} imports {name}"
             for file in FILES for line, name in imports(file)
             if place(file) not in SOLE_IMPORTERS.get(name.split(".")[0], {place(file)})]
    assert not wrong, "\n".join(wrong)


def test_an_upward_import_is_seen(tmp_path: Path) -> None:
    """The rule above would notice: also inside functions, but not where it is for types only."""
    file = tmp_path / "example.py"
    file.write_text("if TYPE_CHECKING:\n    import aot.cli\ndef f():\n    from aot.emit import emit\n")
    assert list(imports(file)) == [(4, "aot.emit.emit")]
