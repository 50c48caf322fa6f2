"""Images for training and evaluation: `open_images` reads any source, `pack_images` writes a pack to disk.

A pack is mapped. A folder of files is decoded into memory each time it is opened, so pack what is large or read more
than once.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from audiovq.data.image.pack import ImagePack, NamedImage, check_replaceable, write_pack
from audiovq.data.image.resize import Resize
from audiovq.data.image.sources import ArraySource, SourceFormat, Split, open_source
from audiovq.errors import BadDataError

__all__ = ["ImagePack", "NamedImage", "duplicates", "open_images", "pack_images", "spread", "write_pack"]

_AHEAD = 16  # images that each thread may be ahead of the one being written


def open_images(
    path: str | Path,
    kind: SourceFormat = "auto",
    *,
    split: Split = "train",
    labels: str | Path | None = None,
    limit: int | None = None,
    size: int | None = None,
    how: Resize = "bicubic",
) -> ImagePack:
    """The images at `path` as uint8 `[N, 3, H, W]`.

    kind, split, labels: as in `image_sources.open_source`.
    limit: no more than so many, spread evenly over all.
    size, how: make each size x size, as in `image_resize.resize`; without, all must be of one size.

    Raises BadDataError naming the file and the mend; an image with a side below `size` is one.
    """
    source = open_source(path, kind, split=split, labels=labels)
    if isinstance(source, ArraySource) and limit is None and size is None:
        return source.pack
    images: list[NamedImage] = []
    for number in spread(len(source.names), limit):
        image = source.read(number, size, how)
        if image is None:
            raise BadDataError(f"{path}: {source.names[number]} has a side below {size} pixels; remove it or pack them")
        if images and image.pixels.shape != images[0].pixels.shape:
            raise BadDataError(f"{path}: {image.name} and {images[0].name} differ in size; make all one size")
        images.append(image)
    return ImagePack(
        np.stack([image.pixels for image in images]),
        [image.name for image in images],
        None if images[0].label is None else [str(image.label) for image in images],
        any(image.lossy for image in images),
        _description(path, size, how),
    )


def pack_images(
    path: str | Path,
    out: str | Path,
    kind: SourceFormat = "auto",
    *,
    split: Split = "train",
    labels: str | Path | None = None,
    limit: int | None = None,
    exclude: bool = False,
    size: int | None = None,
    how: Resize = "bicubic",
    allow_lossy: bool = False,
    nj: int = 1,
    force: bool = False,
) -> tuple[ImagePack, list[str]]:
    """Pack the images at `path` in the folder `out`; returns the pack and the names of those too small for `size`.

    The options are those of `open_images`, but that images with a side below `size` are left out, and that lossy
    files are refused without `allow_lossy`. With `exclude`, all are packed but those that `limit` would choose, so that
    the two packs part the images. `nj` threads decode; the pack does not depend on it, nor fill the memory.
    Raises BadDataError, and OutputError as `write_pack`.
    """
    check_replaceable(Path(out), force)
    source = open_source(path, kind, split=split, labels=labels)
    too_small: list[str] = []

    def images() -> Iterator[NamedImage]:
        numbers = spread(len(source.names), limit)
        if exclude:
            chosen = set(numbers)
            numbers = [number for number in range(len(source.names)) if number not in chosen]
        found = _in_parallel(lambda number: source.read(number, size, how), numbers, nj)
        bar = tqdm(found, total=len(numbers), desc=f"pack {Path(out).name}", unit="img", disable=None)
        for number, image in zip(numbers, bar, strict=True):
            if image is None:
                too_small.append(source.names[number])
            elif image.lossy and not allow_lossy:
                raise BadDataError(
                    f"{path}: {image.name} is in a lossy format, and has fewer bits/dim than its original;"
                    " --allow-lossy packs such files all the same, marked as lossy"
                )
            else:
                yield image

    pack = write_pack(out, images(), source=_description(path, size, how), force=force)
    return pack, too_small


def duplicates(pack: ImagePack, other: ImagePack) -> list[tuple[str, str]]:
    """Pairs of names of images in `pack` and in `other` with the same pixels; one pair an image of `pack`."""
    if pack.shape != other.shape:
        raise BadDataError(f"images of {pack.shape} and {other.shape} can't be the same; pack both at one size")
    known = {_digest(image): image.name for image in other.named_images()}
    matches = ((image.name, known.get(_digest(image))) for image in pack.named_images())
    return [(name, match) for name, match in matches if match is not None]


def _digest(image: NamedImage) -> bytes:
    return hashlib.blake2b(image.pixels.tobytes(), digest_size=16).digest()


def spread(total: int, limit: int | None) -> Sequence[int]:
    """Numbers of no more than `limit` out of `total`, spread evenly."""
    return range(total) if limit is None or limit >= total else [n * total // limit for n in range(limit)]


def _description(path: str | Path, size: int | None, how: Resize) -> str:
    return str(path) if size is None else f"{path}, {size} x {size} by {how}"


def _in_parallel(
    read: Callable[[int], NamedImage | None], numbers: Sequence[int], nj: int
) -> Iterator[NamedImage | None]:
    """`map(read, numbers)` in threads, in order, with no more than a few results waiting; Pillow frees the GIL."""
    waiting: deque[Future[NamedImage | None]] = deque()
    with ThreadPoolExecutor(nj) as pool:
        try:
            for number in numbers:
                waiting.append(pool.submit(read, number))
                if len(waiting) > _AHEAD * nj:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
