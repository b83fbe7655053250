"""A recipe as a TOML file: written with the reason for each layer, to be read again and edited by hand."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomlkit

from aot.errors import AotError, printable
from aot.front import Front
from aot.images import preprocessing
from aot.recipe import Recipe, from_data

HEAD = ("Number formats and goals of every layer; `--config FILE` compiles with them.",
        "activations: s8, s16 or f32; weights: s8 or s4 with s8, s16, s8 or s4 with s16, f32 with f32;",
        "goal: what the layer's kernel favours, speed, balanced or size; kernel: one by name.",
        "A kernel is taken where it fits; where not, there is a warning.",
        "Layers go by the names of their outputs; those that are not here have the formats of [default].")


@dataclass(frozen=True)
class Configuration:
    """A recipe, and the table ``data`` that may stand besides it, as :func:`aot.images.preprocessing` takes it."""

    recipe: Recipe
    data: Mapping[str, Any] | None


def read(file: str | Path | Mapping[str, Any]) -> Configuration:
    """What stands in a file (or in the same tables as a dict)."""
    if isinstance(file, Mapping):
        return _read(file, "the configuration")
    try:
        tables = tomllib.loads(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise AotError(f"{file} cannot be read: {error.strerror or error}",
                       "give the config.toml of a project that was compiled with --precision auto") from None
    except ValueError as error:
        raise AotError(f"{file} is not TOML: {error}", 'see https://toml.io; weights = "s4" is a line of it') from None
    return _read(tables, str(file))


def _read(tables: Mapping[str, Any], where: str) -> Configuration:
    data = {"data": tables["data"]} if "data" in tables else None
    if data is not None:
        preprocessing(data, where)
    return Configuration(from_data({k: v for k, v in tables.items() if k != "data"}, where), data)


def as_toml(recipe: Recipe, front: Front | None = None) -> str:
    """The file's text; ``front`` says where the recipe comes from and why each layer is as it is."""
    rows = {r.name: r for r in front.rows} if front is not None else {}
    document = tomlkit.document()
    for line in (*HEAD, *(() if front is None else _origin(front))):
        document.add(tomlkit.comment(line))
    data = recipe.as_data()
    document.add("default", _table(data["default"]))
    layers = tomlkit.table(is_super_table=True)
    for name, words in data["layers"].items():
        table = tomlkit.table()
        if name in rows:
            row = rows[name]
            table.add(tomlkit.comment(printable(f"{row.op} from {row.origin}: {row.kernel}")))
            table.add(tomlkit.comment(row.why))
        for key, value in words.items():
            table.add(key, value)
        layers.add(name, table)
    document.add("layers", layers)
    return tomlkit.dumps(document)


def _table(words: Mapping[str, str]) -> tomlkit.items.Table:
    table = tomlkit.table()
    table.update(words)
    return table


def _origin(front: Front) -> tuple[str, ...]:
    chosen = front.chosen
    return ("", f"Found for {front.target}, optimized for {front.optimize}, to lose at most {front.max_loss:g} points: "
            f"{chosen.loss.points:.2f} on {front.samples} samples,",
            f"{chosen.instructions:,} instructions, {chosen.flash:,} bytes of flash and {chosen.arena:,} of arena, "
            "by estimate. Below each layer's kernel: what is",
            "different from 8 bits, and what that alone loses.")
