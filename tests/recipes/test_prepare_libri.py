"""LibriSpeech and LibriTTS on made-up trees: readers are speakers, and LibriTTS's ids are put in order."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile

from audiovq.data.kaldi.datadir import DataDir, validate
from audiovq.errors import BadDataError

PARTS = ("train", "dev", "eval")
READERS = {"train-clean-100": ("84", "840"), "train-clean-360": ("14",), "dev-clean": ("1272",), "test-clean": ("61",)}
SETS = {"train_sets": ["train-clean-100", "train-clean-360"], "dev_sets": ["dev-clean"], "eval_sets": ["test-clean"]}


@pytest.fixture(scope="module")
def libri(load_recipe) -> ModuleType:
    return load_recipe("libri")


def tree(root: Path, tts: bool) -> Path:
    """Each reader has two chapters of 6 utterances; the first of each chapter has no text."""
    lines = [";ID  |SEX| SUBSET           |MINUTES| NAME"]
    for subset, readers in READERS.items():
        for reader in readers:
            lines.append(f"{reader:<4} | {'F' if reader == '84' else 'M'} | {subset:<17}| 25.03 | A | B")
            for chapter in ("121123", "99"):
                write_chapter(root / subset / reader / chapter, reader, chapter, tts)
    (root / "SPEAKERS.TXT").write_text("\n".join(lines) + "\n")
    (root / "README.TXT").write_text("stray")
    (root / "dev-clean" / ".DS_Store").write_text("stray")
    return root


def write_chapter(folder: Path, reader: str, chapter: str, tts: bool) -> None:
    folder.mkdir(parents=True)
    sound = np.random.default_rng(0).normal(0, 0.1, 1600)
    stems = [f"{reader}_{chapter}_{n:06d}_000000" if tts else f"{reader}-{chapter}-{n:04d}" for n in range(6)]
    for stem in stems:
        soundfile.write(folder / f"{stem}.{'wav' if tts else 'flac'}", sound, 24000 if tts else 16000)
    (folder / ("._84_1_1_1.wav" if tts else "._84-1-1.flac")).write_text("stray")
    if tts:
        for stem in stems[1:]:
            (folder / f"{stem}.normalized.txt").write_text(f"Text of {stem}\r\n")
            (folder / f"{stem}.original.txt").write_text("Not this\n")
    else:
        lines = [f"{stem}  TEXT OF {stem}" for stem in stems[1:]]
        (folder / f"{reader}-{chapter}.trans.txt").write_text("\n".join([stems[0], *lines]) + "\n")


@pytest.mark.parametrize("name", ["librispeech", "libritts"])
def test_speakers_are_readers_and_the_order_is_kaldis(
    load_recipe, libri, tmp_path: Path, files_below, name: str, capsys
):
    tts = name == "libritts"
    layout = load_recipe(f"prepare_{name}").LAYOUT
    root = tree(tmp_path / layout.name, tts)
    for db_root in (root, tmp_path):  # the folder with the subsets, or the one around it
        libri.prepare_libri(layout, db_root, tmp_path / "data", **SETS, allow_partial=True)
    data = {part: DataDir.read(tmp_path / "data" / part) for part in PARTS}
    assert {part: set(directory.speakers) for part, directory in data.items()} == {
        "train": {"84", "840", "14"},
        "dev": {"1272"},
        "eval": {"61"},
    }
    assert data["train"].spk2gender == {"84": "f", "840": "m", "14": "m"}
    for part in PARTS:
        assert validate(tmp_path / "data" / part, spk_sort=True) == []
    for u in (u for directory in data.values() for u in directory.utterances):
        stem = Path(u.recording).stem
        assert u.id == stem.replace("_", "-")
        assert u.speaker == u.id.split("-")[0] == Path(u.recording).parts[-3]
        first = stem.split("_" if tts else "-")[2].strip("0") == ""
        assert u.text == (None if first else f"Text of {stem}" if tts else f"TEXT OF {stem}")
    assert len(data["train"].utterances) == 3 * 12
    assert "audio without text: 10 (" in capsys.readouterr().out
    first = files_below(tmp_path / "data")
    libri.prepare_libri(layout, root, tmp_path / "data", **SETS, allow_partial=True)
    assert files_below(tmp_path / "data") == first


def test_subsets_may_be_links_to_where_they_were_unpacked(load_recipe, libri, tmp_path: Path):
    root = tree(tmp_path / "unpacked/LibriSpeech", tts=False)
    (tmp_path / "LibriSpeech").mkdir()
    for subset in READERS:
        (tmp_path / "LibriSpeech" / subset).symlink_to(root / subset)
    layout = load_recipe("prepare_librispeech").LAYOUT
    data = libri.prepare_libri(layout, tmp_path / "LibriSpeech", tmp_path / "data", **SETS, allow_partial=True)
    assert data["train"].spk2gender["84"] == "f"


def test_closed_takes_the_last_of_each_reader(load_recipe, libri, tmp_path: Path):
    layout = load_recipe("prepare_librispeech").LAYOUT
    root = tree(tmp_path / "LibriSpeech", tts=False)
    sets = {"train_sets": ["train-clean-100"], "split": "closed"}
    data = libri.prepare_libri(layout, root, tmp_path / "data", **sets, allow_partial=True)
    assert [u.id for u in data["eval"].utterances] == [f"{r}-99-{n:04d}" for r in ("84", "840") for n in (4, 5)]
    assert [u.id for u in data["dev"].utterances] == [f"{r}-99-{n:04d}" for r in ("84", "840") for n in (2, 3)]
    assert len(data["train"].utterances) == 2 * 8


def test_wrong_trees_and_subsets_are_named(load_recipe, libri, tmp_path: Path, monkeypatch, capsys):
    recipe = load_recipe("prepare_libritts")
    root = tree(tmp_path / "LibriTTS", tts=True)

    def prepare(db_root: Path, **options: object) -> None:
        libri.prepare_libri(recipe.LAYOUT, db_root, tmp_path / "data", **SETS | options)

    with pytest.raises(
        BadDataError, match="24 train-clean-100 audio files found, 33236 expected; 2 train-clean-100 re"
    ):
        prepare(root)
    with pytest.raises(BadDataError, match="train-other-500: no such folder; unpack train-other-500 there or name oth"):
        prepare(root, train_sets=["train-other-500"])
    with pytest.raises(BadDataError, match="dev-clean: named for more than one part"):
        prepare(root, eval_sets=["dev-clean"])
    with pytest.raises(BadDataError, match="neither it nor a folder in it holds subsets"):
        prepare(root / "dev-clean")
    with pytest.raises(BadDataError, match="no such folder; --db-root must be LibriTTS"):
        prepare(tmp_path / "nowhere")
    (tmp_path / "LibriTTS_R").symlink_to(root)
    with pytest.raises(BadDataError, match=r"both .*LibriTTS and .*LibriTTS_R hold subsets"):
        prepare(tmp_path)
    assert not (tmp_path / "data").exists()
    command = ["prepare_libritts.py", "--db-root", str(root), "--data-dir", str(tmp_path / "data")]
    monkeypatch.setattr("sys.argv", [*command, "--dev-sets", "dev-clear"])
    with pytest.raises(SystemExit):
        libri.run_libri(recipe.LAYOUT, recipe.__doc__)
    assert "argument --dev-sets: no subset dev-clear; LibriTTS has train-clean-100" in capsys.readouterr().err
    monkeypatch.setattr("sys.argv", [*command, "--allow-partial", "--trim", "20"])
    libri.run_libri(recipe.LAYOUT, recipe.__doc__)
    assert validate(tmp_path / "data/eval") == []
