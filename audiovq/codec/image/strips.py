"""Networks run on strips of some rows, with the rows of context that they need above and below.

Memory does not grow with an image's height, and the result is that of one pass over the whole, except for the last bits
of floating point.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from audiovq.image import ImageVQVAE
from audiovq.image.decoder import ConvDecoder

STRIP_PIXELS = 2**18  # of a strip; the context comes on top


def encode_strips(model: ImageVQVAE, picture: NDArray[np.uint8], device: torch.device) -> NDArray[np.int64]:
    """Pixels `[C, H, W]`, sides multiples of the stride -> codes `[Q, H', W']`."""
    stride, context = model.stride, model.encoder.context
    height, width = picture.shape[1] // stride, picture.shape[2] // stride
    codes = np.empty((model.num_quantizers, height, width), np.int64)
    for first, last in _strips(height, width * stride**2):
        above, below = max(0, first - context), min(height, last + context)
        part = torch.from_numpy(picture[None, :, above * stride : below * stride]).to(device)
        codes[:, first:last] = model.encode(part)[0, :, first - above : last - above].cpu().numpy()
    return codes


def decode_strips(
    model: ImageVQVAE, codes: NDArray[np.int64], device: torch.device, generator: torch.Generator
) -> NDArray[np.uint8]:
    """Codes `[Q, H', W']` -> pixels `[C, H, W]`. A PixelCNN draws the whole at once, from the generator's numbers."""
    stride, (height, width) = model.stride, codes.shape[1:]
    if not isinstance(model.decoder, ConvDecoder):
        drawn = model.decode(torch.from_numpy(codes[None]).to(device), generator)
        return drawn[0].to(torch.uint8).cpu().numpy()
    context = model.decoder.upsampler.context
    strips: list[NDArray[np.uint8]] = []
    for first, last in _strips(height, width * stride**2):
        above, below = max(0, first - context), min(height, last + context)
        pixels = model.decode(torch.from_numpy(codes[None, :, above:below]).to(device))[0].to(torch.uint8)
        strips.append(pixels[:, (first - above) * stride : (last - above) * stride].cpu().numpy())
    return np.concatenate(strips, axis=1)


def _strips(rows: int, pixels_per_row: int) -> Iterator[tuple[int, int]]:
    """Rows first .. last - 1 of the grid of each strip."""
    step = max(1, STRIP_PIXELS // pixels_per_row)
    for first in range(0, rows, step):
        yield first, min(rows, first + step)
