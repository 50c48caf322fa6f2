"""Audio files to float32 arrays and back, and resampling between the two: soundfile for files, soxr for rates.

Arrays are `[C, T]` with full scale at 1; rates are in Hz.
"""

from __future__ import annotations

import io
import math
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from audiovq.data.files import atomic_output, write_all
from audiovq.data.pipes import spooled
from audiovq.errors import BadAudioError

CONTAINERS = {".wav": "WAV", ".flac": "FLAC", ".ogg": "OGG"}  # what write_audio writes, by suffix
_LOSSY = {"MP3", "OGG"}  # their headers may state a length that is only nearly right
_BLOCK_VALUES = 1 << 20  # samples of all channels resampled at once
_MOST_AT_ONCE = 256  # times a rate; for more, soxr's blocks become hundreds of MB
_REACH = 256  # soxr HQ's filters reach about 110 samples of the lower rate to either side; farther ends don't matter


def read_audio(
    source: str | Path | BinaryIO, *, start: int = 0, num_samples: int | None = None
) -> tuple[NDArray[np.float32], int]:
    """Read `num_samples` samples (None: all) from sample `start` on; returns (float32 `[C, T]`, rate in Hz).

    `source` is a path or a binary file object, which need not be seekable (standard input). Any rate, channel
    count and format that libsndfile knows is read; a range that reaches past the end is cut there. NaN and
    infinity, which a float file may hold, become 0 with a warning. Raises BadAudioError if it can't be read.
    """
    if start < 0 or (num_samples is not None and num_samples < 0):
        raise ValueError(f"start {start} and num_samples {num_samples} must not be negative")
    name = _name_of(source)
    try:
        with _open(source) as sound:
            start = min(start, sound.frames)
            wanted = sound.frames - start if num_samples is None else min(num_samples, sound.frames - start)
            if start:
                sound.seek(start)
            waveform = sound.read(wanted, dtype="float32", always_2d=True).T
            if waveform.shape[1] < wanted and sound.format not in _LOSSY:
                ends = f"ends after {start + waveform.shape[1]} of {sound.frames} samples"
                raise BadAudioError(f"{name}: {ends}; the file is cut off or damaged, copy it again")
            rate = int(sound.samplerate)
    except soundfile.LibsndfileError as error:
        raise BadAudioError(
            f"{name}: not audio that can be read ({error.error_string.rstrip('.')}); convert it to wav or flac"
        ) from None
    except FileNotFoundError:
        raise BadAudioError(f"{name}: no such file; check the path") from None
    except OSError as error:
        raise BadAudioError(f"{name}: can't be opened ({error.strerror or error})") from None
    return _finite(np.ascontiguousarray(waveform), name), rate


def write_audio(
    target: str | Path | BinaryIO,
    waveform: NDArray[np.float32],
    rate: int,
    *,
    subtype: str | None = None,
    force: bool = False,
) -> None:
    """Write `[C, T]` at `rate` Hz: by suffix .wav, .flac or .ogg to a path (atomically), as wav to a file object.

    `subtype` is soundfile's name of the sample format; by default 16-bit PCM (ogg: Vorbis). Samples beyond full
    scale are clipped, with a warning, unless the format holds floats. Raises OutputError if the path exists and
    `force` is false, BadAudioError for a suffix, sample format or array that can't be written.
    """
    name = _name_of(target)
    if waveform.ndim != 2:
        raise ValueError(f"waveform must be [channels, samples], got shape {waveform.shape}")
    if not all(np.isfinite(block).all() for block in _time_blocks(waveform)):
        raise BadAudioError(f"{name}: the samples to write hold NaN or infinity; nothing was written")
    is_path = isinstance(target, (str, Path))
    container = CONTAINERS.get(Path(name).suffix.lower()) if is_path else "WAV"
    if container is None:
        raise BadAudioError(f"{name}: can't write this kind of file; name it {', '.join(CONTAINERS)}")
    if subtype is None:
        subtype = "VORBIS" if container == "OGG" else "PCM_16"
    if not soundfile.check_format(container, subtype):
        known = ", ".join(soundfile.available_subtypes(container))
        raise BadAudioError(f"{name}: {container} can't hold samples of subtype {subtype}; choose from {known}")
    if container == "FLAC" and waveform.shape[1] == 0:  # libsndfile leaves a file of 0 bytes, which nothing reads
        raise BadAudioError(f"{name}: FLAC can't hold a recording of no samples; name it .wav")
    if subtype not in ("FLOAT", "DOUBLE"):
        waveform = _clipped(waveform, name)
    # libsndfile scales floats by 32767 when writing and 1/32768 when reading; our own scaling gives back the same bits
    frames = to_int16(waveform).T if subtype == "PCM_16" else waveform.T
    if isinstance(target, (str, Path)):
        with atomic_output(target, force=force) as temporary:
            soundfile.write(os.fsencode(temporary), frames, rate, subtype=subtype, format=container)
    else:  # through memory, as a pipe can't seek back to fill in the header
        memory = io.BytesIO()
        soundfile.write(memory, frames, rate, subtype=subtype, format=container)
        write_all(target, memory.getvalue())


def resample(waveform: NDArray[np.float32], rate_in: int, rate_out: int) -> NDArray[np.float32]:
    """`[C, T]` at `rate_in` Hz to `[C, ceil(T * rate_out / rate_in)]` at `rate_out` Hz (soxr HQ, no delay)."""
    if rate_in <= 0 or rate_out <= 0:
        raise ValueError(f"rates must be positive, got {rate_in} and {rate_out} Hz")
    if rate_in == rate_out:
        return waveform
    channels, samples = waveform.shape
    resampled = np.empty((channels, -(-samples * rate_out // rate_in)), np.float32)
    place = 0
    for block in resampled_blocks(waveform, rate_in, rate_out):
        resampled[:, place : place + block.shape[1]] = block
        place += block.shape[1]
    return resampled


def resampled_blocks(waveform: NDArray[np.float32], rate_in: int, rate_out: int) -> Iterator[NDArray[np.float32]]:
    """`resample` piece by piece, `[C, n]` each: joined they are the same to the last bit, and no more is held at once.

    A few samples at 1 Hz are hours at 16 kHz.
    """
    channels, samples = waveform.shape
    if rate_in == rate_out:
        yield waveform
        return
    left = -(-samples * rate_out // rate_in)
    # soxr rounds the length; silence at the end makes it at least as long as wanted
    end = samples + 2 + 2 * rate_in // rate_out
    padded = np.zeros((end - samples, channels), np.float32)
    blocks: Iterator[tuple[NDArray[np.float32], bool]] = iter([(waveform.T, False), (padded, True)])
    while rate_out > _MOST_AT_ONCE * rate_in:
        blocks = _stage(blocks, rate_in, _MOST_AT_ONCE * rate_in)
        rate_in *= _MOST_AT_ONCE
    for block, _ in _stage(blocks, rate_in, rate_out):
        resampled = block[:left].T
        left -= resampled.shape[1]
        if resampled.shape[1]:
            yield resampled
    assert not left


def _stage(
    blocks: Iterator[tuple[NDArray[np.float32], bool]], rate_in: int, rate_out: int
) -> Iterator[tuple[NDArray[np.float32], bool]]:
    """Blocks `[T, C]` at another rate, and with each whether it is the last."""
    stream = None
    for block, last in blocks:
        if stream is None:
            stream = soxr.ResampleStream(rate_in, rate_out, block.shape[1], dtype="float32", quality="HQ")
        step = max(1, _BLOCK_VALUES * min(rate_in, rate_out) // (block.shape[1] * rate_out))
        for start in range(0, max(1, len(block)), step):
            ended = last and start + step >= len(block)
            yield stream.resample_chunk(np.ascontiguousarray(block[start : start + step]), last=ended), ended


def resampling_range(start: int, stop: int, rate: int, source_rate: int, num_samples: int) -> tuple[int, int]:
    """The samples at `source_rate` from which `resample` makes samples start .. stop - 1 of `num_samples` at `rate`.

    The first falls on a sample of both rates, so that a part is resampled in step with the whole.
    """
    if rate == source_rate:
        return start, stop
    step = source_rate // math.gcd(source_rate, rate)
    reach = math.ceil(_REACH * max(1.0, source_rate / rate))
    total = -(-num_samples * source_rate // rate)
    first = max(0, start * source_rate // rate - reach) // step * step
    return first, min(total, -(-stop * source_rate // rate) + reach)


def to_int16(waveform: NDArray[np.float32]) -> NDArray[np.int16]:
    """Floats with full scale at 1 to 16-bit integers, the exact inverse of `from_int16`; what exceeds is clipped."""
    return np.clip(np.rint(waveform * np.float32(32768.0)), -32768, 32767).astype(np.int16)


def from_int16(samples: NDArray[np.int16]) -> NDArray[np.float32]:
    """16-bit integers to float32 with full scale at 1."""
    return samples.astype(np.float32) * np.float32(1 / 32768.0)


def _open(source: str | Path | BinaryIO) -> soundfile.SoundFile:
    if isinstance(source, (str, Path)):
        if not Path(source).exists():  # libsndfile itself only says "System error"
            raise FileNotFoundError(source)
        return soundfile.SoundFile(os.fsencode(source))
    if not source.seekable():
        source = spooled(source)
    return soundfile.SoundFile(source)


def _name_of(file: str | Path | BinaryIO) -> str:
    return str(file) if isinstance(file, (str, Path)) else str(getattr(file, "name", "<stream>"))


def _finite(waveform: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    count = 0
    for block in _time_blocks(waveform):
        bad = ~np.isfinite(block)
        count += int(bad.sum())
        block[bad] = 0.0
    if count:
        warnings.warn(f"{name}: {count} samples are NaN or infinite; they are taken as 0", stacklevel=3)
    return waveform


def _time_blocks(waveform: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Views of `[C, T]`, of which what is made of one takes little memory."""
    step = max(1, _BLOCK_VALUES // max(1, len(waveform)))
    return (waveform[:, start : start + step] for start in range(0, waveform.shape[1], step))


def _clipped(waveform: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    if count := sum(int((np.abs(block) > 1.0).sum()) for block in _time_blocks(waveform)):
        warnings.warn(f"{name}: {count} samples exceed full scale and were clipped", stacklevel=3)
        return np.clip(waveform, -1.0, 1.0)
    return waveform
