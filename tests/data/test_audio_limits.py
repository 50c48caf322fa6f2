"""What libsndfile can write of each format, at the edges of the table: beyond, it fails badly or ends the process."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiovq.data.audio import read_audio, write_audio
from audiovq.data.audio_writer import CONTAINERS, LIMITS, check_writable
from audiovq.errors import BadAudioError, OutputError

WRITE = """
import sys, numpy as np, soundfile
path, container, subtype, channels, rate, length = sys.argv[1:4] + [int(a) for a in sys.argv[4:]]
with soundfile.SoundFile(path, "w", rate, channels, subtype, format=container) as file:
    file.write(np.random.default_rng(0).uniform(-0.1, 0.1, (length, channels)).astype("float32"))
with soundfile.SoundFile(path) as file:
    assert (file.channels, file.samplerate, len(file.read(dtype="float32"))) == (channels, rate, length)
"""


def libsndfile_can(path: Path, container: str, channels: int, rate: int, length: int = 2000) -> bool:
    """In a process of its own, which may end with a signal."""
    subtype = "VORBIS" if container == "OGG" else "PCM_16"
    command = [sys.executable, "-c", WRITE, str(path), container, subtype, str(channels), str(rate), str(length)]
    return subprocess.run(command, capture_output=True).returncode == 0


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_the_limits_are_those_of_libsndfile(tmp_path: Path, suffix: str):
    container = CONTAINERS[suffix]
    limits = LIMITS[container]
    path = tmp_path / f"a{suffix}"
    for channels, rate in [(1, limits.rate), (limits.channels, 16000), (1, 1), (min(2, limits.channels), limits.rate)]:
        assert libsndfile_can(path, container, channels, rate), (channels, rate)
        check_writable(path, channels, 2000, rate)
    beyond = [(limits.channels + 1, 16000)]
    if limits.rate < 2**31 - 1:
        beyond += [(1, limits.rate + 1)]
    if limits.step > 1:
        assert libsndfile_can(path, container, 1, limits.any_rate)
        assert libsndfile_can(path, container, 1, limits.any_rate + limits.step - limits.any_rate % limits.step)
        beyond += [(1, limits.any_rate + 1)]
    for channels, rate in beyond:
        assert not libsndfile_can(path, container, channels, rate), (channels, rate)
        with pytest.raises(BadAudioError, match=rf"a{suffix}: {container} .*; name it \.wav"):
            write_audio(path, np.zeros((channels, 2000), np.float32), rate)


@pytest.mark.parametrize("channels", [1, 2])
def test_ogg_files_of_any_length_are_written(tmp_path: Path, channels: int):
    """One call of libsndfile with more than 2^21 samples a channel ends the process."""
    sound = np.random.default_rng(0).uniform(-0.1, 0.1, (channels, 2**21 + 1000)).astype(np.float32)
    write_audio(tmp_path / "a.ogg", sound, 48000)
    assert read_audio(tmp_path / "a.ogg")[0].shape == sound.shape


def test_a_wav_beyond_4_gigabytes_gets_sizes_of_64_bits():
    hours = 40 * 3600 * 16000
    assert check_writable("a.wav", 1, hours // 2, 16000) == ("WAV", "PCM_16")
    assert check_writable("a.wav", 1, hours, 16000) == ("RF64", "PCM_16")
    assert check_writable(io.BytesIO(), 1, hours, 16000) == ("RF64", "PCM_16")


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_blocks_leave_no_trace(tmp_path: Path, suffix: str):
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 200001)).astype(np.float32)
    write_audio(tmp_path / f"a{suffix}", sound, 16000)
    got, _ = read_audio(tmp_path / f"a{suffix}")
    assert got.shape == sound.shape
    if suffix != ".ogg":
        np.testing.assert_allclose(got, sound, atol=1 / 65536)


def test_what_libsndfile_fails_to_write_is_an_error_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*args: object) -> None:
        raise soundfile.LibsndfileError(2)

    monkeypatch.setattr(soundfile.SoundFile, "write", full)
    with pytest.raises(OutputError, match=r"a\.wav: can't be written"):
        write_audio(tmp_path / "a.wav", np.zeros((1, 10), np.float32), 16000)
    assert list(tmp_path.iterdir()) == []
