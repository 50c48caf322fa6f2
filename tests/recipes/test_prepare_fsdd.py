"""The digits recipe on a synthesized tree of the data set's layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiovq.data.kaldi.datadir import DataDir, validate
from audiovq.errors import BadDataError


@pytest.fixture(scope="module")
def recipe(load_recipe):
    return load_recipe("prepare_fsdd")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """2 speakers x 10 digits x 12."""
    recordings = tmp_path / "fsdd" / "recordings"
    recordings.mkdir(parents=True)
    for speaker in ("theo", "george"):
        for digit in range(10):
            for index in range(12):
                soundfile.write(recordings / f"{digit}_{speaker}_{index}.wav", np.zeros(16, np.int16), 8000)
    (recordings / ".DS_Store").write_text("stray")
    (recordings / "notes_of_theo.wav").write_text("stray")
    return tmp_path / "fsdd"


def test_splits_are_by_index_and_the_text_is_the_digit(recipe, tree: Path, tmp_path: Path):
    recipe.prepare(tree, tmp_path / "data", allow_partial=True)
    for name, indices in {"test": range(5), "dev": range(5, 10), "train": range(10, 12)}.items():
        assert validate(tmp_path / "data" / name) == []
        utterances = DataDir.read(tmp_path / "data" / name).utterances
        assert len(utterances) == 2 * 10 * len(indices)
        assert {int(Path(u.recording).stem.split("_")[2]) for u in utterances} == set(indices)
        for u in utterances:
            assert u.text == recipe.WORDS[int(Path(u.recording).name[0])]
            assert u.id.startswith(f"{u.speaker}-")
    first = {p: p.read_bytes() for p in (tmp_path / "data").rglob("*") if p.is_file()}
    recipe.prepare(tree, tmp_path / "data", allow_partial=True)
    assert {p: p.read_bytes() for p in (tmp_path / "data").rglob("*") if p.is_file()} == first


def test_another_count_fails_with_both_numbers_before_anything_is_written(recipe, tree: Path, tmp_path: Path):
    with pytest.raises(BadDataError, match="240 recordings found, 3000 expected"):
        recipe.prepare(tree, tmp_path / "data")
    with pytest.raises(BadDataError, match=r"--db-root must be a checkout"):
        recipe.prepare(tmp_path, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_the_program_prints_the_counts_and_exits_1_on_a_wrong_one(
    recipe, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    command = ["prepare_fsdd.py", "--db-root", str(tree), "--data-dir", str(tmp_path / "data")]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit, match=r"error: .*240 recordings found, 3000 expected"):
        recipe.main()
    monkeypatch.setattr("sys.argv", [*command, "--allow-partial"])
    recipe.main()
    assert "recordings: 240 found, 3000 expected" in capsys.readouterr().out
