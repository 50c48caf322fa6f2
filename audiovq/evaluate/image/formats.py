"""The distance of an image to its original, and what PNG, JPEG and WebP achieve with the same number of bytes.

The files are Pillow's, without metadata and with the options that make them small: optimised Huffman tables for JPEG,
the slowest method for WebP.
"""

from __future__ import annotations

import importlib.util
import io
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from audiovq.data.image.output import as_image

Pixels = NDArray[np.uint8]
QUALITIES = {"JPEG": range(1, 96), "WebP": range(101)}  # Pillow advises against JPEG above 95
_OPTIONS: dict[str, dict[str, Any]] = {"PNG": {"optimize": True}, "JPEG": {"optimize": True}, "WebP": {"method": 6}}
_SSIM_WINDOW = 11
_AROUND = 4


@dataclass(frozen=True)
class Coded:
    """An image in some format.

    Attributes:
        codec: its name.
        num_bytes: of the whole file.
        psnr_db: peak signal-to-noise ratio against the original; infinite if nothing was lost.
        ssim: structural similarity; NaN where it is not defined.
        quality: the setting, of formats that have one.
        smallest: no quality gives a file as small as was wanted; this is the smallest.
    """

    codec: str
    num_bytes: int
    psnr_db: float
    ssim: float
    quality: int | None = None
    smallest: bool = False


def score(codec: str, original: Pixels, decoded: Pixels, num_bytes: int, **setting: Any) -> Coded:
    """`Coded` from the pixels `[C, H, W]` before and after."""
    return Coded(codec, num_bytes, psnr_db(original, decoded), ssim(original, decoded), **setting)


def as_png(original: Pixels) -> Coded:
    """Without loss."""
    data = _encode(original, "PNG")
    return score("PNG", original, _decode(data, len(original)), len(data))


def nearest(codec: str, original: Pixels, num_bytes: int) -> Coded:
    """JPEG or WebP at the quality whose file comes nearest to `num_bytes`.

    By bisection, and then among `_AROUND` qualities on both sides: sizes rise with quality, but for some bytes.
    """
    files: dict[int, bytes] = {}

    def size(quality: int) -> int:
        if quality not in files:
            files[quality] = _encode(original, codec, quality=quality)
        return len(files[quality])

    low, high = QUALITIES[codec][0], QUALITIES[codec][-1]
    first, last = low, high
    while first < last:  # the first quality whose file is at least so large
        middle = (first + last) // 2
        first, last = (first, middle) if size(middle) >= num_bytes else (middle + 1, last)
    around = range(max(low, first - _AROUND), min(high, first + _AROUND) + 1)
    quality = min(around, key=lambda q: (abs(size(q) - num_bytes), -q))
    decoded = _decode(files[quality], len(original))
    smallest = first == low and size(quality) > num_bytes
    return score(codec, original, decoded, size(quality), quality=quality, smallest=smallest)


def psnr_db(original: Pixels, decoded: Pixels) -> float:
    """10 log10(255^2 / mean squared error over all pixels and channels)."""
    error = float(np.square(original.astype(np.float64) - decoded).mean())
    return 10 * math.log10(255**2 / error) if error else math.inf


def ssim(original: Pixels, decoded: Pixels) -> float:
    """Mean structural similarity (Wang et al. 2004: Gaussian window of 11 pixels, sigma 1.5) of the channels.

    NaN for images smaller than the window, and without torchmetrics (see `has_ssim`).
    """
    if min(original.shape[1:]) < _SSIM_WINDOW or not has_ssim():
        return math.nan
    import torch
    from torchmetrics.functional.image import structural_similarity_index_measure

    ours, theirs = (torch.from_numpy(pixels[None].astype(np.float32)) for pixels in (decoded, original))
    return float(structural_similarity_index_measure(ours, theirs, data_range=255.0))  # type: ignore[arg-type]


def has_ssim() -> bool:
    """Whether torchmetrics is installed; it comes with the `eval` extra."""
    return importlib.util.find_spec("torchmetrics") is not None


def _encode(pixels: Pixels, codec: str, **options: Any) -> bytes:
    memory = io.BytesIO()
    as_image(pixels).save(memory, format=codec, **_OPTIONS[codec], **options)
    return memory.getvalue()


def _decode(data: bytes, channels: int) -> Pixels:
    with Image.open(io.BytesIO(data)) as image:
        pixels = np.asarray(image.convert("RGB" if channels == 3 else "L"))
    return pixels.transpose(2, 0, 1) if channels == 3 else pixels[None]
