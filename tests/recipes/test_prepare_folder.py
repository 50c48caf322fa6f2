"""Any tree of audio: a speaker is a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiovq.data.kaldi.datadir import DataDir, validate
from audiovq.errors import BadDataError, OutputError

PARTS = ("train", "dev", "eval")


@pytest.fixture(scope="module")
def recipe(load_recipe):
    return load_recipe("prepare_folder")


def sound(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 400), 16000)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "my voices"
    for speaker in ("a", "a-b", "Zoë K."):
        for n in range(12):
            sound(root / speaker / f"take-{n}{'.FLAC' if n == 3 else '.wav'}")
    sound(root / "a/session 2/x.wav")
    (root / "a/take-1.txt").write_text("What  was\r\nsaid.\n")
    (root / "a/take-2.txt").write_text("\n")
    for stray in (".hidden.wav", "notes.md", "a/.DS_Store", ".trash/y.wav"):
        (root / stray).parent.mkdir(exist_ok=True)
        (root / stray).write_text("stray")
    return root


def test_the_folder_of_a_file_is_its_speaker(recipe, tree: Path, tmp_path: Path, files_below, capsys):
    data = recipe.prepare(tree, tmp_path / "data")
    by_id = {u.id: u for directory in data.values() for u in directory.utterances}
    assert len(by_id) == 3 * 12 + 1
    assert {u.speaker for u in by_id.values()} == {"a", "a_b", "Zoë_K.", "session_2"}
    assert by_id["a_b-take_3"].recording == str(tree / "a-b/take-3.FLAC")
    assert (by_id["a-take_1"].text, by_id["a-take_2"].text, by_id["a-take_4"].text) == ("What was said.", None, None)
    for part in PARTS:
        assert validate(tmp_path / "data" / part, spk_sort=True) == []
    out = capsys.readouterr().out
    assert "37 audio files found" in out
    assert "files that are no audio, by kind: 2 (.md:1 .txt:2)" in out
    first = files_below(tmp_path / "data")
    recipe.prepare(tree, tmp_path / "data")
    assert files_below(tmp_path / "data") == first


def test_another_folder_can_be_the_speaker(recipe, tree: Path, tmp_path: Path):
    data = recipe.prepare(tree, tmp_path / "data", speaker_folder=1)
    assert set(data["train"].speakers) == {"a", "a_b", "Zoë_K."}
    assert [u.id for u in data["train"].utterances if "session" in u.recording] == ["a-session_2-x"]
    with pytest.raises(BadDataError, match=r"lies in 1 folders; --speaker-folder 2 needs more"):
        recipe.prepare(tree, tmp_path / "data", speaker_folder=2)
    sound(tree / "flat.wav")
    data = recipe.prepare(tree, tmp_path / "data")
    assert [u.id for u in data["train"].utterances if u.speaker == "my_voices"] == ["my_voices-flat"]


def test_speakers_can_be_held_out(recipe, tree: Path, tmp_path: Path):
    data = recipe.prepare(tree, tmp_path / "data", dev_speakers=["a"], eval_speakers=["a_b", "session_2"])
    assert {part: data[part].speakers for part in PARTS} == {
        "train": ("Zoë_K.",),
        "dev": ("a",),
        "eval": ("a_b", "session_2"),
    }
    for options, said in (
        ({"dev_speakers": ["a"]}, "--eval-speakers: none given; there are Zoë_K. a a_b session_2"),
        ({"dev_speakers": ["a", "c"], "eval_speakers": ["a_b"]}, "--dev-speakers: c; there are"),
        ({"dev_speakers": ["a"], "eval_speakers": ["a"]}, "a: in --dev-speakers and in --eval-speakers"),
    ):
        with pytest.raises(BadDataError, match=said):
            recipe.prepare(tree, tmp_path / "data", **options)


def test_ids_that_clash_and_bad_places_are_refused(recipe, tree: Path, tmp_path: Path):
    with pytest.raises(OutputError, match="lies in the corpus"):
        recipe.prepare(tree, tree / "data")
    sound(tree / "b/a/take_3.wav")  # the speaker of that name has take-3 already
    with pytest.raises(BadDataError, match=r"b/a/take_3\.wav: would have the id a-take_3, as has .*/a/take-3\.FLAC"):
        recipe.prepare(tree, tmp_path / "data")
    with pytest.raises(BadDataError, match="no such folder; --db-root must hold audio files"):
        recipe.prepare(tmp_path / "nowhere", tmp_path / "data")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadDataError, match="nothing of 0 utterances is for train"):
        recipe.prepare(tmp_path / "empty", tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_unreadable_audio_is_an_error_or_left_out(recipe, tree: Path, tmp_path: Path, monkeypatch, capsys):
    (tree / "a/broken.wav").write_bytes(b"")
    command = ["prepare_folder.py", "--db-root", str(tree), "--data-dir", str(tmp_path / "data")]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(
        SystemExit, match=r"prepare_folder\.py: error: 1 of 38 recordings can't be used, the first is a-b"
    ):
        recipe.main()
    monkeypatch.setattr("sys.argv", [*command, "--allow-partial", "--dev-speakers", "a", "--eval-speakers", "a_b"])
    recipe.main()
    assert f"left out a-broken: {tree}/a/broken.wav: " in capsys.readouterr().err
    assert "a-broken" not in (tmp_path / "data/dev/wav.scp").read_text()
    monkeypatch.setattr("sys.argv", [*command, "--speaker-folder", "-1"])
    with pytest.raises(SystemExit) as exit_of:
        recipe.main()
    assert exit_of.value.code == 2
    assert DataDir.read(tmp_path / "data/dev").speakers == ("a",)
