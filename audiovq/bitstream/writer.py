"""Writes a `.codes` file packet by packet, as codes arrive. Memory does not grow with the length.

`CodesWriter` knows only a file object. Its caller has to make sure that no half-written file is left; `write_codes`
does so.
"""

from __future__ import annotations

import os
from types import TracebackType
from typing import IO

import numpy as np

from audiovq.bitstream.coder import Coding, PacketCoder
from audiovq.bitstream.header import Header, crc_of
from audiovq.bitstream.media import AudioHeader
from audiovq.bitstream.packet import Packets
from audiovq.data.files import open_output, write_all
from audiovq.errors import BadCodesError

_PACKETS = 64  # written at once


class CodesWriter:
    """Writes the header at once, every packet as soon as it is full, and the rest on `close`.

    Used in a `with` block, it closes itself when the block ends without an error. It never closes `fileobj`.

    Args:
        fileobj: binary, writable; need not be seekable.
        header: with `num_samples=None` for a stream, whose length `close` then takes.
        coder: that the header names, unless it says packed bits.

    Raises:
        BadCodesError: no coder, or another one than the header's.
    """

    def __init__(self, fileobj: IO[bytes], header: Header, coder: PacketCoder | None = None) -> None:
        if header.coding != Coding.PACKED:
            if coder is None:
                raise BadCodesError(f"no coder was given for codes that the header says are in {header.coding.name}")
            header.check_coder(coder, "<codes>")
        self.header = header
        self.num_frames = 0  # taken so far
        self.num_bytes = 0  # written so far
        self._file = fileobj
        self._coder = coder
        self._written = 0  # packets
        self._pending = np.zeros((header.channels, header.num_quantizers, 0), np.int64)
        self._closed = False
        data = header.to_bytes()
        self._packets = Packets(header, crc_of(data))
        self._write(data)

    def write(self, codes: np.ndarray) -> None:
        """Appends codes, integers [C, Q, F], any F.

        Raises:
            BadCodesError: wrong shape or type, a code that its codebook does not have, or more frames than the header
                has place for.
        """
        codes = self._checked(np.asarray(codes))
        self.num_frames += codes.shape[2]
        pending = np.concatenate([self._pending, codes], axis=2)
        step = self.header.frames_per_packet
        whole = pending.shape[2] // step * step
        for start in range(0, whole, step):
            self._write_packet(pending[:, :, start : start + step])
        self._pending = pending[:, :, whole:].copy()

    def close(self, num_samples: int | None = None) -> None:
        """Writes the last packet, and a stream's end marker.

        Args:
            num_samples: per channel at the input's rate; needed for a stream, and only there.

        Raises:
            BadCodesError: the frames written are not those of so many samples.
        """
        if self._closed:
            return
        header, wanted = self.header, self.header.num_frames
        if (wanted is None) == (num_samples is None):
            raise BadCodesError(
                "close needs num_samples for a stream, whose header has none, and only there;"
                f" the header says {wanted} frames, close got {num_samples}"
            )
        if num_samples is not None and isinstance(header, AudioHeader):
            wanted = header.frames_for(num_samples)
        if self.num_frames != wanted:
            raise BadCodesError(f"{self.num_frames} frames were written; {self._length(num_samples)} need {wanted}")
        self._closed = True
        if self._pending.shape[2]:
            self._write_packet(self._pending)
        if num_samples is not None:
            self._write(self._packets.write_end(self._written, num_samples))

    def __enter__(self) -> CodesWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()

    def _checked(self, codes: np.ndarray) -> np.ndarray:
        header = self.header
        if self._closed:
            raise BadCodesError("codes written after close")
        if (
            codes.ndim != 3
            or codes.shape[:2] != (header.channels, header.num_quantizers)
            or codes.dtype.kind not in "iu"
        ):
            wanted = f"integers [{header.channels}, {header.num_quantizers}, F]"
            raise BadCodesError(f"codes are {codes.dtype} {list(codes.shape)}; the header wants {wanted}")
        for level, size in enumerate(header.codebook_sizes):
            row = codes[:, level]
            if row.size and not 0 <= row.min() <= row.max() < size:
                raise BadCodesError(
                    f"codes of level {level} go from {row.min()} to {row.max()}; its codebook has 0 to {size - 1}"
                )
        if header.num_frames is not None and self.num_frames + codes.shape[2] > header.num_frames:
            frames = self.num_frames + codes.shape[2]
            raise BadCodesError(f"{frames} frames; the header's {self._length()} need {header.num_frames}")
        return codes.astype(np.int64)

    def _length(self, num_samples: int | None = None) -> str:
        """What the number of frames follows from, for messages."""
        return f"{num_samples} samples" if num_samples is not None else self.header.length

    def _write_packet(self, codes: np.ndarray) -> None:
        self._write(self._packets.write(self._written, codes, self._coder))
        self._written += 1

    def _write(self, data: bytes) -> None:
        write_all(self._file, data)
        self.num_bytes += len(data)


def write_codes(
    target: str | os.PathLike[str] | IO[bytes],
    header: Header,
    codes: np.ndarray,
    coder: PacketCoder | None = None,
    *,
    force: bool = False,
) -> int:
    """Writes a whole `.codes` file from codes, integers [C, Q, F], and returns its bytes.

    Args:
        target: path, written under a temporary name and renamed; or a binary file object.
        header: with `num_samples` given.
        codes: all frames.
        coder: as of `CodesWriter`.
        force: overwrite an existing path.

    Raises:
        BadCodesError: see `CodesWriter`.
        OutputError: the path exists, or its folder is not writable.
    """
    step = _PACKETS * header.frames_per_packet
    with open_output(target, force=force) as file, CodesWriter(file, header, coder) as writer:
        for start in range(0, max(1, codes.shape[-1]), step):  # not one copy of all
            writer.write(codes[..., start : start + step])
    return writer.num_bytes
