"""Scores of validation segments, computed beside the training."""

import csv
import math

import numpy as np
import pytest
import soundfile

from audiovq.data.corpus.pack import pack
from audiovq.data.kaldi.datadir import DataDir
from audiovq.data.kaldi.utterance import Utterance
from audiovq.metrics.speech import stoi
from audiovq.train.experiment import parse_experiment
from audiovq.train.run import train
from audiovq.train.speech.scores import mean_scores

from ..conftest import tiny_tree


def babble(seconds: float, seed: int) -> np.ndarray:
    """Noise in syllables, at 8 kHz: enough like speech for STOI."""
    generator = np.random.default_rng(seed)
    time = np.arange(round(8000 * seconds)) / 8000
    return (0.2 * generator.standard_normal(len(time)) * np.sin(2 * np.pi * 2 * time) ** 2).astype(np.float32)


@pytest.fixture
def babble_pack(tmp_path):
    utterances = []
    for i in range(2):
        path = tmp_path / f"{i}.wav"
        soundfile.write(path, babble(1.5, i), 8000)
        utterances.append(Utterance(f"a-{i}", "a", str(path)))
    DataDir(utterances, {}).write(tmp_path / "data")
    pack(tmp_path / "data", tmp_path / "dump", 8000)
    return tmp_path / "dump"


def test_scores_arrive_with_the_step_of_their_validation(babble_pack, tmp_path, capsys):
    pytest.importorskip("pystoi")
    tree = tiny_tree(babble_pack, score_segments=2, max_steps=12, valid_every=6)
    tree["data"] |= {"valid_samples": 12000, "valid_segments": 2}
    train(parse_experiment(tree, "tiny"), tmp_path / "exp", device="cpu")
    with (tmp_path / "exp" / "csv" / "version_0" / "metrics.csv").open() as file:
        scored = {int(row["step"]): float(row["valid/stoi"]) for row in csv.DictReader(file) if row.get("valid/stoi")}
    assert sorted(scored) == [6, 12]
    assert all(-1 <= value <= 1 for value in scored.values())
    assert "scores of step 12" in capsys.readouterr().out


def test_means_leave_out_what_has_no_score():
    pytest.importorskip("pystoi")
    sound, other = babble(1.5, 0), babble(1.5, 1)
    silent = np.zeros(100, np.float32)
    _, mean = mean_scores([(sound, sound), (silent, silent), (other, sound)], 8000)
    assert mean == pytest.approx((stoi(sound, sound, 8000) + stoi(other, sound, 8000)) / 2)
    assert math.isnan(mean_scores([(silent, silent)], 8000)[1])
