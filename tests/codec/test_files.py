"""Files of any length: what is read, coded and written piece by piece is what the whole gives."""

from __future__ import annotations

import io
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiovq.bitstream import read_codes
from audiovq.codec import Codec, decode_file, encode_file
from audiovq.data.audio import read_audio, write_audio
from audiovq.errors import BadAudioError, BadCodesError

from .conftest import FAST, RATE, make_codec, sound


@pytest.fixture(scope="module")
def codec() -> Codec:
    codec = make_codec(FAST)
    codec.block_seconds = 1.0
    return codec


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3", "AIFF"])
@pytest.mark.parametrize("options", [{}, {"normalize": True}], ids=["plain", "normalized"])
@pytest.mark.parametrize("piped", [False, True])
def test_the_codes_of_a_file_are_those_of_the_whole(codec, tmp_path, kind, options, piped):
    loud = sound(5.0, 44100, channels=2)
    soundfile.write(tmp_path / "in", 0.2 * loud.T, 44100, format=kind)
    source = io.BytesIO((tmp_path / "in").read_bytes()) if piped else tmp_path / "in"
    report = encode_file(codec, source, tmp_path / "out.codes", **options)
    whole = codec.encode(*read_audio(tmp_path / "in"), **options)
    header, codes = read_codes(tmp_path / "out.codes")
    assert header == whole.header
    assert (header.gain_db is not None) == bool(options)
    np.testing.assert_array_equal(codes, whole.codes)
    assert report.num_bytes == (tmp_path / "out.codes").stat().st_size


@pytest.mark.parametrize("options", [{}, {"start": 1.37, "duration": 2.2}])
@pytest.mark.parametrize("rate", [16000, 44100])
def test_a_decoded_file_is_the_sound_of_the_whole(codec, tmp_path, options, rate):
    (tmp_path / "a.codes").write_bytes(codec.compress(sound(5.0, rate, channels=2), rate))
    whole = codec.decode(tmp_path / "a.codes", **options)
    write_audio(tmp_path / "whole.wav", whole, rate)
    report = decode_file(codec, tmp_path / "a.codes", tmp_path / "a.wav", **options)
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "whole.wav").read_bytes()
    assert report.num_bytes == (tmp_path / "a.wav").stat().st_size
    assert report.seconds == whole.shape[1] / rate
    decode_file(codec, tmp_path / "a.codes", pipe := io.BytesIO(), **options)
    assert pipe.getvalue() == (tmp_path / "a.wav").read_bytes()


@pytest.mark.parametrize("kind", ["FLAC", "WAV", "OGG"])
def test_what_is_missing_at_the_end_leaves_no_file(codec, tmp_path, kind):
    soundfile.write(tmp_path / "in", 0.2 * sound(5.0).T, RATE, format=kind)
    data = (tmp_path / "in").read_bytes()
    (tmp_path / "in").write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(BadAudioError):
        encode_file(codec, tmp_path / "in", tmp_path / "out.codes")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    with pytest.warns(UserWarning, match="what can be read is taken"):
        encode_file(codec, tmp_path / "in", tmp_path / "out.codes", allow_short=True)
    taken, _ = read_audio(tmp_path / "in", allow_short=True)
    np.testing.assert_array_equal(read_codes(tmp_path / "out.codes")[1], codec.encode(taken, RATE).codes)


def test_a_damaged_packet_leaves_no_sound(codec, tmp_path):
    data = bytearray(codec.compress(sound(5.0), RATE))
    data[-3] ^= 1
    (tmp_path / "a.codes").write_bytes(data)
    with pytest.raises(BadCodesError):
        decode_file(codec, tmp_path / "a.codes", tmp_path / "a.wav")
    assert [path.name for path in tmp_path.iterdir()] == ["a.codes"]


def test_odd_samples_are_told_once_however_often_the_file_is_read(codec, tmp_path):
    waveform = 50 * sound(2.0)
    waveform[0, 7] = np.nan
    soundfile.write(tmp_path / "in.wav", waveform.T, RATE, subtype="FLOAT")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("default")
        encode_file(codec, tmp_path / "in.wav", tmp_path / "out.codes", normalize=True)
    texts = [str(one.message) for one in said]
    assert len(texts) == 2
    assert "1 samples are NaN" in texts[0]
    assert "above full scale" in texts[1]


PEAK = """
import resource, sys
from audiovq.codec import decode_file, encode_file
from tests.codec.conftest import FAST, make_codec
from tests.codec.test_files import peak_mb
codec = make_codec(FAST)
codec.block_seconds = 2.0
peaks = []
for name in sys.argv[1:]:
    encode_file(codec, name, name + ".codes")
    decode_file(codec, name + ".codes", name + ".wav")
    peaks.append(peak_mb())
print(*peaks)
"""


def peak_mb() -> float:
    """Of this process so far: what the system counts, which the memory of libraries is part of."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1e3


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux for its memory")
def test_memory_does_not_grow_with_the_length(tmp_path):
    """5 minutes take what half a minute takes; as floats they are 29 MB at the file's rate and 19 at the model's."""
    minute = np.random.default_rng(0).integers(-9000, 9000, (60 * 24000, 1)).astype(np.int16)
    with soundfile.SoundFile(tmp_path / "long", "w", 24000, 1, "PCM_16", format="WAV") as file:
        for _ in range(5):
            file.write(minute)
    soundfile.write(tmp_path / "short", minute[: 30 * 24000], 24000, format="WAV")
    command = [sys.executable, "-c", PEAK, str(tmp_path / "short"), str(tmp_path / "long")]
    short, long = map(float, subprocess.run(command, capture_output=True, check=True, text=True).stdout.split())
    assert long - short < 10


@pytest.mark.slow
def test_three_hours_give_the_codes_of_the_whole_and_all_their_samples(codec, tmp_path):
    minute = 0.2 * sound(60.0)
    with soundfile.SoundFile(tmp_path / "a.wav", "w", RATE, 1, "PCM_16") as file:
        for k in range(180):
            file.write(np.roll(minute[0], 1000 * k))
    encode_file(codec, tmp_path / "a.wav", tmp_path / "a.codes")
    whole = codec.encode(*read_audio(tmp_path / "a.wav"))
    np.testing.assert_array_equal(read_codes(tmp_path / "a.codes")[1], whole.codes)
    decode_file(codec, tmp_path / "a.codes", tmp_path / "b.wav")
    assert soundfile.info(tmp_path / "b.wav").frames == 180 * 60 * RATE
    last, _ = read_audio(tmp_path / "b.wav", start=179 * 60 * RATE)
    part = codec.decode(tmp_path / "a.codes", start=179 * 60.0)
    np.testing.assert_allclose(part, last, atol=1.1 / 32768)
