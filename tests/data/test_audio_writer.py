"""Sound written block by block: as at once, to files and to pipes, and never half of it."""

from __future__ import annotations

import io
import itertools
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest

from audiovq.data.audio import read_audio, write_audio
from audiovq.data.audio_reader import open_audio
from audiovq.data.audio_writer import open_writer, wav_header
from audiovq.errors import BadAudioError

SOUND = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 70_001)).astype(np.float32)
CUTS = [0, 0, 1, 5, 66_000, 70_001]


def write_in_pieces(target, waveform: np.ndarray, **options) -> None:
    with open_writer(target, len(waveform), 16000, waveform.shape[1], **options) as writer:
        for start, stop in itertools.pairwise(CUTS):
            writer.write(waveform[:, start:stop])


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
def test_pieces_make_the_file_that_the_whole_makes(tmp_path: Path, suffix: str):
    write_audio(tmp_path / f"whole.{suffix}", SOUND, 16000)
    write_in_pieces(tmp_path / f"pieces.{suffix}", SOUND)
    whole, pieces = (read_audio(tmp_path / f"{name}.{suffix}")[0] for name in ("whole", "pieces"))
    assert whole.shape == SOUND.shape
    np.testing.assert_array_equal(pieces, whole)


def test_a_pipe_gets_the_samples_of_the_file(tmp_path: Path):
    class OnlyForwards(io.BytesIO):
        def seekable(self) -> bool:
            return False

    pipe = OnlyForwards()
    write_in_pieces(pipe, SOUND)
    write_audio(tmp_path / "a.wav", SOUND, 16000)
    assert pipe.getvalue() == (tmp_path / "a.wav").read_bytes()


def test_a_pipe_beyond_4_gigabytes_has_sizes_of_64_bits():
    header = wav_header(1, 16000, 2**31)

    class Long(io.RawIOBase):  # zeros, as long as the header says
        place = 0

        def seekable(self) -> bool:
            return True

        def seek(self, offset: int, whence: int = 0) -> int:
            self.place = offset + (0, self.place, len(header) + 2**32)[whence]
            return self.place

        def tell(self) -> int:
            return self.place

        def read(self, count: int = -1) -> bytes:
            count = min(count, len(header) + 2**32 - self.place)
            data = header[self.place : self.place + count].ljust(count, b"\0")
            self.place += len(data)
            return data

    with open_audio(Long()) as sound:
        assert (sound.num_samples, sound.channels, sound.rate) == (2**31, 1, 16000)
    assert struct.unpack("<I", wav_header(1, 16000, 100)[40:])[0] == 200


def test_a_pipe_is_not_left_with_another_length_than_was_said():
    with pytest.raises(ValueError, match="3 samples were written, not 4"), open_writer(io.BytesIO(), 1, 8000, 4) as one:
        one.write(np.zeros((1, 3), np.float32))


def test_clipping_is_counted_and_told_once(tmp_path: Path):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        write_in_pieces(tmp_path / "a.wav", 4 * SOUND)
    assert [str(one.message) for one in said] == [
        f"{tmp_path}/a.wav: {int((np.abs(4 * SOUND) > 1).sum())} samples exceed full scale and were clipped"
    ]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_no_number_leaves_no_file(tmp_path: Path, bad: float):
    waveform = SOUND.copy()
    waveform[1, -1] = bad
    with pytest.raises(BadAudioError, match=r"a\.wav: .* NaN or infinity"):
        write_in_pieces(tmp_path / "a.wav", waveform)
    assert not list(tmp_path.iterdir())


def test_blocks_of_another_shape_are_refused(tmp_path: Path):
    with (
        pytest.raises(ValueError, match=r"\[2, samples\], got shape \[1, 5\]"),
        open_writer(tmp_path / "a.wav", 2, 16000, 5) as writer,
    ):
        writer.write(np.zeros((1, 5), np.float32))
    assert not list(tmp_path.iterdir())
