"""`audiovq image pack`, as a user meets it."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from audiovq.data.image.open import open_images


@pytest.fixture
def folder(tmp_path):
    for n, label in enumerate(["cat", "cat", "dog"]):
        (tmp_path / "in" / label).mkdir(parents=True, exist_ok=True)
        data = np.random.default_rng(n).integers(0, 256, (8, 8 + n, 3), dtype=np.uint8)
        Image.fromarray(data).save(tmp_path / "in" / label / f"{n}.png")
    return tmp_path / "in"


def test_pack_says_what_it_packed(run, folder, tmp_path):
    done = run("image", "pack", folder, tmp_path / "out", "--size", 8)
    assert done.exit_code == 0, done.stderr
    assert done.stdout == f"{tmp_path / 'out'}: 3 images of 8 x 8 x 3, 2 classes, lossless\n"
    assert open_images(tmp_path / "out").labels == ["cat", "cat", "dog"]
    again = run("image", "pack", folder, tmp_path / "out", "--size", 8)
    assert (again.exit_code, again.stdout) == (1, "")
    assert "use --force" in again.stderr
    forced = run("image", "pack", folder, tmp_path / "out", "--size", 4, "--resize", "box", "--force")
    assert "3 images of 4 x 4 x 3" in forced.stdout


def test_pack_counts_images_of_the_other_split(run, folder, tmp_path):
    assert run("image", "pack", folder, tmp_path / "all", "--size", 8).exit_code == 0
    done = run("image", "pack", folder / "cat", tmp_path / "cats", "--size", 8, "--against", tmp_path / "all")
    assert done.stdout.splitlines()[-1] == (
        f"{tmp_path / 'cats'}: 2 of 2 have the same pixels as one in {tmp_path / 'all'}"
    )
    assert "0.png = cat/0.png" in done.stderr


def test_pack_names_small_ones_and_wrong_sizes(run, folder, tmp_path):
    Image.fromarray(np.zeros((5, 20, 3), np.uint8)).save(folder / "dog" / "flat.png")
    done = run("image", "pack", folder, tmp_path / "out")
    assert done.exit_code == 1
    assert "cat/1.png: is 9 x 8 x 3, those before are 8 x 8 x 3; make all one size with --size" in done.stderr
    assert not (tmp_path / "out").exists()
    done = run("image", "pack", folder, tmp_path / "out", "--size", 8)
    assert done.exit_code == 0
    assert "left out 1 with a side below 8 pixels: dog/flat.png" in done.stderr


def test_pack_needs_a_word_for_lossy_files(run, folder, tmp_path):
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder / "dog" / "a.jpg")
    refused = run("image", "pack", folder, tmp_path / "out", "--size", 8)
    assert refused.exit_code == 1
    assert refused.stderr.count("\n") == 1
    assert "dog/a.jpg is in a lossy format" in refused.stderr
    done = run("image", "pack", folder, tmp_path / "out", "--size", 8, "--allow-lossy")
    assert done.stdout.endswith("2 classes, from lossy files\n")


def test_pack_excludes_only_what_was_limited(run, folder, tmp_path):
    assert run("image", "pack", folder, tmp_path / "out", "--exclude").exit_code == 2
    done = run("image", "pack", folder, tmp_path / "out", "--size", 8, "--limit", 1, "--exclude")
    assert "2 images" in done.stdout
