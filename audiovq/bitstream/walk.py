"""The way through the packets of a `.codes` file: one after another, to any one of them, and on after damage.

Packed packets have places that follow from the header. Entropy-coded ones have lengths, over which a seek skips. Where
a length is damaged, the packets behind it are looked for by their checks (`_find_again`).
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import NoReturn

from audiovq.bitstream.media import AudioHeader
from audiovq.bitstream.packet import END_BYTES, Found, Packets, Size
from audiovq.bitstream.source import ByteSource
from audiovq.errors import BadCodesError

_WINDOW = 1 << 15  # bytes in which packets are looked for
_MOST_LOST = 3  # packets in a row that can be passed over
_TRIES = 200_000  # places looked at in one file, about a second of work


@dataclass(frozen=True)
class Packet:
    """A packet's number from 0, its frames start .. stop - 1, and its payload, or why it is lost."""

    index: int
    start: int
    stop: int
    payload: bytes | None
    reason: str


class PacketWalk:
    """Stands before one packet of a source, and moves.

    Attributes:
        num_samples: of a recording; of a stream None until its end marker was read.
    """

    def __init__(self, source: ByteSource, packets: Packets, body: int) -> None:
        self._source, self._packets, self.header = source, packets, packets.header
        self._step = packets.header.frames_per_packet
        self._index = 0  # number of the packet at the source's place
        self._before = 0  # frames in the packets before it
        self._places = [body]  # of the packets 0, 1, ..., as their lengths have it
        self._skipped = False  # lengths on the way here were not checked
        self._trusting = True  # none was found to be wrong yet
        self._passed_over = 0  # packets that are lost before the one at the source's place
        self._tries = _TRIES
        self.num_samples = self.header.num_samples if isinstance(self.header, AudioHeader) else None
        if packets.counted and source.seekable:
            self.num_samples = self._num_samples_from_the_end(body)

    @property
    def num_frames(self) -> int | None:
        """Frames per channel, None while the length of a stream is not known."""
        if isinstance(self.header, AudioHeader) and self.num_samples is not None:
            return self.header.frames_for(self.num_samples)
        return self.header.num_frames

    def go_to(self, index: int) -> None:
        """Places the source before packet `index`; a pipe reads its way there."""
        if not self._source.seekable:
            if index < self._index:
                raise io.UnsupportedOperation(f"{self._source.name}: a pipe can't go back; copy it to a file first")
            self._walk_to(index)
        elif self._packets.coded:
            self._skip_to(index)
        else:
            step = self._packets.most_bytes
            size = self._source.size() or 0
            self._stand(min(index, (size - self._places[0]) // step))  # a forged length may point beyond any file
            if self._index < index:
                self._raise_truncated("the file ends before the frames asked for")
            self._source.seek(self._places[0] + index * step)

    def next(self, conceal: bool) -> Packet | None:
        """The next packet, None behind the last, where the source must end; a damaged one too, if `conceal`.

        If the source says that there are no bytes now, only its own place has changed, and it can be asked again.
        """
        kept = self._source.ahead, self._passed_over
        try:
            return self._next(conceal)
        except BlockingIOError:
            self._source.ahead, self._passed_over = kept
            raise

    def _next(self, conceal: bool) -> Packet | None:
        if self._passed_over:
            self._passed_over -= 1
            return self._moved(self._frames_lost(), None, "the length of a packet before it is damaged")
        frames = self._expected(self._index)
        if frames == 0 and not self._packets.counted:
            self._check_nothing_follows()
            return None
        found = self._packets.find(self._source.read, self._index, frames)
        if not found.is_whole and self._skipped:
            found = self._found_with_care(self._index)
        if found.num_samples is not None:
            self._end(found.num_samples)
            return None
        index, frames = self._index, found.frames
        if not found.is_whole:
            if not conceal:
                self._raise_damaged(found)
            frames = self._go_on_behind(found)
        elif self._before != index * self._step:
            self._raise(f"packet {index} at {self._here()} follows a short one, {self._mend()}")
        return self._moved(frames, found.payload, found.reason)

    def raise_lost(self, packet: Packet) -> NoReturn:
        """BadCodesError for a packet whose codes can't be had."""
        index, place = packet.index, self.header.span(packet.start, packet.stop)
        self._raise(
            f"packet {index}{self._of_all()}, {place}, is damaged: {packet.reason}; fetch the file again, or conceal"
            " damage to lose only this part"
        )

    # Places

    def _stand(self, index: int) -> None:
        self._index, self._before = index, index * self._step
        self._skipped, self._passed_over = False, 0

    def _moved(self, frames: int, payload: bytes | None, reason: str) -> Packet:
        packet = Packet(self._index, self._before, self._before + frames, payload, reason)
        self._index += 1
        self._before += frames
        return packet

    def _expected(self, index: int) -> int | None:
        """Frames of a packet, 0 behind the last; None where the length of a stream is not known."""
        total = self.num_frames
        return None if total is None else max(0, min(self._step, total - index * self._step))

    def _walk_to(self, index: int) -> None:
        """Reads all packets on the way."""
        while self._index < index and self.next(conceal=True) is not None:
            pass

    def _skip_to(self, index: int) -> None:
        """Believes the lengths of entropy-coded packets on the way, as long as they can be right."""
        size = self._source.size() or 0
        while self._trusting and len(self._places) <= index:
            reached = len(self._places) - 1
            if self._expected(reached) == 0:
                index = reached
                break
            self._source.seek(self._places[reached])
            step = self._packets.size(self._source.read, self._expected(reached))
            self._trusting = step is not None and self._places[reached] + step <= size
            if step is not None:
                self._places.append(self._places[reached] + step)
        self._stand(index if self._trusting else 0)
        self._source.seek(self._places[self._index])
        self._skipped = self._index > 0
        self._walk_to(index)

    def _found_with_care(self, index: int) -> Found:
        """What stands at the place of a packet once every packet on the way there was checked."""
        self._trusting = False
        self._skip_to(index)
        return self._packets.find(self._source.read, self._index, self._expected(self._index))

    # Damage

    def _go_on_behind(self, found: Found) -> int:
        """Places the source behind a damaged packet and returns the frames that are lost with it."""
        if found.size is Size.SURE and not found.cut_off:
            return found.frames
        if found.size is Size.CLAIMED and not found.cut_off and self._next_stands_here():
            return found.frames
        if found.size is not Size.SURE and self._find_again(found):
            return self._frames_lost()
        if found.cut_off:
            self._raise_truncated(found.reason)
        if found.size is Size.LOST or self._expected(self._index) is None:
            self._raise(f"packet {self._index} at {self._here()} is damaged: {found.reason}, {self._mend()}")
        return found.frames

    def _next_stands_here(self) -> bool:
        """Whether the source goes on with the next packet, or ends, as it should."""
        frames = self._expected(self._index + 1)
        if frames == 0 and not self._packets.counted:
            byte = self._source.read(1)
            self._source.unread(byte)
            return not byte
        found = self._packets.find(self._source.read, self._index + 1, frames)
        self._source.unread(found.data)
        return found.is_whole

    def _find_again(self, damaged: Found) -> bool:
        """Looks behind the first byte of a damaged packet for two later ones, or one and the end, that are whole.

        Two, as the check of one has 24 bits and thousands of places are looked at.
        """
        most = 4 * self._packets.most_bytes
        if most > _WINDOW:
            return False
        window = damaged.data + self._source.read(max(0, most - len(damaged.data)))
        ended = len(window) < most and not damaged.cut_off
        for lost in range(1, _MOST_LOST + 1):
            if self._expected(self._index + lost - 1) == 0:
                break
            for place in range(1, len(window) + 1):
                self._tries -= 1
                if self._tries > 0 and self._goes_on(window, place, self._index + lost, ended):
                    self._source.unread(window[place:])
                    self._passed_over = lost - 1
                    return True
        self._source.unread(window[len(damaged.data) :])
        return False

    def _goes_on(self, window: bytes, place: int, index: int, ended: bool) -> bool:
        file = io.BytesIO(window)
        file.seek(place)
        for number in (index, index + 1):
            frames = self._expected(number)
            if frames == 0 and not self._packets.counted:
                return ended and file.tell() == len(window)
            found = self._packets.find(file.read, number, frames)
            if found.num_samples is not None:
                return ended and file.tell() == len(window)
            if not found.is_whole:
                return False
        return True

    def _frames_lost(self) -> int:
        """Of the next packet that is passed over, after `_find_again`: its own number is not to be believed."""
        frames = self._expected(self._index)
        if frames is not None:
            return frames
        found = self._packets.find(self._source.read, self._index + 1 + self._passed_over, None)
        self._source.unread(found.data)
        if found.num_samples is None or self._passed_over:
            return self._step
        assert isinstance(self.header, AudioHeader)
        return max(1, min(self._step, self.header.frames_for(found.num_samples) - self._before))

    # Ends and errors

    def _num_samples_from_the_end(self, body: int) -> int | None:
        """Of a seekable stream; None if its end marker is missing or damaged, which reading it through then says."""
        size = self._source.size() or 0
        if size < body + END_BYTES:
            return None
        self._source.seek(size - END_BYTES)
        num_samples = self._packets.samples_of_end(self._source.read(END_BYTES))
        self._source.seek(body)
        return num_samples

    def _end(self, num_samples: int) -> None:
        assert isinstance(self.header, AudioHeader)
        if self.header.frames_for(num_samples) != self._before:
            self._raise(f"end marker after {self._here()} is damaged, {self._mend()}")
        self._check_nothing_follows()
        self.num_samples = num_samples

    def _check_nothing_follows(self) -> None:
        if self._source.read(1):
            self._raise("bytes follow the end of the codes; fetch or encode the file again")

    def _raise_damaged(self, found: Found) -> NoReturn:
        if found.cut_off:
            self._raise_truncated(found.reason)
        if not found.frames:
            self._raise(f"{self._here()}: {found.reason}, {self._mend()}")
        stop = self._before + found.frames
        self.raise_lost(Packet(self._index, self._before, stop, None, found.reason))

    def _raise_truncated(self, detail: str) -> NoReturn:
        mend = "fetch or encode it again"
        if isinstance(self.header, AudioHeader):  # half a recording can be heard; half a grid is no image
            mend = f"fetch it again, or decode the {self._before} frames before"
        self._raise(f"truncated in packet {self._index}{self._of_all()} at {self._here()} ({detail}); {mend}")

    def _raise(self, message: str) -> NoReturn:
        raise BadCodesError(f"{self._source.name}: {message}")

    def _mend(self) -> str:
        return f"and where the next packet begins is lost; decode the {self._before} frames before"

    def _of_all(self) -> str:
        frames = self.num_frames
        return "" if frames is None else f" of {-(-frames // self._step)}"

    def _here(self) -> str:
        return self.header.place(self._before)
