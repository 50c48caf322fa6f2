"""Audio file to `.codes` file and back with a `Codec`: each a path or a binary file object, which may be a pipe.

Files appear whole or not at all.
"""

from __future__ import annotations

import io
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from audiovq.bitstream import write_codes
from audiovq.codec.codec import Codec
from audiovq.codec.source import FrameSource
from audiovq.data.audio import read_audio, write_audio
from audiovq.data.audio_reader import name_of
from audiovq.data.audio_writer import CONTAINERS, check_writable
from audiovq.data.files import check_target, open_output, write_all
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


def encode_file(
    codec: Codec, source: File, target: File, *, force: bool = False, allow_short: bool = False, **options: Any
) -> FileReport:
    """Audio to codes.

    `options` and errors as of `Codec.encode`; BadAudioError if `source` is not audio, or less than it says it is
    (`allow_short` takes what is there), OutputError if `target` exists and `force` is false.
    """
    began = time.perf_counter()
    with open_output(target, force=force, source=source) as file:  # before the work: that it can be written is known
        waveform, rate = read_audio(source, allow_short=allow_short)
        encoded = codec.encode(waveform, rate, name=name_of(source), **options)
        num_bytes = write_codes(file, encoded.header, encoded.codes)
    return FileReport(waveform.shape[1] / rate, num_bytes, time.perf_counter() - began)


def decode_file(
    codec: Codec,
    source: File | FrameSource,
    target: File,
    *,
    force: bool = False,
    conceal: bool = False,
    **options: Any,
) -> FileReport:
    """Codes to audio: by the suffix of a path (.wav, .flac, .ogg), wav to a file object.

    `options` and errors as of `Codec.decode`; OutputError if `target` exists and `force` is false.
    """
    began = time.perf_counter()
    if isinstance(target, str | Path):
        _check_suffix(Path(target))  # before the work, not after it
        check_target(target, force=force, source=source.name if isinstance(source, FrameSource) else source)
    frames = source if isinstance(source, FrameSource) else FrameSource(source, conceal=conceal)
    check_writable(target, frames.header.channels, frames.num_samples, frames.header.sample_rate)
    waveform, rate = codec.decode(frames, **options), frames.header.sample_rate
    if isinstance(target, str | Path):
        write_audio(target, waveform, rate, force=force)
        num_bytes = Path(target).stat().st_size
    else:
        memory = io.BytesIO()
        write_audio(memory, waveform, rate)
        num_bytes = len(memory.getvalue())
        write_all(target, memory.getvalue())
    return FileReport(waveform.shape[1] / rate, num_bytes, time.perf_counter() - began)


def _check_suffix(target: Path) -> None:
    if target.suffix.lower() not in CONTAINERS:
        raise OutputError(f"{target}: can't write this kind of file; name it {', '.join(CONTAINERS)}")
