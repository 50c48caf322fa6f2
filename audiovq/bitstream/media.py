"""The two kinds of header, for recordings and for images, and a function that reads either.

Both have the same plan (docs/codes-format.md): the size of what was coded, the spacing of codes, frames per packet, the
model, the levels, and optional fields.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from audiovq.bitstream.fields import check_name, check_range, set_integers, short_text, two_rates, varint
from audiovq.bitstream.header import (
    MAX_HEADER_BYTES,
    MAX_PACKET_FRAMES,
    MAX_PAYLOAD_BYTES,
    Header,
    Media,
    OpenHeader,
    open_header,
)
from audiovq.bitstream.packing import bit_width
from audiovq.errors import BadCodesError

PACKET_SECONDS = 4.8  # of a file's packets: 240 frames at 50 Hz, the most that a header has in one byte
MAX_PACKET_SECONDS = 5  # what damage costs at most
PACKET_BYTES = 160  # of an image's packets: the check of 3 is then 2 %
_GAIN = struct.Struct(">f")
_HAS_GAIN, _HAS_SPEAKER, _HAS_GLOBAL_CODE, _IS_STREAM, _HAS_CHANNELS = 1, 2, 4, 8, 16


@dataclass(frozen=True, kw_only=True)
class AudioHeader(Header):
    """What stands before the codes of a recording. Lengths of the input are at its own rate, `sample_rate`.

    Attributes:
        sample_rate: of the input, Hz; the decoder gives this rate back.
        num_samples: per channel; None for a stream, whose end marker carries it.
        model_sample_rate: Hz, the rate at which the model works.
        hop_length: samples per frame, at the model's rate.
        frames_per_packet: frames of every packet but the last, at most 5 s; `audio_packet_frames` gives a good number.
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
        most = max(1, MAX_PACKET_SECONDS * self.model_sample_rate // self.hop_length)
        check_range(f"frames per packet, of at most {MAX_PACKET_SECONDS} s,", self.frames_per_packet, 1, most)
        if self.num_samples is not None:
            set_integers(self, "num_samples")
            check_range("sample count", self.num_samples, 0, 2**64 - 1)
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
        flags |= _HAS_GLOBAL_CODE * (self.global_code is not None)
        return flags | _IS_STREAM * (self.num_samples is None) | _HAS_CHANNELS * (self.channels != 1)

    def _fixed_bytes(self) -> bytes:
        fields = two_rates(self.sample_rate, self.model_sample_rate)
        fields += varint(self.hop_length) + varint(self.frames_per_packet)
        if self.channels != 1:
            fields += bytes([self.channels])
        return fields + (b"" if self.num_samples is None else varint(self.num_samples))

    def _optional_bytes(self) -> bytes:
        fields = b"" if self.gain_db is None else _GAIN.pack(self.gain_db)
        if self.speaker is not None:
            fields += short_text(self.speaker)
        if self.global_code is not None:
            fields += varint(len(self.global_code)) + self.global_code
        return fields


@dataclass(frozen=True, kw_only=True)
class ImageHeader(Header):
    """What stands before the codes of an image: one channel, whose frames are the places of a grid, row after row.

    Attributes:
        height, width: of the image, pixels; the decoder cuts its output to them.
        stride: pixels per place of the grid, down and across.
        frames_per_packet: places of every packet but the last; `image_packet_frames` gives a good number.
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
        return b"".join(map(varint, (self.height, self.width, self.stride, self.frames_per_packet)))

    def _optional_bytes(self) -> bytes:
        return b""


def audio_packet_frames(
    seconds: float, *, model_sample_rate: int, hop_length: int, codebook_sizes: Sequence[int], channels: int
) -> int:
    """`frames_per_packet` for packets of about so many seconds, fewer where the format allows no more."""
    bits = channels * sum(map(bit_width, codebook_sizes))
    most = MAX_PACKET_SECONDS * model_sample_rate // hop_length
    frames = min(round(seconds * model_sample_rate / hop_length), most, 8 * MAX_PAYLOAD_BYTES // bits)
    return max(1, min(frames, MAX_PACKET_FRAMES))


def image_packet_frames(grid: tuple[int, int], codebook_sizes: Sequence[int]) -> int:
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
    opened = open_header(data)
    header = _parse_audio(opened) if opened.media == Media.AUDIO else _parse_image(opened)
    opened.cursor.end()
    if header.to_bytes() != data:
        raise BadCodesError("header: holds the same in other bytes than audiovq writes; encode the file again")
    return header


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


def _parse_audio(opened: OpenHeader) -> AudioHeader:
    cursor, flags = opened.cursor, opened.flags
    rate, model_rate = cursor.rates()
    hop_length, frames = cursor.varint("hop length"), cursor.varint("frames per packet")
    channels = cursor.byte("channel count") if flags & _HAS_CHANNELS else 1
    num_samples = None if flags & _IS_STREAM else cursor.varint("sample count")
    common = opened.common_fields()
    gain_db = cursor.unpack(_GAIN, "gain") if flags & _HAS_GAIN else None
    speaker = cursor.text("speaker name") if flags & _HAS_SPEAKER else None
    global_code = None
    if flags & _HAS_GLOBAL_CODE:
        global_code = cursor.take(cursor.varint("global code"), "global code")
    return AudioHeader(
        frames_per_packet=frames,
        channels=channels,
        sample_rate=rate,
        num_samples=num_samples,
        model_sample_rate=model_rate,
        hop_length=hop_length,
        gain_db=gain_db,
        speaker=speaker,
        global_code=global_code,
        **common,
    )


def _parse_image(opened: OpenHeader) -> ImageHeader:
    if opened.flags:
        raise BadCodesError(f"header: unknown flags {opened.flags:#04x}; the file needs a newer audiovq: update it")
    height, width, stride, frames = (opened.cursor.varint(what) for what in ("height", "width", "stride", "frames"))
    return ImageHeader(frames_per_packet=frames, height=height, width=width, stride=stride, **opened.common_fields())
