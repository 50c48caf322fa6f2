"""Sound from pipes: all of it, in pieces of any size; and what is no sound is left at once."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile

from audiovq.data.audio import read_audio
from audiovq.data.pipes import spooled
from audiovq.errors import BadAudioError


class Pipe(io.RawIOBase):
    """Gives some bytes in pieces, then `rest` for ever."""

    def __init__(self, data: bytes, piece: int, rest: bytes = b"") -> None:
        self.data, self.piece, self.rest = data, piece, rest
        self.taken = 0

    def readable(self) -> bool:
        return True

    def read(self, count: int = -1) -> bytes:
        assert count >= 0, "all of it was asked for"
        assert self.taken < 2**22, "read on and on"
        count = min(count, self.piece)
        data = self.data[self.taken : self.taken + count] or (self.rest * count)[:count]
        self.taken += len(data)
        return data


def written(kind: str, **options: str) -> bytes:
    memory = io.BytesIO()
    sound = 0.1 * np.random.default_rng(0).standard_normal(100_000)
    soundfile.write(memory, sound, 16000, format=kind, **options)
    return memory.getvalue()


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "AIFF", "AU", "W64", "RF64", "CAF", "MP3", "VOC", "NIST"])
@pytest.mark.parametrize("piece", [1000, 1 << 20])
def test_a_pipe_gives_what_a_file_gives(kind, piece):
    data = written(kind)
    assert spooled(Pipe(data, piece)).read() == data


def test_a_long_tag_before_an_mp3_is_read_over():
    tag = b"ID3\x03\x00\x00" + bytes([0, 8, 0, 0]) + bytes(8 << 14)
    data = tag + written("MP3")
    assert spooled(Pipe(data, 5000)).read() == data


@pytest.mark.parametrize("rest", [b"\0", b"x", b"noise\n", b"\x89AVQ"])
def test_what_is_no_sound_is_left_after_its_beginning(rest):
    pipe = Pipe(b"", 3000, rest)
    with pytest.raises(BadAudioError, match="not audio that can be read"):
        read_audio(pipe)
    assert pipe.taken < 2**17


def test_a_long_one_is_kept_on_disk(monkeypatch):
    monkeypatch.setattr("audiovq.data.pipes._IN_MEMORY", 1 << 17)
    data = written("WAV")
    with spooled(Pipe(data, 70_000)) as kept:
        assert not isinstance(kept, io.BytesIO)
        assert kept.read() == data
    np.testing.assert_array_equal(read_audio(Pipe(data, 70_000))[0], read_audio(io.BytesIO(data))[0])
