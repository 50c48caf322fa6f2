"""Cutting and joining: the codes are those of the whole, and samples are counted so that frames fit."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest

from audiovq.bitstream import AudioHeader, CodesReader, CodesWriter, Coding, read_codes
from audiovq.bitstream.edit import cut, join
from audiovq.errors import BadCodesError, ConfigError
from audiovq.prior.coder import coder_at_hand


class Pipe(io.RawIOBase):
    """Bytes that can be read once, forwards."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def read(self, count: int = -1) -> bytes:
        return self._data.read(count)


def header(rate: int, samples: int | None, step: int = 30) -> AudioHeader:
    return AudioHeader(
        model="tiny",
        fingerprint=bytes(6),
        sample_rate=rate,
        num_samples=samples,
        channels=2,
        model_sample_rate=16000,
        hop_length=320,
        frames_per_packet=step,
        codebook_sizes=(1000, 8),
    )


def file_of(rate: int, samples: int, *, stream: bool = False, seed: int = 0) -> tuple[bytes, np.ndarray]:
    known = header(rate, samples)
    rng = np.random.default_rng(seed)
    shape = 2, 2, known.num_frames or 0
    codes = np.stack([rng.integers(0, size, shape[::2]) for size in known.codebook_sizes], axis=1)
    file = io.BytesIO()
    writer = CodesWriter(file, replace(known, num_samples=None) if stream else known)
    writer.write(codes)
    writer.close(samples if stream else None)
    return file.getvalue(), codes


@pytest.mark.parametrize("rate", [16000, 44100, 8000, 192000, 11025])
@pytest.mark.parametrize("how", ["file", "stream", "pipe"])
@pytest.mark.parametrize("seed", range(4))
def test_a_cut_has_the_codes_between_two_frames(rate, how, seed):
    rng = np.random.default_rng(seed)
    samples = int(rng.integers(1, 4 * rate))
    data, codes = file_of(rate, samples, stream=how != "file", seed=seed)
    start = float(rng.uniform(0, samples / rate))
    duration = None if seed == 0 else float(rng.uniform(0.01, 3))
    first = round(50 * start)
    last = codes.shape[2] if duration is None else max(first + 1, round(50 * (start + duration)))
    out = io.BytesIO()
    source = Pipe(data) if how == "pipe" else io.BytesIO(data)
    if first >= codes.shape[2]:
        with pytest.raises(ConfigError, match="past its end"):
            cut(CodesReader(source), out, "x", start=start, duration=duration)
        return
    cut(CodesReader(source), out, "x", start=start, duration=duration)
    with CodesReader(io.BytesIO(out.getvalue())) as reader:
        np.testing.assert_array_equal(reader.read(), codes[:, :, first:last])
        wanted = min(samples / rate, last / 50) - first / 50
        assert reader.num_samples == pytest.approx(wanted * rate, abs=1)


@pytest.mark.parametrize("rate", [16000, 44100, 8000, 11025])
@pytest.mark.parametrize("seed", range(4))
def test_joined_files_have_all_their_frames(rate, seed):
    rng = np.random.default_rng(seed)
    lengths = [int(n) for n in rng.integers(0, 2 * rate, 4)]
    files = [file_of(rate, n, stream=bool(rng.integers(2)), seed=seed + i) for i, n in enumerate(lengths)]
    readers = [CodesReader(Pipe(data) if seed == 3 else io.BytesIO(data)) for data, _ in files]
    out = io.BytesIO()
    join(readers, out, ["a", "b", "c", "d"])
    with CodesReader(io.BytesIO(out.getvalue())) as reader:
        np.testing.assert_array_equal(reader.read(), np.concatenate([codes for _, codes in files], axis=2))
        before = sum(codes.shape[2] for _, codes in files[:-1]) / 50
        assert reader.num_samples == pytest.approx(before * rate + lengths[-1], abs=1)


def test_cut_and_joined_again_is_the_whole():
    data, _codes = file_of(16000, 50_000)
    parts = []
    for start, duration in ((0, 1.0), (1.0, 0.5), (1.5, None)):
        parts.append(io.BytesIO())
        cut(CodesReader(io.BytesIO(data)), parts[-1], "x", start=start, duration=duration)
    out = io.BytesIO()
    join([CodesReader(io.BytesIO(part.getvalue())) for part in parts], out, ["a", "b", "c"])
    assert out.getvalue() == data


def test_entropy_coded_files_are_cut_and_joined_in_their_coding():
    coded = AudioHeader(
        model="speech-16k",
        fingerprint=bytes(6),
        sample_rate=16000,
        num_samples=320 * 100,
        channels=1,
        model_sample_rate=16000,
        hop_length=320,
        frames_per_packet=40,
        codebook_sizes=(1024, 1024),
        coding=Coding.TABLES,
        coder=bytes(4),
    )
    coder = coder_at_hand(coded)
    coded = coded.coded_by(coder)
    codes = np.repeat(np.random.default_rng(0).integers(0, 1024, (1, 2, 20)), 5, axis=2)
    file = io.BytesIO()
    with CodesWriter(file, coded, coder) as writer:
        writer.write(codes)
    out = io.BytesIO()
    cut(CodesReader(io.BytesIO(file.getvalue()), coder), out, "x", start=0.5, duration=1.0, coder=coder)
    found, part = read_codes(io.BytesIO(out.getvalue()), coder)
    assert found.coding == Coding.TABLES
    np.testing.assert_array_equal(part, codes[:, :, 25:75])


def test_what_can_not_be_joined_or_cut_is_refused():
    data, _ = file_of(16000, 5000)
    other, _ = file_of(8000, 5000)
    readers = [CodesReader(io.BytesIO(data)), CodesReader(io.BytesIO(other))]
    with pytest.raises(BadCodesError, match="b: its sample rate is 8000, that of a is 16000"):
        join(readers, io.BytesIO(), ["a", "b"])
    slow, _ = file_of(10, 20)
    with pytest.raises(ConfigError, match="a sample takes more than a frame"):
        cut(CodesReader(io.BytesIO(slow)), io.BytesIO(), "x", start=0.1)
