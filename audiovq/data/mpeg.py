"""The frames of an MPEG audio stream (MP3), counted: its length, where no header or a wrong one tells of it.

libsndfile guesses the length of a stream without a Xing header from the first frame, and reads no further. So all
frames are counted here, and a stream gets a header of its own that tells their number where it lacks one.
Source: ISO/IEC 11172-3 and 13818-3, section 2.4.1.3 (frame headers).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

_KBPS = {  # by MPEG-1 or not, and layer
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_HZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}  # by version
_SEARCH = 1 << 16  # bytes in which a frame must begin


@dataclass(frozen=True)
class Stream:
    """The frames of a file.

    Attributes:
        begin: where the first one lies, that of a Xing header included.
        frames: of sound, all there.
        stated: of sound, as a Xing or VBRI header tells; None without one.
        cut: the file ends within a frame, or before the bytes that its header tells of.
        header: a Xing frame that tells of all of them.
        sound: where the first frame of sound lies.
    """

    begin: int
    frames: int
    stated: int | None
    cut: bool
    header: bytes
    sound: int


@dataclass(frozen=True)
class _Frame:
    size: int
    mpeg1: bool
    layer: int
    mono: bool


def stream(file: BinaryIO, size: int) -> Stream | None:
    """Count the frames of an open file; None if it is no MPEG audio (or one of free bitrate, which says no sizes)."""
    begin = _first(file, _after_tag(file))
    if begin is None:
        return None
    file.seek(begin)
    head = file.read(4)
    first = _parse(head)
    assert first is not None
    file.seek(begin)
    stated, num_bytes, is_header = _told(file.read(first.size), first)
    sound = begin + first.size if is_header else begin
    at, frames = sound, 0
    while True:
        file.seek(at)
        frame = _parse(file.read(4))
        if frame is None:
            following = _first(file, at) if at < size and not _is_tag(file, at) else None
            if following is None:
                break
            at = following  # junk between frames, as another tag
            continue
        if at + frame.size > size:
            break
        at, frames = at + frame.size, frames + 1
    file.seek(at)
    partial = _parse(file.read(4)) is not None
    missing = num_bytes is not None and size < begin + num_bytes
    return Stream(begin, frames, stated, partial or missing, _xing(head, first, frames), sound)


def _after_tag(file: BinaryIO) -> int:
    file.seek(0)
    head = file.read(10)
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    length = sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
    return 10 + length + (10 if head[5] & 0x10 else 0)


def _first(file: BinaryIO, at: int) -> int | None:
    """The next place from `at` on where a frame begins that another one follows."""
    file.seek(at)
    window = file.read(_SEARCH)
    place = window.find(b"\xff")
    while place >= 0:
        frame = _parse(window[place : place + 4])
        if frame is not None:
            file.seek(at + place + frame.size)
            after = file.read(4)
            if not after or _parse(after) is not None:
                return at + place
        place = window.find(b"\xff", place + 1)
    return None


def _is_tag(file: BinaryIO, at: int) -> bool:
    file.seek(at)
    return file.read(8).startswith((b"TAG", b"APETAGEX", b"LYRICS"))


def _parse(head: bytes) -> _Frame | None:
    """A frame's header; None for other bytes, reserved values and a free bitrate."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    rate, hz, padding = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
    if version == 1 or layer == 4 or rate in (0, 15) or hz == 3:
        return None
    bits_per_second = 1000 * _KBPS[version == 3, layer][rate]
    if layer == 1:
        size = (12 * bits_per_second // _HZ[version][hz] + padding) * 4
    else:
        samples = 1152 if layer == 2 or version == 3 else 576
        size = samples // 8 * bits_per_second // _HZ[version][hz] + padding
    return _Frame(size, version == 3, layer, head[3] >> 6 == 3)


def _side(frame: _Frame) -> int:
    """Bytes between a frame's header and where a Xing header stands."""
    return (17 if frame.mono else 32) if frame.mpeg1 else (9 if frame.mono else 17)


def _told(frame: bytes, facts: _Frame) -> tuple[int | None, int | None, bool]:
    """(frames, bytes) that a Xing or VBRI header in the first frame tells of, and whether there is one."""
    at = 4 + _side(facts)
    if frame[at : at + 4] in (b"Xing", b"Info"):
        flags = int.from_bytes(frame[at + 4 : at + 8], "big")
        fields = [int.from_bytes(frame[at + 8 + 4 * i : at + 12 + 4 * i], "big") for i in range(2)]
        return (
            fields.pop(0) if flags & 1 else None,
            fields.pop(0) if flags & 2 else None,
            True,
        )
    if frame[36:40] == b"VBRI":
        return int.from_bytes(frame[50:54], "big"), int.from_bytes(frame[46:50], "big"), True
    return None, None, False


def _xing(head: bytes, facts: _Frame, frames: int) -> bytes:
    """A silent frame as those that follow, with their number."""
    head = bytes([head[0], head[1] | 1, 9 << 4 | head[2] & 0x0C, head[3]])
    frame = _parse(head)
    assert frame is not None
    tag = head + bytes(_side(facts)) + b"Xing" + (1).to_bytes(4, "big") + frames.to_bytes(4, "big")
    return tag.ljust(frame.size, b"\0")
