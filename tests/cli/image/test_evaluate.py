"""`audiovq image evaluate|sample`: what they print, write and refuse."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from audiovq.data.image.files import read_image
from audiovq.data.image.open import pack_images
from audiovq.image import ImageModelConfig, build_image_model
from audiovq.prior import CodeItem, NetworkPrior, NGramPrior, PriorConfig

SMALL = {"channels": 8, "residual_channels": 8, "residual_blocks": 1}
CONFIG = {
    "kind": "image",
    "height": 8,
    "width": 8,
    "latent_dim": 4,
    "encoder": {**SMALL, "downsample": 1},
    "decoder": {"kind": "conv", **SMALL},
    "latent": {"kind": "fsq", "levels": [4, 4]},
}
PIXELCNN = {"kind": "pixelcnn", "channels": 8, "depth": 2, "kernel_size": 3, "condition_channels": 6}


def save(folder: Path, **changes: object) -> str:
    torch.manual_seed(0)
    build_image_model(ImageModelConfig.model_validate({**CONFIG, **changes})).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, others of its kind, a prior over its codes by class, and packs."""
    root = tmp_path_factory.mktemp("images")
    save(root / "model")
    save(root / "plain", latent={"kind": "none"}, decoder=PIXELCNN)
    second = {"input": {"kind": "codes", "values": 16}, "height": 4, "width": 4, "decoder": PIXELCNN}
    save(root / "second", **second, encoder={**SMALL, "downsample": 2})
    rng = np.random.default_rng(0)
    for kind in ("cat", "dog"):
        (root / "png" / kind).mkdir(parents=True)
        (root / "jpeg" / kind).mkdir(parents=True)
        for i in range(3):
            image = Image.fromarray(rng.integers(0, 256, (8, 8, 3)).astype(np.uint8))
            image.save(root / "png" / kind / f"{i}.png")
            image.save(root / "jpeg" / kind / f"{i}.jpg")
    pack_images(root / "png", root / "pack")
    codes = {"codebook_sizes": [16], "layout": "grid"}
    counted = PriorConfig.model_validate({"codes": codes, "prior": {"kind": "unigram"}})
    NGramPrior.fit(counted, [CodeItem("a", rng.integers(0, 16, (1, 4, 4)))]).save_pretrained(root / "prior")
    network = {"kind": "pixelcnn", "channels": 8, "depth": 2, "kernel_size": 3}
    by_class = {"codes": {**codes, "labels": ["cat", "dog"]}, "prior": network}
    NetworkPrior(PriorConfig.model_validate(by_class)).save_pretrained(root / "by_class")
    return root


def test_bits_per_dim_are_printed_term_by_term_and_written_as_json(root, run, tmp_path):
    done = run("image", "evaluate", root / "model", root / "pack", "--prior", root / "prior", "--importance", 2,
               "--json", tmp_path / "bits.json")  # fmt: skip
    assert done.exit_code == 0, done.stderr
    for term in ("reconstruction", "bound with the learned prior", "importance-weighted bound, 2 samples"):
        assert term in done.stdout
    tree = json.loads((tmp_path / "bits.json").read_text())
    assert tree["items"] == 6
    assert tree["dims"] == 192
    assert tree["mean"]["bound"] == pytest.approx(tree["mean"]["reconstruction"] + 16 * 4 / 192)
    assert tree["latent_use"]
    few = run("image", "evaluate", root / "model", root / "pack", "--limit", 2, "--no-shuffle")
    assert "2 images" in few.stdout
    assert "another image's" not in few.stdout


def test_lossy_images_are_measured_only_on_demand(root, run):
    refused = run("image", "evaluate", root / "model", root / "jpeg")
    assert refused.exit_code == 1
    assert "never beside published figures" in refused.stderr
    assert run("image", "evaluate", root / "model", root / "jpeg", "--allow-lossy").exit_code == 0


def test_a_model_without_latents_is_evaluated_and_drawn_from(root, run, tmp_path):
    done = run("image", "evaluate", root / "plain", root / "pack")
    assert done.exit_code == 0, done.stderr
    assert "another image's" not in done.stdout
    drawn = run("image", "sample", root / "plain", tmp_path / "out.png", "--num", 4)
    assert drawn.exit_code == 0, drawn.stderr
    assert read_image(tmp_path / "out.png").shape == (3, 18, 18)  # two by two, with a gap


def test_a_sheet_has_a_row_for_each_class(root, run, tmp_path):
    options = ("--prior", root / "by_class", "--every-label", "--num", 3)
    done = run("image", "sample", root / "model", tmp_path / "out.png", *options)
    assert done.exit_code == 0, done.stderr
    assert "a row each of cat, dog" in done.stdout
    assert read_image(tmp_path / "out.png").shape == (3, 18, 28)
    again = run("image", "sample", root / "model", tmp_path / "out.png", *options)
    assert again.exit_code == 1
    assert "use --force" in again.stderr


def test_a_second_stage_draws_codes_that_the_first_decodes(root, run, tmp_path):
    alone = run("image", "sample", root / "second", tmp_path / "out.png")
    assert alone.exit_code == 1
    assert "--first-stage" in alone.stderr
    options = ("--first-stage", root / "model", "--num", 4)
    done = run("image", "sample", root / "second", tmp_path / "out.png", *options)
    assert done.exit_code == 0, done.stderr
    assert read_image(tmp_path / "out.png").shape == (3, 18, 18)
    np.save(tmp_path / "codes.npy", np.random.default_rng(0).integers(0, 16, (5, 4, 4)))
    bits = run("image", "evaluate", root / "second", tmp_path / "codes.npy")
    assert bits.exit_code == 0, bits.stderr
    assert "5 images" in bits.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("sample", "model", "out.jpg"), 1, "name it .png"),
        (("sample", "model", "out.png", "--label", "cat"), 1, "--by-label"),
        (("sample", "model", "out.png", "--label", "cat", "--every-label"), 2, "two things"),
        (("sample", "model", "out.png", "--first-stage", "model"), 1, "leave --first-stage out"),
        (("evaluate", "speech-16k", "pack"), 1, "not a model of images"),
        (("evaluate", "model", "nowhere"), 1, "nowhere"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(root, run, tmp_path, arguments, code, message):
    at = {name: root / name for name in ("model", "pack")} | {name: tmp_path / name for name in ("out.png", "out.jpg")}
    done = run("image", *(at.get(word, word) for word in arguments))
    assert done.exit_code == code, done.output
    assert message in done.stderr
    assert not (tmp_path / "out.png").exists()
