"""The recipes of images: options, counts, and all stages on a few synthesized images."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from audiovq.data.image.open import open_images

LAYOUTS = {"cifar10": ("test", 32, "png"), "tinyimagenet": ("val", 64, "jpg"), "imagenet": ("val", 150, "jpg")}


def folders(place: Path) -> list[str]:
    """Options that put all that a run makes into one folder."""
    return [f"--dump-dir={place}/dump", f"--exp-dir={place}/exp"]


@pytest.fixture(scope="session")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`corpora("cifar10")`: two classes of discs on slopes, 20 + 12 images, in the layout of that corpus."""
    root = tmp_path_factory.mktemp("images")

    def write(place: Path, label: int, side: int, seed: int) -> None:
        x, y = np.meshgrid(np.arange(side), np.arange(side))
        draw = np.random.default_rng(seed)
        slope = x * draw.uniform(-60, 60) / side + y * draw.uniform(-60, 60) / side + draw.uniform(80, 170)
        disc = (x - side * draw.uniform(0.3, 0.7)) ** 2 + (y - side * draw.uniform(0.3, 0.7)) ** 2 < (side / 4) ** 2
        image = np.stack([slope, slope, slope], axis=-1)
        image[disc, label] += 80
        image += draw.normal(0, 3, image.shape)
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(place)

    def make(corpus: str) -> Path:
        test, side, suffix = LAYOUTS[corpus]
        if (root / corpus).exists():
            return root / corpus
        annotations = []
        for n in range(32):
            label = n % 2
            folder = Path("train" if n < 20 else test, f"n{label}")
            name = f"{n:02d}.{suffix}"
            if corpus == "tinyimagenet" and n >= 20:
                folder = Path(test, "images")
                annotations.append(f"{name}\tn{label}\t0\t0\t9\t9\n")
            write(root / corpus / folder / name, label, side + (n % 3 if corpus == "imagenet" else 0), n)
        if annotations:
            (root / corpus / test / "val_annotations.txt").write_text("".join(annotations))
        return root / corpus

    return make


def test_help_lists_stages_and_options(image_recipes, run_recipe):
    assert [recipe.parent.name for recipe in image_recipes] == ["cifar10", "imagenet", "tinyimagenet"]
    for recipe in image_recipes:
        done = run_recipe(recipe, "--help")
        assert done.stderr == ""
        for stage in range(-1, 9):
            assert f"\n  {stage:2d}  " in done.stdout
        for option in ("stage", "nj", "ngpu", "conf", "changes", "tag", "baselines", "second", "num-eval", "debug"):
            assert f"\n  --{option} " in done.stdout, (recipe, option)
        assert all(len(line) < 125 for line in done.stdout.splitlines())


def test_recipes_differ_in_local_and_conf_only(image_recipes, recipes):
    for name in ("run.sh", "path.sh", "cmd.sh", "db.sh"):
        assert len({(recipe / name).read_text() for recipe in image_recipes}) == 1, name
        if name != "run.sh":
            assert (recipes[0] / name).read_text() == (image_recipes[0] / name).read_text()
    for recipe in image_recipes:
        assert {p.name for p in recipe.iterdir()} >= {"README.md", "RESULTS.md", "conf", "local"}


def test_a_part_of_the_corpus_stops_stage_0(image_recipes, corpora, run_recipe, tmp_path):
    options = [f"--db-root={corpora('cifar10')}", *folders(tmp_path), "--stage=0", "--stop-stage=0"]
    done = run_recipe(image_recipes[0], *options, status=1)
    assert "train: 20 images; the corpus has 50,000" in done.stdout
    assert "is no whole corpus; --allow-partial true goes on" in done.stderr
    run_recipe(image_recipes[0], *options, "--allow-partial=true")


def test_packs_part_the_images_and_are_made_once(image_recipes, corpora, run_recipe, tmp_path):
    options = [f"--db-root={corpora('cifar10')}", *folders(tmp_path), "--stage=1", "--stop-stage=1", "--num-valid=4"]
    run_recipe(image_recipes[0], *options)
    train, valid, test = (open_images(tmp_path / "dump" / "32" / name) for name in ("train", "valid", "test"))
    assert (len(train), len(valid), len(test)) == (16, 4, 12)
    assert not set(train.names) & set(valid.names)
    assert valid.classes == ["n0", "n1"]
    assert run_recipe(image_recipes[0], *options).stdout.count("nothing to do") == 3
    run_recipe(image_recipes[0], *options[:-1], "--num-valid=6")
    assert len(open_images(tmp_path / "dump" / "32" / "train")) == 14


def test_jpeg_copies_of_cifar_need_the_flag(image_recipes, corpora, run_recipe, tmp_path):
    shutil.copytree(corpora("cifar10"), tmp_path / "copy")
    image = next((tmp_path / "copy" / "test" / "n0").iterdir())
    Image.open(image).save(image.with_suffix(".jpg"))
    image.unlink()
    options = [f"--db-root={tmp_path}/copy", *folders(tmp_path), "--stage=1", "--stop-stage=1", "--debug=true"]
    assert "is in a lossy format" in run_recipe(image_recipes[0], *options, status=1).stderr
    run_recipe(image_recipes[0], *options, "--allow-lossy=true")


@pytest.mark.slow
@pytest.mark.parametrize("corpus", LAYOUTS)
def test_all_stages_run(image_recipes, corpora, run_recipe, tmp_path, corpus):
    recipe = next(recipe for recipe in image_recipes if recipe.parent.name == corpus)
    options = [f"--db-root={corpora(corpus)}", "--debug=true", "--threads=1", "--ngpu=0", *folders(tmp_path)]
    if corpus != "cifar10":  # one recipe with all baselines is enough
        options.append("--baselines=vae vimco")
    run_recipe(recipe, *options)
    exp = tmp_path / "exp" / "vqvae_debug"
    scores = {p.stem: json.loads(p.read_text()) for p in (exp / "scores_latest").glob("*.json")}
    assert {"vqvae", "vqvae_prior", "vae", "vimco", "two_stage"} <= scores.keys()
    assert all(0 < tree["mean"]["bound"] < 30 for tree in scores.values())
    assert scores["vqvae_prior"]["mean"]["reconstruction"] == scores["vqvae"]["mean"]["reconstruction"]
    assert (exp / "results.md").read_text().count("\n| ") >= len(scores)
    assert {p.name for p in (exp / "figures_latest").iterdir()} >= {"reconstructions.png", "samples.png"}
