"""What a small file may ask for: work in flight is bounded by neither channels nor rates nor what headers claim."""

from __future__ import annotations

import io
import os
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from audiovq.bitstream import write_codes
from audiovq.codec import Codec, FrameSource
from audiovq.codec.codec import BLOCK_SECONDS
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
