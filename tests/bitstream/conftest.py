"""Small `.codes` files to read, damage and cut."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from audiovq.bitstream import AudioHeader, CodesWriter, Coding, Header, ImageHeader, PacketCoder


class GammaCoder:
    """A `PacketCoder` of few lines: Elias's gamma code of each code + 1, so that small ones are short."""

    coding = Coding.TABLES
    fingerprint = b"\xc0\xde\x00\x01"

    def __init__(self, codebook_sizes: tuple[int, ...] = (1000, 512, 6)) -> None:
        self.codebook_sizes = codebook_sizes

    def encode(self, codes: NDArray[np.int64]) -> bytes:
        bits = "".join("0" * ((c + 1).bit_length() - 1) + f"{c + 1:b}" for c in codes.ravel().tolist()) + "1"
        bits += "0" * (-len(bits) % 8)
        return int(bits, 2).to_bytes(len(bits) // 8, "big")

    def decode(self, data: bytes, channels: int, levels: int, frames: int) -> NDArray[np.int64]:
        bits, at = "".join(f"{byte:08b}" for byte in data), 0
        found = []
        for _ in range(channels * levels * frames):
            one = bits.find("1", at, at + 32)
            if one < 0:
                raise ValueError("bytes that no encoder makes")
            found.append(int(bits[one : 2 * one - at + 1].ljust(one - at + 1, "0"), 2) - 1)
            at = 2 * one - at + 1
        if bits[at:] != "1" + "0" * (-(at + 1) % 8):
            raise ValueError("bytes that no encoder makes at their end")
        return np.array(found, np.int64).reshape(channels, levels, frames)


@pytest.fixture(scope="session")
def gamma_coder() -> type[GammaCoder]:
    return GammaCoder


@pytest.fixture(scope="session")
def make_header() -> Callable[..., AudioHeader]:
    """A header of two channels and three levels, one of them no power of two; four frames of 0.02 s in a packet."""

    def make(**changes: Any) -> AudioHeader:
        fields: dict[str, Any] = {
            "model": "tiny",
            "fingerprint": bytes(range(6)),
            "sample_rate": 16000,
            "channels": 2,
            "num_samples": 18 * 320 - 7,
            "model_sample_rate": 16000,
            "hop_length": 320,
            "frames_per_packet": 4,
            "codebook_sizes": (1000, 512, 6),
        }
        return AudioHeader(**(fields | changes))

    return make


@pytest.fixture(scope="session")
def make_image_header() -> Callable[..., ImageHeader]:
    """An image of 35 x 7 pixels, 9 rows of 2 places with two levels; two rows in a packet."""

    def make(**changes: Any) -> ImageHeader:
        fields: dict[str, Any] = {
            "model": "tiny",
            "fingerprint": bytes(range(6)),
            "height": 35,
            "width": 7,
            "stride": 4,
            "frames_per_packet": 4,
            "codebook_sizes": (512, 6),
        }
        return ImageHeader(**(fields | changes))

    return make


@pytest.fixture(scope="session")
def random_codes() -> Callable[..., np.ndarray]:
    """Codes [C, Q, F] for a header, the largest code of every level among them; small ones to be entropy-coded."""

    def draw(header: Header, frames: int | None = None, seed: int = 0) -> np.ndarray:
        frames = header.num_frames if frames is None else frames
        rng = np.random.default_rng(seed)
        codes = rng.integers(
            0, np.array(header.codebook_sizes)[None, :, None], (header.channels, header.num_quantizers, frames)
        )
        if header.coding != Coding.PACKED:
            sizes = np.array(header.codebook_sizes)[None, :, None]
            codes = ((codes / sizes) ** 8 * sizes).astype(np.int64)
        codes[..., :1] = np.array(header.codebook_sizes)[:, None] - 1
        return codes

    return draw


@pytest.fixture(scope="session")
def encode() -> Callable[..., bytes]:
    """Bytes of a whole file; a stream takes `num_samples`."""

    def run(
        header: Header, codes: np.ndarray, num_samples: int | None = None, coder: PacketCoder | None = None
    ) -> bytes:
        file = io.BytesIO()
        writer = CodesWriter(file, header, coder)
        writer.write(codes)
        writer.close(num_samples)
        return file.getvalue()

    return run


class Pipe(io.RawIOBase):
    """Gives at most 5 bytes at a time, and can't seek."""

    def __init__(self, data: bytes) -> None:
        self.rest = data

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        part = self.rest[: min(5, len(buffer))]
        self.rest = self.rest[len(part) :]
        buffer[: len(part)] = part
        return len(part)


@pytest.fixture(scope="session")
def pipe() -> type[Pipe]:
    return Pipe
