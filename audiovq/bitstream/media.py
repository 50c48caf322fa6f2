"""The two kinds of header, for recordings and for images, and a function that reads either.

Both have the same plan (docs/codes-format.md): the size of what was coded, the spacing of codes, frames per packet, the
model, the levels, and optional fields.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from audiovq.bitstream.fields import Cursor, check_name, check_range, set_integers, short_text
from audiovq.bitstream.header import (
    FINGERPRINT_BYTES,
    MAX_HEADER_BYTES,
    MAX_PACKET_FRAMES,
    MAX_PAYLOAD_BYTES,
    Header,
    Media,
    open_header,
)
from audiovq.bitstream.packing import bit_width
from audiovq.errors import BadCodesError

_AUDIO = struct.Struct("<IIHHBQ")  # rate, model rate, hop length, frames per packet, channels, samples
_IMAGE = struct.Struct("<IIHH")  # height, width, stride, frames per packet
_GAIN = struct.Struct("<f")
_GLOBAL_CODE = struct.Struct("<H")  # its length
_UNKNOWN_LENGTH = 2**64 - 1
PACKET_BYTES = 128  # its head of 5 is then 4 %, as with a second of speech at 1 kbit/s
_HAS_GAIN, _HAS_SPEAKER, _HAS_GLOBAL_CODE = 1, 2, 4


@dataclass(frozen=True, kw_only=True)
class AudioHeader(Header):
    """What stands before the codes of a recording. Lengths of the input are at its own rate, `sample_rate`.

    Attributes:
        sample_rate: of the input, Hz; the decoder gives this rate back.
        num_samples: per channel; None for a stream, whose end marker carries it.
        model_sample_rate: Hz, the rate at which the model works.
        hop_length: samples per frame, at the model's rate.
        frames_per_packet: frames of every packet but the last; about one second.
        gain_db: the encoder multiplied its input by 10**(gain_db / 20) and the decoder divides by it; float32.
        speaker: name of the speaker, where the model has names.
        global_code: code of the whole recording (a reference encoder's), opaque here.
    """

    sample_rate: int
    num_samples: int | None
    model_sample_rate: int
    hop_length: int
    gain_db: float | None = None
    speaker: str | None = None
    global_code: bytes | None = None

    media: ClassVar[Media] = Media.AUDIO

    def _check_own(self) -> None:
        set_integers(self, "sample_rate", "model_sample_rate", "hop_length")
        check_range("sample rate", self.sample_rate, 1, 2**32 - 1)
        check_range("model sample rate", self.model_sample_rate, 1, 2**32 - 1)
        check_range("hop length", self.hop_length, 1, 2**16 - 1)
        if self.num_samples is not None:
            set_integers(self, "num_samples")
            check_range("sample count", self.num_samples, 0, _UNKNOWN_LENGTH - 1)
        if self.speaker is not None:
            check_name("speaker name", self.speaker)
        if self.global_code is not None:
            check_range("global code length in bytes", len(self.global_code), 1, MAX_HEADER_BYTES)
        if self.gain_db is not None:
            with np.errstate(over="ignore"):  # becomes infinite, and is refused as such
                object.__setattr__(self, "gain_db", float(np.float32(self.gain_db)))  # as the file keeps it
            if not math.isfinite(self.gain_db):
                raise BadCodesError(f"header: gain {self.gain_db} dB; wanted a finite number")

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        return self.model_sample_rate / self.hop_length

    @property
    def num_frames(self) -> int | None:
        return None if self.num_samples is None else self.frames_for(self.num_samples)

    def frames_for(self, num_samples: int) -> int:
        """Frames that `num_samples` of the input give: ceil(ceil(n * model rate / rate) / hop), in integers."""
        return -(-num_samples * self.model_sample_rate // (self.sample_rate * self.hop_length))

    @property
    def length(self) -> str:
        return f"{self.num_samples} samples"

    def place(self, frame: int) -> str:
        return f"{frame / self.frame_rate:.2f} s"

    def span(self, start: int, stop: int) -> str:
        return f"{start / self.frame_rate:.2f} to {stop / self.frame_rate:.2f} s"

    def _flags(self) -> int:
        flags = _HAS_GAIN * (self.gain_db is not None) | _HAS_SPEAKER * (self.speaker is not None)
        return flags | _HAS_GLOBAL_CODE * (self.global_code is not None)

    def _fixed_bytes(self) -> bytes:
        samples = _UNKNOWN_LENGTH if self.num_samples is None else self.num_samples
        rates = self.sample_rate, self.model_sample_rate
        return _AUDIO.pack(*rates, self.hop_length, self.frames_per_packet, self.channels, samples)

    def _optional_bytes(self) -> bytes:
        fields = b"" if self.gain_db is None else _GAIN.pack(self.gain_db)
        if self.speaker is not None:
            fields += short_text(self.speaker)
        if self.global_code is not None:
            fields += _GLOBAL_CODE.pack(len(self.global_code)) + self.global_code
        return fields


@dataclass(frozen=True, kw_only=True)
class ImageHeader(Header):
    """What stands before the codes of an image: one channel, whose frames are the places of a grid, row after row.

    Attributes:
        height, width: of the image, pixels; the decoder cuts its output to them.
        stride: pixels per place of the grid, down and across.
        frames_per_packet: places of every packet but the last; `packet_frames` gives a good number.
        channels: 1.
    """

    height: int
    width: int
    stride: int
    channels: int = field(default=1, init=False)

    media: ClassVar[Media] = Media.IMAGE

    def _check_own(self) -> None:
        set_integers(self, "height", "width", "stride")
        check_range("height", self.height, 1, 2**32 - 1)
        check_range("width", self.width, 1, 2**32 - 1)
        check_range("stride", self.stride, 1, 2**16 - 1)

    @property
    def grid(self) -> tuple[int, int]:
        """Height and width of the grid of codes, H' and W': the image's over the stride, rounded up."""
        return -(-self.height // self.stride), -(-self.width // self.stride)

    @property
    def num_frames(self) -> int:
        return math.prod(self.grid)

    @property
    def length(self) -> str:
        return f"{self.height} x {self.width} pixels"

    def place(self, frame: int) -> str:
        return f"row {frame // self.grid[1]}"

    def span(self, start: int, stop: int) -> str:
        first, last = start // self.grid[1], (stop - 1) // self.grid[1]
        return f"row {first}" if first == last else f"rows {first} to {last}"

    def _flags(self) -> int:
        return 0

    def _fixed_bytes(self) -> bytes:
        return _IMAGE.pack(self.height, self.width, self.stride, self.frames_per_packet)

    def _optional_bytes(self) -> bytes:
        return b""


def second_of_frames(model_sample_rate: int, hop_length: int) -> int:
    """A good `frames_per_packet` for a recording: about one second."""
    return max(1, round(model_sample_rate / hop_length))


def packet_frames(grid: tuple[int, int], codebook_sizes: Sequence[int]) -> int:
    """A good `frames_per_packet` for an image: as few whole rows as make `PACKET_BYTES`, so that damage costs little.

    A row too long for one packet is cut up.
    """
    bits = sum(map(bit_width, codebook_sizes))
    rows = min(-(-8 * PACKET_BYTES // (grid[1] * bits)), grid[0])
    return min(rows * grid[1], 8 * MAX_PAYLOAD_BYTES // bits, MAX_PACKET_FRAMES)


def parse_header(data: bytes) -> Header:
    """Reads what `Header.to_bytes` made; `data` is exactly the header.

    Raises:
        BadCodesError: not a `.codes` header, another version, damaged, or a field outside its limits.
    """
    media, coding, flags, cursor = open_header(data)
    if media == Media.AUDIO:
        return _parse_audio(cursor, coding, flags)
    if media == Media.IMAGE:
        return _parse_image(cursor, coding, flags)
    raise BadCodesError(f"header: media kind {media}; this audiovq reads 0, audio, and 1, image: update it")


def as_audio(header: Header, name: str) -> AudioHeader:
    """The header of a file that must hold a recording; BadCodesError if it does not."""
    if not isinstance(header, AudioHeader):
        raise BadCodesError(f"{name}: holds the codes of an image, not of sound; use `audiovq image decode`")
    return header


def as_image(header: Header, name: str) -> ImageHeader:
    """The header of a file that must hold an image; BadCodesError if it does not."""
    if not isinstance(header, ImageHeader):
        raise BadCodesError(f"{name}: holds the codes of sound, not of an image; use `audiovq decode`")
    return header


def _parse_audio(cursor: Cursor, coding: int, flags: int) -> AudioHeader:
    _check_flags(flags, _HAS_GAIN | _HAS_SPEAKER | _HAS_GLOBAL_CODE)
    rate, model_rate, hop_length, frames, channels, num_samples = cursor.unpack(_AUDIO, "fixed fields")
    common = _common_fields(cursor, coding)
    gain_db = cursor.unpack(_GAIN, "gain")[0] if flags & _HAS_GAIN else None
    speaker = cursor.text("speaker name") if flags & _HAS_SPEAKER else None
    global_code = None
    if flags & _HAS_GLOBAL_CODE:
        global_code = cursor.take(cursor.unpack(_GLOBAL_CODE, "global code")[0], "global code")
    cursor.end()
    return AudioHeader(
        frames_per_packet=frames,
        channels=channels,
        sample_rate=rate,
        num_samples=None if num_samples == _UNKNOWN_LENGTH else num_samples,
        model_sample_rate=model_rate,
        hop_length=hop_length,
        gain_db=gain_db,
        speaker=speaker,
        global_code=global_code,
        **common,
    )


def _parse_image(cursor: Cursor, coding: int, flags: int) -> ImageHeader:
    _check_flags(flags, 0)
    height, width, stride, frames = cursor.unpack(_IMAGE, "fixed fields")
    common = _common_fields(cursor, coding)
    cursor.end()
    return ImageHeader(frames_per_packet=frames, height=height, width=width, stride=stride, **common)


def _common_fields(cursor: Cursor, coding: int) -> dict[str, Any]:
    """Model and levels, which all media have one behind the other."""
    return {
        "coding": coding,
        "fingerprint": cursor.take(FINGERPRINT_BYTES, "fingerprint"),
        "model": cursor.text("model name"),
        "codebook_sizes": cursor.levels(),
    }


def _check_flags(flags: int, known: int) -> None:
    if flags & ~known:
        raise BadCodesError(f"header: unknown flags {flags:#04x}; the file needs a newer audiovq: update it")
