"""Sources of images: folders of files, arrays, the official CIFAR-10 files, packs. All are read lazily.

A source yields images by number, so that any of them can be limited, resized and packed in the same way.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from audiovq.data.arrays import open_arrays
from audiovq.data.image.files import SUFFIXES, open_rgb, to_array
from audiovq.data.image.pack import ImagePack, NamedImage, read_meta
from audiovq.data.image.resize import Resize, resize
from audiovq.data.tables import read_pairs
from audiovq.data.walk import walk
from audiovq.errors import BadDataError

SourceFormat = Literal["auto", "folder", "array", "cifar10", "pack"]
FORMATS: tuple[str, ...] = get_args(SourceFormat)
Split = Literal["train", "test"]
CIFAR10_FOLDER = "cifar-10-batches-py"


class ImageSource(Protocol):
    """Images by number."""

    @property
    def names(self) -> Sequence[str]: ...

    def read(self, number: int, size: int | None = None, how: Resize = "bicubic") -> NamedImage | None:
        """The image, made size x size if a size is given; None if one of its sides is below that."""
        ...


def open_source(
    path: str | Path, kind: SourceFormat = "auto", *, split: Split = "train", labels: str | Path | None = None
) -> ImageSource:
    """The images at `path`.

    kind: what is there; auto looks. folder: PNG, JPEG and WebP files in any depth, sorted by path; below two or more
        sub-folders, the class is the first one's name (ImageFolder). array: an .npy or .npz file, uint8, NHWC or NCHW
        with one or three channels; an .npz has them as `images` or alone, with `labels` beside. cifar10: the official
        Python files, whose MD5 torchvision checks. pack: what `write_pack` wrote.
    split: which part of CIFAR-10; the others have none.
    labels: a text file with a file name and its class on each line, and more or nothing behind (tiny-imagenet's
        val_annotations.txt).

    Raises BadDataError naming the file and the mend.
    """
    path = Path(path)
    if kind == "auto":
        kind = _detect(path)
    match kind:
        case "folder":
            return FolderSource.find(path, None if labels is None else read_labels(labels))
        case "array":
            source = ArraySource(_read_array(path))
        case "cifar10":
            source = ArraySource(_read_cifar10(path, split))
        case _:
            source = ArraySource(ImagePack.open(path))
    return source if labels is None else source.labelled(read_labels(labels), Path(labels))


@dataclass(frozen=True)
class FolderSource:
    """NamedImage files below `root`; `names` are their paths below it."""

    root: Path
    names: Sequence[str]
    labels: Sequence[str] | None

    @classmethod
    def find(cls, root: Path, labels: dict[str, str] | None = None) -> FolderSource:
        """Every image file below `root`, hidden ones left out, links followed."""
        if not os.path.isdir(root):
            raise BadDataError(f"{root}: no such folder")
        names = [path.relative_to(root).as_posix() for path in walk(root, SUFFIXES).checked()]
        if not names:
            raise BadDataError(f"{root}: holds no {', '.join(sorted(SUFFIXES))} file")
        if labels is not None:
            return cls(root, names, _look_up(names, labels, root))
        firsts = [name.partition("/")[0] if "/" in name else None for name in names]
        if None in firsts and any(firsts):
            raise BadDataError(
                f"{root / names[firsts.index(None)]}: lies beside folders of images; move it into one, its class"
            )
        # One folder tells no classes apart: tiny-imagenet's val/images is such.
        return cls(root, names, [str(first) for first in firsts] if len(set(firsts)) > 1 else None)

    def read(self, number: int, size: int | None = None, how: Resize = "bicubic") -> NamedImage | None:
        image, lossy = open_rgb(self.root / self.names[number])
        pixels = to_array(image) if size is None else resize(image, size, how)
        label = self.labels[number] if self.labels else None
        return None if pixels is None else NamedImage(self.names[number], label, pixels, lossy)


@dataclass(frozen=True)
class ArraySource:
    """Images that are an array already."""

    pack: ImagePack

    @property
    def names(self) -> Sequence[str]:
        return self.pack.names

    def labelled(self, labels: dict[str, str], path: Path) -> ArraySource:
        return ArraySource(replace(self.pack, labels=_look_up(self.pack.names, labels, path)))

    def read(self, number: int, size: int | None = None, how: Resize = "bicubic") -> NamedImage | None:
        pixels: NDArray[np.uint8] | None = self.pack.images[number]
        if size is not None:
            pixels = resize(Image.fromarray(self.pack.images[number].transpose(1, 2, 0)), size, how)
        label = self.pack.labels[number] if self.pack.labels else None
        return None if pixels is None else NamedImage(self.pack.names[number], label, pixels, self.pack.lossy)


def read_labels(path: str | Path) -> dict[str, str]:
    """The first two fields of each line, by tabs where there are any, else by white space."""
    return read_pairs(path, "<file name> <class>", split=_first_fields).values


def _first_fields(line: str) -> tuple[str, str]:
    name, label, *_ = *(line.split("\t") if "\t" in line else line.split()), "", ""
    return name, label


def _look_up(names: Sequence[str], labels: dict[str, str], where: Path) -> list[str]:
    """The class of each name, by its whole path or by its last part."""
    found = [labels.get(name) or labels.get(name.rpartition("/")[2]) for name in names]
    missing = [name for name, label in zip(names, found, strict=True) if label is None]
    if missing:
        raise BadDataError(f"{where}: the labels lack {len(missing)} of {len(names)} images, {missing[0]} first")
    return [str(label) for label in found]


def _detect(path: Path) -> SourceFormat:
    if path.suffix.lower() in (".npy", ".npz"):
        return "array"
    if path.name == CIFAR10_FOLDER or os.path.isdir(path / CIFAR10_FOLDER):
        return "cifar10"
    return "folder" if read_meta(path) is None else "pack"


def _read_array(path: Path) -> ImagePack:
    with open_arrays(path) as loaded:
        images, labels = (loaded, None) if isinstance(loaded, np.ndarray) else _of_npz(path, loaded)
    images = _channels_first(path, images)
    if labels is not None and (labels.shape != images.shape[:1] or labels.dtype.kind not in "iuU"):
        raise BadDataError(f"{path}: labels are {labels.dtype} {labels.shape}, wanted is one number or text an image")
    names = [f"{number:07d}" for number in range(len(images))]
    return ImagePack(images, names, None if labels is None else [str(x) for x in labels.tolist()], False, str(path))


def _of_npz(path: Path, arrays: np.lib.npyio.NpzFile) -> tuple[NDArray[np.uint8], NDArray[np.generic] | None]:
    names = [name for name in arrays.files if name != "labels"]
    if "images" not in names and len(names) != 1:
        raise BadDataError(f"{path}: holds {', '.join(arrays.files)}; name the images `images`, the classes `labels`")
    images = arrays["images" if "images" in names else names[0]]
    labels = arrays["labels"] if "labels" in arrays.files else None
    if not all(isinstance(array, np.ndarray) for array in (images, np.zeros(0) if labels is None else labels)):
        raise BadDataError(f"{path}: its images or labels are no array; save it again with numpy.savez")
    return images, labels


def _channels_first(path: Path, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """As `[N, 3, H, W]`; grey ones become three equal channels without being copied."""
    if images.dtype != np.uint8:
        raise BadDataError(f"{path}: holds {images.dtype}; save the images as uint8, 0 to 255")
    if images.ndim != 4:
        raise BadDataError(f"{path}: holds {images.ndim} axes; wanted are [N, H, W, C] or [N, C, H, W]")
    first, last = images.shape[1] in (1, 3), images.shape[3] in (1, 3)
    if first == last:
        raise BadDataError(f"{path}: no one axis of {images.shape} is the 1 or 3 channels; save [N, H, W, 3]")
    images = images if first else images.transpose(0, 3, 1, 2)
    return np.broadcast_to(images, (len(images), 3, *images.shape[2:]))


def _read_cifar10(path: Path, split: Split) -> ImagePack:
    try:
        from torchvision.datasets import CIFAR10
    except ImportError:
        raise BadDataError(
            f"{path}: torchvision reads the official CIFAR-10 files; install it with pip install 'audiovq[image]'"
        ) from None
    root = path.parent if path.name == CIFAR10_FOLDER else path
    try:
        data = CIFAR10(str(root), train=split == "train", download=False)
    except RuntimeError:
        raise BadDataError(
            f"{root / CIFAR10_FOLDER}: missing, cut or changed (by MD5); unpack cifar-10-python.tar.gz in {root}"
        ) from None
    images = data.data.transpose(0, 3, 1, 2)
    names = [f"{split}-{number:05d}" for number in range(len(images))]
    return ImagePack(images, names, [data.classes[label] for label in data.targets], False, f"{path}, {split}")
