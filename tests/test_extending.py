"""docs/extending.md: what each section adds works, and touches at most three files of the package."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
DOCUMENT = (REPOSITORY / "docs" / "extending.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", DOCUMENT, re.MULTILINE | re.DOTALL))
# A block of code, and the file that the line above it ends in: "..., in `audiovq/x.py`:"
BLOCK = re.compile(r"(?:`([\w.-]+/[\w./-]+)`:\n\n)?^```(python|diff)\n(.*?)^```", re.MULTILINE | re.DOTALL)
COPIED = ("audiovq", "recipes", "studies", "egs", "tests")


def changed(text: str, diff: str) -> str:
    """Text with the hunks of a diff applied; each begins with @@ and must fit in one place."""
    for hunk in re.split(r"^@@.*\n", diff, flags=re.MULTILINE)[1:]:
        lines = hunk.splitlines()
        before = "".join(f"{line[1:]}\n" for line in lines if not line.startswith("+"))
        after = "".join(f"{line[1:]}\n" for line in lines if not line.startswith("-"))
        parts = re.split(f"^{re.escape(before)}", text, flags=re.MULTILINE)
        assert len(parts) == 2, f"fits in {len(parts) - 1} places:\n{before}"
        text = after.join(parts)
    return text


def follow(section: str, folder: Path) -> tuple[list[str], str]:
    """Make a section's changes in a copy of the repository; returns the files it touches and the code it runs."""
    for name in COPIED:  # links, which a change replaces by a file
        ignored = shutil.ignore_patterns("__pycache__", "exp")
        shutil.copytree(REPOSITORY / name, folder / name, copy_function=os.symlink, ignore=ignored)
    shutil.copy(REPOSITORY / "pyproject.toml", folder)
    files, script = [], ""
    for name, language, code in BLOCK.findall(section):
        if not name:
            assert language == "python", f"a change to no file:\n{code}"
            script += code
            continue
        path = folder / name
        assert path.exists() == (language == "diff"), f"{name}: give a new file whole, a change as diff"
        text = changed(path.read_text(encoding="utf-8"), code) if language == "diff" else code
        path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        files.append(name)
    return files, script


@pytest.mark.parametrize("title", SECTIONS)
def test_what_a_section_adds_works(title: str, tmp_path: Path) -> None:
    files, script = follow(SECTIONS[title], tmp_path)
    assert len({name for name in files if not name.startswith("tests/")}) <= 3
    assert script
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_sections_and_blocks_are_found() -> None:
    assert list(SECTIONS) == ["A new quantizer", "A new decoder", "A new encoder (front end)", "A new corpus (data)"]
    assert sum(len(BLOCK.findall(section)) for section in SECTIONS.values()) == DOCUMENT.count("```") // 2


def test_a_change_that_does_not_fit_is_refused() -> None:
    assert changed("a\nb\nc\n", "@@\n a\n-b\n+B\n@@\n+d\n c\n") == "a\nB\nd\nc\n"
    for text in ("a\nB\n", "a\nb\na\nb\n", "aa\nb\n"):
        with pytest.raises(AssertionError, match=r"fits in [02] places"):
            changed(text, "@@\n a\n-b\n")
