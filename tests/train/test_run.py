"""Whole runs: files left behind, exact resume, several processes, warnings."""

import csv
import os
import signal
import subprocess
import sys

import lightning.pytorch as pl
import pytest
import torch
import yaml

from audiovq.audio import AudioVQVAE
from audiovq.data.corpus.packed import PackedCorpus
from audiovq.errors import BadDataError, ConfigError
from audiovq.train import run
from audiovq.train.experiment import parse_experiment
from audiovq.train.run import train

from .conftest import tiny_config, tiny_tree


def losses(exp_dir) -> dict[int, float]:
    """Training loss by step, from all CSV logs of a run."""
    found = {}
    for path in exp_dir.glob("csv/*/metrics.csv"):
        with path.open() as file:
            found |= {int(row["step"]): float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]}
    return found


@pytest.mark.parametrize("decoder", ["fast", "wavenet"])
def test_a_resumed_run_repeats_the_uninterrupted_one(tiny_pack, tmp_path, decoder):
    train(tiny_config(tiny_pack, decoder), tmp_path / "whole", device="cpu")
    part = tiny_config(tiny_pack, decoder)
    stop_at(4, part, tmp_path / "parts")
    train(part, tmp_path / "parts", device="cpu")
    whole, parts = losses(tmp_path / "whole"), losses(tmp_path / "parts")
    assert sorted(whole) == list(range(6))
    assert whole == parts
    one, two = (AudioVQVAE.from_pretrained(tmp_path / run / "models" / "latest") for run in ("whole", "parts"))
    for (name, a), b in zip(one.state_dict().items(), two.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def stop_at(step, config, exp_dir):
    """Run until `step`, then send the process the signal that a cluster sends."""

    class Interrupt(pl.Callback):
        def on_train_batch_end(self, trainer, *args):
            if trainer.global_step == step:
                os.kill(os.getpid(), signal.SIGTERM)

    usual = run.run_callbacks
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "run_callbacks", lambda *args: [Interrupt(), *usual(*args)])
        train(config, exp_dir, device="cpu")


def test_a_run_leaves_models_checkpoints_logs_and_its_resolved_config(tiny_pack, tmp_path, capsys):
    folder = train(tiny_config(tiny_pack), tmp_path, device="cpu")
    assert sorted(p.name for p in folder.iterdir()) == ["best", "latest"]
    assert {"best.ckpt", "last.ckpt", "step0000006.ckpt"} <= {p.name for p in (tmp_path / "checkpoints").iterdir()}
    assert list((tmp_path / "tensorboard").glob("events*"))
    assert yaml.safe_load((tmp_path / "config.yaml").read_text())["model"]["speakers"] == ["a", "b"]
    model = AudioVQVAE.from_pretrained(folder / "latest")
    assert model.speakers == ["a", "b"]
    with (tmp_path / "csv" / "version_0" / "metrics.csv").open() as file:
        columns = set(next(csv.reader(file)))
    assert {"train/gradient_norm", "train/samples_per_second", "train/commitment", "valid/mel"} <= columns
    assert {"train/perplexity_0", "train/usage_1", "valid/usage_0"} <= columns
    assert "step 6" in capsys.readouterr().out


def test_a_finished_run_started_again_does_nothing(tiny_pack, tmp_path):
    train(tiny_config(tiny_pack), tmp_path, device="cpu")
    before = (tmp_path / "models" / "latest" / "model.safetensors").read_bytes()
    train(tiny_config(tiny_pack), tmp_path, device="cpu")
    assert (tmp_path / "models" / "latest" / "model.safetensors").read_bytes() == before


def test_another_model_in_the_same_place_is_refused(tiny_pack, tmp_path):
    train(tiny_config(tiny_pack), tmp_path, device="cpu")
    tree = tiny_config(tiny_pack)
    other = tree.model_copy(update={"model": tree.model.model_copy(update={"latent_dim": 6})})
    with pytest.raises(ConfigError, match="another model"):
        train(other, tmp_path, device="cpu")


def test_collapse_is_warned_of_with_a_mend(tiny_pack, tmp_path, capsys):
    train(tiny_config(tiny_pack, collapse_usage=1.01), tmp_path, device="cpu")
    assert "WARNING: step 6: level 0 used" in (out := capsys.readouterr().out)
    assert "restart_threshold" in out


def test_packs_of_another_rate_are_refused(tiny_pack, tmp_path):
    config = tiny_config(tiny_pack)
    config = config.model_copy(update={"model": config.model.model_copy(update={"sample_rate": 16000})})
    with pytest.raises(BadDataError, match="packed at 8000 Hz, but 16000 Hz are wanted"):
        train(config, tmp_path, device="cpu")


def test_a_pack_is_opened_once_at_a_start(tiny_pack, tmp_path, monkeypatch):
    opened, usual = [], PackedCorpus.open
    monkeypatch.setattr(PackedCorpus, "open", lambda path: opened.append(path) or usual(path))
    train(tiny_config(tiny_pack, max_steps=1), tmp_path, device="cpu")
    assert opened == [tiny_pack]


def test_a_data_directory_in_place_of_its_pack_trains_the_same(tiny_pack, tmp_path):
    train(tiny_config(tiny_pack), tmp_path / "packed", device="cpu")
    train(tiny_config(tiny_pack.parent / "data"), tmp_path / "direct", device="cpu")
    packed, direct = losses(tmp_path / "packed"), losses(tmp_path / "direct")
    assert packed.keys() == direct.keys()
    # the same segments: 16-bit files at the pack's rate are the same to the last bit
    assert packed == direct


def test_bfloat16_trains(tiny_pack, tmp_path):  # float16 is for CUDA only
    train(tiny_config(tiny_pack, precision="bf16-mixed"), tmp_path, device="cpu")
    assert all(torch.tensor(list(losses(tmp_path).values())).isfinite())


@pytest.mark.slow
def test_two_processes_under_torchrun_train_one_model(tiny_pack, tmp_path):
    tree = tiny_tree(tiny_pack)
    tree["model"]["quantizer"]["level_dropout"] = False  # drawn per process
    tree["objective"]["bypass"] = 0
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tree))
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "audiovq", "train"]
    options = [str(tmp_path / "tiny.yaml"), "--exp", str(tmp_path / "two"), "--device", "cpu", "--threads", "1"]
    subprocess.run(
        [sys.executable, *command, *options], check=True, timeout=300, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    train(parse_experiment(tree, "tiny"), tmp_path / "one", device="cpu")
    one, two = (AudioVQVAE.from_pretrained(tmp_path / run / "models" / "latest") for run in ("one", "two"))
    for (name, a), b in zip(one.state_dict().items(), two.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, atol=2e-2, rtol=0.1, msg=name)  # same data, sums in another order
