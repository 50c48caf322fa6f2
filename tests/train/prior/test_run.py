"""Training priors: what they learn and what they can't, exact resume, data that is a function of the step."""

from __future__ import annotations

import csv
import json
import os
import signal

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
import yaml

from audiovq.errors import BadDataError, ConfigError, OutputError
from audiovq.prior import CodeItem, CodeSpec, load_prior, score_items, total
from audiovq.train import record, run
from audiovq.train.prior.config import PriorDataConfig, load_prior_config
from audiovq.train.prior.data import CodeBatches, held_out_batches
from audiovq.train.prior.run import train_prior

SPEC = CodeSpec(codebook_sizes=[8], frame_rate=50.0)
TINY = [
    "prior.channels=16",
    "prior.gate_channels=16",
    "prior.skip_channels=16",
    "prior.cycles=1",
    "prior.layers_per_cycle=2",
    "data.segment_frames=32",
    "data.batch_size=8",
    "train.learning_rate=5e-3",
    "train.warmup_steps=5",
    "train.log_every=1",
]


def tiny(steps: int, *changes: str):
    return load_prior_config(
        "wavenet", None, [*TINY, f"train.max_steps={steps}", f"train.valid_every={steps // 2}", *changes]
    )


def uniform_items(count: int, frames: int = 100, seed: int = 0) -> list[CodeItem]:
    rng = np.random.default_rng(seed)
    return [CodeItem(f"{i}", rng.integers(0, 8, (1, frames))) for i in range(count)]


def rising_items(count: int, frames: int = 100, seed: int = 0) -> list[CodeItem]:
    """Codes that go up by one, three times out of four: 1.37 bits each, to who knows the one before."""
    rng = np.random.default_rng(seed)
    steps = np.where(rng.random((count, frames)) < 0.75, 1, rng.integers(0, 8, (count, frames)))
    return [CodeItem(f"{i}", row[None] % 8) for i, row in enumerate(np.cumsum(steps, axis=1))]


def bits(prior, items) -> float:
    return total(score_items(prior, items)).bits_per_code


def losses(folder) -> dict[int, float]:
    found = {}
    for path in (folder / "run").glob("csv/*/metrics.csv"):
        with path.open() as file:
            found |= {int(row["step"]): float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]}
    return found


def test_it_learns_what_there_is_to_learn(tmp_path):
    prior = train_prior(tiny(80), SPEC, rising_items(20), rising_items(5, seed=1), tmp_path, device="cpu")
    assert bits(prior, rising_items(10, seed=2)) < 1.8
    assert bits(load_prior(tmp_path), rising_items(3, seed=2)) == bits(prior, rising_items(3, seed=2))
    assert (tmp_path / "run" / "config.yaml").is_file()
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").is_file()


def test_trained_on_uniform_codes_it_scores_log2_k_on_any_codes(tmp_path):
    items = uniform_items(60)
    prior = train_prior(tiny(60), SPEC, items[:50], items[50:], tmp_path, device="cpu")
    assert bits(prior, uniform_items(10, seed=1)) == pytest.approx(3, rel=0.01)
    assert bits(prior, rising_items(10)) == pytest.approx(3, rel=0.01)


def test_a_resumed_run_repeats_the_uninterrupted_one(tmp_path):
    data = (SPEC, rising_items(6), rising_items(2, seed=1))
    train_prior(tiny(8), *data, tmp_path / "whole", device="cpu")

    class Interrupt(pl.Callback):
        def on_train_batch_end(self, trainer, *args):
            if trainer.global_step == 5:
                os.kill(os.getpid(), signal.SIGTERM)

    usual = run.run_callbacks
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "run_callbacks", lambda *args: [Interrupt(), *usual(*args)])
        with pytest.raises(KeyboardInterrupt):
            train_prior(tiny(8), *data, tmp_path / "parts", device="cpu")
    assert not (tmp_path / "parts" / "config.json").exists()
    assert max(losses(tmp_path / "parts")) == 4
    train_prior(tiny(8), *data, tmp_path / "parts", device="cpu")
    assert losses(tmp_path / "whole") == losses(tmp_path / "parts")
    one, two = (load_prior(tmp_path / name).tensors() for name in ("whole", "parts"))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_another_prior_in_the_same_place_is_refused(tmp_path):
    data = (rising_items(6), rising_items(2, seed=1))
    train_prior(tiny(2), SPEC, *data, tmp_path, device="cpu")
    with pytest.raises(ConfigError, match="other prior"):
        train_prior(tiny(2, "prior.channels=8"), SPEC, *data, tmp_path, device="cpu")
    with pytest.raises(ConfigError, match="other codes"):
        train_prior(tiny(2), SPEC.model_copy(update={"model": "b"}), *data, tmp_path, device="cpu")


def test_two_runs_never_write_to_one_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(record, "LOCK_SECONDS", 1)
    data = (SPEC, rising_items(6), rising_items(2, seed=1), tmp_path)
    refused = []

    class StartAgain(pl.Callback):
        def on_train_batch_end(self, *args):
            with pytest.raises(OutputError, match="another run is writing there"):
                train_prior(tiny(2), *data, device="cpu")
            refused.append(True)

    usual = run.run_callbacks
    monkeypatch.setattr(run, "run_callbacks", lambda *args: [StartAgain(), *usual(*args)])
    train_prior(tiny(2), *data, device="cpu")
    assert refused == [True, True]


def test_a_run_leaves_a_record_and_is_known_when_finished(tmp_path, capsys):
    data = (rising_items(6), rising_items(2, seed=1), tmp_path)
    train_prior(tiny(2), SPEC, *data, device="cpu")
    assert json.loads((tmp_path / "run" / "trained.json").read_text())["step"] == 2
    text = (tmp_path / "run" / "env.txt").read_text()
    assert f"torch {torch.__version__.split('+')[0]}" in text
    assert "codes to train on: 6 items, 600 codes" in text
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["codes"]["codebook_sizes"] == [8]
    capsys.readouterr()
    train_prior(tiny(2), SPEC, *data, device="cpu")
    assert "nothing to do" in capsys.readouterr().out
    with pytest.raises(ConfigError, match=r"the training data.*--resume none"):
        train_prior(tiny(2), SPEC, rising_items(6, seed=5), *data[1:], device="cpu")
    train_prior(tiny(2), SPEC, rising_items(6, seed=5), *data[1:], device="cpu", resume="none")
    assert (tmp_path / "run" / "previous_1" / "trained.json").is_file()


def test_batches_are_a_function_of_seed_step_and_rank():
    items = [CodeItem("long", np.arange(200)[None] % 8), CodeItem("short", np.zeros((1, 5), np.int64))]
    config = PriorDataConfig(segment_frames=16, batch_size=6)
    whole = CodeBatches(items, SPEC, config, seed=3)
    halves = [CodeBatches(items, SPEC, config, seed=3, rank=r, world_size=2) for r in range(2)]
    again = iter(CodeBatches(items, SPEC, config, seed=3, start_step=4))
    codes = whole.batch(4)["codes"]
    assert torch.equal(codes, next(again)["codes"])
    assert torch.equal(codes, torch.cat([half.batch(4)["codes"] for half in halves]))
    assert not torch.equal(codes, whole.batch(5)["codes"])


def test_short_items_are_filled_up_and_labels_counted():
    spec = SPEC.model_copy(update={"labels": ["a", "b"]})
    items = [CodeItem("x", np.ones((1, 5), np.int64), "b"), CodeItem("y", np.ones((1, 3), np.int64), "a")]
    (batch,) = held_out_batches(items, spec, PriorDataConfig(segment_frames=16))
    assert batch["codes"].tolist() == [[[1, 1, 1, 1, 1]], [[1, 1, 1, -1, -1]]]
    assert batch["label"].tolist() == [1, 0]
    with pytest.raises(ConfigError, match="its label 'c'"):
        held_out_batches([CodeItem("z", np.ones((1, 5), np.int64), "c")], spec, PriorDataConfig())


def test_grids_of_several_sizes_are_refused():
    spec = CodeSpec(codebook_sizes=[8], layout="grid")
    items = [CodeItem("x", np.ones((1, 3, 4), np.int64)), CodeItem("y", np.ones((1, 4, 4), np.int64))]
    with pytest.raises(BadDataError, match="several sizes"):
        CodeBatches(items, spec, PriorDataConfig(), seed=0)


def test_a_wrong_key_is_named():
    with pytest.raises(ConfigError, match=r"prior wavenet: prior\.wavenet\.chanels: unknown key"):
        load_prior_config("wavenet", None, ["prior.chanels=3"])
