"""LJSpeech's recipe on a made-up tree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiovq.data.kaldi.datadir import DataDir, validate
from audiovq.errors import BadDataError

PARTS = ("train", "dev", "eval")


@pytest.fixture(scope="module")
def recipe(load_recipe):
    return load_recipe("prepare_ljspeech")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """20 clips; one line has no audio, one clip has no line, one line has no normalized text."""
    root = tmp_path / "LJSpeech-1.1"
    (root / "wavs").mkdir(parents=True)
    lines = []
    for n in range(1, 21):
        soundfile.write(root / "wavs" / f"LJ001-{n:04d}.wav", np.full(100, 0.1), 22050)
        lines.append(f'LJ001-{n:04d}|The "{n} of|The "number  of')
    lines[4] = "LJ001-0005|As it is read|"
    lines[6] = "LJ001-0099|No audio|no audio"
    (root / "metadata.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (root / "wavs/._LJ001-0001.wav").write_text("stray")
    return root


def test_splits_and_texts(recipe, tree: Path, tmp_path: Path, files_below, capsys: pytest.CaptureFixture[str]):
    for root in (tree, tree.parent):
        recipe.prepare(root, tmp_path / "data", allow_partial=True)
    assert capsys.readouterr().out.count("(as before)") == 3
    data = {part: DataDir.read(tmp_path / "data" / part) for part in PARTS}
    assert [[u.id[-4:] for u in data[part].utterances] for part in ("dev", "eval")] == [
        ["0017", "0018"],
        ["0019", "0020"],
    ]
    texts = {u.id[-4:]: u.text for u in data["train"].utterances}
    assert len(texts) == 16
    assert (texts["0001"], texts["0005"], texts["0007"]) == ('The "number of', "As it is read", None)
    assert {(u.speaker, data[part].spk2gender["LJ"]) for part in PARTS for u in data[part].utterances} == {("LJ", "f")}
    for part in PARTS:
        assert validate(tmp_path / "data" / part) == []


def test_the_real_size_gives_250_each(recipe):
    from corpus_preparation import closed_split

    split = closed_split({"LJ": [f"LJ{n:05d}" for n in range(recipe.EXPECTED)]}, recipe.HELD)
    assert [len(split[part]) for part in PARTS] == [12600, 250, 250]


def test_wrong_corpora_are_named(recipe, tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(BadDataError, match="20 audio files found, 13100 expected; 20 lines of text found, 13100 exp"):
        recipe.prepare(tree, tmp_path / "data")
    out = capsys.readouterr().out
    assert "text without audio: 1 (LJ001-0099)" in out
    assert "audio without text: 1 (LJ001-0007)" in out
    with pytest.raises(BadDataError, match=r"no metadata\.csv there or in LJSpeech-1\.1"):
        recipe.prepare(tree / "wavs", tmp_path / "data")
    (tree / "metadata.csv").write_text("LJ001-0001|a|b\nLJ001-0002 a\n")
    with pytest.raises(BadDataError, match=r"metadata\.csv:2: no \| in the line"):
        recipe.prepare(tree, tmp_path / "data", allow_partial=True)
    assert not (tmp_path / "data").exists()
