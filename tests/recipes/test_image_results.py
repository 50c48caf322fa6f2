"""The table of what was measured of several models of images."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from audiovq.data.image.pack import NamedImage, write_pack
from audiovq.errors import BadDataError


def measured(folder: Path, name: str, data: Path, age: int, **more: object) -> None:
    mean = {"reconstruction": 4.0, "prior": 1.875, "bound": 5.875}
    tree = {
        "items": 7,
        "data": str(data),
        "mean": mean,
        "interval_95": {k: [v - 0.1, v + 0.1] for k, v in mean.items()},
    }
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(tree | more))
    os.utime(folder / f"{name}.json", (1e9 - age, 1e9 - age))


@pytest.fixture
def results(load_recipe, tmp_path):
    return lambda: load_recipe("image_results").results(tmp_path / "scores")


def test_models_stand_in_the_order_they_were_measured_in(results, tmp_path):
    use = {"mean_bits": {"gap": 123.4}, "interval_95": {"gap": [120.0, 126.0]}}
    measured(tmp_path / "scores", "a-later", tmp_path / "test", age=1, latent_use=use)
    measured(tmp_path / "scores", "b-first", tmp_path / "test", age=2)
    measured(tmp_path / "scores", "codes", tmp_path / "codes.npy", age=0)
    text = results()
    rows = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")]
    assert [row for row in rows if not row.startswith(("bits", "--"))] == ["b-first", "a-later", "codes"]
    assert "5.875 [5.775, 5.975]" in text
    assert "123.4 [120.0, 126.0]" in text
    assert text.count("7 items of") == 2  # a table for each set of data
    assert "lossy" not in text


def test_figures_of_lossy_images_are_marked(results, tmp_path):
    pixels = np.zeros((3, 4, 4), np.uint8)
    write_pack(tmp_path / "test", [NamedImage("a", None, pixels, lossy=True)], source="here")
    measured(tmp_path / "scores", "vqvae", tmp_path / "test", age=0)
    assert "from lossy files: not to be compared" in results()


def test_nothing_measured_is_an_error(results, tmp_path):
    (tmp_path / "scores").mkdir()
    with pytest.raises(BadDataError, match="nothing was measured yet"):
        results()
