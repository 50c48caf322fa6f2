"""Audio file to `.codes` file and back with a `Codec`: each a path or a binary file object, which may be a pipe.

Files appear whole or not at all. `encode_live` and `decode_live` are for pipes: what comes goes on block after block,
while more arrives.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from audiovq.bitstream import AudioHeader, CodesWriter
from audiovq.bitstream.reader import CoderSource
from audiovq.codec.code_streams import Progress, SoundStream
from audiovq.codec.codec import Codec
from audiovq.codec.sound import Waveform, open_sound
from audiovq.codec.source import FrameSource
from audiovq.codec.streams import DecoderStream
from audiovq.data.audio_writer import CONTAINERS, AudioWriter, check_writable, open_writer
from audiovq.data.files import check_target, open_output, write_all
from audiovq.data.live import LiveSound
from audiovq.errors import OutputError

File = str | Path | BinaryIO
_AT_ONCE = 1 << 12  # bytes asked for; a pipe gives what there is


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
        with CodesWriter(file, header, codec.coder_of(header)) as writer:
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


def encode_live(
    codec: Codec,
    sound: LiveSound,
    target: File,
    *,
    force: bool = False,
    allow_short: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> FileReport:
    """Sound to the packets of a stream, each written as soon as it is full.

    `options` and errors as of `Codec.encoder_stream`; BadAudioError for sound that ends too soon, OutputError if
    `target` exists and `force` is false.
    """
    began = time.perf_counter()
    num_bytes = num_samples = 0
    with open_output(target, force=force) as file:
        announced = None if allow_short else sound.num_samples
        stream = codec.encoder_stream(sound.rate, sound.channels, num_samples=announced, **options)

        def put(data: bytes) -> None:
            nonlocal num_bytes
            num_bytes += len(data)
            if data:
                write_all(file, data)
                file.flush()

        for block in sound.blocks(allow_short=allow_short):
            put(stream.push(block))
            num_samples += block.shape[1]
        put(stream.flush())
    return FileReport(num_samples / sound.rate, num_bytes, time.perf_counter() - began)


def decode_live(
    start: Callable[[AudioHeader], SoundStream],
    coder: CoderSource,
    source: BinaryIO,
    target: BinaryIO,
    *,
    raw: bool = False,
    conceal: bool = False,
) -> FileReport:
    """The bytes of a `.codes` file or stream to wav, or to bare 16-bit samples (`raw`), each written when it is known.

    start, coder, conceal, errors: as of `DecoderStream`.
    """
    began = time.perf_counter()
    stream = DecoderStream(start, coder, conceal=conceal)
    with ExitStack() as stack:
        writer: AudioWriter | None = None
        for block in _heard(stream, source):
            if writer is None:
                assert stream.header is not None
                shape = stream.header.channels, stream.header.sample_rate, stream.header.num_samples
                writer = stack.enter_context(open_writer(target, *shape, raw=raw))
            writer.write(block)
    assert writer is not None
    assert stream.header is not None
    return FileReport(writer.num_samples / stream.header.sample_rate, writer.num_bytes, time.perf_counter() - began)


def _heard(stream: DecoderStream, source: BinaryIO) -> Iterator[Waveform]:
    """Blocks of sound; one at least, as soon as there is a header."""
    told = False
    while data := source.read1(_AT_ONCE) if isinstance(source, io.BufferedReader) else source.read(_AT_ONCE):
        yield from stream.blocks(data)
        if stream.header is not None and not told:
            told = True
            yield stream.push(b"")
    yield from stream.last_blocks()
