"""Recipes are programs, not a package: load them by path."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
sys.path.append(str(RECIPES))  # programs find what they share beside them


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"recipe_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def load_recipe() -> Callable[[str], ModuleType]:
    return lambda name: load(RECIPES / f"{name}.py")


@pytest.fixture(scope="session")
def fake_vctk() -> ModuleType:
    """The program that makes a corpus in VCTK's layout up."""
    return load(Path(__file__).with_name("fake_vctk.py"))


@pytest.fixture
def files_below() -> Callable[[Path], dict[str, bytes]]:
    """Relative path -> bytes of every file, to compare what two runs wrote."""
    return lambda folder: {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
