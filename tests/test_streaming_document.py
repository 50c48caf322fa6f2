"""docs/streaming.md: its programs run, with files for a microphone and a socket, and give what the whole gives."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiovq.codec import Codec
from audiovq.data.audio import read_audio

REPOSITORY = Path(__file__).parents[1]
DOCUMENT = (REPOSITORY / "docs" / "streaming.md").read_text(encoding="utf-8")
MICROPHONE, SOCKET = re.findall(r"^```python\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)
SOUNDDEVICE = '''
import numpy as np
import soundfile


class InputStream:
    """Hears in.wav, and then silence."""

    def __init__(self, samplerate, channels, dtype):
        self.sound, _ = soundfile.read("in.wav", dtype=dtype, always_2d=True)
        self.place = 0

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def read(self, frames):
        block = self.sound[self.place : self.place + frames]
        self.place += frames
        return np.pad(block, ((0, frames - len(block)), (0, 0))), False


class OutputStream(InputStream):
    """Writes out.wav."""

    def __init__(self, samplerate, channels, dtype):
        self.file = soundfile.SoundFile("out.wav", "w", samplerate, channels, "FLOAT")

    def __exit__(self, *error):
        self.file.close()

    def write(self, data):
        assert data.flags.c_contiguous and data.dtype == np.float32
        self.file.write(data)
'''


@pytest.fixture
def speech(tmp_path) -> np.ndarray:
    """The packaged sample in in.wav, `[1, T]` at 16 kHz."""
    with resources.files("audiovq").joinpath("assets/sample.flac").open("rb") as file:
        waveform, rate = read_audio(file)
    assert rate == 16000
    soundfile.write(tmp_path / "in.wav", waveform[:, :64000].T, rate, "FLOAT")
    return waveform[:, :64000]


def program(folder: Path, name: str, text: str, *arguments: str) -> subprocess.Popen[bytes]:
    (folder / name).write_text(text)
    path = os.pathsep.join([str(folder), str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, name, *arguments], cwd=folder, env=environment)


def lines(text: str) -> int:
    return sum(bool(line.strip()) for line in text.splitlines())


def test_the_programs_are_short():
    assert lines(MICROPHONE) <= 17
    assert lines(SOCKET) <= 23


def test_a_microphone_becomes_a_file_and_is_heard(speech, tmp_path):
    (tmp_path / "sounddevice.py").write_text(SOUNDDEVICE)
    assert program(tmp_path, "live.py", MICROPHONE).wait() == 0
    codec = Codec.from_pretrained("speech-16k")
    wanted = codec.decode(codec.encode(np.pad(speech, ((0, 0), (0, 160000 - speech.shape[1]))), 16000))
    np.testing.assert_allclose(codec.decode(tmp_path / "talk.codes"), wanted, atol=1e-5)
    heard, _ = soundfile.read(tmp_path / "out.wav", dtype="float32")
    assert len(heard) > 160000 - 16000 * 0.16
    np.testing.assert_allclose(heard, wanted[0, : len(heard)], atol=1e-5)


def test_a_socket_carries_speech(speech, tmp_path):
    with socket.create_server(("", 0)) as free:
        port = str(free.getsockname()[1])
    hearing = program(tmp_path, "talk.py", SOCKET, "hear", port, "out.wav")
    while hearing.poll() is None:  # until it listens
        if program(tmp_path, "talk.py", SOCKET, "localhost", port, "in.wav").wait() == 0:
            break
    assert hearing.wait() == 0
    codec = Codec.from_pretrained("speech-16k")
    found, rate = soundfile.read(tmp_path / "out.wav", dtype="float32")
    assert rate == 16000
    np.testing.assert_allclose(found, codec.decode(codec.encode(speech, 16000))[0], atol=1.01 / 32768)
