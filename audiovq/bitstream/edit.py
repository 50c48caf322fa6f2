"""Parts of recordings, and several as one, in `.codes` files: codes are copied, not made again, and no model is needed.

Files are cut and joined between frames. So a recording that is decoded from a part has other sound within the decoder's
context of a cut, where the codes before are missing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from typing import IO, Any

import numpy as np

from audiovq.bitstream.coder import PacketCoder
from audiovq.bitstream.media import AudioHeader, as_audio
from audiovq.bitstream.reader import CodesReader
from audiovq.bitstream.writer import CodesWriter
from audiovq.errors import BadCodesError, ConfigError

_OWN = (
    "num_samples",
    "frames_per_packet",
    "coding",
    "coder",
)  # of each file, in which those that are joined may differ


def cut(
    reader: CodesReader,
    target: IO[bytes],
    name: str,
    *,
    start: float = 0.0,
    duration: float | None = None,
    coder: PacketCoder | None = None,
) -> int:
    """Write the frames of `duration` seconds from second `start` on, to the end if None; returns their number.

    Both are rounded to whole frames. The part has the samples that lie in its frames.

    Args:
        reader: of a recording; a pipe is read up to the part's end.
        target: binary, writable.
        name: of the source, for messages.
        coder: of the reader's file, if it is entropy-coded.

    Raises:
        BadCodesError: not the codes of a recording, or damaged ones.
        ConfigError: nothing lies there, or a rate at which a sample takes more than a frame.
    """
    header = as_audio(reader.header, name)
    if not header.sample_rate * header.hop_length >= header.model_sample_rate:
        raise ConfigError(f"{name}: at {header.sample_rate} Hz a sample takes more than a frame; it can't be cut")
    if not start >= 0 or (duration is not None and not duration > 0):
        raise ConfigError(f"start {start} s, duration {duration} s; give 0 or more, and more than 0")
    total, samples = reader.num_frames, reader.num_samples
    first = _frame(start, header)
    last = None if duration is None else max(first + 1, _frame(start + duration, header))
    if total is not None:
        last = total if last is None else min(last, total)
        if first >= last:
            seconds = (samples or 0) / header.sample_rate
            raise ConfigError(f"{name}: start {start:g} s is past its end at {seconds:.2f} s")
    length = None
    if last is not None and samples is not None:
        length = _length(last - first, samples - _samples(first, header), header)
    writer = CodesWriter(target, replace(header, num_samples=length), coder)
    for codes in _read(reader, first, last):
        writer.write(codes)
    if not writer.num_frames:
        raise ConfigError(f"{name}: start {start:g} s is past its end")
    if length is None:  # a pipe; its length is known only if it was read to its end
        rest = None if reader.num_samples is None else reader.num_samples - _samples(first, header)
        writer.close(_length(writer.num_frames, rest, header))
    else:
        writer.close()
    return writer.num_frames


def join(
    readers: Sequence[CodesReader], target: IO[bytes], names: Sequence[str], coder: PacketCoder | None = None
) -> int:
    """Write several recordings as one, one behind the other, in the coding of the first; returns the frames.

    Each keeps all its frames. Where a recording is no whole number of frames, what follows comes later by what its last
    one lacks, less than a frame.

    Args:
        readers: of recordings by one model, of one rate, number of channels and levels, gain and voice.
        target: binary, writable.
        names: of the sources, for messages.
        coder: of the first file, if it is entropy-coded.

    Raises BadCodesError for recordings that can't be joined, or damaged ones.
    """
    headers = [as_audio(reader.header, name) for reader, name in zip(readers, names, strict=True)]
    for header, name in zip(headers[1:], names[1:], strict=True):
        _check_alike(headers[0], header, names[0], name)
    known = [reader.num_samples for reader in readers]
    whole = _joined(headers, known) if None not in known else None
    writer = CodesWriter(target, replace(headers[0], num_samples=whole), coder)
    for reader in readers:
        for codes in _read(reader, 0, None):
            writer.write(codes)
    writer.close(None if whole is not None else _joined(headers, [reader.num_samples for reader in readers]))
    return writer.num_frames


def _frame(seconds: float, header: AudioHeader) -> int:
    """The nearest boundary of frames; beyond what any file has where that is infinite."""
    place = seconds * header.frame_rate
    return round(place) if place < 2**63 else 2**63


def _samples(frames: int, header: AudioHeader) -> int:
    """Samples at the input's rate that lie in so many frames."""
    return frames * header.hop_length * header.sample_rate // header.model_sample_rate


def _length(frames: int, left: int | None, header: AudioHeader) -> int:
    """Samples of a part of so many frames, of which the file has `left`; None: not known, and enough."""
    return _samples(frames, header) if left is None else min(_samples(frames, header), left)


def _joined(headers: Sequence[AudioHeader], samples: Sequence[int | None]) -> int:
    """Samples of recordings one behind the other."""
    counts = [count or 0 for count in samples]
    frames = [header.frames_for(count) for header, count in zip(headers, counts, strict=True)]
    length = _samples(sum(frames[:-1]), headers[0]) + counts[-1]
    while headers[0].frames_for(length) < sum(frames):  # what was rounded away above
        length += 1
    return min(length, max(_samples(sum(frames), headers[0]), 0)) if sum(frames) else 0


def _read(reader: CodesReader, first: int, last: int | None) -> Iterator[np.ndarray]:
    """Codes of frames first .. last - 1, packet by packet, as a pipe can be read too."""
    step = reader.header.frames_per_packet
    end = math.inf if last is None else last
    while first < end:
        stop = int(min((first // step + 1) * step, end))
        codes = reader.read(first, stop)
        yield codes
        if codes.shape[2] < stop - first:
            return
        first = stop


def _check_alike(first: AudioHeader, other: AudioHeader, first_name: str, name: str) -> None:
    for field in fields(AudioHeader):
        ours, theirs = getattr(first, field.name), getattr(other, field.name)
        if field.name not in _OWN and ours != theirs:
            what = field.name.replace("_", " ")
            raise BadCodesError(
                f"{name}: its {what} is {_shown(theirs)}, that of {first_name} is {_shown(ours)}; encode them alike"
            )


def _shown(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
