"""The header of a `.codes` file: what a decoder must know before the first packet, in some 40 bytes.

This module has what headers of all media share; `audiovq.bitstream.media` has those of recordings and of images.
docs/codes-format.md has layout, limits and test vectors. No field is trusted: each has a range, which is checked on
reading and on writing.
"""

from __future__ import annotations

import operator
import struct
import zlib
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from enum import IntEnum
from io import BytesIO
from typing import Any, ClassVar, Self

from audiovq.bitstream.coder import Coding, PacketCoder
from audiovq.bitstream.fields import (
    Cursor,
    check_name,
    check_range,
    level_runs,
    read_varint,
    set_integers,
    short_text,
    varint,
)
from audiovq.bitstream.packing import bit_width, packed_size
from audiovq.errors import BadCodesError

MAGIC = b"\x89VQ"  # the high bit tells a binary file, and shows a transfer that kept 7 bits
VERSION = 1
MAX_HEADER_BYTES = 4096
MAX_PAYLOAD_BYTES = 1 << 18  # of one packet: bounds what a reader holds at once
MAX_PACKET_FRAMES = (1 << 16) - 1
MAX_CODEBOOK_SIZE = 1 << 24
LEAST_SHARE = 16  # an entropy-coded payload has at least this part of its packed size: bounds memory and work by bytes
FINGERPRINT_BYTES = 6
CODER_BYTES = 4

_CRC = struct.Struct(">I")
PREFIX_BYTES = len(MAGIC) + 1 + 3  # magic, version, header length
LEAST_BYTES = 20
_CODING_BITS, _FLAG_BITS = 2, 3  # of the kind: coding, then media, then flags


class Media(IntEnum):
    """What the codes are of."""

    AUDIO = 0
    IMAGE = 1


@dataclass(frozen=True, kw_only=True)
class Header(ABC):
    """What stands before the packets, whatever the codes are of. Codes are `[C, Q, F]` in all media.

    Attributes:
        model: name of the model that made the codes.
        fingerprint: first 6 bytes of the SHA-256 of what gives the model's codes their meaning.
        channels: C, coded one by one.
        frames_per_packet: frames of every packet but the last.
        codebook_sizes: K of each level present, first (coarsest) level first.
        coding: how payloads hold the codes.
        coder: 4 bytes, the fingerprint of the entropy coder; None for packed bits.

    Raises:
        BadCodesError: a value is outside the format's limits.
    """

    model: str
    fingerprint: bytes
    channels: int
    frames_per_packet: int
    codebook_sizes: tuple[int, ...]
    coding: Coding = Coding.PACKED
    coder: bytes | None = None

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
        if self.coding not in tuple(Coding):
            raise BadCodesError(f"header: coding {int(self.coding)}; this audiovq reads 0 to {max(Coding)}: update it")
        object.__setattr__(self, "coding", Coding(self.coding))
        wanted = 0 if self.coding == Coding.PACKED else CODER_BYTES
        check_range("coder's fingerprint length in bytes", len(self.coder or b""), wanted, wanted)
        self._check_own()
        check_range("length in bytes", len(self.to_bytes()), 1, MAX_HEADER_BYTES)

    def coded_by(self, coder: PacketCoder) -> Self:
        """The same header for payloads of an entropy coder."""
        return replace(self, coding=coder.coding, coder=coder.fingerprint)

    def check_coder(self, coder: PacketCoder, name: str) -> None:
        """BadCodesError, about the file `name`, for another coder than that of the payloads."""
        if (coder.coding, coder.fingerprint) != (self.coding, self.coder):
            wanted, given = (
                f"{coding.name.lower()} {(fingerprint or b'').hex()}".rstrip()
                for coding, fingerprint in ((self.coding, self.coder), (coder.coding, coder.fingerprint))
            )
            raise BadCodesError(f"{name}: coded with {wanted}, but the model at hand has {given}; name the right model")
        if coder.codebook_sizes[: self.num_quantizers] != self.codebook_sizes:
            known = ", ".join(map(str, coder.codebook_sizes))
            raise BadCodesError(f"{name}: its coder is of levels of {known}, the file has {list(self.codebook_sizes)}")

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
        """Which of its optional fields are there, in 5 bits."""

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
        """Packed size of `frames` frames: of the payload of a packet, or the most that an entropy-coded one has."""
        return packed_size(self.widths, self.channels * frames)

    def least_payload_bytes(self, frames: int) -> int:
        """The least that an entropy-coded payload of `frames` frames has."""
        return -(-self.payload_bytes(frames) // LEAST_SHARE)

    def to_bytes(self) -> bytes:
        """The header as it stands in the file, CRC included."""
        kind = self.coding | self.media << _CODING_BITS | self._flags() << _FLAG_BITS
        body = b"".join(
            [
                bytes([kind]),
                self._fixed_bytes(),
                self.fingerprint,
                short_text(self.model),
                level_runs(self.codebook_sizes),
                self.coder or b"",
                self._optional_bytes(),
            ]
        )
        head = MAGIC + bytes([VERSION]) + varint(len(body) + _CRC.size) + body
        return head + _CRC.pack(zlib.crc32(head))


def header_length(prefix: bytes) -> int:
    """Length of the whole header in bytes, from the first `PREFIX_BYTES` of a file.

    Raises:
        BadCodesError: empty, not a `.codes` file, truncated, another version, or an impossible length.
    """
    if not prefix:
        raise BadCodesError("is empty, not a .codes file")
    if not prefix.startswith(MAGIC[: len(prefix)]):
        raise BadCodesError(f"is not a .codes file: it begins with {prefix[:3].hex(' ')}, not {MAGIC.hex(' ')}")
    if len(prefix) < PREFIX_BYTES:
        raise BadCodesError(f"truncated in the header: {len(prefix)} bytes in all")
    version = prefix[len(MAGIC)]
    if version != VERSION:
        raise BadCodesError(f"is of .codes version {version}; this audiovq reads version {VERSION}: update it")
    rest, written = read_varint(BytesIO(prefix[len(MAGIC) + 1 :]).read)
    length = len(MAGIC) + 1 + len(written) + (rest or 0)
    if rest is None or not LEAST_BYTES <= length <= MAX_HEADER_BYTES:
        raise BadCodesError(f"header is damaged: it claims a length of {length} bytes (at most {MAX_HEADER_BYTES})")
    return length


@dataclass(frozen=True)
class OpenHeader:
    """What all headers begin with, and a cursor on the fields behind it."""

    media: int
    coding: int
    flags: int
    cursor: Cursor

    def common_fields(self) -> dict[str, Any]:
        """Model, levels and coder, which all media have one behind the other."""
        if self.coding not in tuple(Coding):
            raise BadCodesError(f"header: coding {self.coding}; this audiovq reads 0 to {max(Coding)}: update it")
        return {
            "coding": Coding(self.coding),
            "fingerprint": self.cursor.take(FINGERPRINT_BYTES, "fingerprint"),
            "model": self.cursor.text("model name"),
            "codebook_sizes": self.cursor.levels(),
            "coder": self.cursor.take(CODER_BYTES, "coder's fingerprint") if self.coding else None,
        }


def open_header(data: bytes) -> OpenHeader:
    """Begins to read a header; `data` is exactly the header.

    Raises:
        BadCodesError: as `header_length`, or damaged.
    """
    length = header_length(data[:PREFIX_BYTES])
    if len(data) < length:
        raise BadCodesError(f"truncated in the header: {len(data)} bytes of {length}")
    if len(data) != length or zlib.crc32(data[: -_CRC.size]) != crc_of(data):
        raise BadCodesError("header is damaged: its CRC-32 does not match; fetch or encode the file again")
    cursor = Cursor(data[len(MAGIC) + 1 : -_CRC.size])
    cursor.varint("length")
    kind = cursor.byte("kind")
    return OpenHeader(kind >> _CODING_BITS & 1, kind & 3, kind >> _FLAG_BITS, cursor)


def crc_of(header_bytes: bytes) -> int:
    """The CRC-32 that ends a header; the packets' own begin with it."""
    return int(_CRC.unpack(header_bytes[-_CRC.size :])[0])
