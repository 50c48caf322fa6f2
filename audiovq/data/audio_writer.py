"""The one writer of sound: a file or a pipe that takes a recording block by block, none of which it keeps."""

from __future__ import annotations

import os
import struct
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any, BinaryIO, NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray

from audiovq.data.audio_reader import SAMPLE_BYTES, name_of
from audiovq.data.files import atomic_output, open_output, write_all
from audiovq.data.pcm import to_int16
from audiovq.errors import BadAudioError, OutputError

CONTAINERS = {".wav": "WAV", ".flac": "FLAC", ".ogg": "OGG"}  # what is written, by suffix


class Limits(NamedTuple):
    """What libsndfile can write: channels, rate in Hz (beyond `any_rate` in steps of `step`), fewest samples."""

    channels: int
    rate: int
    any_rate: int
    step: int = 1
    samples: int = 0


LIMITS = {
    "WAV": Limits(1024, 2**31 - 1, 2**31 - 1),
    "FLAC": Limits(8, 655350, 65535, step=10, samples=1),
    "OGG": Limits(255, 200000, 200000),  # beyond, the Vorbis encoder ends the process
}
_BLOCK = 1 << 16  # samples of all channels written at once; more than 2^21 overflow the stack of the Vorbis encoder
_WAV_BYTES = 2**32 - 2**16  # that the sizes of a wav file can tell of


class AudioWriter:
    """Takes the samples of a recording in their order; made by `open_writer`.

    Attributes:
        name: for messages.
        channels: of every block.
        num_samples: per channel, written so far.
        num_bytes: of the whole file, once it is there.
    """

    def __init__(self, put: Callable[[NDArray[Any]], None], name: str, channels: int, subtype: str) -> None:
        self._put, self._subtype = put, subtype
        self.name, self.channels = name, channels
        self.num_samples = self.num_bytes = 0
        self._clipped = 0

    def write(self, block: NDArray[np.float32]) -> None:
        """Append `[C, n]`, any n. Raises BadAudioError for NaN and infinity."""
        if block.ndim != 2 or len(block) != self.channels:
            raise ValueError(f"block must be [{self.channels}, samples], got shape {list(block.shape)}")
        step = max(1, _BLOCK // self.channels)
        for start in range(0, block.shape[1], step):
            self._write(block[:, start : start + step])

    def _write(self, block: NDArray[np.float32]) -> None:
        if not np.isfinite(block).all():
            raise BadAudioError(
                f"{self.name}: the samples to write hold NaN or infinity; replace them (numpy.nan_to_num) first"
            )
        if self._subtype not in ("FLOAT", "DOUBLE"):
            self._clipped += int((np.abs(block) > 1.0).sum())
            block = np.clip(block, -1.0, 1.0)
        # libsndfile scales floats by 32767 when writing and 1/32768 when reading; ours gives back the same bits
        samples = to_int16(block) if self._subtype == "PCM_16" else block
        self._put(np.ascontiguousarray(samples.T))
        self.num_samples += block.shape[1]

    def remark(self) -> None:
        """Warn of what was clipped; to be called once, at the end."""
        if self._clipped:
            warnings.warn(f"{self.name}: {self._clipped} samples exceed full scale and were clipped", stacklevel=4)


@contextmanager
def open_writer(
    target: str | Path | BinaryIO,
    channels: int,
    rate: int,
    num_samples: int | None,
    *,
    subtype: str | None = None,
    raw: bool = False,
    force: bool = False,
    source: object = None,
) -> Iterator[AudioWriter]:
    """A writer of a recording of `num_samples` per channel at `rate` Hz, which appears when the block ends.

    A path gets what its suffix says (.wav, .flac or .ogg), atomically; a file object, which need not be seekable, gets
    wav with 16-bit samples, block after block as they come, whose number may be None for not known yet. Samples beyond
    full scale are clipped, and counted in one warning at the end, unless the format holds floats.

    Args:
        subtype: soundfile's name of the sample format of a path; by default 16-bit PCM (ogg: Vorbis).
        raw: bare 16-bit samples (S16_LE), without a header.
        force: overwrite a path; source: what is read meanwhile, which is never overwritten.

    Raises:
        OutputError: the path exists and `force` is false, or it can't be written.
        BadAudioError: a suffix, sample format, rate or number of channels that can't be written.
    """
    name = name_of(target)
    if raw or not isinstance(target, (str, Path)):
        if not raw:
            check_writable(target, channels, num_samples or 0, rate, subtype=subtype)
        with open_output(target, force=force, source=source) as file:
            head = b"" if raw else wav_header(channels, rate, num_samples)
            writer = AudioWriter(partial(_write_int16, file), name, channels, "PCM_16")
            _write_now(file, head)
            yield writer
            if num_samples is not None and writer.num_samples != num_samples:
                raise ValueError(f"{writer.num_samples} samples were written, not {num_samples}")
            writer.num_bytes = len(head) + 2 * channels * writer.num_samples
    else:
        if num_samples is None:
            raise ValueError("num_samples: a path needs it; only a pipe may be told later")
        container, subtype = check_writable(target, channels, num_samples, rate, subtype=subtype)
        with (
            _as_output_error(name),
            atomic_output(target, force=force, source=source) as temporary,  # says so if the disk is full
            soundfile.SoundFile(os.fsencode(temporary), "w", rate, channels, subtype, format=container) as file,
        ):
            writer = AudioWriter(file.write, name, channels, subtype)
            yield writer
        writer.num_bytes = Path(target).stat().st_size
    writer.remark()


def check_writable(
    target: str | Path | BinaryIO, channels: int, num_samples: int, rate: int, *, subtype: str | None = None
) -> tuple[str, str]:
    """libsndfile's names of the container and the sample format that `open_writer` would choose.

    Raises BadAudioError if the file can't hold so many channels and samples at this rate; libsndfile itself says
    little of that, and some of it ends the process.
    """
    name = name_of(target)
    is_path = isinstance(target, (str, Path))
    container = CONTAINERS.get(Path(name).suffix.lower()) if is_path else "WAV"
    if container is None:
        raise BadAudioError(f"{name}: can't write this kind of file; name it {', '.join(CONTAINERS)}")
    if subtype is None:
        subtype = "VORBIS" if container == "OGG" else "PCM_16"
    if not soundfile.check_format(container, subtype) or not (is_path or subtype == "PCM_16"):
        known = ", ".join(soundfile.available_subtypes(container)) if is_path else "PCM_16, or write to a path"
        raise BadAudioError(f"{name}: {container} can't hold samples of subtype {subtype}; choose from {known}")
    limits = LIMITS[container]
    if channels > limits.channels:
        raise BadAudioError(f"{name}: {container} holds {limits.channels} channels, not {channels}; name it .wav")
    if rate > limits.rate or rate % (limits.step if rate > limits.any_rate else 1):
        raise BadAudioError(f"{name}: {container} can't hold a rate of {rate} Hz; name it .wav")
    if num_samples < limits.samples:  # of such a FLAC, libsndfile leaves a file of 0 bytes, which nothing reads
        raise BadAudioError(f"{name}: {container} can't hold a recording of no samples; name it .wav")
    if container == "WAV" and channels * num_samples * SAMPLE_BYTES.get(subtype, 8) > _WAV_BYTES:
        container = "RF64"  # the same with sizes of 64 bits
    return container, subtype


def _write_int16(file: IO[bytes], samples: NDArray[np.int16]) -> None:
    _write_now(file, samples.astype("<i2").tobytes())


def _write_now(file: IO[bytes], data: bytes) -> None:
    """Without waiting for more: whoever is at the other end of a pipe may want to hear it."""
    write_all(file, data)
    file.flush()


def wav_header(channels: int, rate: int, num_samples: int | None) -> bytes:
    """What stands before the samples of a wav file of 16 bits; with sizes of 64 bits (RF64) where it must.

    Of a length that is not known yet it states sizes of 2^32 - 1, as ffmpeg does.
    """
    frame = 2 * channels
    size = frame * (num_samples or 0)
    byte_rate = min(rate * frame, 2**32 - 1)
    form = b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, channels, rate, byte_rate, frame, 16)
    if num_samples is None:
        most = struct.pack("<I", 2**32 - 1)
        return b"RIFF" + most + form + b"data" + most
    if size <= _WAV_BYTES:
        return b"RIFF" + struct.pack("<I", 36 + size) + form + b"data" + struct.pack("<I", size)
    unknown = struct.pack("<I", 2**32 - 1)
    sizes = b"ds64" + struct.pack("<IQQQI", 28, 72 + size, size, num_samples, 0)  # EBU Tech 3306
    return b"RF64" + unknown + form[:4] + sizes + form[4:] + b"data" + unknown


@contextmanager
def _as_output_error(name: str) -> Iterator[None]:
    try:
        yield
    except soundfile.LibsndfileError as error:
        raise OutputError(f"{name}: can't be written ({error.error_string.rstrip('.')})") from None
