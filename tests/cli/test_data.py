"""`audiovq data`, as a user calls it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result

from audiovq.cli.data import data
from audiovq.data.corpus.packed import PackedCorpus
from audiovq.data.kaldi.datadir import DataDir
from audiovq.data.kaldi.utterance import Utterance
from audiovq.errors import BadDataError, OutputError


def run(*arguments: object) -> Result:
    return CliRunner().invoke(data, [str(a) for a in arguments])


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    for name, samples in {"a-1": 16000, "b-1": 100}.items():
        soundfile.write(tmp_path / f"{name}.wav", np.full(samples, 0.1), 16000)
    DataDir(tuple(Utterance(u, u[0], str(tmp_path / f"{u}.wav")) for u in ("a-1", "b-1"))).write(tmp_path / "data")
    return tmp_path / "data"


def test_validate_says_what_is_sound_and_exits_1_with_every_problem(data_dir: Path, tmp_path: Path):
    result = run("validate", data_dir)
    assert result.exit_code == 0
    assert "sound, 2 utterances, 2 speakers" in result.stdout
    (tmp_path / "b-1.wav").unlink()
    (tmp_path / "a-1.wav").write_bytes(b"")
    result = run("validate", data_dir)
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 2
    assert "wav.scp:1: " in result.stderr
    assert "wav.scp:2: " in result.stderr
    assert run("validate", "--no-audio", data_dir).exit_code == 0
    assert run("validate", data_dir, tmp_path / "none").exit_code == 1
    assert run("validate").exit_code == 2


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_validate_is_as_strict_as_asked(data_dir: Path, tmp_path: Path):
    soundfile.write(tmp_path / "b-1.wav", np.full(100, 0.1), 8000)
    assert "8000 Hz" in run("validate", data_dir).stderr
    assert run("validate", data_dir).exit_code == 1
    assert run("validate", data_dir, "--any-rate").exit_code == 0
    assert run("validate", data_dir, "--any-rate", "--require-text").exit_code == 1
    (data_dir / "utt2spk").write_text("a-1 b\nb-1 a\n")
    (data_dir / "spk2utt").write_text("a b-1\nb a-1\n")
    assert "utt2spk:2: b-1 puts speaker a after b" in run("validate", data_dir, "--any-rate").stderr
    assert run("validate", data_dir, "--any-rate", "--no-spk-sort").exit_code == 0


def test_fix_names_what_it_drops_and_says_when_there_is_nothing_to_do(data_dir: Path):
    assert run("fix", data_dir).stdout == f"{data_dir}: nothing to do, 2 utterances, 2 speakers\n"
    (data_dir / "utt2spk").write_text("a-1 a\n")
    fixed = run("fix", data_dir)
    assert (fixed.exit_code, fixed.stderr) == (0, "dropped b-1: not in utt2spk\n")
    backup = data_dir / ".backup"
    assert fixed.stdout == f"{data_dir}: kept 1 of 2 utterances; wrote spk2utt, wav.scp; as they were: {backup}\n"
    assert run("validate", data_dir).exit_code == 0


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        (("--first", 1), ["a-1"]),
        (("--first", 1, "--exclude"), ["b-1"]),
        (("--last", 1), ["b-1"]),
        (("--shortest", 1), ["b-1"]),
        (("--number", 1), ["a-1"]),
        (("--per-spk", 1), ["a-1", "b-1"]),
        (("--last-per-spk", 1), ["a-1", "b-1"]),
        (("--first-per-spk", 1), ["a-1", "b-1"]),
        (("--speakers", 2), ["a-1", "b-1"]),
    ],
)
def test_subset_writes_what_was_chosen(data_dir: Path, tmp_path: Path, options: tuple[object, ...], kept: list[str]):
    result = run("subset", data_dir, tmp_path / "out", *options)
    assert result.exit_code == 0, result.stderr
    assert [u.id for u in DataDir.read(tmp_path / "out").utterances] == kept
    assert f"{len(kept)} utterances" in result.stdout


def test_subset_by_lists_names_what_is_missing(data_dir: Path, tmp_path: Path):
    (tmp_path / "utts").write_text("b-1\nc-1\n")
    (tmp_path / "spks").write_text("b x\n")
    refused = run("subset", data_dir, tmp_path / "out", "--utt-list", tmp_path / "utts")
    assert isinstance(refused.exception, BadDataError)
    assert "utts: 1 of its 2 utterances are not in" in str(refused.exception)
    assert not (tmp_path / "out").exists()
    lenient = run("subset", data_dir, tmp_path / "out", "--utt-list", tmp_path / "utts", "--ignore-missing")
    assert "are not in" in lenient.stderr
    assert contents(tmp_path / "out")["utt2spk"] == b"b-1 b\n"
    assert run("subset", data_dir, tmp_path / "out", "--spk-list", tmp_path / "spks", "--exclude", "-f").exit_code == 0
    assert contents(tmp_path / "out")["utt2spk"] == b"a-1 a\n"


def test_subset_wants_exactly_one_choice_something_left_and_names_short_speakers(data_dir: Path, tmp_path: Path):
    for options in ((), ("--first", 1, "--last", 1), ("--first", 0)):
        assert run("subset", data_dir, tmp_path / "out", *options).exit_code == 2
    assert isinstance(run("subset", data_dir, tmp_path / "out", "--first", 9, "--exclude").exception, BadDataError)
    assert "speaker a: has only 1 of the 2" in run("subset", data_dir, tmp_path / "out", "--last-per-spk", 2).stderr


def test_split_makes_parts_beside_the_data_and_combine_joins_them(data_dir: Path, tmp_path: Path):
    before = contents(data_dir)
    assert run("split", data_dir, 2).exit_code == 0
    assert run("split", data_dir, 2, "--per-utt").exit_code == 0
    parts = [data_dir / "split2" / n for n in "12"]
    assert [[u.id for u in DataDir.read(p).utterances] for p in parts] == [["a-1"], ["b-1"]]
    assert sorted(p.name for p in (data_dir / "split2utt").iterdir()) == ["1", "2"]
    assert run("combine", tmp_path / "whole", *parts).exit_code == 0
    assert contents(tmp_path / "whole") == before
    too_many = run("split", data_dir, 3)
    assert str(too_many.exception).startswith(f"{data_dir}: 2 speakers")


def test_nothing_is_replaced_without_force_and_never_what_is_no_table(data_dir: Path, tmp_path: Path):
    commands = [
        (("subset", data_dir, tmp_path / "out", "--first", 1), tmp_path / "out"),
        (("combine", tmp_path / "both", data_dir), tmp_path / "both"),
        (("split", data_dir, 2), data_dir / "split2"),
    ]
    for command, out in commands:
        assert run(*command).exit_code == 0
        first = contents(out)
        assert "exists already; use --force" in str(run(*command).exception)
        assert run(*command, "--force").exit_code == 0
        assert contents(out) == first
        (out / "notes.txt").write_text("mine")
        assert "notes.txt" in str(run(*command, "--force").exception)
        assert contents(out) == first | {"notes.txt": b"mine"}
    (tmp_path / "sounds" / "wav").mkdir(parents=True)
    assert "holds wav" in str(run("combine", tmp_path / "sounds", data_dir, "--force").exception)
    leftovers = [p.name for p in tmp_path.iterdir() if p.name.startswith(".")]
    assert leftovers == []


def test_pack_prints_what_it_kept_and_dropped(data_dir: Path, tmp_path: Path):
    result = run("pack", data_dir, tmp_path / "pack", "--sample-rate", 8000)
    assert result.exit_code == 0
    assert "1 utterances, 1 speakers, 8000 Hz; dropped 1: shorter than 0.1 s" in result.stdout
    assert "dropped b-1: shorter than 0.1 s" in result.stderr
    assert PackedCorpus.open(tmp_path / "pack").utterances[0].num_samples == 8000
    assert "nothing to do" in run("pack", data_dir, tmp_path / "pack", "--sample-rate", 8000).stderr


def test_pack_refuses_wrong_usage_and_foreign_folders(data_dir: Path, tmp_path: Path):
    assert run("pack", data_dir, tmp_path / "pack").exit_code == 2
    assert run("pack", data_dir, tmp_path / "pack", "--sample-rate", 0).exit_code == 2
    result = run("pack", data_dir, data_dir, "--sample-rate", 8000)
    assert isinstance(result.exception, OutputError)  # the main command prints it as one line
