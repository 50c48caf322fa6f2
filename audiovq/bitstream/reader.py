"""Reads a `.codes` file: whole, packet by packet, or only the packets of a range of frames.

Damage is found by CRC and costs only its own packet. Memory and work are bounded by the bytes that were read, never by
what a header claims: a byte of payload stands for at most 8 codes, entropy-coded for 8 * 16.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from types import TracebackType
from typing import IO, Any, Literal

import numpy as np

from audiovq.bitstream.coder import PacketCoder
from audiovq.bitstream.describe import describe
from audiovq.bitstream.header import PREFIX_BYTES, Header, crc_of, header_length
from audiovq.bitstream.media import parse_header
from audiovq.bitstream.packet import DamagedPayloadError, Packets
from audiovq.bitstream.source import ByteSource
from audiovq.bitstream.walk import Packet, PacketWalk
from audiovq.errors import BadCodesError

CoderSource = PacketCoder | Callable[[Header], PacketCoder | None] | None


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
        coder: of entropy-coded files, or a function that finds it, called when codes are first asked for. Without it
            such a file can be described and its checks verified, but its codes can't be read.
        on_damage: "raise", or "conceal": the codes of a damaged packet are -1, and `damaged` lists it. A damaged
            header, a truncated file, and packets whose places are lost raise in either case.

    Attributes:
        header: as in the file.

    Raises:
        BadCodesError: not a `.codes` file, unknown version, or a damaged header.
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | IO[bytes],
        coder: CoderSource = None,
        *,
        on_damage: Literal["raise", "conceal"] = "raise",
    ) -> None:
        if on_damage not in ("raise", "conceal"):
            raise ValueError(f"on_damage={on_damage!r}; wanted 'raise' or 'conceal'")
        self._conceal = on_damage == "conceal"
        self._damaged: dict[int, DamagedPacket] = {}
        self._source = ByteSource(source)
        self._coder = coder
        try:
            data = self._read_header()
        except BaseException:
            self.close()
            raise
        self._packets = Packets(self.header, crc_of(data))
        self._walk = PacketWalk(self._source, self._packets, len(data))

    @property
    def num_samples(self) -> int | None:
        """Of a recording, the header's; of a stream, the end marker's as soon as it is known (at once where the source
        is seekable), before that None."""
        return self._walk.num_samples

    @property
    def num_frames(self) -> int | None:
        """Frames per channel, None while the length of a stream is not known."""
        return self._walk.num_frames

    @property
    def damaged(self) -> list[DamagedPacket]:
        """The damaged packets met so far, in order."""
        return [self._damaged[index] for index in sorted(self._damaged)]

    def packets(self) -> Iterator[np.ndarray]:
        """Codes of each packet in turn, int64 [C, Q, F]; F is `header.frames_per_packet` but for the last.

        Raises:
            BadCodesError: damage (unless concealed), truncation, bytes after the end, or no coder.
        """
        coder = self._needed_coder()
        self._walk.go_to(0)
        while (packet := self._walk.next(self._conceal)) is not None:
            yield self._codes(packet, coder)

    def next_packet(self) -> np.ndarray | None:
        """Codes of the packet at the source's place, or None after the last. Errors: those of `packets`.

        Nothing but the source's place has changed if the source raises an error of its own.
        """
        packet = self._walk.next(self._conceal)
        return None if packet is None else self._codes(packet, self._needed_coder())

    def read(self, start_frame: int = 0, stop_frame: int | None = None) -> np.ndarray:
        """Codes of frames start_frame .. stop_frame - 1, int64 [C, Q, F].

        A seekable source is read only where these frames are. Frames past the end are left out, as in a slice; negative
        ones are refused. Errors: those of `packets`, and those after the last packet only if the range reaches the end.
        """
        if start_frame < 0 or (stop_frame is not None and stop_frame < start_frame):
            raise ValueError(f"frames {start_frame} to {stop_frame}; wanted 0 <= start <= stop")
        header, total, coder = self.header, self.num_frames, self._needed_coder()
        if total is not None:
            start_frame = min(start_frame, total)
            stop_frame = None if stop_frame is None or stop_frame >= total else stop_frame
        position = start_frame // header.frames_per_packet * header.frames_per_packet
        self._walk.go_to(start_frame // header.frames_per_packet)
        parts = [np.zeros((header.channels, header.num_quantizers, 0), np.int64)]
        while stop_frame is None or position < stop_frame:  # None: to the end, which is checked
            packet = self._walk.next(self._conceal)
            if packet is None:
                break
            codes = self._codes(packet, coder)
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
            self._walk.go_to((stop_frame - 1) // self.header.frames_per_packet)

    def verify(self) -> list[DamagedPacket]:
        """Reads every packet and returns the damaged ones; an empty list: the file is as it was written.

        Without the coder of an entropy-coded file its checks alone are verified, not its codes.

        Raises:
            BadCodesError: truncated, bytes after the end, or packet places lost.
        """
        for _ in self.checks():
            pass
        return self.damaged

    def checks(self) -> Iterator[bool]:
        """Whether each packet in turn is as it was written; as `verify`."""
        coder = self._found_coder()
        self._walk.go_to(0)
        while (packet := self._walk.next(conceal=True)) is not None:
            if packet.payload is None:
                self._note(packet, packet.reason)
            elif coder is not None or not self._packets.coded:
                self._codes(packet, coder, conceal=True)
            yield packet.index not in self._damaged

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

    def _found_coder(self) -> PacketCoder | None:
        """The coder that was given; BadCodesError for another one than the file's."""
        if not self._packets.coded:
            return None
        coder = self._coder(self.header) if callable(self._coder) else self._coder
        if coder is not None:
            self.header.check_coder(coder, self._source.name)
        return coder

    def _needed_coder(self) -> PacketCoder | None:
        coder = self._found_coder()
        if coder is None and self.header.coder is not None:
            raise BadCodesError(
                f"{self._source.name}: entropy-coded with {self.header.coding.name.lower()} {self.header.coder.hex()},"
                f" and the model at hand has no such coder; name the {self.header.model} that has it with --model"
            )
        return coder

    def _codes(self, packet: Packet, coder: PacketCoder | None, conceal: bool | None = None) -> np.ndarray:
        """Of a packet, -1 for one that is lost."""
        frames = packet.stop - packet.start
        reason = packet.reason
        if packet.payload is not None:
            try:
                return self._packets.codes(packet.payload, frames, coder)
            except DamagedPayloadError as error:
                reason = str(error)
        if not (self._conceal if conceal is None else conceal):
            self._walk.raise_lost(replace(packet, reason=reason))
        self._note(packet, reason)
        return np.full((self.header.channels, self.header.num_quantizers, frames), -1, np.int64)

    def _note(self, packet: Packet, reason: str) -> None:
        place = self.header.span(packet.start, packet.stop)
        self._damaged[packet.index] = DamagedPacket(packet.index, packet.start, packet.stop, place, reason)


def read_codes(source: str | os.PathLike[str] | IO[bytes], coder: CoderSource = None) -> tuple[Header, np.ndarray]:
    """Header and codes, int64 [C, Q, F], of a whole `.codes` file. Arguments and errors: those of `CodesReader`."""
    with CodesReader(source, coder) as reader:
        return reader.header, reader.read()
