"""`audiovq data validate` and `pack`, as a user calls them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result

from audiovq.cli.data import data
from audiovq.data.kaldi import DataDir, Utterance
from audiovq.data.pack import PackedCorpus
from audiovq.errors import OutputError


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
