"""Scores of images, and files of other formats that come near to a size."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
from PIL import Image

from audiovq.data.image.output import as_image
from audiovq.evaluate.image.formats import QUALITIES, Coded, as_png, nearest, psnr_db, score, ssim
from audiovq.evaluate.image.report import ImageScores, in_all, report_table


def image(height: int = 48, width: int = 40, channels: int = 3) -> np.ndarray:
    """Waves in noise, uint8 `[C, H, W]`."""
    y, x = np.mgrid[:height, :width]
    waves = np.stack([np.sin(0.1 * (y + 9 * c) + 0.07 * x) for c in range(channels)])
    noise = np.random.default_rng(0).standard_normal(waves.shape)
    return np.clip(128 + 80 * waves + 8 * noise, 0, 255).astype(np.uint8)


def test_psnr_is_that_of_the_mean_squared_error():
    original = np.full((3, 4, 5), 100, np.uint8)
    assert psnr_db(original, original) == math.inf
    assert psnr_db(original, original + np.uint8(5)) == pytest.approx(20 * math.log10(255 / 5))
    assert psnr_db(original - np.uint8(100), original + np.uint8(155)) == 0.0  # no overflow of 8 bits


def test_ssim_is_one_for_the_same_and_falls_with_noise():
    pytest.importorskip("torchmetrics", reason="the eval extra is not installed")
    original = image()
    assert ssim(original, original) == pytest.approx(1.0)
    noisy = [np.clip(original + level * np.random.default_rng(1).standard_normal(original.shape), 0, 255) for level in
             (5, 30)]  # fmt: skip
    slightly, badly = (ssim(original, one.astype(np.uint8)) for one in noisy)
    assert 1 > slightly > badly > 0
    assert math.isnan(ssim(original[:, :10], original[:, :10]))


@pytest.mark.parametrize("channels", [1, 3])
def test_png_loses_nothing(channels):
    coded = as_png(image(channels=channels))
    assert (coded.psnr_db, coded.quality, coded.smallest) == (math.inf, None, False)
    assert 8 * coded.num_bytes < 8 * 1.2 * image(channels=channels).size


@pytest.mark.parametrize("codec", ["JPEG", "WebP"])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_nearest_file_is_the_nearest_of_all_qualities(codec, channels):
    original = image(channels=channels)
    options = {"optimize": True} if codec == "JPEG" else {"method": 6}

    def size(quality: int) -> int:
        memory = io.BytesIO()
        as_image(original).save(memory, format=codec, quality=quality, **options)
        return len(memory.getvalue())

    sizes = {quality: size(quality) for quality in QUALITIES[codec]}
    for wanted in (1, sizes[30] + 3, sizes[70], 10**6):
        coded = nearest(codec, original, wanted)
        assert coded.num_bytes == sizes[coded.quality]
        assert abs(coded.num_bytes - wanted) == min(abs(one - wanted) for one in sizes.values())
        assert coded.smallest == (wanted == 1)
    assert nearest(codec, original, sizes[90]).psnr_db > nearest(codec, original, sizes[20]).psnr_db + 1


def test_quality_is_that_of_the_file_itself():
    coded = nearest("JPEG", image(), 900)
    memory = io.BytesIO()
    as_image(image()).save(memory, format="JPEG", quality=coded.quality, optimize=True)
    decoded = np.asarray(Image.open(memory)).transpose(2, 0, 1)
    assert coded == score("JPEG", image(), decoded, len(memory.getvalue()), quality=coded.quality)


def test_all_is_the_sum_of_bytes_and_the_mean_of_scores():
    reports = [
        ImageScores("a", 2, 3, [Coded("ours", 10, 20.0, 0.5), Coded("JPEG", 90, 30.0, 0.9, 5, True)]),
        ImageScores("b", 4, 5, [Coded("ours", 30, 30.0, math.nan), Coded("JPEG", 80, 32.0, 0.7, 9)]),
    ]
    ours, jpeg = in_all(reports)
    assert ours == Coded("ours", 40, 25.0, 0.5)
    assert (jpeg.num_bytes, jpeg.psnr_db, jpeg.ssim) == (170, 31.0, pytest.approx(0.8))
    lossless = Coded("PNG", 9, math.inf, 1.0)
    (png,) = in_all([ImageScores("a", 1, 1, [lossless]), ImageScores("b", 1, 1, [lossless])])
    assert png.psnr_db == math.inf
    (mixed,) = in_all([ImageScores("a", 1, 1, [lossless]), ImageScores("b", 1, 1, [Coded("PNG", 9, 30.0, 0.5)])])
    assert (mixed.psnr_db, mixed.ssim) == (30.0, 0.75)
    lines = report_table(reports).splitlines()
    assert len(lines) == 2 + 2 * 2 + 2
    assert lines[3].split("|")[3].strip() == "JPEG 5, smallest"
    assert [cell.strip() for cell in lines[-2].split("|")[1:-1]] == ["all 2", "26", "ours", "40", "12.308", "25.00",
                                                                     "0.5000"]  # fmt: skip
    assert lines[-1].split("|")[3].strip() == "JPEG, smallest for 1"
