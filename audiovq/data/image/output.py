"""Writes images to PNG files, one by one or many on a sheet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from audiovq.data.files import atomic_output
from audiovq.errors import OutputError

Pixels = NDArray[np.uint8]
_GAP, _WHITE = 2, 255  # between the images of a sheet


def as_image(pixels: Pixels) -> Image.Image:
    """uint8 `[3, H, W]` or `[1, H, W]` for Pillow."""
    return Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0) if len(pixels) == 3 else pixels[0]))


def write_png(path: str | Path, pixels: Pixels, *, force: bool = False) -> None:
    """Write uint8 `[3, H, W]` or `[1, H, W]` as PNG, whole or not at all.

    Raises OutputError for a path with another suffix, one that exists without `force`, or one not writable.
    """
    check_png(path, force=force)
    with atomic_output(path, force=force) as temporary:
        as_image(pixels).save(temporary, format="PNG")


def check_png(path: str | Path, *, force: bool = False) -> None:
    """Raise OutputError, before any work, unless the name ends in .png and is free or may be overwritten."""
    if Path(path).suffix.lower() != ".png":
        raise OutputError(f"{path}: can't write this kind of file; name it .png")
    if Path(path).exists() and not force:
        raise OutputError(f"{path}: exists already; use --force to overwrite it")


def sheet(images: Sequence[Pixels], columns: int) -> Pixels:
    """Images `[C, H, W]` of any size in rows of `columns`, white between them and beside smaller ones."""
    height = max(image.shape[1] for image in images)
    width = max(image.shape[2] for image in images)
    rows = -(-len(images) // columns)
    shape = (len(images[0]), rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP)
    page = np.full(shape, _WHITE, np.uint8)
    for number, image in enumerate(images):
        top, left = number // columns * (height + _GAP), number % columns * (width + _GAP)
        page[:, top : top + image.shape[1], left : left + image.shape[2]] = image
    return page


def square_columns(count: int, group: int = 1) -> int:
    """Columns, a multiple of `group`, that make a sheet of `count` images about as wide as high."""
    return max(1, round(count**0.5 / group)) * group
