"""What a small file may ask for: work in flight is bounded by neither channels nor rates nor what headers claim."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from audiovq.bitstream import write_codes
from audiovq.codec import Codec, FrameSource, decode_file
from audiovq.codec.model import BLOCK_SECONDS
from audiovq.errors import AudioVQError, BadCodesError

from .conftest import FAST, RATE, make_codec, sound


@pytest.fixture(scope="module")
def codec() -> Codec:
    return make_codec(FAST)


def peak_mb(call) -> float:
    """Of numpy's arrays, MB."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


def test_a_low_rate_takes_no_more_memory_than_its_codes(codec):
    waveform = np.random.default_rng(0).standard_normal((1, 2000)).astype(np.float32)
    assert peak_mb(lambda: codec.encode(waveform, 1)) < 30  # 2000 s: 128 MB at the model's rate


# rate, channels, seconds: the sound at the model's rate takes 64 MB and more as floats, but for the last
SHAPES = [(768_000, 1, 1000), (8, 1, 1000), (1, 1, 1000), (16_000, 255, 4), (100, 255, 4), (768_000, 255, 0.5)]


def write_shape(codec: Codec, path: Path, rate: int, channels: int, seconds: float) -> None:
    """A `.codes` file of any codes; of the higher rates, as many samples as the same at 16 kHz has."""
    num_samples = max(1, round(min(rate, 16_000) * seconds))
    header = codec.header(num_samples, 1, sample_rate=rate, channels=channels)
    size = header.codebook_sizes[0]
    codes = np.random.default_rng(0).integers(0, size, (channels, 1, header.frames_for(num_samples)))
    write_codes(path, header, codes, force=True)


@pytest.mark.parametrize(("rate", "channels", "seconds"), SHAPES, ids=str)
def test_decoding_takes_little_memory_whatever_the_shape(codec, tmp_path, rate, channels, seconds):
    write_shape(codec, tmp_path / "a.codes", rate, channels, seconds)
    with open(os.devnull, "wb") as nowhere:
        assert peak_mb(lambda: decode_file(codec, tmp_path / "a.codes", nowhere)) < 32


GROWTH = """
import os, sys
from pathlib import Path
from audiovq.codec import decode_file
from tests.codec.conftest import FAST, make_codec
from tests.codec.test_files import peak_mb
from tests.codec.test_memory import SHAPES, write_shape
codec, path = make_codec(FAST), Path(sys.argv[1])
with open(os.devnull, "wb") as nowhere:
    for shape in [(16_000, 1, 20), *SHAPES]:  # the first takes what any sound takes, once
        write_shape(codec, path, *shape)
        before = peak_mb()
        decode_file(codec, path, nowhere)
        print(peak_mb() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux for its memory")
def test_decoding_takes_little_memory_of_libraries_too(tmp_path):
    command = [sys.executable, "-c", GROWTH, str(tmp_path / "a.codes")]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    growth = zip(SHAPES, map(float, done.stdout.split()[1:]), strict=True)
    # soxr alone holds up to 0.4 MB of each channel for a change of rate by 100 and more
    assert all(mb < (64 if channels == 1 else 160) for (_, channels, _), mb in growth), done.stdout


def test_many_channels_are_coded_and_decoded_as_each_alone(codec):
    loud = sound(1.5, channels=12)
    codec.block_seconds = 2.0
    try:
        together = codec.encode(loud, RATE)
        decoded = codec.decode(together)
        for channel in (0, 7, 11):
            alone = codec.encode(loud[channel : channel + 1], RATE)
            np.testing.assert_array_equal(together.codes[channel], alone.codes[0])
            np.testing.assert_allclose(decoded[channel], codec.decode(alone)[0], atol=1e-5)
    finally:
        codec.block_seconds = BLOCK_SECONDS


def forged(codec: Codec, **changes) -> bytes:
    """A `.codes` file of two packets whose header says something else."""
    encoded = codec.encode(np.zeros((1, 2 * RATE), np.float32), RATE)
    memory = io.BytesIO()
    write_codes(memory, encoded.header, encoded.codes)
    body = memory.getvalue()[len(encoded.header.to_bytes()) :]
    return replace(encoded.header, **changes).to_bytes() + body


@pytest.mark.parametrize(
    "changes",
    [
        {"num_samples": 2**40},
        {"num_samples": 2**62},
        {"channels": 255, "num_samples": 2**30},
        {"sample_rate": 768_000, "num_samples": 2**33},
        {"sample_rate": 1, "num_samples": 2**30},
        {"gain_db": 7000.0},
        {"gain_db": -7000.0},
        {"gain_db": 3e38},
    ],
)
@pytest.mark.parametrize("conceal", [False, True])
def test_nothing_is_allocated_on_the_word_of_a_header(codec, tmp_path, changes, conceal):
    (tmp_path / "x.codes").write_bytes(forged(codec, **changes))

    def decode() -> None:
        with pytest.raises(AudioVQError):
            codec.decode(tmp_path / "x.codes", conceal=conceal)

    assert peak_mb(decode) < 20


def test_a_rate_that_no_recording_has_is_called_so(codec):
    with pytest.raises(BadCodesError, match=r"rate of 768001 Hz is above 768000 Hz.* damaged or made up.* again"):
        codec.decode(forged(codec, sample_rate=768_001))
    encoded = codec.encode(np.zeros((1, 768_000), np.float32), 768_000)
    assert codec.decode(encoded).shape == (1, 768_000)


@pytest.mark.parametrize("time", [1e9, 1e300, 1e308, float("inf")])
def test_times_beyond_range_are_the_end(codec, time):
    encoded = codec.encode(sound(1.0), RATE)
    assert codec.decode(encoded, start=time).shape == (1, 0)
    assert codec.decode(encoded, duration=time).shape == (1, RATE)
    assert codec.decode(encoded, start=0.5, duration=time).shape == (1, RATE // 2)


class Endless(io.RawIOBase):
    """Some bytes, then zeros without end, and how many were read."""

    def __init__(self, begin: bytes = b"") -> None:
        self.begin = begin
        self.taken = 0

    def readable(self) -> bool:
        return True

    def read(self, count: int = -1) -> bytes:
        assert 0 <= count < 2**20, "all of it was asked for"
        data = self.begin[self.taken : self.taken + count].ljust(count, b"\0")
        self.taken += count
        assert self.taken < 2**24
        return data


def test_a_pipe_that_never_ends_is_left_as_soon_as_it_is_seen(codec):
    with pytest.raises(BadCodesError, match=r"not a \.codes file"):
        FrameSource(Endless())
    for conceal in (False, True):
        with pytest.raises(BadCodesError):
            codec.decode(Endless(forged(codec, num_samples=2**40)), conceal=conceal)


def test_a_pipe_gives_what_a_file_gives_and_fails_where_it_fails(codec, tmp_path):
    encoded = codec.encode(sound(3.0), RATE)
    write_codes(tmp_path / "good.codes", encoded.header, encoded.codes)
    data = bytearray((tmp_path / "good.codes").read_bytes())
    damaged = data.copy()
    damaged[len(encoded.header.to_bytes()) + 20] ^= 1
    for content in (data, damaged, data[:-5], damaged[:-5], data + b"x"):
        (tmp_path / "x.codes").write_bytes(content)
        for options in ({}, {"conceal": True}, {"start": 1.5, "duration": 0.2}, {"duration": 0.1}):
            results = []
            for piped in (False, True):
                read, write = os.pipe()
                os.write(write, content)
                os.close(write)
                with os.fdopen(read, "rb") as pipe:
                    try:
                        results.append(codec.decode(pipe if piped else tmp_path / "x.codes", **options))
                    except BadCodesError as error:
                        results.append(str(error).partition(": ")[2])
            file, pipe = results
            assert type(file) is type(pipe)
            np.testing.assert_array_equal(file, pipe)
