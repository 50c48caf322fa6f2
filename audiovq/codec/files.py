"""Audio file to `.codes` file and back with a `Codec`: each a path or a binary file object, which may be a pipe.

Files appear whole or not at all.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from audiovq.bitstream import CodesWriter
from audiovq.codec.codec import Codec
from audiovq.codec.sound import open_sound
from audiovq.codec.source import FrameSource
from audiovq.data.audio_writer import CONTAINERS, check_writable, open_writer
from audiovq.data.files import check_target, open_output
from audiovq.errors import OutputError

File = str | Path | BinaryIO


@dataclass(frozen=True)
class FileReport:
    """What became of one file: seconds of sound, bytes written, and seconds of work (reading and writing included)."""

    seconds: float
    num_bytes: int
    elapsed: float

    @property
    def bits_per_second(self) -> float:
        """Measured from the bytes written, headers and checksums included."""
        return 8 * self.num_bytes / self.seconds if self.seconds else 0.0

    @property
    def times_real_time(self) -> float:
        """Seconds of sound per second of work."""
        return self.seconds / self.elapsed if self.elapsed else 0.0

    @property
    def summary(self) -> str:
        """For a line about the file."""
        rate = f"{self.bits_per_second / 1000:.2f} kbit/s"
        return f"{self.seconds:.2f} s, {self.num_bytes} bytes, {rate}, {self.times_real_time:.1f} x real time"

    @staticmethod
    def together(reports: Sequence[FileReport], elapsed: float) -> str:
        """The same of several files, done in so many seconds."""
        return FileReport(sum(r.seconds for r in reports), sum(r.num_bytes for r in reports), elapsed).summary


def encode_file(
    codec: Codec, source: File, target: File, *, force: bool = False, allow_short: bool = False, **options: Any
) -> FileReport:
    """Audio to codes.

    `options` and errors as of `Codec.encode`; BadAudioError if `source` is not audio, or less than it says it is
    (`allow_short` takes what is there), OutputError if `target` exists and `force` is false.
    """
    began = time.perf_counter()
    # first of all the output: that it can be written is known before the work
    with open_output(target, force=force, source=source) as file, open_sound(source, allow_short=allow_short) as sound:
        header, blocks = codec.encode_pieces(sound, **options)
        with CodesWriter(file, header) as writer:
            for codes in blocks:
                writer.write(codes)
    return FileReport(sound.num_samples / sound.rate, writer.num_bytes, time.perf_counter() - began)


def decode_file(
    codec: Codec,
    source: File | FrameSource,
    target: File,
    *,
    force: bool = False,
    conceal: bool = False,
    raw: bool = False,
    **options: Any,
) -> FileReport:
    """Codes to audio: by the suffix of a path (.wav, .flac, .ogg), wav to a file object; bare 16-bit samples if `raw`.

    `options` and errors as of `Codec.decode`; OutputError if `target` exists and `force` is false.
    """
    began = time.perf_counter()
    place = source.name if isinstance(source, FrameSource) else source
    if isinstance(target, str | Path):
        if not raw:
            _check_suffix(Path(target))  # before the work, not after it
        check_target(target, force=force, source=place)
    frames = source if isinstance(source, FrameSource) else FrameSource(source, conceal=conceal)
    if not raw:
        check_writable(target, frames.header.channels, frames.num_samples, frames.header.sample_rate)
    with frames:
        sound = codec.decode_pieces(frames, **options)
        shape = sound.channels, sound.rate, sound.num_samples
        with open_writer(target, *shape, raw=raw, force=force, source=place) as writer:
            for piece in sound.pieces():
                writer.write(piece)
    return FileReport(sound.num_samples / sound.rate, writer.num_bytes, time.perf_counter() - began)


def _check_suffix(target: Path) -> None:
    if target.suffix.lower() not in CONTAINERS:
        raise OutputError(f"{target}: can't write this kind of file; name it {', '.join(CONTAINERS)}")
