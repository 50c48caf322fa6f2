"""Training models of images: batches, resume, what a run leaves, and a second stage over codes."""

from __future__ import annotations

import csv
import os
import signal

import lightning.pytorch as pl
import numpy as np
import pytest
import torch

from audiovq.data.image.open import open_images, pack_images
from audiovq.errors import BadDataError, ConfigError
from audiovq.image import ImageVQVAE, load_image_model
from audiovq.train import run
from audiovq.train.experiment import parse_experiment
from audiovq.train.image.config import ImageDataConfig, ImageExperimentConfig
from audiovq.train.image.data import ImageBatches
from audiovq.train.run import train

SMALL = {"channels": 8, "residual_channels": 8, "residual_blocks": 1}


def slopes(count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    start, down, across = rng.random((3, count, 3, 1, 1))
    y, x = np.mgrid[0:1:8j, 0:1:8j]
    return np.rint((start + down * y + across * x) / 3 * 255).astype(np.uint8)


@pytest.fixture(scope="module")
def packs(tmp_path_factory):
    """A folder with packs `train` (20 images) and `valid` (7)."""
    root = tmp_path_factory.mktemp("packs")
    for name, count, seed in (("train", 20, 0), ("valid", 7, 1)):
        np.save(root / f"{name}.npy", slopes(count, seed))
        pack_images(root / f"{name}.npy", root / name)
    return root


def tree(root, **changes):
    model = {"kind": "image", "height": 8, "width": 8, "latent_dim": 4, "encoder": {**SMALL, "downsample": 1}}
    model |= {"latent": {"kind": "vq", "codebook_size": 8}, "decoder": {"kind": "conv", **SMALL}}
    data = {"root": str(root), "train": "train", "valid": "valid", "batch_size": 4, "flip": True}
    options = {"max_steps": 6, "warmup_steps": 2, "valid_every": 3, "save_every": 2, "log_every": 1}
    return {"model": {**model, **changes}, "data": data, "train": options}


def losses(exp_dir):
    found = {}
    for path in sorted(exp_dir.glob("csv/version_*/metrics.csv")):
        for row in csv.DictReader(path.open()):
            if row.get("train/loss"):
                found[int(row["step"])] = row["train/loss"]
    return found


def test_a_run_leaves_models_and_logs_bits_per_dim(packs, tmp_path, capsys):
    config = parse_experiment(tree(packs), "tiny")
    assert isinstance(config, ImageExperimentConfig)
    folder = train(config, tmp_path, device="cpu")
    model = load_image_model(folder / "best")
    assert isinstance(model, ImageVQVAE)
    assert model.config == config.model
    with (tmp_path / "csv" / "version_0" / "metrics.csv").open() as file:
        columns = set(next(csv.reader(file)))
    assert {"valid/bits_per_dim", "valid/prior_bits_per_dim", "train/perplexity_0", "train/gradient_norm"} <= columns
    capsys.readouterr()
    train(config, tmp_path, device="cpu")
    assert "nothing to do" in capsys.readouterr().out


@pytest.mark.parametrize("latent", [{"kind": "vq", "codebook_size": 8}, {"kind": "gaussian"}], ids=["vq", "gaussian"])
def test_a_stopped_run_goes_on_as_if_nothing_had_been(packs, tmp_path, latent):
    config = parse_experiment(tree(packs, latent=latent), "tiny")
    train(config, tmp_path / "whole", device="cpu")

    class Interrupt(pl.Callback):
        def on_train_batch_end(self, trainer, *args):
            if trainer.global_step == 3:
                os.kill(os.getpid(), signal.SIGTERM)

    usual = run.run_callbacks
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "run_callbacks", lambda *args: [Interrupt(), *usual(*args)])
        train(config, tmp_path / "parts", device="cpu")
    train(config, tmp_path / "parts", device="cpu")
    assert losses(tmp_path / "whole") == losses(tmp_path / "parts")
    one, two = (load_image_model(tmp_path / name / "models" / "latest").state_dict() for name in ("whole", "parts"))
    assert all(torch.equal(value, two[key]) for key, value in one.items())


def test_a_vae_s_kl_term_comes_in_slowly_and_validation_has_it_whole(packs, tmp_path):
    config = parse_experiment(tree(packs, latent={"kind": "gaussian"}) | {"objective": {"kl_warmup_steps": 4}}, "tiny")
    assert [config.objective.kl_weight_at(step) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    train(config, tmp_path, device="cpu")
    row = next(r for r in csv.DictReader((tmp_path / "csv/version_0/metrics.csv").open()) if r["valid/loss"])
    assert float(row["valid/loss"]) == pytest.approx(float(row["valid/bits_per_dim"]) * np.log(2), rel=1e-5)


def test_an_epoch_has_every_image_once_and_ranks_share_a_batch(packs):
    images = open_images(packs / "train").images
    config = ImageDataConfig(train="train", valid="valid", batch_size=4)
    batches = ImageBatches(images, config, seed=3)
    known = {image.tobytes(): i for i, image in enumerate(np.asarray(images))}
    for epoch in range(2):
        steps = range(5 * epoch, 5 * epoch + 5)
        seen = [known[row.numpy().tobytes()] for step in steps for row in batches.batch(step)["images"]]
        assert sorted(seen) == list(range(20))
    parts = [ImageBatches(images, config, seed=3, rank=rank, world_size=2) for rank in range(2)]
    for step in range(6):
        both = torch.cat([part.batch(step)["images"] for part in parts])
        assert torch.equal(both, batches.batch(step)["images"])


def test_flipped_images_are_mirrors_of_about_half(packs):
    images = open_images(packs / "train").images
    plain, flipped = (
        ImageBatches(images, ImageDataConfig(train="t", valid="v", batch_size=20, flip=flip), seed=0).batch(0)["images"]
        for flip in (False, True)
    )
    same = (plain == flipped).flatten(1).all(1)
    mirrored = (plain.flip(-1) == flipped).flatten(1).all(1)
    assert (same | mirrored).all()
    assert 3 <= int(mirrored.sum()) <= 17


def test_a_second_stage_is_trained_on_an_array_of_codes(packs, tmp_path):
    for name, count in (("train", 12), ("valid", 5)):
        np.save(tmp_path / f"{name}.npy", np.random.default_rng(0).integers(0, 9, (count, 2, 8, 8)).astype(np.uint16))
    settings = tree(
        tmp_path,
        input={"kind": "codes", "channels": 2, "values": 9},
        latent={"kind": "vq", "groups": 2, "codebook_size": 4},
        encoder={**SMALL, "downsample": 3},
        decoder={"kind": "pixelcnn", "channels": 8, "depth": 2, "kernel_size": 3, "condition_channels": 6},
    )
    settings["data"] |= {"train": "train.npy", "valid": "valid.npy", "flip": False}
    model = load_image_model(train(parse_experiment(settings, "tiny"), tmp_path / "exp", device="cpu") / "latest")
    assert model.encode(torch.zeros(1, 2, 8, 8, dtype=torch.int64)).shape == (1, 2, 1, 1)
    np.save(tmp_path / "train.npy", np.full((12, 2, 8, 8), 9, np.uint16))
    with pytest.raises(BadDataError, match="codes up to 9"):
        train(parse_experiment(settings, "tiny"), tmp_path / "other", device="cpu")


def test_grey_images_train_a_model_of_one_channel(packs, tmp_path):
    grey = slopes(12, 3)[:, :1]
    for name in ("train", "valid"):
        np.save(tmp_path / f"{name}.npy", grey)
        pack_images(tmp_path / f"{name}.npy", tmp_path / name)
    config = parse_experiment(tree(tmp_path, input={"kind": "pixels", "channels": 1}), "grey")
    model = load_image_model(train(config, tmp_path / "exp", device="cpu") / "latest")
    assert model.reconstruct(torch.from_numpy(grey)).shape == grey.shape
    with pytest.raises(BadDataError, match="has colours"):
        train(parse_experiment(tree(packs, input={"kind": "pixels", "channels": 1}), "grey"), tmp_path / "other")


def test_images_of_another_size_and_batches_that_cant_be_shared_are_refused(packs, tmp_path):
    with pytest.raises(BadDataError, match=r"\[3, 8, 8\].*\[3, 16, 16\]"):
        train(parse_experiment(tree(packs, height=16, width=16), "tiny"), tmp_path, device="cpu")
    config = ImageDataConfig(train="train", valid="valid", batch_size=3)
    with pytest.raises(ConfigError, match="batch_size: 3"):
        ImageBatches(open_images(packs / "train").images, config, seed=0, world_size=2)


def test_a_typing_error_names_the_key(packs):
    with pytest.raises(ConfigError, match=r"model\.decoder\.conv\.chanels: unknown key"):
        parse_experiment(tree(packs, decoder={"kind": "conv", "chanels": 3}), "tiny")


def test_the_quantizer_rests_until_its_step(packs, tmp_path):
    config = parse_experiment(tree(packs) | {"objective": {"quantize_from_step": 4}}, "tiny")
    folder = train(config, tmp_path, device="cpu")
    rows = list(csv.DictReader((tmp_path / "csv/version_0/metrics.csv").open()))
    assert [int(row["step"]) for row in rows if row["train/prior_bits_per_dim"]] == [4, 5]
    assert [int(row["step"]) for row in rows if row["valid/bits_per_dim"]] == [5]
    assert len([row for row in rows if row["valid/loss"]]) == 2
    assert isinstance(load_image_model(folder / "best"), ImageVQVAE)


def test_objectives_of_other_latents_are_refused(packs):
    with pytest.raises(ConfigError, match="vq has no KL term"):
        parse_experiment(tree(packs) | {"objective": {"kl_weight": 0.5}}, "tiny")
    settings = tree(packs, latent={"kind": "gaussian"}) | {"objective": {"quantize_from_step": 2}}
    with pytest.raises(ConfigError, match="gaussian quantizes nothing"):
        parse_experiment(settings, "tiny")
