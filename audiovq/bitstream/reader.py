"""Reads a `.codes` file: whole, packet by packet, or only the packets of a range of frames.

Damage is found by CRC and costs only its own packet. Memory is bounded by the bytes that were read, never by what a
header claims.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Any, Literal, NoReturn

import numpy as np

from audiovq.bitstream.describe import describe
from audiovq.bitstream.header import PREFIX_BYTES, Header, crc_of, header_length
from audiovq.bitstream.media import AudioHeader, parse_header
from audiovq.bitstream.packet import (
    END,
    END_BYTES,
    FULL,
    SHORT,
    DamagedPayloadError,
    decode_end,
    decode_packet,
    packet_size,
    short_frames,
)
from audiovq.bitstream.source import ByteSource
from audiovq.errors import BadCodesError


@dataclass(frozen=True)
class DamagedPacket:
    """A packet whose codes are lost: its number from 0, its frames, where that is ("1.00 to 2.00 s"), and why."""

    index: int
    start_frame: int
    stop_frame: int
    place: str
    reason: str


class CodesReader:
    """Opens a `.codes` file and reads its header at once.

    Args:
        source: path, or binary file object (a pipe too, which can then be read once, forwards).
        on_damage: "raise", or "conceal": the codes of a damaged packet are -1, and `damaged` lists it. A damaged
            header, a truncated file, and a stream whose packet boundaries are lost raise in either case.

    Attributes:
        header: as in the file.
        num_samples: of a recording, the header's; of a stream, the end marker's as soon as it is known (at once where
            the source is seekable), before that None.

    Raises:
        BadCodesError: not a `.codes` file, unknown version, or a damaged header.
    """

    def __init__(
        self, source: str | os.PathLike[str] | IO[bytes], *, on_damage: Literal["raise", "conceal"] = "raise"
    ) -> None:
        if on_damage not in ("raise", "conceal"):
            raise ValueError(f"on_damage={on_damage!r}; wanted 'raise' or 'conceal'")
        self._conceal = on_damage == "conceal"
        self._damaged: dict[int, DamagedPacket] = {}
        self._source = ByteSource(source)
        try:
            data = self._read_header()
        except BaseException:
            self.close()
            raise
        self._body = len(data)  # where packet 0 begins
        self._header_crc = crc_of(data)
        self._next = 0  # number of the packet at the source's place
        self._frames_before = 0  # frames in the packets before it
        self.num_samples = self.header.num_samples if isinstance(self.header, AudioHeader) else None
        self._stream = self.header if isinstance(self.header, AudioHeader) and self.num_samples is None else None
        if self._stream is not None and self._source.seekable:
            self.num_samples = self._num_samples_from_the_end(self._stream)

    @property
    def num_frames(self) -> int | None:
        """Frames per channel, None while the length of a stream is not known."""
        if self._stream is None or self.num_samples is None:
            return self.header.num_frames
        return self._stream.frames_for(self.num_samples)

    @property
    def damaged(self) -> list[DamagedPacket]:
        """The damaged packets met so far, in order."""
        return [self._damaged[index] for index in sorted(self._damaged)]

    def packets(self) -> Iterator[np.ndarray]:
        """Codes of each packet in turn, int64 [C, Q, F]; F is `header.frames_per_packet` but for the last.

        Raises:
            BadCodesError: damage (unless concealed), truncation, or bytes after the end.
        """
        self._go_to(0)
        while (codes := self._read_packet(self._conceal)) is not None:
            yield codes

    def next_packet(self) -> np.ndarray | None:
        """Codes of the packet at the source's place, or None after the last. Errors: those of `packets`.

        Nothing but the source's place has changed if the source raises an error of its own.
        """
        return self._read_packet(self._conceal)

    def read(self, start_frame: int = 0, stop_frame: int | None = None) -> np.ndarray:
        """Codes of frames start_frame .. stop_frame - 1, int64 [C, Q, F].

        A seekable source is read only where these frames are. Frames past the end are left out, as in a slice; negative
        ones are refused. Errors: those of `packets`, and those after the last packet only if the range reaches the end.
        """
        if start_frame < 0 or (stop_frame is not None and stop_frame < start_frame):
            raise ValueError(f"frames {start_frame} to {stop_frame}; wanted 0 <= start <= stop")
        header, total = self.header, self.num_frames
        if total is not None:
            start_frame = min(start_frame, total)
            stop_frame = None if stop_frame is None or stop_frame >= total else stop_frame
        position = start_frame // header.frames_per_packet * header.frames_per_packet
        self._go_to(start_frame // header.frames_per_packet)
        parts = [np.zeros((header.channels, header.num_quantizers, 0), np.int64)]
        while stop_frame is None or position < stop_frame:  # None: to the end, which is checked
            codes = self._read_packet(self._conceal)
            if codes is None:
                break
            stop = None if stop_frame is None else stop_frame - position
            parts.append(codes[:, :, max(0, start_frame - position) : stop])
            position += codes.shape[2]
        return np.concatenate(parts, axis=2)

    def check_reach(self, stop_frame: int) -> None:
        """BadCodesError if a seekable source is too short to hold the frames before `stop_frame`, as its header says.

        To be asked before memory is allocated for what they will become.
        """
        stop_frame = stop_frame if self.num_frames is None else min(stop_frame, self.num_frames)
        if stop_frame > 0 and self._source.seekable:
            self._go_to((stop_frame - 1) // self.header.frames_per_packet)

    def verify(self) -> list[DamagedPacket]:
        """Reads every packet and returns the damaged ones; an empty list: the file is as it was written.

        Raises:
            BadCodesError: truncated, bytes after the end, or packet boundaries lost.
        """
        self._go_to(0)
        while self._read_packet(conceal=True) is not None:
            pass
        return self.damaged

    def describe(self) -> dict[str, Any]:
        """What the file says about itself, JSON-able: `describe` of the header, and the file's size unless a pipe."""
        return describe(self.header, num_samples=self.num_samples, num_bytes=self._source.size())

    def close(self) -> None:
        """Closes the file, if the reader opened it."""
        self._source.close()

    def __enter__(self) -> CodesReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read_header(self) -> bytes:
        try:
            prefix = self._source.read(PREFIX_BYTES)
            data = prefix + self._source.read(header_length(prefix) - PREFIX_BYTES)
            self.header: Header = parse_header(data)
        except BadCodesError as error:
            raise BadCodesError(f"{self._source.name}: {error}") from None
        return data

    def _num_samples_from_the_end(self, header: AudioHeader) -> int | None:
        """Of a seekable stream; None if its end marker is missing or damaged, which reading it through then says."""
        size = self._source.size() or 0
        if size < self._body + END_BYTES:
            return None
        self._source.seek(size - END_BYTES)
        num_samples = decode_end(header, self._header_crc, self._source.read(END_BYTES))
        self._source.seek(self._body)
        return num_samples

    # Packets, one after another

    def _go_to(self, index: int) -> None:
        """Places the source at packet `index`; a pipe reads its way there."""
        size = self._source.size()
        if size is not None:
            step = packet_size(self.header, self.header.frames_per_packet)
            self._next = min(index, (size - self._body) // step)  # a forged length may point beyond any file
            self._frames_before = self._next * self.header.frames_per_packet
            if self._next < index:
                self._raise_truncated("the file ends before the frames asked for")
            self._source.seek(self._body + index * step)
        elif index < self._next:
            raise io.UnsupportedOperation(f"{self._source.name}: a pipe can't go back; copy it to a file first")
        while self._next < index and self._read_packet(conceal=True) is not None:
            pass

    def _read_packet(self, conceal: bool) -> np.ndarray | None:
        """The packet at the source's place, or None after the last, where the file must end."""
        total = self.num_frames
        if total is None:
            assert self._stream is not None
            return self._read_unforeseen(conceal, self._stream)
        frames = min(self.header.frames_per_packet, total - self._frames_before)
        if frames <= 0:
            self._check_end()
            return None
        return self._decode(frames, b"", conceal, size_is_sure=True)

    def _read_unforeseen(self, conceal: bool, header: AudioHeader) -> np.ndarray | None:
        """As `_read_packet`, in a stream of unknown length: the packet's own head says how long it is."""
        kind = self._source.read(1)
        if kind == END:
            self._read_end(kind, header)
            return None
        if not kind:
            self._raise_truncated("a stream ends with an end marker, and it is missing")
        frames = self.header.frames_per_packet
        if kind == SHORT:
            kind += self._source.read(2)
            if len(kind) < 3:
                self._raise_truncated("its head is cut off")
            frames = short_frames(kind[1:])
        after_full = self._frames_before == self._next * self.header.frames_per_packet
        fits = kind == FULL or (kind[:1] == SHORT and 1 <= frames < self.header.frames_per_packet)
        if not (after_full and fits):
            self._raise(f"packet {self._next} at {self._here()} is damaged in its head, {self._mend()}")
        return self._decode(frames, kind, conceal, size_is_sure=kind == FULL)

    def _decode(self, frames: int, head: bytes, conceal: bool, size_is_sure: bool) -> np.ndarray:
        """Reads and decodes the packet whose first bytes `head` are read already."""
        start, stop = self._frames_before, self._frames_before + frames
        data = head + self._source.read(packet_size(self.header, frames) - len(head))
        if len(data) < packet_size(self.header, frames):
            self._raise_truncated(f"{len(data)} bytes of {packet_size(self.header, frames)}")
        try:
            codes = decode_packet(self.header, self._header_crc, self._next, frames, data)
        except DamagedPayloadError as error:
            damage = DamagedPacket(self._next, start, stop, self.header.span(start, stop), str(error))
            message = f"packet {damage.index}{self._of_all()}, {damage.place}, is damaged: {error}"
            if not conceal:
                self._raise(f"{message}; fetch the file again, or conceal damage to lose only this part")
            if not size_is_sure:
                self._raise(f"{message}, {self._mend()}")
            self._damaged[damage.index] = damage
            codes = np.full((self.header.channels, self.header.num_quantizers, frames), -1, np.int64)
        self._next += 1
        self._frames_before += frames
        return codes

    # Ends and errors

    def _check_end(self) -> None:
        """After the last packet: a stream's end marker, and nothing more."""
        if self._stream is not None:
            self._read_end(self._source.read(1), self._stream)
        elif self._source.read(1):
            self._raise_trailing()

    def _read_end(self, kind: bytes, header: AudioHeader) -> None:
        data = kind + self._source.read(END_BYTES - 1)
        if len(data) < END_BYTES:
            self._raise_truncated("its end marker is cut off")
        num_samples = decode_end(header, self._header_crc, data)
        if num_samples is None or header.frames_for(num_samples) != self._frames_before:
            self._raise(f"end marker after {self._here()} is damaged, {self._mend()}")
        if self._source.read(1):
            self._raise_trailing()
        self.num_samples = num_samples

    def _raise_truncated(self, detail: str) -> NoReturn:
        mend = "fetch or encode it again"
        if isinstance(self.header, AudioHeader):  # half a recording can be heard; half a grid is no image
            mend = f"fetch it again, or decode the {self._frames_before} frames before"
        self._raise(f"truncated in packet {self._next}{self._of_all()} at {self._here()} ({detail}); {mend}")

    def _raise_trailing(self) -> NoReturn:
        self._raise("bytes follow the end of the codes; fetch or encode the file again")

    def _raise(self, message: str) -> NoReturn:
        raise BadCodesError(f"{self._source.name}: {message}")

    def _mend(self) -> str:
        return f"and where the next packet begins is lost; decode the {self._frames_before} frames before"

    def _of_all(self) -> str:
        frames = self.num_frames
        return "" if frames is None else f" of {-(-frames // self.header.frames_per_packet)}"

    def _here(self) -> str:
        return self.header.place(self._frames_before)


def read_codes(source: str | os.PathLike[str] | IO[bytes]) -> tuple[Header, np.ndarray]:
    """Header and codes, int64 [C, Q, F], of a whole `.codes` file. Errors: those of `CodesReader`."""
    with CodesReader(source) as reader:
        return reader.header, reader.read()
