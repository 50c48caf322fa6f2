"""The pages at the doors of the WaveNet packages name modules, functions and tests that exist."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("package", ["audiovq.layers.wavenet", "audiovq.audio.wavenet_sampler"])
def test_what_a_door_names_exists(package):
    page = importlib.import_module(package).__doc__
    folder = ROOT / "tests" / Path(*package.split(".")[1:])
    tests = re.findall(r"[\w/]*test_\w+\.py", page)
    assert tests
    for name in tests:
        assert (ROOT / name if "/" in name else folder / name).is_file(), name
    modules = {path.stem for path in (ROOT / Path(*package.split("."))).glob("*.py")} - {"__init__"}
    assert modules <= set(re.findall(r"`(\w+)[`.]", page))  # each file has its word
    for module, name in re.findall(r"`(\w+)\.(\w+)`", page):
        if module in modules:
            assert hasattr(importlib.import_module(f"{package}.{module}"), name), f"{module}.{name}"
