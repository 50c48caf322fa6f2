"""Makes images N x N: which part is kept, and how pixels are averaged."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from audiovq.data.image.files import to_array

Resize = Literal["bicubic", "box"]
RESIZES: tuple[str, ...] = get_args(Resize)


def resize(image: Image.Image, size: int, how: Resize = "bicubic") -> NDArray[np.uint8] | None:
    """`image` (mode RGB) as uint8 `[3, size, size]`, or None if one of its sides is below `size`.

    bicubic: the central square, then Pillow's bicubic filter, which averages over all that a new pixel covers.
    box: the central square whose side is the largest multiple k * size, then the mean of each k x k block, rounded;
        up to size - 1 rows and columns at the borders are lost, and nothing is interpolated.
    An image of that size already comes back as it is.
    """
    side = min(image.size)
    if side < size:
        return None
    if how == "box":
        factor = side // size
        return to_array(_central_square(image, factor * size).reduce(factor))
    square = _central_square(image, side)
    return to_array(square if side == size else square.resize((size, size), Image.Resampling.BICUBIC))


def _central_square(image: Image.Image, side: int) -> Image.Image:
    left, top = ((length - side) // 2 for length in image.size)
    return image.crop((left, top, left + side, top + side))
