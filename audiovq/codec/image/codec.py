"""`ImageCodec`: a loaded model of images and the `.codes` container, from pixels to bytes and back.

The decoded image has the size of the input, whatever the model's stride.
"""

from __future__ import annotations

import io
import math
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audiovq.bitstream import FINGERPRINT_BYTES, CodesReader, ImageHeader, as_image, image_packet_frames, write_codes
from audiovq.codec.image.strips import STRIP_PIXELS, decode_strips, encode_strips
from audiovq.codec.loading import (
    as_released,
    check_fingerprint,
    check_trained,
    model_at_hand,
    name_for_files,
    pick_device,
)
from audiovq.errors import BadCodesError, BadDataError, BadModelError, ModelMismatchError
from audiovq.image import ImageVQVAE, image_model_from
from audiovq.modelfolder import StoredModel, read_model

Pixels = NDArray[np.uint8]
LOST_GREY = 128  # of a place whose codes are lost


@dataclass(frozen=True)
class EncodedImage:
    """An image as codes, int64 `[Q, H', W']` (-1 is a lost code), with the header that begins its `.codes` file."""

    header: ImageHeader
    codes: NDArray[np.int64]


class ImageCodec:
    """Encodes and decodes images with one model.

    Args:
        model: an `ImageVQVAE` of 8-bit pixels; it is put into eval mode.
        name: what `.codes` files will call the model: a bundled name, a hub id, or the name of its folder.
        fingerprint: SHA-256 of what gives its codes their meaning (`codes_fingerprint`), by which they are known again.

    Raises:
        BadModelError: a model of something else than pixels.
    """

    def __init__(self, model: ImageVQVAE, name: str, fingerprint: bytes) -> None:
        if model.values != 256 or (model.config is not None and model.config.input.kind != "pixels"):
            raise BadModelError(f"{name}: models grids of codes, not images; name the model that made those codes")
        self.model = model.eval()
        self.name = name
        self.fingerprint = fingerprint
        self.device = next((p.device for p in model.parameters()), torch.device("cpu"))

    @classmethod
    def from_pretrained(cls, name_or_path: str | os.PathLike[str], device: str | torch.device = "auto") -> ImageCodec:
        """Load a bundled name, a model folder or a hub id. `device`: auto (CUDA if there is one), cpu, cuda.

        Raises:
            BadModelError: no such model, a damaged one, or one without codes of images.
            ConfigError: a device that this machine does not have.
        """
        place = pick_device(device)
        return cls.from_stored(read_model(os.fspath(name_or_path)), os.fspath(name_or_path), place)

    @classmethod
    def from_stored(cls, stored: StoredModel, name: str, device: torch.device) -> ImageCodec:
        """The same of a folder that was read already."""
        model = image_model_from(stored)
        if not isinstance(model, ImageVQVAE):
            raise BadModelError(f"{name}: is a {type(model).__name__}, which has no codes; name a VQ-VAE")
        check_trained(model, name)
        return cls(model.to(device), name_for_files(name), stored.codes_fingerprint)

    @classmethod
    def for_header(cls, header: ImageHeader, device: str | torch.device = "auto") -> ImageCodec:
        """The codec that a `.codes` file asks for, if the model it names is bundled.

        Raises:
            BadModelError: the model is not here; load it yourself with `from_pretrained`.
        """
        return cls.from_pretrained(model_at_hand(header), device)

    @property
    def stride(self) -> int:
        """Pixels per place of the grid, down and across."""
        return self.model.stride

    @property
    def channels(self) -> int:
        """Of a pixel: 3 (RGB) or 1 (grey)."""
        return 3 if self.model.config is None else self.model.config.input.channels

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """K of each of a place's codes."""
        return tuple(self.model.codebook_sizes)

    def header(self, height: int, width: int, levels: int | None = None) -> ImageHeader:
        """The header of an image of that size with its codes of the first `levels`, all if not given."""
        grid = -(-height // self.stride), -(-width // self.stride)
        sizes = self.codebook_sizes[:levels]
        return ImageHeader(
            model=self.name,
            fingerprint=self.fingerprint[:FINGERPRINT_BYTES],
            height=height,
            width=width,
            stride=self.stride,
            frames_per_packet=image_packet_frames(grid, sizes),
            codebook_sizes=sizes,
        )

    @as_released
    def encode(self, image: Tensor | Pixels) -> EncodedImage:
        """Pixels to codes.

        Args:
            image: uint8 `[C, H, W]`, any H and W from 1 on. Sides that are no multiples of the stride are filled up
                by repeating the last row and column.

        Raises:
            BadDataError: an array that is no such image.
        """
        pixels = self._checked(image)
        header = self.header(*pixels.shape[1:])
        return EncodedImage(header, encode_strips(self.model, self._filled_up(pixels), self.device))

    @as_released
    def encode_many(self, images: Pixels, progress: Callable[[int, int], None] | None = None) -> NDArray[Any]:
        """Images of one size to codes, in batches.

        Args:
            images: uint8 `[N, C, H, W]`, memory-mapped or not.
            progress: called with the images done and their total after every batch.

        Returns:
            codes `[N, Q, H', W']`, the smallest unsigned integers that hold them.

        Raises:
            BadDataError: as `encode`, or none at all.
        """
        if images.ndim != 4 or not images.size:
            raise BadDataError(f"images of shape {list(images.shape)}; give one or more, [N, {self.channels}, H, W]")
        total, at_once = len(images), max(1, STRIP_PIXELS // math.prod(images.shape[2:]))
        parts = []
        for first in range(0, total, at_once):
            batch = self._filled_up(self._checked(images[first : first + at_once], batch=True))
            if at_once == 1:
                codes = encode_strips(self.model, batch[0], self.device)[None]
            else:
                codes = self.model.encode(torch.from_numpy(batch).to(self.device)).cpu().numpy()
            parts.append(codes.astype(np.min_scalar_type(max(self.codebook_sizes) - 1)))
            if progress is not None:
                progress(min(first + at_once, total), total)
        return np.concatenate(parts)

    @as_released
    def decode(
        self,
        encoded: EncodedImage | str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO,
        *,
        seed: int = 0,
        allow_mismatch: bool = False,
        conceal: bool = False,
    ) -> Pixels:
        """Codes to pixels, uint8 `[C, H, W]` of the size that the header says.

        Args:
            encoded: from `encode`, or a `.codes` file as path, bytes or binary file object.
            seed: of a PixelCNN decoder, which draws the image; others give its mean.
            allow_mismatch: decode although the file names another model, if at least the shape of its codes fits.
            conceal: a damaged packet becomes grey, with a warning, instead of an error.

        Raises:
            BadCodesError: not the `.codes` file of an image, or a damaged one.
            ModelMismatchError: codes of another model.
        """
        if isinstance(encoded, bytes | bytearray | memoryview):
            encoded = io.BytesIO(encoded)
        name = "<codes>" if isinstance(encoded, EncodedImage) else _name(encoded)
        if not isinstance(encoded, EncodedImage):
            encoded = read_image_codes(encoded, conceal=conceal)
        header, codes = encoded.header, encoded.codes
        self._check_model(header, name, allow_mismatch)
        if codes.shape != (header.num_quantizers, *header.grid):
            wanted = [header.num_quantizers, *header.grid]
            raise BadCodesError(f"{name}: codes of shape {list(codes.shape)}; the header says {wanted}")
        pixels = decode_strips(self.model, codes, self.device, torch.Generator().manual_seed(seed))
        lost = (codes < 0).any(axis=0)
        if lost.any():
            pixels[:, lost.repeat(self.stride, axis=0).repeat(self.stride, axis=1)] = LOST_GREY
        return np.ascontiguousarray(pixels[:, : header.height, : header.width])

    def compress(self, image: Tensor | Pixels) -> bytes:
        """The bytes of a `.codes` file; errors as of `encode`."""
        memory = io.BytesIO()
        write_image_codes(memory, self.encode(image))
        return memory.getvalue()

    def decompress(self, data: bytes, **options: Any) -> Pixels:
        """Pixels from the bytes of a `.codes` file; `options` and errors as of `decode`."""
        return self.decode(io.BytesIO(data), **options)

    def _checked(self, image: Tensor | Pixels, batch: bool = False) -> Pixels:
        array = image.detach().cpu().numpy() if isinstance(image, Tensor) else np.asarray(image)
        wanted = f"[{'B, ' * batch}{self.channels}, H, W]"
        if array.dtype != np.uint8:
            raise BadDataError(f"an image of {array.dtype}; give uint8 {wanted}, 0 to 255")
        if array.ndim != 3 + batch or array.shape[-3] != self.channels or min(array.shape) < 1:
            raise BadDataError(f"an image of shape {list(array.shape)}; {self.name} takes {wanted}")
        return np.ascontiguousarray(array)

    def _filled_up(self, pixels: Pixels) -> Pixels:
        """Sides made multiples of the stride."""
        more = [(0, -side % self.stride) for side in pixels.shape[-2:]]
        return np.pad(pixels, [(0, 0)] * (pixels.ndim - 2) + more, mode="edge")

    def _check_model(self, header: ImageHeader, source: str, allow_mismatch: bool) -> None:
        shape = (header.stride, list(header.codebook_sizes))
        own = (self.stride, list(self.codebook_sizes[: header.num_quantizers]))
        if shape != own or header.num_quantizers < self.model.quantizer.min_quantizers:
            raise ModelMismatchError(
                f"{source}: made by model {header.model} with (stride, codebook sizes) {shape}, which {self.name}"
                f" with {own} can't decode; decode it with its own model"
            )
        if not allow_mismatch:
            check_fingerprint(header, source, self.name, self.fingerprint)


def read_image_codes(source: str | os.PathLike[str] | BinaryIO, *, conceal: bool = False) -> EncodedImage:
    """A whole `.codes` file of an image. With `conceal`, lost codes are -1, and a warning says where.

    Raises:
        BadCodesError: as `CodesReader`, or the codes of sound.
    """
    with CodesReader(source, on_damage="conceal" if conceal else "raise") as reader:
        header = as_image(reader.header, _name(source))
        codes = reader.read()[0].reshape(header.num_quantizers, *header.grid)
    if reader.damaged:
        where = ", ".join(packet.place for packet in reader.damaged)
        warnings.warn(f"{_name(source)}: damaged in {where}; grey stands there instead", stacklevel=2)
    return EncodedImage(header, codes)


def write_image_codes(target: str | os.PathLike[str] | IO[bytes], encoded: EncodedImage, *, force: bool = False) -> int:
    """A whole `.codes` file; its bytes, and errors as of `write_codes`."""
    levels = encoded.header.num_quantizers
    return write_codes(target, encoded.header, encoded.codes.reshape(1, levels, -1), force=force)


def _name(source: str | os.PathLike[str] | BinaryIO) -> str:
    return str(source if isinstance(source, str | os.PathLike) else getattr(source, "name", "<stream>"))
