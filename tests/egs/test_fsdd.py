"""The digits recipe from raw files to scores, on a synthesized corpus and a WaveNet of a few steps."""

from __future__ import annotations

import json

import pytest

from .conftest import folders

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


@pytest.mark.slow
def test_all_stages_run_and_score_words_voices_and_likelihoods(recipes, tiny_fsdd, run_recipe, tmp_path):
    recipe = next(recipe for recipe in recipes if recipe.parent.name == "fsdd")
    options = [f"--db-root={tiny_fsdd}", "--nj=2", "--threads=1", "--tag=tiny", "--checkpoint=latest", "--ngpu=0"]
    small = "-o prior.channels=16 -o prior.depth=1 -o train.max_steps=4 -o train.valid_every=2 -o train.warmup_steps=1"
    done = run_recipe(recipe, *options, *folders(tmp_path), f"--train-args={TINY}", f"--prior-args={small}")
    exp = tmp_path / "exp" / "tiny"
    scores = json.loads((exp / "scores.json").read_text())
    assert list(scores["likelihood"]) == ["own", "shuffled", "none"]
    assert all(0 < scores["likelihood"][codes]["bits_per_sample"] < 16 for codes in scores["likelihood"])
    assert scores["words"]["originals, MFCC"]["all_speakers"] > 0.85  # 0.893, chance 0.1
    assert scores["speakers"]["originals"]["asked_for"] > 0.8  # 0.813, chance 0.167
    assert scores["speakers"]["converted"].keys() == {"asked_for", "source"}
    assert (exp / "results.md").read_text() in done.stdout
    assert len(list((exp / "reconstruct_latest" / "test" / "wav").glob("*.wav"))) == 300
    assert len(list((exp / "convert_latest" / "test" / "wav").glob("*.wav"))) == 300
    assert (tmp_path / "exp" / "tiny_nocodes" / "trained.json").is_file()
    samples = json.loads((exp / "samples_latest" / "scores.json").read_text())
    assert list(samples["priors"]) == ["any", "text", "speaker"]
    assert samples["samples"]["recordings"]["word"] > 0.85
    assert "word" not in samples["samples"]["drawn"]  # none was asked for
    assert samples["samples"]["drawn, told the text"].keys() == {"frechet", "word", "speaker"}
    assert len(list((exp / "samples_latest" / "text" / "wav").glob("*.wav"))) == 300
