"""docs/tour.md: every file and name that it links to exists. README.md: its map has every room of the house."""

from __future__ import annotations

import ast
import re
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"
LINKS = re.findall(r"\[(.+?)\]\(([^)]+)\)", (DOCS / "tour.md").read_text(encoding="utf-8"))
FILES = [(text, DOCS / target.split("#")[0]) for text, target in LINKS if not target.startswith("http")]


def names_in(source: str) -> set[str]:
    """Functions, classes, and `Class.member` for methods and for attributes that a method sets on `self`."""
    names = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            for inner in ast.walk(node):
                if isinstance(inner, ast.FunctionDef):
                    names.add(f"{node.name}.{inner.name}")
                elif isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store):
                    names.add(f"{node.name}.{inner.attr}")
    return names


def test_every_linked_file_exists():
    assert len(FILES) > 50
    assert [str(path) for _, path in FILES if not path.exists()] == []


def test_every_linked_name_is_defined_in_its_file():
    named = [(text.strip("`"), path) for text, path in FILES if text.startswith("`")]
    assert len(named) > 40
    assert [f"{name} is not in {path}" for name, path in named if name not in names_in(path.read_text())] == []


def test_the_map_in_the_readme_has_every_room():
    root = DOCS.parent
    rooms = {f"audiovq/{p.parent.name}/" for p in (root / "audiovq").glob("*/__init__.py")}
    rooms |= {p.name for p in (root / "audiovq").glob("*.py") if not p.name.startswith("__")}
    rooms |= {f"{name}/" for name in ("studies", "recipes", "egs", "benchmarks", "tests", "docs", "tools")}
    readme = (root / "README.md").read_text(encoding="utf-8")
    mapped = re.findall(r"`([^`]+)`", "".join(line.split("|")[1] for line in readme.splitlines() if line[0:1] == "|"))
    assert rooms - {name.removeprefix("audiovq/") if name.endswith(".py") else name for name in mapped} == set()
