"""Pipes: sound to codes and back while it arrives, block after block through a stream."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, BinaryIO

from audiovq.bitstream import AudioHeader
from audiovq.codec.code_streams import Progress, SoundStream
from audiovq.codec.codec import Codec
from audiovq.codec.files import File, FileReport
from audiovq.codec.sound import Waveform
from audiovq.codec.streams import DecoderStream
from audiovq.data.audio_writer import AudioWriter, open_writer
from audiovq.data.files import open_output, write_all
from audiovq.data.live import LiveSound

_AT_ONCE = 1 << 12  # bytes asked for; a pipe gives what there is


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
    source: BinaryIO,
    target: BinaryIO,
    *,
    raw: bool = False,
    conceal: bool = False,
) -> FileReport:
    """The bytes of a `.codes` file or stream to wav, or to bare 16-bit samples (`raw`), each written when it is known.

    start, conceal, errors: as of `DecoderStream`.
    """
    began = time.perf_counter()
    stream = DecoderStream(start, conceal=conceal)
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
