"""The python of docs/extending.md runs: each section on its own, from top to bottom."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "extending.md"
SECTIONS = dict(part.split("\n", 1) for part in PAGE.read_text("utf-8").split("\n## ")[1:])


@pytest.mark.parametrize("title", SECTIONS)
def test_a_sections_code_runs(title, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", SECTIONS[title], re.DOTALL | re.MULTILINE)
    assert blocks
    exec(compile("\n".join(blocks), f"{PAGE.name}: {title}", "exec"), {"__name__": "extending"})
