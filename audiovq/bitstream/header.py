"""The header of a `.codes` file: what a decoder must know before the first packet, in about 60 bytes.

Layout, limits and test vectors: docs/codes-format.md. Nothing read here is trusted: every field has a range, checked on
reading and on writing alike.
"""

from __future__ import annotations

import math
import operator
import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np

from audiovq.bitstream.packing import bit_width, packed_size
from audiovq.errors import BadCodesError

MAGIC = b"\x89AVQ"  # the high bit tells a binary file, and shows a transfer that kept 7 bits
VERSION = 1
MAX_HEADER_BYTES = 4096
MAX_PAYLOAD_BYTES = 1 << 18  # of one packet: bounds what a reader holds at once (2 Mbit/s at one packet a second)
MAX_CODEBOOK_SIZE = 1 << 24
FINGERPRINT_BYTES = 8

_PREFIX = struct.Struct("<4sBH")  # magic, version, header length
_FIXED = struct.Struct("<BBBIIHHBQ8s")  # media ... fingerprint, in the order of docs/codes-format.md
_RUN = struct.Struct("<BI")  # levels in a row, and their codebook size
_CRC = struct.Struct("<I")
PREFIX_BYTES = _PREFIX.size
_UNKNOWN_LENGTH = 2**64 - 1
_HAS_GAIN, _HAS_SPEAKER, _HAS_GLOBAL_CODE = 1, 2, 4


class Media(IntEnum):
    AUDIO = 0
    IMAGE = 1  # reserved


class Coding(IntEnum):
    PACKED = 0
    ENTROPY = 1  # reserved


@dataclass(frozen=True, kw_only=True)
class Header:
    """What stands before the packets. Lengths of the input are at its own rate, `sample_rate`.

    Attributes:
        model: name of the model that made the codes.
        fingerprint: first 8 bytes of the model's SHA-256.
        sample_rate: of the input, Hz; the decoder gives this rate back.
        channels: of the input, coded one by one.
        num_samples: per channel; None for a stream, whose end marker carries it.
        model_sample_rate: Hz, the rate at which the model works.
        hop_length: samples per frame, at the model's rate.
        frames_per_packet: frames of every packet but the last; about one second.
        codebook_sizes: K of each level present, first (coarsest) level first.
        gain_db: the encoder multiplied its input by 10**(gain_db / 20) and the decoder divides by it; float32.
        speaker: name of the speaker, where the model has names.
        global_code: code of the whole recording (a reference encoder's), opaque here.

    Raises:
        BadCodesError: a value is outside the format's limits.
    """

    model: str
    fingerprint: bytes
    sample_rate: int
    channels: int
    num_samples: int | None
    model_sample_rate: int
    hop_length: int
    frames_per_packet: int
    codebook_sizes: tuple[int, ...]
    gain_db: float | None = None
    speaker: str | None = None
    global_code: bytes | None = None
    media: Media = Media.AUDIO
    coding: Coding = Coding.PACKED

    def __post_init__(self) -> None:
        self._normalise()
        _check_range("sample rate", self.sample_rate, 1, 2**32 - 1)
        _check_range("model sample rate", self.model_sample_rate, 1, 2**32 - 1)
        _check_range("channel count", self.channels, 1, 255)
        _check_range("hop length", self.hop_length, 1, 2**16 - 1)
        _check_range("frames per packet", self.frames_per_packet, 1, 2**16 - 1)
        if self.num_samples is not None:
            _check_range("sample count", self.num_samples, 0, _UNKNOWN_LENGTH - 1)
        _check_range("number of levels", len(self.codebook_sizes), 1, 255)
        for size in self.codebook_sizes:
            # K = 1 would take no bits: then a few bytes could stand for any number of codes.
            _check_range("codebook size", size, 2, MAX_CODEBOOK_SIZE)
        _check_range("packet payload in bytes", self.payload_bytes(self.frames_per_packet), 1, MAX_PAYLOAD_BYTES)
        _check_name("model name", self.model)
        if self.speaker is not None:
            _check_name("speaker name", self.speaker)
        _check_range("fingerprint length in bytes", len(self.fingerprint), FINGERPRINT_BYTES, FINGERPRINT_BYTES)
        if self.global_code is not None:
            _check_range("global code length in bytes", len(self.global_code), 1, MAX_HEADER_BYTES)
        if self.gain_db is not None and not math.isfinite(self.gain_db):
            raise BadCodesError(f"header: gain {self.gain_db} dB; wanted a finite number")
        if self.media != Media.AUDIO:
            raise BadCodesError(f"header: media kind {int(self.media)}; this audiovq reads only 0, audio: update it")
        if self.coding != Coding.PACKED:
            raise BadCodesError(f"header: coding {int(self.coding)}; this audiovq reads only 0, packed bits: update it")
        _check_range("length in bytes", len(self.to_bytes()), 1, MAX_HEADER_BYTES)

    def _normalise(self) -> None:
        """Plain Python numbers, and the gain as float32 keeps it, so that a header read equals the one written."""
        for name in ("sample_rate", "channels", "model_sample_rate", "hop_length", "frames_per_packet"):
            object.__setattr__(self, name, operator.index(getattr(self, name)))
        if self.num_samples is not None:
            object.__setattr__(self, "num_samples", operator.index(self.num_samples))
        object.__setattr__(self, "codebook_sizes", tuple(operator.index(size) for size in self.codebook_sizes))
        if self.gain_db is not None:
            with np.errstate(over="ignore"):  # becomes infinite, and is refused as such
                object.__setattr__(self, "gain_db", float(np.float32(self.gain_db)))

    # What follows from the fields

    @property
    def num_quantizers(self) -> int:
        """Levels present, Q."""
        return len(self.codebook_sizes)

    @property
    def widths(self) -> tuple[int, ...]:
        """Bits of a code, for each level."""
        return tuple(bit_width(size) for size in self.codebook_sizes)

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        return self.model_sample_rate / self.hop_length

    @property
    def num_frames(self) -> int | None:
        """Frames per channel; None for a stream."""
        return None if self.num_samples is None else self.frames_for(self.num_samples)

    def frames_for(self, num_samples: int) -> int:
        """Frames that `num_samples` of the input give: ceil(ceil(n * model rate / rate) / hop), in integers."""
        return -(-num_samples * self.model_sample_rate // (self.sample_rate * self.hop_length))

    def payload_bytes(self, frames: int) -> int:
        """Payload size of a packet of `frames` frames."""
        return packed_size(self.widths, self.channels * frames)

    # Bytes

    def to_bytes(self) -> bytes:
        """The header as it stands in the file, CRC included."""
        flags = _HAS_GAIN * (self.gain_db is not None) | _HAS_SPEAKER * (self.speaker is not None)
        flags |= _HAS_GLOBAL_CODE * (self.global_code is not None)
        fields = [
            _FIXED.pack(
                self.media,
                self.coding,
                flags,
                self.sample_rate,
                self.model_sample_rate,
                self.hop_length,
                self.frames_per_packet,
                self.channels,
                _UNKNOWN_LENGTH if self.num_samples is None else self.num_samples,
                self.fingerprint,
            ),
            _short_text(self.model),
            _level_runs(self.codebook_sizes),
        ]
        if self.gain_db is not None:
            fields.append(struct.pack("<f", self.gain_db))
        if self.speaker is not None:
            fields.append(_short_text(self.speaker))
        if self.global_code is not None:
            fields.append(struct.pack("<H", len(self.global_code)) + self.global_code)
        body = b"".join(fields)
        head = _PREFIX.pack(MAGIC, VERSION, PREFIX_BYTES + len(body) + _CRC.size) + body
        return head + _CRC.pack(zlib.crc32(head))

    @classmethod
    def from_bytes(cls, data: bytes) -> Header:
        """Reads what `to_bytes` made; `data` is exactly the header.

        Raises:
            BadCodesError: not a `.codes` header, another version, damaged, or a field outside its limits.
        """
        length = header_length(data[:PREFIX_BYTES])
        if len(data) < length:
            raise BadCodesError(f"truncated in the header: {len(data)} bytes of {length}")
        if len(data) != length or zlib.crc32(data[: -_CRC.size]) != crc_of(data):
            raise BadCodesError("header is damaged: its CRC-32 does not match; fetch or encode the file again")
        return cls(**_parse_fields(_Cursor(data[PREFIX_BYTES : -_CRC.size])))


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
    if not PREFIX_BYTES + _FIXED.size + _CRC.size <= length <= MAX_HEADER_BYTES:
        raise BadCodesError(f"header is damaged: it claims a length of {length} bytes (at most {MAX_HEADER_BYTES})")
    return int(length)


def crc_of(header_bytes: bytes) -> int:
    """The CRC-32 that ends a header; the packets' own begin with it."""
    return int(_CRC.unpack(header_bytes[-_CRC.size :])[0])


class _Cursor:
    """Takes fields off the front of a header, and never past its end."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, count: int, what: str) -> bytes:
        if self.at + count > len(self.data):
            raise BadCodesError(f"header ends inside the {what}")
        self.at += count
        return self.data[self.at - count : self.at]

    def text(self, what: str) -> str:
        try:
            return self.take(self.take(1, what)[0], what).decode("utf-8")
        except UnicodeDecodeError:
            raise BadCodesError(f"header: {what} is not UTF-8") from None


def _parse_fields(cursor: _Cursor) -> dict[str, Any]:
    fixed = _FIXED.unpack(cursor.take(_FIXED.size, "fixed fields"))
    media, coding, flags, rate, model_rate, hop_length, frames_per_packet, channels, num_samples, fingerprint = fixed
    if flags & ~(_HAS_GAIN | _HAS_SPEAKER | _HAS_GLOBAL_CODE):
        raise BadCodesError(f"header: unknown flags {flags:#04x}; the file needs a newer audiovq: update it")
    fields: dict[str, Any] = {
        "media": media,
        "coding": coding,
        "sample_rate": rate,
        "model_sample_rate": model_rate,
        "hop_length": hop_length,
        "frames_per_packet": frames_per_packet,
        "channels": channels,
        "num_samples": None if num_samples == _UNKNOWN_LENGTH else num_samples,
        "fingerprint": fingerprint,
        "model": cursor.text("model name"),
    }
    sizes: list[int] = []
    for _ in range(cursor.take(1, "levels")[0]):
        count, size = _RUN.unpack(cursor.take(_RUN.size, "levels"))
        sizes += [size] * count
    fields["codebook_sizes"] = tuple(sizes)
    if flags & _HAS_GAIN:
        (fields["gain_db"],) = struct.unpack("<f", cursor.take(4, "gain"))
    if flags & _HAS_SPEAKER:
        fields["speaker"] = cursor.text("speaker name")
    if flags & _HAS_GLOBAL_CODE:
        (count,) = struct.unpack("<H", cursor.take(2, "global code"))
        fields["global_code"] = cursor.take(count, "global code")
    if cursor.at != len(cursor.data):
        raise BadCodesError(f"header has {len(cursor.data) - cursor.at} bytes after its last field")
    return fields


def _level_runs(sizes: tuple[int, ...]) -> bytes:
    """Codebook sizes run-length coded: eight levels of 1024 take 6 bytes, not 32."""
    runs: list[list[int]] = []
    for size in sizes:
        if runs and runs[-1][1] == size:
            runs[-1][0] += 1
        else:
            runs.append([1, size])
    return bytes([len(runs)]) + b"".join(_RUN.pack(count, size) for count, size in runs)


def _short_text(text: str) -> bytes:
    encoded = text.encode("utf-8")
    return bytes([len(encoded)]) + encoded


def _check_range(what: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        wanted = f"{low} to {high}" if low != high else str(low)
        raise BadCodesError(f"header: {what} {value}; wanted {wanted}")


def _check_name(what: str, name: str) -> None:
    # Unprintable characters would reach the terminal of whoever inspects the file.
    if not name or not name.isprintable() or len(name.encode("utf-8")) > 255:
        raise BadCodesError(f"header: {what} {name[:40]!r}; wanted 1 to 255 bytes of printable text")
