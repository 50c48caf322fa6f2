"""The one reader of sound: every file, stream or archive entry that is opened as audio is opened here.

It reads to the end, counts, and compares what came with what the header and the size of the file say.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray

from audiovq.data import mpeg
from audiovq.data.containers import Extent, extent
from audiovq.data.pipes import spooled
from audiovq.data.quiet import hold_remarks, quiet_mp3
from audiovq.errors import BadAudioError

AudioSource = str | Path | BinaryIO

_BLOCK = 1 << 18  # samples of all channels together read at once
_AHEAD = 1 << 14  # bytes that a decoder of FLAC may leave behind the last block
_MP3_SLACK = 2 * 1152  # samples; encoders do not agree on whether the frame of the header counts
_UNKNOWN = 1 << 60  # samples; libsndfile says 2^63 - 1 for what it does not know
SAMPLE_BYTES = {
    "PCM_S8": 1,
    "PCM_U8": 1,
    "ULAW": 1,
    "ALAW": 1,
    "PCM_16": 2,
    "PCM_24": 3,
    "PCM_32": 4,
    "FLOAT": 4,
    "DOUBLE": 8,
}
# of these, libsndfile's seeks give the samples of the whole; others (MP3, Opus, GSM, G.72x) are read from the start
_SEEKABLE = {*SAMPLE_BYTES, "IMA_ADPCM", "MS_ADPCM", "VORBIS", "ALAC_16", "ALAC_20", "ALAC_24", "ALAC_32"}
_SIZED = {"WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "NIST", "CAF", "SVX"}  # `containers` reads their headers
_CHECKED = _SIZED | {"FLAC", "OGG", "MP3"}


class AudioReader:
    """An open recording, read from its start on; made by `open_audio`.

    Attributes:
        name: for messages.
        rate: in Hz.
        channels: how many.
        num_samples: per channel, as the file says; None if it doesn't.
        place: samples read so far.
        length_is_sure: whether reading to the end gives just so many, or raises.
    """

    def __init__(
        self,
        sound: _Sequential,
        file: BinaryIO,
        name: str,
        told: Extent | mpeg.Stream | None,
        allow_short: bool,
        said: set[str],
    ) -> None:
        self._sound, self._file = sound, file
        self._told = told
        self._allow_short, self._said = allow_short, said
        self.name = name
        self.rate = int(sound.samplerate)
        self.channels = int(sound.channels)
        self.num_samples = sound.frames if sound.frames < _UNKNOWN else None
        self.place = 0
        self.length_is_sure = self.num_samples is not None and not allow_short and sound.format != "MP3"
        self._ended = False
        self._not_finite = 0
        if isinstance(told, Extent):
            self._check_extent(told)
        elif sound.format not in _CHECKED:
            self._warn(f"a {sound.format} file, of which it can't be told whether all of it is there")

    def read(self, num_samples: int) -> NDArray[np.float32]:
        """The next samples, float32 `[T, C]`, fewer than asked for at the end. Raises BadAudioError if some lack."""
        blocks: list[NDArray[np.float32]] = []
        while num_samples > 0 and not self._ended:
            block = self._read_block(num_samples)
            blocks.append(block)
            num_samples -= len(block)
        if not blocks:
            return np.zeros((0, self.channels), np.float32)
        return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """The rest in blocks, float32 `[C, n]`, to the end and its checks."""
        while not self._ended:
            yield self._read_block(_BLOCK).T

    def again(self) -> AbstractContextManager[AudioReader]:
        """The same recording read from its start, as by `open_audio`; this reader is of no use any more.

        What was warned of already is not warned of once more.
        """
        return _reading(self._file, self.name, self._allow_short, self._said)

    def go_to(self, place: int) -> None:
        """Stand before a later sample; where libsndfile's seeks can't be relied on, by reading up to there."""
        if self.num_samples is not None and self._sound.subtype in _SEEKABLE and self.place == 0:
            self.place = min(place, self.num_samples)
            with _as_bad_audio(self.name, self._told):
                self._sound.seek(self.place)
        while self.place < place and not self._ended:
            self._read_block(place - self.place)

    def count(self) -> int:
        """Samples per channel that are there. Where the size of the file does not tell, the rest is decoded."""
        if self.num_samples is None or self._sound.format not in _SIZED or self._sound.subtype not in SAMPLE_BYTES:
            for _ in self.blocks():
                pass
            return self.place
        return self.num_samples

    def _read_block(self, num_samples: int) -> NDArray[np.float32]:
        num_samples = min(num_samples, max(1, _BLOCK // self.channels))
        if self.num_samples is not None:  # libsndfile would decode what is beyond, and drop it
            num_samples = min(num_samples, self.num_samples - self.place)
            if num_samples <= 0:
                self._end(0)
                return np.zeros((0, self.channels), np.float32)
        block = np.empty((num_samples, self.channels), np.float32)
        try:
            with hold_remarks() if self._sound.format == "MP3" else nullcontext():
                read = len(self._sound.read(num_samples, dtype="float32", always_2d=True, out=block))
        except OSError as error:
            raise BadAudioError(f"{self.name}: can't be read ({error.strerror or error})") from None
        except soundfile.LibsndfileError as error:
            read = max(0, self._sound.tell() - self.place)
            self._end(read, error.error_string.removeprefix("Error : ").rstrip(". "))
        else:
            if read < num_samples:
                self._end(read)
        self.place += read
        bad = ~np.isfinite(block[:read])
        if bad.any():
            self._not_finite += int(bad.sum())
            block[:read][bad] = 0.0
        return block[:read]

    def _end(self, read: int, said: str = "") -> None:
        """The sound ends here, `read` samples after `place`: as early as it may?"""
        self._ended = True
        place = self.place + read
        cut = isinstance(self._told, mpeg.Stream) and self._told.cut
        slack = _MP3_SLACK if self._sound.format == "MP3" and not cut else 0
        why = f" ({said})" if said else ""
        if self.num_samples is not None and place + slack < self.num_samples:
            self._short(f"ends after {place} of {self.num_samples} samples{why}")
        elif cut or (said and self.num_samples is None and not self._sound.is_tagged()):
            self._short(f"ends after {place} samples, in the midst of its sound{why}")
        elif self._sound.format == "FLAC" and self._sound.left() > _AHEAD and not self._sound.is_tagged():
            what = f"its header tells of {place} samples, but {self._sound.left()} bytes more are there"
            self._short(f"{what}: several files joined, or a header that was never finished")

    def _check_extent(self, told: Extent) -> None:
        """What the sizes of a file tell before a sample is read."""
        frame = SAMPLE_BYTES.get(self._sound.subtype, 0) * self.channels
        if told.stated is not None and told.there // (frame or 1) < told.stated // (frame or 1):
            if frame:
                self._short(f"ends after {told.there // frame} of {told.stated // frame} samples")
            else:
                self._short(f"ends after {told.there} of {told.stated} bytes of sound")
        elif told.beyond:
            samples = f"{told.there // frame} samples" if frame else f"{told.there} bytes of sound"
            more = f"{told.beyond // frame} more" if frame else f"{told.beyond} more bytes"
            self._short(f"its header tells of {samples}, but {more} are there: its writer was stopped")
        elif told.fault:
            self._short(f"{told.fault}, after {self.num_samples} samples")

    def _short(self, what: str) -> None:
        if not self._allow_short:
            mend = "it is cut off or damaged: make or copy it again, or take what is there with --allow-short"
            raise BadAudioError(f"{self.name}: {what}; {mend}")
        self._warn(f"{what}; what can be read is taken")

    def remark(self) -> None:
        """Warn of samples that were no numbers; to be called once, at the end."""
        if self._not_finite:
            self._warn(f"{self._not_finite} samples are NaN or infinite; they are taken as 0")

    def _warn(self, what: str) -> None:
        if what in self._said:
            return
        self._said.add(what)
        warnings.warn(f"{self.name}: {what}", stacklevel=2)


@contextmanager
def open_audio(source: AudioSource, *, allow_short: bool = False) -> Iterator[AudioReader]:
    """Open a path (a FIFO too) or a binary file object, seekable or not, in any format that libsndfile knows.

    Samples that are NaN or infinite, which a float file may hold, are read as 0, with a warning at the end.

    allow_short: sound that is cut off, or not as long as its header says, gives a warning instead of an error.

    Raises BadAudioError if it can't be opened, and inside the block if it can't be read.
    """
    name = name_of(source)
    with ExitStack() as stack:
        with _as_bad_audio(name):
            file = stack.enter_context(_seekable(source))
        reader = stack.enter_context(_reading(file, name, allow_short, set()))
        yield reader


@contextmanager
def _reading(file: BinaryIO, name: str, allow_short: bool, said: set[str]) -> Iterator[AudioReader]:
    """`open_audio` of a file that can seek, from its start on; `said` are warnings that were given already."""
    with ExitStack() as stack:
        with _as_bad_audio(name):
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            told: Extent | mpeg.Stream | None = extent(file, size)
        with _as_bad_audio(name, told):
            if isinstance(told, Extent) and told.header is not None and allow_short:
                sound = stack.enter_context(_open(_Spliced(told.header, file, told.begin, size), size))
            else:
                file.seek(0)
                with quiet_mp3(file):
                    sound = stack.enter_context(_open(file, size))
            if sound.format == "MP3" and (found := mpeg.stream(file, size)) is not None:
                told = found
                known = found.stated is not None and found.stated >= found.frames - 1
                # libsndfile would guess the length, or stop early
                again = file if known else _Spliced(found.header, file, found.sound, size)
                with hold_remarks():
                    sound = stack.enter_context(_open(again, size))
        reader = AudioReader(sound, file, name, told, allow_short, said)
        yield reader
        reader.remark()


@contextmanager
def _as_bad_audio(name: str, told: Extent | mpeg.Stream | None = None) -> Iterator[None]:
    """What goes wrong in opening, as an error of ours; `told` is what the sizes of the file told."""
    try:
        yield
    except soundfile.LibsndfileError as error:
        if isinstance(told, Extent) and told.stated and told.there < told.stated:
            short = f"{told.there} of {told.stated} bytes of sound"
            raise BadAudioError(f"{name}: ends after {short}; it is cut off: make or copy it again") from None
        raise BadAudioError(
            f"{name}: not audio that can be read ({error.error_string.rstrip('.')}); convert it to wav or flac"
        ) from None
    except FileNotFoundError:
        raise BadAudioError(f"{name}: no such file; check the path") from None
    except OSError as error:
        raise BadAudioError(f"{name}: can't be opened ({error.strerror or error})") from None


class _Sequential(soundfile.SoundFile):
    """soundfile seeks to where it stands after each read, which breaks what can't seek; this one does not."""

    def __init__(self, source: int | _Spliced, file: BinaryIO | _Spliced, size: int) -> None:
        self._file_read, self._source, self._size = file, source, size
        super().__init__(source, closefd=False)

    def seekable(self) -> bool:
        return False

    def left(self) -> int:
        """Bytes of the file that were not looked at."""
        source = self._source
        return self._size - (os.lseek(source, 0, os.SEEK_CUR) if isinstance(source, int) else source.tell())

    def is_tagged(self) -> bool:
        """Whether a tag (ID3v1, APE) ends the file, where a decoder looks for more sound."""
        place = os.lseek(self._source, 0, os.SEEK_CUR) if isinstance(self._source, int) else 0
        self._file_read.seek(max(0, self._size - 160))
        end = self._file_read.read(160)
        if isinstance(self._source, int):
            os.lseek(self._source, place, os.SEEK_SET)
        return end[-128:].startswith(b"TAG") or b"APETAGEX" in end


def _open(file: BinaryIO | _Spliced, size: int) -> _Sequential:
    """By its descriptor, if it is a file of the system; else through calls, which soundfile lets print their errors."""
    if isinstance(file, io.BufferedReader) and isinstance(file.raw, io.FileIO):
        os.lseek(file.fileno(), 0, os.SEEK_SET)
        return _Sequential(file.fileno(), file, size)
    return (
        _Sequential(file, file, size)
        if isinstance(file, _Spliced)
        else _Sequential(_Spliced(b"", file, 0, size), file, size)
    )


class _Spliced(io.RawIOBase):
    """A file with another beginning: `head`, then `file` from `skip` on. No seek in it fails."""

    def __init__(self, head: bytes, file: BinaryIO, skip: int, size: int) -> None:
        self._head, self._file, self._skip = head, file, skip
        self._size = len(head) + size - skip
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = max(0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence])
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if self._at < len(self._head):
            data = self._head[self._at : self._at + len(buffer)]
        else:
            self._file.seek(self._at - len(self._head) + self._skip)
            data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


@contextmanager
def _seekable(source: AudioSource) -> Iterator[BinaryIO]:
    """The source as a file that can seek; what a pipe gives is copied."""
    with ExitStack() as stack:
        if isinstance(source, (str, Path)):
            source = stack.enter_context(open(source, "rb"))
        yield source if source.seekable() else stack.enter_context(spooled(source))


def name_of(file: object) -> str:
    return str(file) if isinstance(file, (str, Path)) else str(getattr(file, "name", "<stream>"))
