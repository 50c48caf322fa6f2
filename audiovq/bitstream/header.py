"""The header of a `.codes` file: what a decoder must know before the first packet, in about 60 bytes.

This module has what headers of all media share; `audiovq.bitstream.media` has those of recordings and of images.
docs/codes-format.md has layout, limits and test vectors. No field is trusted: each has a range, which is checked on
reading and on writing.
"""

from __future__ import annotations

import operator
import struct
import zlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar

from audiovq.bitstream.coder import Coding
from audiovq.bitstream.fields import Cursor, check_name, check_range, level_runs, set_integers, short_text
from audiovq.bitstream.packing import bit_width, packed_size
from audiovq.errors import BadCodesError

MAGIC = b"\x89AVQ"  # the high bit tells a binary file, and shows a transfer that kept 7 bits
VERSION = 1
MAX_HEADER_BYTES = 4096
MAX_PAYLOAD_BYTES = 1 << 18  # of one packet: bounds what a reader holds at once (2 Mbit/s at one packet a second)
MAX_PACKET_FRAMES = (1 << 16) - 1
MAX_CODEBOOK_SIZE = 1 << 24
FINGERPRINT_BYTES = 8

_PREFIX = struct.Struct("<4sBH")  # magic, version, header length
_KIND = struct.Struct("<BBB")  # media, coding, flags
_CRC = struct.Struct("<I")
PREFIX_BYTES = _PREFIX.size
LEAST_BYTES = PREFIX_BYTES + _KIND.size + _CRC.size


class Media(IntEnum):
    """What the codes are of."""

    AUDIO = 0
    IMAGE = 1


@dataclass(frozen=True, kw_only=True)
class Header(ABC):
    """What stands before the packets, whatever the codes are of. Codes are `[C, Q, F]` in all media.

    Attributes:
        model: name of the model that made the codes.
        fingerprint: first 8 bytes of the SHA-256 of what gives the model's codes their meaning.
        channels: C, coded one by one.
        frames_per_packet: frames of every packet but the last.
        codebook_sizes: K of each level present, first (coarsest) level first.

    Raises:
        BadCodesError: a value is outside the format's limits.
    """

    model: str
    fingerprint: bytes
    channels: int
    frames_per_packet: int
    codebook_sizes: tuple[int, ...]
    coding: Coding = Coding.PACKED

    media: ClassVar[Media]

    def __post_init__(self) -> None:
        set_integers(self, "channels", "frames_per_packet")
        object.__setattr__(self, "codebook_sizes", tuple(map(operator.index, self.codebook_sizes)))
        check_range("channel count", self.channels, 1, 255)
        check_range("frames per packet", self.frames_per_packet, 1, MAX_PACKET_FRAMES)
        check_range("number of levels", len(self.codebook_sizes), 1, 255)
        for size in self.codebook_sizes:
            # K = 1 would take no bits: then a few bytes could stand for any number of codes.
            check_range("codebook size", size, 2, MAX_CODEBOOK_SIZE)
        check_range("packet payload in bytes", self.payload_bytes(self.frames_per_packet), 1, MAX_PAYLOAD_BYTES)
        check_name("model name", self.model)
        check_range("fingerprint length in bytes", len(self.fingerprint), FINGERPRINT_BYTES, FINGERPRINT_BYTES)
        self._check_own()
        if self.coding != Coding.PACKED:
            raise BadCodesError(f"header: coding {int(self.coding)}; this audiovq reads only 0, packed bits: update it")
        check_range("length in bytes", len(self.to_bytes()), 1, MAX_HEADER_BYTES)

    # What each of the media says

    @property
    @abstractmethod
    def num_frames(self) -> int | None:
        """Frames per channel; None for a stream, which does not know its length yet."""

    @property
    @abstractmethod
    def length(self) -> str:
        """What `num_frames` follows from, for messages."""

    @abstractmethod
    def place(self, frame: int) -> str:
        """Where a frame is, for messages."""

    @abstractmethod
    def span(self, start: int, stop: int) -> str:
        """Where frames start .. stop - 1 are, for messages."""

    @abstractmethod
    def _check_own(self) -> None:
        """Normalises and checks the fields that only this medium has."""

    @abstractmethod
    def _flags(self) -> int:
        """Which of its optional fields are there."""

    @abstractmethod
    def _fixed_bytes(self) -> bytes:
        """Its fields before the fingerprint."""

    @abstractmethod
    def _optional_bytes(self) -> bytes:
        """Its fields after the levels."""

    # What follows from the fields

    @property
    def num_quantizers(self) -> int:
        """Levels present, Q."""
        return len(self.codebook_sizes)

    @property
    def widths(self) -> tuple[int, ...]:
        """Bits of a code, for each level."""
        return tuple(bit_width(size) for size in self.codebook_sizes)

    def payload_bytes(self, frames: int) -> int:
        """Payload size of a packet of `frames` frames."""
        return packed_size(self.widths, self.channels * frames)

    def to_bytes(self) -> bytes:
        """The header as it stands in the file, CRC included."""
        body = b"".join(
            [
                _KIND.pack(self.media, self.coding, self._flags()),
                self._fixed_bytes(),
                self.fingerprint,
                short_text(self.model),
                level_runs(self.codebook_sizes),
                self._optional_bytes(),
            ]
        )
        head = _PREFIX.pack(MAGIC, VERSION, PREFIX_BYTES + len(body) + _CRC.size) + body
        return head + _CRC.pack(zlib.crc32(head))


def header_length(prefix: bytes) -> int:
    """Length of the whole header in bytes, from the first `PREFIX_BYTES` of a file.

    Raises:
        BadCodesError: empty, not a `.codes` file, truncated, another version, or an impossible length.
    """
    if not prefix:
        raise BadCodesError("is empty, not a .codes file")
    if not prefix.startswith(MAGIC[: len(prefix)]):
        raise BadCodesError(f"is not a .codes file: it begins with {prefix[:4].hex(' ')}, not {MAGIC.hex(' ')}")
    if len(prefix) < PREFIX_BYTES:
        raise BadCodesError(f"truncated in the header: {len(prefix)} bytes in all")
    _, version, length = _PREFIX.unpack(prefix)
    if version != VERSION:
        raise BadCodesError(f"is of .codes version {version}; this audiovq reads version {VERSION}: update it")
    if not LEAST_BYTES <= length <= MAX_HEADER_BYTES:
        raise BadCodesError(f"header is damaged: it claims a length of {length} bytes (at most {MAX_HEADER_BYTES})")
    return int(length)


def open_header(data: bytes) -> tuple[int, int, int, Cursor]:
    """Media, coding, flags, and a cursor on the fields behind them; `data` is exactly the header.

    Raises:
        BadCodesError: as `header_length`, or damaged.
    """
    length = header_length(data[:PREFIX_BYTES])
    if len(data) < length:
        raise BadCodesError(f"truncated in the header: {len(data)} bytes of {length}")
    if len(data) != length or zlib.crc32(data[: -_CRC.size]) != crc_of(data):
        raise BadCodesError("header is damaged: its CRC-32 does not match; fetch or encode the file again")
    cursor = Cursor(data[PREFIX_BYTES : -_CRC.size])
    media, coding, flags = cursor.unpack(_KIND, "fixed fields")
    return media, coding, flags, cursor


def crc_of(header_bytes: bytes) -> int:
    """The CRC-32 that ends a header; the packets' own begin with it."""
    return int(_CRC.unpack(header_bytes[-_CRC.size :])[0])
