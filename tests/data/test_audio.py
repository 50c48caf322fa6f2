"""Any audio file in, float32 `[C, T]` out, and back."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiovq.data.audio import read_audio, write_audio
from audiovq.data.pcm import from_int16, to_int16
from audiovq.errors import BadAudioError, OutputError

from .conftest import tone


@pytest.mark.parametrize(
    ("suffix", "subtype", "tolerance"),
    [
        ("wav", "PCM_U8", 1 / 128),
        ("wav", "PCM_16", 1 / 32768),
        ("wav", "PCM_24", 1e-6),
        ("wav", "PCM_32", 1e-6),
        ("wav", "FLOAT", 0),
        ("wav", "DOUBLE", 1e-7),
        ("wav", "ULAW", 0.02),
        ("flac", "PCM_16", 1 / 32768),
        ("flac", "PCM_24", 1e-6),
        ("ogg", "VORBIS", 0.05),
    ],
)
def test_reads_every_sample_format_at_one_scale(tmp_path: Path, suffix: str, subtype: str, tolerance: float):
    wanted = np.concatenate([tone(44100, 0.1), -0.5 * tone(44100, 0.1, 660)])
    soundfile.write(tmp_path / f"a.{suffix}", wanted.T, 44100, subtype=subtype)
    waveform, rate = read_audio(tmp_path / f"a.{suffix}")
    assert rate == 44100
    assert waveform.dtype == np.float32
    assert waveform.shape == wanted.shape
    np.testing.assert_allclose(waveform, wanted, atol=tolerance)


@pytest.mark.parametrize(("suffix", "samples"), [("wav", 0), ("wav", 1), ("flac", 1)])
def test_an_empty_file_and_one_sample_survive_the_round_trip(tmp_path: Path, suffix: str, samples: int):
    path = tmp_path / f"a.{suffix}"
    write_audio(path, np.full((1, samples), 0.25, np.float32), 16000)
    waveform, rate = read_audio(path)
    assert (waveform.shape, rate) == ((1, samples), 16000)
    assert (waveform == 0.25).all()


@pytest.mark.parametrize(
    ("start", "num_samples"), [(0, 10), (7, 5), (95, 10), (100, 3), (500, None), (3, None), (2, 0)]
)
@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_a_range_is_the_slice_of_the_whole(tmp_path: Path, suffix: str, start: int, num_samples: int | None):
    write_audio(tmp_path / f"a.{suffix}", tone(8000, 100 / 8000), 8000)
    whole, _ = read_audio(tmp_path / f"a.{suffix}")
    part, _ = read_audio(tmp_path / f"a.{suffix}", start=start, num_samples=num_samples)
    np.testing.assert_array_equal(part, whole[:, start:][:, :num_samples])


def test_nan_and_infinity_become_zero_with_a_warning_that_counts_them(tmp_path: Path):
    samples = np.array([0.5, np.nan, -0.5, np.inf, -np.inf], np.float32)
    soundfile.write(tmp_path / "bad.wav", samples, 16000, subtype="FLOAT")
    with pytest.warns(UserWarning, match=r"bad\.wav: 3 samples"):
        waveform, _ = read_audio(tmp_path / "bad.wav")
    np.testing.assert_array_equal(waveform, [[0.5, 0, -0.5, 0, 0]])


class OneWay(io.RawIOBase):
    """A pipe: not seekable, and gives a few bytes at a time."""

    def __init__(self, content: bytes):
        self._content = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def readinto(self, buffer: bytearray) -> int:
        piece = self._content.read(min(5, len(buffer)))
        buffer[: len(piece)] = piece
        return len(piece)


def test_file_objects_are_read_and_written_even_if_they_cannot_seek():
    written = io.BytesIO()
    write_audio(written, tone(16000, 0.01), 16000)
    expected, _ = read_audio(io.BytesIO(written.getvalue()))
    waveform, rate = read_audio(OneWay(written.getvalue()))
    assert rate == 16000
    np.testing.assert_array_equal(waveform, expected)


def test_what_is_not_audio_is_refused_by_name(tmp_path: Path):
    (tmp_path / "a.wav").write_bytes(b"")
    (tmp_path / "b.wav").write_text("not audio at all, but long enough to hold a header " * 3)
    for name in ("a.wav", "b.wav"):
        with pytest.raises(BadAudioError, match=rf"{name}: not audio"):
            read_audio(tmp_path / name)
    with pytest.raises(BadAudioError, match=r"c\.wav: no such file"):
        read_audio(tmp_path / "c.wav")
    with pytest.raises(BadAudioError, match="<stream>: not audio"):
        read_audio(io.BytesIO(b"nothing"))
    with pytest.raises(BadAudioError, match=tmp_path.name):
        read_audio(tmp_path)


def test_a_flac_that_is_cut_off_is_refused(tmp_path: Path):
    soundfile.write(tmp_path / "a.flac", np.random.default_rng(0).integers(-9000, 9000, 50000, dtype=np.int16), 16000)
    content = (tmp_path / "a.flac").read_bytes()
    (tmp_path / "a.flac").write_bytes(content[: len(content) // 2])
    with pytest.raises(BadAudioError, match=r"a\.flac: "):
        read_audio(tmp_path / "a.flac")


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_all_16_bit_values_survive_reading_and_writing(tmp_path: Path, suffix: str):
    values = np.arange(-32768, 32768).astype(np.int16)
    soundfile.write(tmp_path / f"a.{suffix}", values, 16000, subtype="PCM_16")
    waveform, rate = read_audio(tmp_path / f"a.{suffix}")
    write_audio(tmp_path / f"b.{suffix}", waveform, rate)
    np.testing.assert_array_equal(soundfile.read(tmp_path / f"b.{suffix}", dtype="int16")[0], values)
    np.testing.assert_array_equal(to_int16(from_int16(values)), values)


def test_clipping_is_warned_of_and_full_scale_is_not(tmp_path: Path):
    with pytest.warns(UserWarning, match=r"a\.wav: 2 samples"):
        write_audio(tmp_path / "a.wav", np.array([[1.5, 0.0, -2.0]], np.float32), 16000)
    np.testing.assert_array_equal(soundfile.read(tmp_path / "a.wav", dtype="int16")[0], [32767, 0, -32768])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_audio(tmp_path / "b.wav", np.array([[1.0, -1.0]], np.float32), 16000)
        write_audio(tmp_path / "c.wav", np.array([[1.5]], np.float32), 16000, subtype="FLOAT")
    assert read_audio(tmp_path / "c.wav")[0] == 1.5


def test_writing_refuses_what_it_cannot_do_and_leaves_nothing(tmp_path: Path):
    waveform = tone(16000, 0.01)
    with pytest.raises(BadAudioError, match=r"a\.txt: .*\.wav, \.flac, \.ogg"):
        write_audio(tmp_path / "a.txt", waveform, 16000)
    with pytest.raises(BadAudioError, match="FLAC can't hold samples of subtype FLOAT"):
        write_audio(tmp_path / "a.flac", waveform, 16000, subtype="FLOAT")
    with pytest.raises(BadAudioError, match=r"FLAC can't hold a recording of no samples; name it \.wav"):
        write_audio(tmp_path / "a.flac", waveform[:, :0], 16000)
    with pytest.raises(BadAudioError, match="NaN"):
        write_audio(tmp_path / "a.wav", np.full((1, 3), np.nan, np.float32), 16000)
    with pytest.raises(ValueError, match="channels, samples"):
        write_audio(tmp_path / "a.wav", waveform[0], 16000)
    assert list(tmp_path.iterdir()) == []
    write_audio(tmp_path / "a.wav", waveform, 16000)
    before = (tmp_path / "a.wav").read_bytes()
    with pytest.raises(OutputError, match="exists"):
        write_audio(tmp_path / "a.wav", waveform * 0, 16000)
    assert (tmp_path / "a.wav").read_bytes() == before
    write_audio(tmp_path / "a.wav", waveform * 0, 16000, force=True)
    assert not read_audio(tmp_path / "a.wav")[0].any()
