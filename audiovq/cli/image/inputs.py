"""The inputs of `audiovq image`: files, folder trees, packs and arrays. Each image has a name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from audiovq.errors import BadDataError

if TYPE_CHECKING:
    from audiovq.codec.image.codec import Pixels

ARRAYS = (".npy", ".npz")


@dataclass(frozen=True)
class ImageInput:
    """An image by its name; `read` gives its pixels `[C, H, W]`."""

    name: str
    read: Callable[[], Pixels]

    def __str__(self) -> str:
        return self.name


def entries(source: str, channels: int, limit: int | None = None) -> list[ImageInput]:
    """The images that `source` stands for, names of those in a folder or pack relative to it.

    channels: 1 makes them grey.
    limit: no more than so many, spread evenly.

    Raises BadDataError where there are none.
    """
    from audiovq.codec.image.files import in_channels, read_in_channels
    from audiovq.data.image.files import SUFFIXES
    from audiovq.data.image.open import spread
    from audiovq.data.image.sources import open_source
    from audiovq.data.walk import walk

    path = Path(source)
    if holds_many(source):
        opened = open_source(path)

        def read(number: int) -> Pixels:
            image = opened.read(number)
            assert image is not None  # none is too small where no size is asked for
            return in_channels(image.pixels, channels)

        numbers = spread(len(opened.names), limit)
        return [ImageInput(opened.names[number], partial(read, number)) for number in numbers]
    if not path.is_dir():
        return [ImageInput(source, partial(read_in_channels, path, channels))]
    files = walk(path, SUFFIXES).checked()
    if not files:
        raise BadDataError(f"{source}: holds no file that ends in {', '.join(sorted(SUFFIXES))}; check the path")
    chosen = [files[number] for number in spread(len(files), limit)]
    return [ImageInput(str(file.relative_to(path)), partial(read_in_channels, file, channels)) for file in chosen]


def holds_many(source: str) -> bool:
    """Whether it is a pack or an array of images."""
    from audiovq.data.image.pack import read_meta

    return Path(source).suffix.lower() in ARRAYS or read_meta(Path(source)) is not None


def refuse_pipes(*names: str) -> None:
    """Wrong usage for `-`."""
    if "-" in names:
        raise click.UsageError("images are read from files and written to files; `audiovq image` has no pipes")
