"""One packet of a `.codes` file: a second of sound or some rows of an image, with a CRC-32. Also a stream's end marker.

The CRC also covers the header's CRC and the packet's number, which take no room in the file. A packet that was moved,
repeated or taken from another file is therefore detected. Layout: docs/codes-format.md, "Packets".
"""

from __future__ import annotations

import struct
import zlib

import numpy as np

from audiovq.bitstream.header import Header
from audiovq.bitstream.media import AudioHeader
from audiovq.bitstream.packing import pack, unpack

FULL = b"P"  # a packet of exactly `frames_per_packet` frames
SHORT = b"S"  # the last packet, where it has fewer: the number of frames follows
END = b"E"  # end marker of a stream: the number of samples follows
END_BYTES = 13

_CRC = struct.Struct("<I")
_FRAMES = struct.Struct("<H")
_NUM_SAMPLES = struct.Struct("<Q")
_CRC_START = struct.Struct("<IQ")  # header CRC, packet number


class DamagedPayloadError(ValueError):
    """The bytes of a packet are not what its writer wrote; the message says why."""


def packet_head(header: Header, frames: int) -> bytes:
    """What stands before the CRC of a packet of `frames` frames."""
    return FULL if frames == header.frames_per_packet else SHORT + _FRAMES.pack(frames)


def packet_size(header: Header, frames: int) -> int:
    """Bytes of a packet of `frames` frames, head and CRC included."""
    return len(packet_head(header, frames)) + _CRC.size + header.payload_bytes(frames)


def encode_packet(header: Header, header_crc: int, index: int, codes: np.ndarray) -> bytes:
    """Packet number `index` from codes [C, Q, F], F <= frames_per_packet, in the range of their codebooks."""
    channels, levels, frames = codes.shape
    # Level-major, [C, Q, F] -> [Q, C * F]: a level has one width, and the first levels are a prefix of the payload.
    payload = pack(codes.transpose(1, 0, 2).reshape(levels, channels * frames), header.widths)
    head = packet_head(header, frames)
    return head + _CRC.pack(_crc(header_crc, index, head + payload)) + payload


def decode_packet(header: Header, header_crc: int, index: int, frames: int, data: bytes) -> np.ndarray:
    """Codes int64 [C, Q, frames] of packet number `index`; `data` has `packet_size(header, frames)` bytes.

    Raises:
        DamagedPayloadError: wrong head, wrong CRC, or (in a forged file, whose CRC is right) codes beyond a codebook.
    """
    head = packet_head(header, frames)
    (stored,) = _CRC.unpack_from(data, len(head))
    payload = data[len(head) + _CRC.size :]
    found = _crc(header_crc, index, data[: len(head)] + payload)
    if stored != found or not data.startswith(head):
        raise DamagedPayloadError(f"its CRC-32 is {found:08x}, the file says {stored:08x}")
    try:
        rows = unpack(payload, header.widths, header.channels * frames)
    except ValueError as error:
        raise DamagedPayloadError(str(error)) from None
    for level, (row, size) in enumerate(zip(rows, header.codebook_sizes, strict=True)):
        if row.size and row.max() >= size:
            raise DamagedPayloadError(f"code {row.max()} in level {level}, whose codebook has {size}")
    codes = rows.reshape(header.num_quantizers, header.channels, frames).transpose(1, 0, 2)
    return np.ascontiguousarray(codes)


def short_frames(data: bytes) -> int:
    """Frame count in the two bytes that follow a `SHORT` kind byte."""
    return int(_FRAMES.unpack(data)[0])


def encode_end(header_crc: int, index: int, num_samples: int) -> bytes:
    """End marker of a stream of `index` packets and `num_samples` samples per channel at the input's rate."""
    head = END + _NUM_SAMPLES.pack(num_samples)
    return head + _CRC.pack(_crc(header_crc, index, head))


def decode_end(header: AudioHeader, header_crc: int, data: bytes) -> int | None:
    """Number of samples in an end marker, or None where its 13 bytes are none or damaged.

    The CRC is checked with the number of packets that so many samples need, so the marker can be read first, from the
    end of a file.
    """
    if len(data) != END_BYTES or not data.startswith(END):
        return None
    num_samples = int(_NUM_SAMPLES.unpack_from(data, 1)[0])
    packets = -(-header.frames_for(num_samples) // header.frames_per_packet)
    return num_samples if data == encode_end(header_crc, packets % 2**64, num_samples) else None


def _crc(header_crc: int, index: int, data: bytes) -> int:
    return zlib.crc32(data, zlib.crc32(_CRC_START.pack(header_crc, index)))
