"""`python -m studies.prior_ablation`: what it leaves, and what it says to wrong usage."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from studies.prior_ablation.__main__ import ablate

SMALL = ["-o", "prior.channels=8", "-o", "prior.gate_channels=8", "-o", "prior.skip_channels=8", "-o",
         "prior.layers_per_cycle=2"]  # fmt: skip


@pytest.fixture
def run():
    return lambda *words: CliRunner().invoke(ablate, [str(word) for word in words])


def test_an_ablation_leaves_a_table_json_and_a_figure(tmp_path, run):
    for part, seed in (("train", 0), ("test", 1)):
        write_tiny_codes(tmp_path / part, seed)
    sets = [f"tiny={tmp_path / 'train'},{tmp_path / 'test'}"]
    options = ["--kinds", "uniform,bigram,wavenet", "--seeds", 1, "--reconstruction", "tiny=500", *SMALL]
    limits = ["-o", "train.max_steps=2", "-o", "train.valid_every=1"]
    done = run(*sets, "--out", tmp_path / "out", *options, *limits)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.count("wavenet on uniform codes") == 1
    tree = json.loads((tmp_path / "out" / "ablation.json").read_text())
    rows = tree["rows"]
    assert [row["prior"] for row in rows[:3]] == ["uniform", "bigram", "wavenet"]
    assert all(row["decoded"] in (True, None) for row in rows)
    assert all(0 <= row["quality"]["pairs"] <= 1 for row in rows)
    assert rows[2]["seconds"] == float(next((tmp_path / "out").rglob("01-wavenet-seed0/cpu_seconds")).read_text())
    again = run(*sets, "--out", tmp_path / "out", *options, *limits)
    assert again.exit_code == 0, again.stderr
    assert json.loads((tmp_path / "out" / "ablation.json").read_text())["rows"][2]["seconds"] == rows[2]["seconds"]
    wrong = run(*sets, "--out", tmp_path / "o", "--features", "tiny=word:x")
    assert "write text:DIR" in wrong.stderr
    assert (tmp_path / "out" / "ablation.png").stat().st_size > 1000
    assert "--kinds: bygram" in run(*sets, "--out", tmp_path / "o", "--kinds", "bygram").stderr


def write_tiny_codes(folder, seed):
    """Ten files of 40 frames, K = 8 at 50 Hz."""
    from audiovq.bitstream import AudioHeader, write_codes

    header = AudioHeader(model="tiny", fingerprint=bytes(6), sample_rate=16000, channels=1, num_samples=40 * 320,
                    model_sample_rate=16000, hop_length=320, frames_per_packet=50, codebook_sizes=(8,))  # fmt: skip
    folder.mkdir()
    for i in range(10):
        write_codes(folder / f"{i}.codes", header, np.random.default_rng((seed, i)).integers(0, 8, (1, 1, 40)))
