"""How much sound a file should hold by its own header, whatever libsndfile makes of it.

libsndfile reads what there is of a file that was cut off, and nothing of one whose header was never finished, both
without an error. Here the headers are read again, and compared with the size of the file.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

# sizes that programs state when they write into a pipe and can't know: ffmpeg about 2^32, sox and arecord about 2^31
_UNKNOWN = (range(0x7FFF0000, 0x80000001), range(0xFFFF0000, 0x100000000))
_MOST_HEADER = 1 << 20  # bytes before the sound that are held in memory
_JUNK = 1024  # bytes after the last chunk that are of no account


def is_unknown(size: int) -> bool:
    """Whether a size of 32 bits is what a program states that can't know it."""
    return any(size in sizes for sizes in _UNKNOWN)


@dataclass(frozen=True)
class Extent:
    """The sound of a file in bytes.

    Attributes:
        there: bytes of sound in the file.
        stated: bytes of sound that the header tells of; None if it does not say.
        beyond: bytes behind the sound that the header does not account for.
        header: the file up to its sound, with the sizes of what is there put in; None if that is not possible.
        begin: where the sound begins.
        fault: what else is wrong.
    """

    there: int
    stated: int | None
    beyond: int = 0
    header: bytes | None = None
    begin: int = 0
    fault: str | None = None


def extent(file: BinaryIO, size: int) -> Extent | None:
    """What the header of an open file says; None for a container that is not known here. `size`: of the file."""
    file.seek(0)
    start = file.read(16)
    match start[:4]:
        case b"RIFF" | b"RF64" | b"BW64" | b"RIFX" | b"FORM":
            return _riff(file, size, start)
        case b"riff":
            found = _chunked(file, size, 40, _w64_chunk, b"data", align=8)
            there = found.there + found.beyond
            return _finished(file, found, {16: ("<Q", found.begin + there), found.begin - 8: ("<Q", there + 24)})
        case b"caff":
            return _chunked(file, size, 8, _caf_chunk, b"data", align=1, lead=4)
        case b".snd" | b"dns.":
            return _au(file, start, size)
        case b"NIST":
            return _sphere(file, size)
        case b"OggS":
            return _ogg(file, size)
    return None


# --- files of chunks: an id, a size, as many bytes -----------------------------------------------------------------


@dataclass(frozen=True)
class _Chunk:
    id: bytes
    begin: int  # of the content
    size: int | None  # of the content; None: to the end of the file


_Parse = Callable[[bytes, int], _Chunk]  # of the first 24 bytes of a chunk, and their place


def _riff(file: BinaryIO, size: int, start: bytes) -> Extent:
    order = ">" if start[:4] in (b"RIFX", b"FORM") else "<"
    whole64 = None
    if start[:4] in (b"RF64", b"BW64") and start[12:16] == b"ds64":
        file.seek(28)
        (whole64,) = struct.unpack("<Q", file.read(8).ljust(8, b"\0"))
    sound_id = {b"AIFF": b"SSND", b"AIFC": b"SSND", b"8SVX": b"BODY", b"16SV": b"BODY"}.get(start[8:12], b"data")

    def chunk(head: bytes, at: int) -> _Chunk:
        name, stated = struct.unpack(f"{order}4sI", head[:8])
        if name == b"data" and whole64 is not None and stated == 0xFFFFFFFF:
            return _Chunk(name, at + 8, whole64)
        unknown = name == b"data" and at + stated > size and any(stated in sizes for sizes in _UNKNOWN)
        return _Chunk(name, at + 8, None if unknown else stated)

    found = _chunked(file, size, 12, chunk, sound_id, align=2, lead=8 if sound_id == b"SSND" else 0)
    there = found.there + found.beyond
    if start[:4] in (b"RF64", b"BW64"):
        return _finished(file, found, {20: ("<Q", found.begin + there - 8), 28: ("<Q", there)})
    lead = 8 if sound_id == b"SSND" else 0
    sizes = {4: (f"{order}I", found.begin + there - 8), found.begin - lead - 4: (f"{order}I", there + lead)}
    return _finished(file, found, sizes) if found.begin + there <= 0xFFFFFFFF else found


def _finished(file: BinaryIO, found: Extent, sizes: dict[int, tuple[str, int]]) -> Extent:
    """With the header as it would be, had its writer come to put the sizes in: by place, how to pack and what."""
    if not found.beyond or found.begin > _MOST_HEADER:
        return found
    file.seek(0)
    header = bytearray(file.read(found.begin))
    try:
        for place, (form, value) in sizes.items():
            struct.pack_into(form, header, place, value)
    except struct.error:  # more than the field holds, or no place for it
        return found
    return replace(found, header=bytes(header))


def _w64_chunk(head: bytes, at: int) -> _Chunk:
    stated = int.from_bytes(head[16:24], "little", signed=True)
    return _Chunk(head[:4], at + 24, None if stated < 0 else max(0, stated - 24))


def _caf_chunk(head: bytes, at: int) -> _Chunk:
    stated = int.from_bytes(head[4:12], "big", signed=True)
    return _Chunk(head[:4], at + 12, None if stated < 0 else stated)


def _chunked(
    file: BinaryIO, size: int, at: int, parse: _Parse, sound_id: bytes, *, align: int, lead: int = 0
) -> Extent:
    """Walk the chunks from `at` on. `lead`: bytes of the sound's chunk before the sound itself."""
    sound: _Chunk | None = None
    while (chunk := _chunk_at(file, size, at, parse)) is not None:
        if chunk.id == sound_id and sound is None:
            sound = chunk
            if chunk.size is None:
                return Extent(max(0, size - chunk.begin - lead), None, begin=chunk.begin + lead)
        end = chunk.begin + (chunk.size or 0)
        at = end + -end % align
        if at > end and _chunk_at(file, size, at, parse) is None and _chunk_at(file, size, end, parse):
            at = end  # not everybody pads
    if sound is None or sound.size is None:
        return Extent(0, None, fault="there is no sound in it")
    begin, stated = sound.begin + lead, max(0, sound.size - lead)
    return Extent(max(0, min(stated, size - begin)), stated, _unaccounted(file, max(at, begin), size), begin=begin)


def _chunk_at(file: BinaryIO, size: int, at: int, parse: _Parse) -> _Chunk | None:
    if at + 8 > size:  # a forged size may lead beyond what can be sought
        return None
    file.seek(at)
    head = file.read(24)
    if not all(32 <= letter < 127 for letter in head[:4]):
        return None
    return parse(head.ljust(24, b"\0"), at)


def _unaccounted(file: BinaryIO, at: int, size: int) -> int:
    """Bytes from `at` on, but for a tag, zeros, or a few bytes of junk."""
    rest = size - at
    if rest <= _JUNK:
        return 0
    file.seek(at)
    if file.read(3) in (b"TAG", b"ID3", b"APE"):
        return 0
    file.seek(at)
    while block := file.read(1 << 16):
        if block.strip(b"\0"):
            return rest
    return 0


# --- a header, then sound ------------------------------------------------------------------------------------------


def _au(file: BinaryIO, start: bytes, size: int) -> Extent:
    order = ">" if start[:4] == b".snd" else "<"
    begin, stated = struct.unpack(f"{order}II", start[4:12].ljust(8, b"\0"))
    there = max(0, size - begin)
    if stated == 0xFFFFFFFF:
        return Extent(there, None, begin=begin)
    beyond = there - stated
    found = Extent(min(there, stated), stated, beyond if beyond > _JUNK and begin >= 24 else 0, begin=begin)
    return _finished(file, found, {8: (f"{order}I", there)})


def _sphere(file: BinaryIO, size: int) -> Extent:
    file.seek(0)
    lines = file.read(1024).decode("latin-1").split("\n")
    facts = {f[0]: f[2] for f in (line.split(None, 2) for line in lines[2:]) if len(f) == 3}
    try:
        begin = int(lines[1])
        frame = int(facts["channel_count"]) * int(facts["sample_n_bytes"])
        stated = int(facts["sample_count"]) * frame if "sample_count" in facts else None
    except (LookupError, ValueError):
        return Extent(0, None, fault="its header can't be understood")
    there = max(0, size - begin)
    if stated is None:
        return Extent(there, None, begin=begin)
    beyond = there - stated
    return Extent(min(there, stated), stated, beyond if beyond > _JUNK else 0, begin=begin)


# --- Ogg -----------------------------------------------------------------------------------------------------------


def _ogg(file: BinaryIO, size: int) -> Extent:
    """Ogg states no length; but its last page is marked, and one that follows a marked one begins another recording."""
    fault, begun, ended = None, False, False
    for flags, whole in _pages(file, size):
        first, last = flags & 2, flags & 4
        if first and begun:
            fault = "it holds several recordings one after the other, of which only the first is read"
        begun = begun or not first
        ended = whole and bool(last)
    if not ended and fault is None:
        fault = "its end is missing"
    return Extent(size, None, fault=fault)


def _pages(file: BinaryIO, size: int) -> Iterator[tuple[int, bool]]:
    """Flags of every page, and whether it is there in whole."""
    at = 0
    while True:
        file.seek(at)
        head = file.read(27 + 255)
        if len(head) < 27 or head[:4] != b"OggS":
            return
        segments = head[26]
        at += 27 + segments + sum(head[27 : 27 + segments])
        yield head[5], len(head) >= 27 + segments and at <= size
