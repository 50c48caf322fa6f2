"""Reads one image file (PNG, JPEG, WebP) into an array, and says whether its format is lossy.

Pixels become RGB: grey ones get three equal channels, palettes and CMYK follow Pillow's rules. Transparency is dropped,
and the orientation that a camera notes beside the pixels is not applied (torchvision does neither).
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from audiovq.errors import BadDataError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp"})
FORMATS = ("PNG", "JPEG", "WEBP")
_WEBP_CHUNKS_READ = 4096


def read_image(path: str | Path) -> NDArray[np.uint8]:
    """The image as uint8 `[3, H, W]`; BadDataError as `open_rgb`."""
    return to_array(open_rgb(path)[0])


def open_rgb(path: str | Path) -> tuple[Image.Image, bool]:
    """The decoded image in mode RGB, and whether its file's format is lossy.

    Both are asked of the file itself: Pillow's mode and format hide that 16-bit colours are cut to 8, and that a JPEG
    with a second image in it (as cameras write, MPO) is one. Raises BadDataError for a file that is missing, damaged,
    cut short or of another format, and for pixels of more than 8 bits, which 8 bits can't hold.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata, and of palettes with transparency
            with Image.open(path, formats=FORMATS) as image:
                deep, lossy = _depth_and_loss(Path(path))
                if deep or image.mode.startswith(("I", "F")):
                    raise BadDataError(f"{path}: has pixels of more than 8 bits; convert it to 8 bits first")
                return image.convert("RGB"), lossy
    except FileNotFoundError:
        raise BadDataError(f"{path}: no such file") from None
    except UnidentifiedImageError:
        raise BadDataError(f"{path}: is no PNG, JPEG or WebP image; remove it or convert it") from None
    # Pillow raises SyntaxError and ValueError too, depending on where a file is damaged.
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = " ".join(str(error).split())
        raise BadDataError(f"{path}: can't be decoded ({reason}); fetch it again or remove it") from None


def to_array(image: Image.Image) -> NDArray[np.uint8]:
    """An image in mode RGB as uint8 `[3, H, W]`."""
    return np.ascontiguousarray(np.asarray(image, dtype=np.uint8).transpose(2, 0, 1))


def _depth_and_loss(path: Path) -> tuple[bool, bool]:
    """Whether an image file has more than 8 bits a value, and whether its format loses something."""
    with path.open("rb") as file:
        head = file.read(32)
    if head.startswith(b"\x89PNG"):
        return head[24:25] > b"\x08", False  # signature, length and name of IHDR, width, height; then the bit depth
    if head.startswith(b"RIFF"):
        return False, _is_lossy_webp(path)
    return False, True


def _is_lossy_webp(path: Path) -> bool:
    """Whether a WebP file holds a VP8 chunk (lossy) rather than VP8L; Pillow doesn't say.

    Chunks: four letters, length (32 bits, little-endian), content padded to an even length; the first at byte 12.
    """
    with path.open("rb") as file:
        file.seek(12)
        for _ in range(_WEBP_CHUNKS_READ):
            head = file.read(8)
            if len(head) < 8 or head[:4] == b"VP8L":
                return False
            if head[:4] in (b"VP8 ", b"ANMF"):  # a frame of an animation may be either: taken as lossy
                return True
            length = int.from_bytes(head[4:], "little")
            file.seek(length + length % 2, 1)
    return False
