"""Packed images on disk: one memory-mapped array of images of one size, with names, classes and the options used.

`images.npy` is uint8 `[N, C, H, W]`, `index.tsv` has a line for each image (name, class or nothing, checksum of its
pixels), and `meta.json` has the rest.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from audiovq.data.arrays import open_arrays
from audiovq.data.files import atomic_folder
from audiovq.errors import BadDataError, OutputError

FORMAT, VERSION = "audiovq-images", 1
IMAGES, INDEX, META = "images.npy", "index.tsv", "meta.json"


@dataclass(frozen=True)
class NamedImage:
    """One image: `pixels` uint8 `[C, H, W]`; `lossy` if it came from a JPEG or lossy WebP file."""

    name: str
    label: str | None
    pixels: NDArray[np.uint8]
    lossy: bool


@dataclass(frozen=True)
class ImagePack:
    """Images of one size.

    Attributes:
        images: uint8 `[N, C, H, W]`; of a pack or a .npy file, mapped from disk and read-only. What is read of a pack
            (`images[5]`, `images[:64]`) is compared with its checksums the first time; BadDataError if it is damaged.
        names: one of each image, unique.
        labels: the class of each image, or None if no image has one.
        lossy: some came from JPEG or lossy WebP files. Bits/dim of such images are lower than those of the originals
            and must not be compared with them. A lossless file made from a lossy one can't be told.
        source: where they came from, and what was done to them.
    """

    images: NDArray[np.uint8]
    names: list[str]
    labels: list[str] | None
    lossy: bool
    source: str

    def __len__(self) -> int:
        return len(self.names)

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(C, H, W)` of each image."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    @property
    def classes(self) -> list[str]:
        """The labels that occur, sorted."""
        return sorted(set(self.labels or ()))

    def named_images(self) -> Iterator[NamedImage]:
        for number, name in enumerate(self.names):
            yield NamedImage(name, self.labels[number] if self.labels else None, self.images[number], self.lossy)

    @classmethod
    def open(cls, path: str | Path) -> ImagePack:
        """Map a pack that `write_pack` wrote; BadDataError if `path` is none, or an incomplete one."""
        path = Path(path)
        meta = read_meta(path)
        if meta is None:
            raise BadDataError(f"{path}: is no image pack (no {META}); make one with `audiovq image pack`")
        try:
            with open_arrays(path / IMAGES) as images:  # mapped: what is in it is read later
                pass
            rows = [line.split("\t") for line in (path / INDEX).read_text("utf-8").split("\n")[:-1]]
            names, labels, checksums = ([row[column] for row in rows] for column in range(3))
        except (OSError, ValueError, IndexError, BadDataError) as error:
            raise BadDataError(f"{path}: the pack is damaged ({error}); pack it again") from None
        if not isinstance(images, np.ndarray):
            raise BadDataError(f"{path / IMAGES}: is an archive of arrays, not one; pack it again")
        if images.dtype != np.uint8 or list(images.shape) != [len(rows), *meta["shape"]]:
            raise BadDataError(
                f"{path}: {IMAGES} holds {images.dtype} {images.shape}, {META} and {INDEX} say"
                f" uint8 {(len(rows), *meta['shape'])}; pack it again"
            )
        checked = CheckedImages(images, names, checksums, path)
        return cls(checked, names, labels if any(labels) else None, meta["lossy"], meta["source"])


class CheckedImages(np.ndarray[Any, np.dtype[np.uint8]]):
    """Mapped images whose checksums are compared when an image is taken out for the first time; plain arrays come out.

    Args:
        images: uint8 `[N, C, H, W]`.
        names, checksums: of each image.
        path: of the pack, for the message.
    """

    _names: list[str]
    _checksums: list[str] | None
    _path: Path
    _whole: NDArray[np.bool_]  # those whose checksum was right

    def __new__(cls, images: NDArray[np.uint8], names: list[str], checksums: list[str], path: Path) -> CheckedImages:
        checked = images.view(cls)
        checked._names, checked._checksums, checked._path = names, checksums, path
        checked._whole = np.zeros(len(images), bool)
        return checked

    def __array_finalize__(self, source: Any) -> None:
        """What is derived from them has no checksums."""
        self._checksums = None

    def __getitem__(self, key: Any) -> Any:
        plain = np.asarray(self)
        if self._checksums is not None:
            first = key[0] if isinstance(key, tuple) and key else key
            numbers = np.atleast_1d(np.arange(len(plain))[... if first is None else first])
            for number in numbers[~self._whole[numbers]]:
                if checksum(plain[number]) != self._checksums[number]:
                    what = f"the pixels of image {self._names[number]} are damaged (its checksum is another)"
                    raise BadDataError(f"{self._path / IMAGES}: {what}; pack it again")
                self._whole[number] = True
        return plain[key]


def checksum(pixels: NDArray[np.uint8]) -> str:
    """CRC-32 of an image, 8 hexadecimal digits."""
    return f"{zlib.crc32(np.ascontiguousarray(pixels).data):08x}"


def write_pack(folder: str | Path, images: Iterable[NamedImage], *, source: str, force: bool = False) -> ImagePack:
    """Write images as they come, none kept in memory, and return the finished pack.

    Raises BadDataError if there are none, if one has another size than the first, if two share a name, or if only some
    have a class; OutputError if `folder` exists and `force` is false, or if it holds anything but a pack.
    """
    folder = Path(folder)
    check_replaceable(folder, force)
    with atomic_folder(folder) as temporary:
        with (temporary / IMAGES).open("wb") as pixels, (temporary / INDEX).open("w", encoding="utf-8") as index:
            writer = _Writer(pixels)
            for image in images:
                writer.add(image)
                index.write(f"{image.name}\t{image.label or ''}\t{checksum(image.pixels)}\n")
            writer.finish(source)
        meta = {
            "format": FORMAT,
            "version": VERSION,
            "count": len(writer.names),
            "shape": writer.shape,
            "lossy": writer.lossy,
            "classes": sorted(writer.classes),
            "source": source,
        }
        (temporary / META).write_text(json.dumps(meta, indent=1) + "\n", encoding="utf-8")
    return ImagePack.open(folder)


def read_meta(path: Path) -> dict[str, Any] | None:
    """The `meta.json` of a pack, None if `path` is no pack; BadDataError if it is one of an unknown version."""
    try:
        meta = json.loads((path / META).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        return None
    if meta.get("version") != VERSION:
        raise BadDataError(f"{path}: of version {meta.get('version')}, this audiovq reads {VERSION}; pack again")
    for key, fits in _FACTS.items():
        if not fits(meta.get(key)):
            raise BadDataError(f"{path / META}: damaged at {key}; pack again")
    return meta


_FACTS: dict[str, Callable[[Any], bool]] = {
    "shape": lambda value: isinstance(value, list) and len(value) == 3 and all(type(side) is int for side in value),
    "lossy": lambda value: isinstance(value, bool),
    "source": lambda value: isinstance(value, str),
}


def check_replaceable(folder: Path, force: bool) -> None:
    """OutputError if `folder` exists and `force` is false, or if it holds anything but a pack."""
    if not folder.exists() and not folder.is_symlink():
        return
    there = {entry.name for entry in folder.iterdir()} if folder.is_dir() else None
    if there == set():
        return
    if there is None or not there <= {IMAGES, INDEX, META}:
        raise OutputError(f"{folder}: exists and is no image pack; choose another name")
    if not force:
        raise OutputError(f"{folder}: exists already; use --force to replace it")


class _Writer:
    """Appends images to an .npy file whose length is known only at its end, checking each."""

    def __init__(self, file: BinaryIO):
        self.names: set[str] = set()
        self.classes: set[str] = set()
        self.shape: tuple[int, ...] = ()
        self.lossy = False
        self._labelled = 0
        self._file = file

    def add(self, image: NamedImage) -> None:
        if not self.names:
            self.shape = image.pixels.shape
            self._write_header()  # numpy leaves room in it for a longer first axis
        if image.pixels.shape != self.shape:
            raise BadDataError(
                f"{image.name}: is {_describe(image.pixels.shape)}, those before are {_describe(self.shape)};"
                " make all one size with --size"
            )
        if image.name in self.names:
            raise BadDataError(f"{image.name}: two images have this name; rename one")
        if any(sign in f"{image.name}{image.label or ''}" for sign in "\t\n\r"):
            raise BadDataError(f"{image.name!r}: has a tab or a line break in its name or class; rename it")
        if os.fsencode(image.name).decode("utf-8", "replace") != image.name:
            raise BadDataError(f"{image.name!r}: has a name that is no UTF-8; rename it")
        self.names.add(image.name)
        self.lossy |= image.lossy
        if image.label:
            self.classes.add(image.label)
            self._labelled += 1
        self._file.write(np.ascontiguousarray(image.pixels).tobytes())

    def finish(self, source: str) -> None:
        if not self.names:
            raise BadDataError(f"{source}: no image is left to pack")
        if 0 < self._labelled < len(self.names):
            raise BadDataError(f"{source}: {len(self.names) - self._labelled} of {len(self.names)} have no class")
        end = self._file.tell()
        self._file.seek(0)
        self._write_header()
        self._file.seek(end)

    def _write_header(self) -> None:
        shape = (len(self.names), *self.shape)
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, header)


def _describe(shape: tuple[int, ...]) -> str:
    channels, height, width = shape
    return f"{width} x {height} x {channels}"
