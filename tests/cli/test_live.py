"""Commands in pipes: what comes out begins before the input ends, and is what files give."""

from __future__ import annotations

import io
import os
import select
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiovq.codec import Codec, FrameSource
from audiovq.data.audio import read_audio
from audiovq.data.pcm import from_int16, to_int16

COMMAND = [sys.executable, "-c", "from audiovq.cli.main import cli; cli()"]
PATIENCE = 120  # seconds, for a busy machine


class Pipeline:
    """audiovq encode | audiovq decode, both of them from and to pipes."""

    def __init__(self, model: Path, encode: list[str], decode: list[str]) -> None:
        pipe = subprocess.PIPE
        encoding = [*COMMAND, "encode", "-", "-", "-q", "--model", str(model), *encode]
        decoding = [*COMMAND, "decode", "-", "-", "-q", "--model", str(model), *decode]
        self.first = subprocess.Popen(encoding, stdin=pipe, stdout=pipe)
        self.second = subprocess.Popen(decoding, stdin=self.first.stdout, stdout=pipe)
        assert self.first.stdin is not None
        assert self.first.stdout is not None
        assert self.second.stdout is not None
        self.first.stdout.close()
        self.input, self.output = self.first.stdin, self.second.stdout

    def write(self, data: bytes) -> None:
        self.input.write(data)
        self.input.flush()

    def read(self, least: int) -> bytes:
        """At least so many bytes, while the input is still open."""
        data = b""
        while len(data) < least:
            assert select.select([self.output], [], [], PATIENCE)[0], f"{len(data)} bytes came of {least}"
            data += os.read(self.output.fileno(), 1 << 16)
        return data

    def close(self) -> bytes:
        """The end of the input, and the rest of the output."""
        self.input.close()
        rest = self.output.read()
        assert self.first.wait() == self.second.wait() == 0
        return rest


@pytest.fixture
def spoken(wav) -> np.ndarray:
    """16-bit samples `[C, T]` of the test's wav file."""
    return to_int16(read_audio(wav)[0])


def decoded_whole(model: Path, samples: np.ndarray, rate: int) -> np.ndarray:
    codec = Codec.from_pretrained(model)
    return codec.decode(codec.encode(from_int16(samples), rate))


def wav_of_unknown_length(samples: np.ndarray, rate: int, size: int) -> bytes:
    channels = len(samples)
    form = struct.pack("<IHHIIHH", 16, 1, channels, rate, 2 * channels * rate, 2 * channels, 16)
    junk = b"LIST" + struct.pack("<I", 5) + b"INFO?\0"  # ffmpeg writes such a chunk
    return b"RIFF" + struct.pack("<I", size) + b"WAVEfmt " + form + junk + b"data" + struct.pack("<I", size)


def test_raw_samples_are_heard_before_they_end(model, wav, spoken):
    rate = read_audio(wav)[1]
    channels = len(spoken)
    data = np.ascontiguousarray(spoken.T).tobytes()
    pipeline = Pipeline(model, ["--raw", str(rate), "--channels", str(channels)], ["--raw"])
    pipeline.write(data[: len(data) // 2])
    heard = pipeline.read(len(data) // 4)
    pipeline.write(data[len(data) // 2 :])
    heard += pipeline.close()
    assert len(heard) == len(data)
    found = from_int16(np.frombuffer(heard, "<i2").reshape(-1, channels).T)
    np.testing.assert_allclose(found, decoded_whole(model, spoken, rate), atol=1.01 / 32768)


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFFF - 36])  # as ffmpeg and sox state what they don't know
def test_wav_of_unknown_length_is_heard_before_it_ends(model, wav, spoken, size):
    rate = read_audio(wav)[1]
    data = np.ascontiguousarray(spoken.T).tobytes()
    pipeline = Pipeline(model, [], [])
    pipeline.write(wav_of_unknown_length(spoken, rate, size) + data[: len(data) // 2])
    heard = pipeline.read(len(data) // 4)
    pipeline.write(data[len(data) // 2 :])
    heard += pipeline.close()
    assert heard[:4] == b"RIFF"
    found, found_rate = read_audio(io.BytesIO(heard))
    assert found_rate == rate
    np.testing.assert_allclose(found, decoded_whole(model, spoken, rate), atol=1.01 / 32768)


@pytest.fixture
def piped(monkeypatch) -> Iterator[object]:
    """Gives bytes as standard input that can't seek."""

    def give(data: bytes) -> None:
        class Pipe(io.BytesIO):
            name = "<stdin>"

            def seekable(self) -> bool:
                return False

        monkeypatch.setattr("audiovq.cli.shared.batch.standard_input", lambda: Pipe(data))

    return give


def in_format(samples: np.ndarray, rate: int, container: str, subtype: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples.T, rate, format=container, subtype=subtype)
    return file.getvalue()


@pytest.mark.parametrize(
    ("container", "subtype"),
    [("WAV", "PCM_24"), ("WAV", "FLOAT"), ("WAVEX", "PCM_32"), ("WAV", "DOUBLE"), ("WAV", "ULAW"), ("FLAC", "PCM_16")],
)
def test_a_pipe_has_the_codes_of_a_file(run, model, wav, spoken, piped, tmp_path, container, subtype):
    rate = read_audio(wav)[1]
    data = in_format(from_int16(spoken), rate, container, subtype)
    (tmp_path / "in").write_bytes(data)
    assert run("encode", tmp_path / "in", tmp_path / "file.codes", "--model", model).exit_code == 0
    piped(data)
    result = run("encode", "-", tmp_path / "pipe.codes", "--model", model)
    assert result.exit_code == 0, result.stderr
    found, wanted = (FrameSource(tmp_path / name) for name in ("pipe.codes", "file.codes"))
    assert found.num_samples == wanted.num_samples
    np.testing.assert_array_equal(found.read(0, 10**6), wanted.read(0, 10**6))


def test_a_pipe_that_is_cut_off_is_an_error_unless_allowed(run, model, wav, spoken, piped, tmp_path):
    data = in_format(from_int16(spoken), 16000, "WAV", "PCM_16")[:-1001]
    piped(data)
    result = run("encode", "-", tmp_path / "x.codes", "--model", model)
    assert result.exit_code == 1
    assert "ends 1001 bytes before its header says" in result.stderr
    assert not (tmp_path / "x.codes").exists()
    piped(data)
    result = run("encode", "-", tmp_path / "x.codes", "--model", model, "--allow-short")
    assert result.exit_code == 0
    assert "warning" in result.stderr


def test_raw_files_are_read_and_written(run, model, spoken, tmp_path):
    (tmp_path / "in.raw").write_bytes(np.ascontiguousarray(spoken[:1].T).tobytes())
    for command in (
        ("encode", tmp_path / "in.raw", tmp_path / "x.codes", "--model", model, "--raw", 16000),
        ("decode", tmp_path / "x.codes", tmp_path / "out.raw", "--model", model, "--raw"),
        ("decode", tmp_path / "x.codes", tmp_path / "part.raw", "--model", model, "--raw", "--start", 0.5),
    ):
        result = run(*command)
        assert result.exit_code == 0, result.stderr
    found = np.fromfile(tmp_path / "out.raw", "<i2")
    assert len(found) == spoken.shape[1]
    np.testing.assert_array_equal(np.fromfile(tmp_path / "part.raw", "<i2"), found[8000:])
    assert run("encode", tmp_path, tmp_path / "o", "--raw", 16000).exit_code == 2
    assert run("encode", tmp_path / "in.raw", "-", "--raw", 16000, "--normalize").exit_code == 2
    missing = run("encode", tmp_path / "nothing", "-", "--raw", 16000, "--model", model)
    assert missing.exit_code == 1
    assert "can't be opened" in missing.stderr
