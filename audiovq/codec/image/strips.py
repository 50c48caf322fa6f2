"""Networks run on strips of some rows (and columns, of what is very wide), with the context they need on all sides.

Memory does not grow with an image, and the result is that of one pass over the whole, except for the last bits of
floating point.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from audiovq.image import ImageVQVAE
from audiovq.image.decoder import ConvDecoder

STRIP_PIXELS = 2**18  # of a strip; the context comes on top
STRIP_WIDTH = 2**13  # pixels


def encode_strips(model: ImageVQVAE, image: NDArray[np.uint8], device: torch.device) -> NDArray[np.int64]:
    """Pixels `[C, H, W]`, sides multiples of the stride -> codes `[Q, H', W']`."""
    stride = model.stride
    codes = np.empty((model.num_quantizers, image.shape[1] // stride, image.shape[2] // stride), np.int64)
    for (rows, columns), (more_rows, more_columns), inner in _strips(codes.shape[1:], stride, model.encoder.context):
        seen = image[None, :, _times(more_rows, stride), _times(more_columns, stride)]
        part = torch.from_numpy(np.ascontiguousarray(seen)).to(device)
        codes[:, rows, columns] = model.encode(part)[0][(slice(None), *inner)].cpu().numpy()
    return codes


def decode_strips(
    model: ImageVQVAE, codes: NDArray[np.int64], device: torch.device, generator: torch.Generator
) -> NDArray[np.uint8]:
    """Codes `[Q, H', W']` -> pixels `[C, H, W]`. A PixelCNN draws the whole at once, from the generator's numbers."""
    stride = model.stride
    if not isinstance(model.decoder, ConvDecoder):
        drawn = model.decode(torch.from_numpy(codes[None]).to(device), generator)
        return drawn[0].to(torch.uint8).cpu().numpy()
    image: NDArray[np.uint8] | None = None
    for place, seen, inner in _strips(codes.shape[1:], stride, model.decoder.upsampler.context):
        part = np.ascontiguousarray(codes[(None, slice(None), *seen)])
        pixels = model.decode(torch.from_numpy(part).to(device))[0].to(torch.uint8)
        if image is None:
            image = np.empty((len(pixels), codes.shape[1] * stride, codes.shape[2] * stride), np.uint8)
        wanted = (slice(None), *(_times(part, stride) for part in inner))
        image[(slice(None), *(_times(part, stride) for part in place))] = pixels[wanted].cpu().numpy()
    assert image is not None
    return image


Area = tuple[slice, slice]  # rows and columns of the grid


def _strips(grid: tuple[int, ...], stride: int, context: int) -> Iterator[tuple[Area, Area, Area]]:
    """Of each strip: its area, the area with what it depends on, and where in that one it lies itself."""
    height, width = grid
    across = max(1, min(width, STRIP_WIDTH // stride))
    down = max(1, STRIP_PIXELS // (across * stride**2))
    for top in range(0, height, down):
        for left in range(0, width, across):
            sides = (top, min(height, top + down), height), (left, min(width, left + across), width)
            areas = [
                (
                    slice(first, last),
                    slice(max(0, first - context), min(end, last + context)),
                    slice(min(first, context), min(first, context) + last - first),
                )
                for first, last, end in sides
            ]
            place, seen, inner = zip(*areas, strict=True)
            yield place, seen, inner


def _times(part: slice, stride: int) -> slice:
    """Places as pixels."""
    return slice(part.start * stride, part.stop * stride)
