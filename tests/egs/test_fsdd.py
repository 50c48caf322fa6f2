"""The recipe from raw files to scores, on a synthesized corpus and a model of a few steps."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TINY = " -o ".join(
    [
        "",
        "train.max_steps=4",
        "train.valid_every=2",
        "train.save_every=2",
        "train.warmup_steps=1",
        "objective.quantize_from_step=1",
        "data.valid_segments=4",
        "data.segment_samples=512",
        "data.valid_samples=512",
        "data.batch_size=4",
        "data.num_workers=0",
        "model.encoder.channels=8",
        "model.quantizer.codebook_size=8",
        "model.decoders.wavenet.channels=8",
        "model.decoders.wavenet.gate_channels=8",
        "model.decoders.wavenet.skip_channels=8",
        "model.decoders.wavenet.cycles=1",
        "model.decoders.wavenet.layers_per_cycle=3",
    ]
).strip()


def run(recipe: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(recipe.parents[2])}
    command = [str(recipe / "run.sh"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=900)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done


@pytest.mark.slow
def test_all_stages_run_and_a_second_time_only_say_that_all_is_done(recipe, tiny_fsdd, tmp_path):
    options = [f"--db-root={tiny_fsdd}", "--nj=2", "--threads=1", "--tag=tiny", "--checkpoint=latest"]
    options += [f"--data-dir={tmp_path}/data", f"--dump-dir={tmp_path}/dump", f"--exp-dir={tmp_path}/exp"]
    before = {p: p.stat().st_mtime_ns for p in tiny_fsdd.rglob("*")}
    done = run(recipe, *options, f"--train-args={TINY}")
    assert [line.split(":")[0] for line in done.stdout.splitlines() if line.startswith("stage ")] == [
        f"stage {n}" for n in range(-1, 8)
    ]
    assert {p: p.stat().st_mtime_ns for p in tiny_fsdd.rglob("*")} == before  # the corpus is never written to

    exp = tmp_path / "exp" / "vqvae_tiny"
    scores = json.loads((exp / "scores_latest.json").read_text())
    assert list(scores["likelihood"]) == ["own", "shuffled", "none"]
    assert all(0 < scores["likelihood"][codes]["bits_per_sample"] < 16 for codes in scores["likelihood"])
    assert scores["digits"]["originals, MFCC"]["all_speakers"] > 0.85  # 0.893, chance 0.1
    assert scores["speakers"]["originals"]["asked_for"] > 0.8  # 0.813, chance 0.167
    assert scores["speakers"]["converted"].keys() == {"asked_for", "source"}
    assert (exp / "scores_latest.md").read_text() in done.stdout
    assert len(list((exp / "reconstruct_latest" / "test" / "wav").glob("*.wav"))) == 300
    assert len(list((exp / "convert_latest" / "test" / "wav").glob("*.wav"))) == 300

    again = run(recipe, *options, "--stage=0", "--stop-stage=4", f"--train-args={TINY}")
    assert again.stderr.count("already packed") == 3
    assert again.stdout.count("nothing to do") == 2
