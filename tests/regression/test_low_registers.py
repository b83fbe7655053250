"""Loads that widen bytes to vectors take their address from one of the first eight registers only; now and then the
compiler gave another one, and the assembler refused the generated code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TEMPLATES = sorted((Path(__file__).parents[2] / "templates").glob("*.mve.c.j2"))


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda t: t.name)
def test_addresses_of_widening_loads(template: Path) -> None:
    text = template.read_text(encoding="utf-8")
    for name in set(re.findall(r"vldrb\.[su](?:16|32) [^,]+, \[%\[(\w+)\]", text)):
        assert f'[{name}] "+l"({name})' in text, name
