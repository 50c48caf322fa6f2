"""Image file to `.codes` file and back with an `ImageCodec`. Files appear whole or not at all."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiovq.codec.image.codec import ImageCodec, write_image_codes
from audiovq.data.files import atomic_output, open_output
from audiovq.data.image.files import read_image
from audiovq.data.image.output import as_image, check_png

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class ImageReport:
    """What became of one image: its sides in pixels, bytes of its codes, and seconds of work, files included."""

    height: int
    width: int
    num_bytes: int
    elapsed: float

    @property
    def bits_per_pixel(self) -> float:
        """Measured from the bytes of the `.codes` file, header and checksums included."""
        return 8 * self.num_bytes / (self.height * self.width)

    @property
    def summary(self) -> str:
        """For a line about the file."""
        size = f"{self.width} x {self.height} pixels"
        return f"{size}, {self.num_bytes} bytes, {self.bits_per_pixel:.3f} bits/pixel, {self.elapsed:.2f} s"

    @staticmethod
    def together(reports: Sequence[ImageReport], elapsed: float) -> str:
        """The same of several images, done in so many seconds."""
        pixels, num_bytes = sum(r.height * r.width for r in reports), sum(r.num_bytes for r in reports)
        return f"{pixels} pixels, {num_bytes} bytes, {8 * num_bytes / pixels:.3f} bits/pixel, {elapsed:.2f} s"


def read_in_channels(path: str | Path, channels: int = 3) -> Pixels:
    """A PNG, JPEG or WebP file as uint8 `[3, H, W]`, or grey `[1, H, W]`; BadDataError as `open_rgb`."""
    return in_channels(read_image(path), channels)


def in_channels(pixels: Pixels, channels: int) -> Pixels:
    """RGB `[3, H, W]` as it is, or its luma (ITU-R 601) `[1, H, W]`."""
    return pixels if channels == 3 else np.asarray(as_image(pixels).convert("L"))[None]


def encode_image(codec: ImageCodec, source: Path, target: Path, *, force: bool = False) -> ImageReport:
    """Image file to codes; errors as of `read_in_channels` and `atomic_output`."""
    began = time.perf_counter()
    with open_output(target, force=force, source=source) as file:
        pixels = read_in_channels(source, codec.channels)
        num_bytes = write_image_codes(file, codec.encode(pixels))
    return ImageReport(pixels.shape[1], pixels.shape[2], num_bytes, time.perf_counter() - began)


def decode_image(codec: ImageCodec, source: Path, target: Path, *, force: bool = False, **options: Any) -> ImageReport:
    """Codes to a PNG file; `options` and errors as of `ImageCodec.decode`, OutputError if `target` can't be written."""
    began = time.perf_counter()
    check_png(target, force=force)
    with atomic_output(target, force=force, source=source) as temporary:
        pixels = codec.decode(source, **options)
        as_image(pixels).save(temporary, format="PNG")
    num_bytes = source.stat().st_size
    return ImageReport(pixels.shape[1], pixels.shape[2], num_bytes, time.perf_counter() - began)


def reconstruct(codec: ImageCodec, image: Pixels, *, seed: int = 0) -> tuple[Pixels, int]:
    """An image `[C, H, W]` after encoding and decoding, and the bytes of its codes."""
    data = codec.compress(image)
    return codec.decompress(data, seed=seed), len(data)
