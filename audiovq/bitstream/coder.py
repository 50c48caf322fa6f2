"""What the container asks of an entropy coder: the codes of one packet as bytes and back, exact on every machine."""

from __future__ import annotations

from enum import IntEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Coding(IntEnum):
    """How the codes of a packet are written; the number is the header's."""

    PACKED = 0
    TABLES = 1
    LEARNED = 2


class PacketCoder(Protocol):
    """Codes of one packet as bytes and back, exact on every machine. Every packet is coded from a fresh state.

    Attributes:
        coding: TABLES or LEARNED.
        fingerprint: 4 bytes, of what the coder reads (the first bytes of a SHA-256 of its integers).
        codebook_sizes: of all levels it knows; it codes any prefix of them.
    """

    coding: Coding
    fingerprint: bytes
    codebook_sizes: tuple[int, ...]

    def encode(self, codes: NDArray[np.int64]) -> bytes:
        """Codes `[C, Q, F]` as bytes."""
        ...

    def decode(self, data: bytes, channels: int, levels: int, frames: int) -> NDArray[np.int64]:
        """What `encode` was given, int64 `[C, Q, F]`; ValueError for bytes that no encoder makes. Work is bounded."""
        ...
