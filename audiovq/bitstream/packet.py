"""One packet of a `.codes` file: some seconds of sound or rows of an image, with a check. Also a stream's end marker.

The check also covers the header's CRC and the packet's number, which take no room in the file. A packet that was moved,
repeated or taken from another file is therefore detected. Layout: docs/codes-format.md, "Packets".
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import numpy as np

from audiovq.bitstream.coder import Coding, PacketCoder
from audiovq.bitstream.fields import read_varint, varint
from audiovq.bitstream.header import Header
from audiovq.bitstream.media import AudioHeader
from audiovq.bitstream.packing import pack, unpack

CHECK_BYTES = 3
END = b"\0"  # in place of a packet's number of frames: the stream's number of samples follows
END_BYTES = len(END) + 8 + CHECK_BYTES

_NUM_SAMPLES = struct.Struct(">Q")
_START = struct.Struct(">IQ")  # header CRC, packet number


class DamagedPayloadError(ValueError):
    """The bytes of a packet are not what its writer wrote; the message says why."""


class Size(Enum):
    """How far the number of bytes that a packet takes can be believed."""

    SURE = "it follows from the header, or the packet is whole"
    CLAIMED = "the packet says so, and it is damaged"
    LOST = "what the packet says can't be"


@dataclass(frozen=True)
class Found:
    """What stands in a file where a packet was looked for.

    Attributes:
        data: the bytes taken.
        frames: of the packet; 0 for an end marker.
        payload: None if it is damaged or cut off.
        reason: what is wrong, for messages.
        cut_off: the source ended inside.
        size: whether `data` is all of it and nothing else.
        num_samples: of an end marker.
    """

    data: bytes
    frames: int = 0
    payload: bytes | None = None
    reason: str = ""
    cut_off: bool = False
    size: Size = Size.SURE
    num_samples: int | None = None

    @property
    def is_whole(self) -> bool:
        """Whether it is as it was written."""
        return self.payload is not None or self.num_samples is not None


class Packets:
    """Makes and finds the packets of one file.

    Args:
        header: of the file.
        header_crc: its CRC.
    """

    def __init__(self, header: Header, header_crc: int) -> None:
        self.header = header
        self.coded = header.coding != Coding.PACKED
        self.counted = isinstance(header, AudioHeader) and header.num_samples is None  # they begin with their frames
        self._header_crc = header_crc

    @property
    def most_bytes(self) -> int:
        """Size of the largest packet."""
        most = self.header.payload_bytes(self.header.frames_per_packet)
        return len(self._head(self.header.frames_per_packet, most)) + CHECK_BYTES + most

    def write(self, index: int, codes: np.ndarray, coder: PacketCoder | None) -> bytes:
        """Packet number `index` from codes [C, Q, F], F <= frames_per_packet, in the range of their codebooks."""
        frames = codes.shape[2]
        payload = None
        if self.coded:
            assert coder is not None
            payload = coder.encode(codes).ljust(self.header.least_payload_bytes(frames), b"\0")
        if payload is None or len(payload) >= self.header.payload_bytes(frames):
            payload = pack(_rows(codes), self.header.widths)
        head = self._head(frames, len(payload))
        return head + self._check(index, head + payload) + payload

    def codes(self, payload: bytes, frames: int, coder: PacketCoder | None) -> np.ndarray:
        """Codes int64 [C, Q, frames] of a payload.

        Raises:
            DamagedPayloadError: in a forged file, whose check is right: codes beyond a codebook, or no codes at all.
        """
        header = self.header
        try:
            if len(payload) == header.payload_bytes(frames):
                rows = unpack(payload, header.widths, header.channels * frames)
                codes = rows.reshape(header.num_quantizers, header.channels, frames).transpose(1, 0, 2)
            else:
                assert coder is not None
                if len(payload) == header.least_payload_bytes(frames):
                    payload = payload.rstrip(b"\0")  # a coder's bytes never end so: the writer filled them up
                codes = coder.decode(payload, header.channels, header.num_quantizers, frames)
        except ValueError as error:
            raise DamagedPayloadError(str(error)) from None
        for level, size in enumerate(header.codebook_sizes):
            if codes[:, level].max() >= size:
                raise DamagedPayloadError(f"code {codes[:, level].max()} in level {level}, whose codebook has {size}")
        return np.ascontiguousarray(codes)

    def find(self, read: Callable[[int], bytes], index: int, frames: int | None) -> Found:
        """Packet number `index`, or the end marker of a stream of so many packets.

        Args:
            read: gives so many bytes of the source, fewer at its end.
            index: number of the packet.
            frames: that it must have, 0 for an end marker; None in a stream whose length is not known.
        """
        head, sure = b"", Size.CLAIMED if self.coded else Size.SURE
        if self.counted:
            if frames is None:
                count, head = read_varint(read)
                if count == 0:
                    return self._find_end(read, head, index)
                if count is None or count > self.header.frames_per_packet:
                    reason = "its head is damaged" if head else "a stream ends with an end marker, and it is missing"
                    return Found(head, 0, None, reason, cut_off=not head, size=Size.LOST)
                frames, sure = count, Size.CLAIMED
            else:
                head = read(len(varint(frames)))
                if frames == 0:
                    return self._find_end(read, head, index)
        assert frames
        size = self.header.payload_bytes(frames)
        if self.coded:
            length, written = read_varint(read)
            head += written
            if length is None or not self.header.least_payload_bytes(frames) <= length <= size:
                return Found(head, frames, None, "its length is damaged", cut_off=not written, size=Size.LOST)
            size = length
        body = read(CHECK_BYTES + size)
        if len(body) < CHECK_BYTES + size:
            reason = f"{len(head + body)} bytes of {len(head) + CHECK_BYTES + size}"
            return Found(head + body, frames, None, reason, cut_off=True, size=sure)
        stored, payload = body[:CHECK_BYTES], body[CHECK_BYTES:]
        expected = self._check(index, self._head(frames, size) + payload)
        if stored != expected or head != self._head(frames, size):
            reason = f"its CRC is {expected.hex()}, the file says {stored.hex()}"
            return Found(head + body, frames, None, reason, size=sure)
        return Found(head + body, frames, payload)

    def size(self, read: Callable[[int], bytes], frames: int | None) -> int | None:
        """Bytes of the packet that begins here, as its head has it; None if that can't be. Arguments as of `find`."""
        head = b""
        if self.counted:
            count, head = read_varint(read)
            if not count or count > self.header.frames_per_packet or frames not in (None, count):
                return None
            frames = count
        assert frames is not None
        size = self.header.payload_bytes(frames)
        if self.coded:
            length, written = read_varint(read)
            head += written
            if length is None or not self.header.least_payload_bytes(frames) <= length <= size:
                return None
            size = length
        return len(head) + CHECK_BYTES + size

    def write_end(self, index: int, num_samples: int) -> bytes:
        """End marker of a stream of `index` packets and `num_samples` samples per channel at the input's rate."""
        head = END + _NUM_SAMPLES.pack(num_samples)
        return head + self._check(index, head)

    def samples_of_end(self, data: bytes) -> int | None:
        """Number of samples in an end marker, or None where its 12 bytes are none or damaged.

        Its check is made with the number of packets that so many samples need, so the marker can be read first, from
        the end of a file.
        """
        if len(data) != END_BYTES or not data.startswith(END):
            return None
        assert isinstance(self.header, AudioHeader)
        num_samples = int(_NUM_SAMPLES.unpack_from(data, len(END))[0])
        packets = -(-self.header.frames_for(num_samples) // self.header.frames_per_packet)
        return num_samples if data == self.write_end(packets % 2**64, num_samples) else None

    def _find_end(self, read: Callable[[int], bytes], head: bytes, index: int) -> Found:
        data = head + read(END_BYTES - len(head))
        if len(data) < END_BYTES:
            return Found(data, reason="its end marker is cut off", cut_off=True)
        num_samples = self.samples_of_end(data)
        if num_samples is None or data != self.write_end(index, num_samples):
            return Found(data, reason="its end marker is damaged", size=Size.LOST)
        return Found(data, num_samples=num_samples)

    def _head(self, frames: int, size: int) -> bytes:
        """What stands before the check."""
        return (varint(frames) if self.counted else b"") + (varint(size) if self.coded else b"")

    def _check(self, index: int, data: bytes) -> bytes:
        """The low 24 bits of a CRC-32."""
        crc = zlib.crc32(data, zlib.crc32(_START.pack(self._header_crc, index)))
        return (crc & 0xFFFFFF).to_bytes(CHECK_BYTES, "big")


def _rows(codes: np.ndarray) -> np.ndarray:
    """[C, Q, F] -> [Q, C * F]: a level has one width, and the first levels are a prefix of the payload."""
    channels, levels, frames = codes.shape
    return codes.transpose(1, 0, 2).reshape(levels, channels * frames)
