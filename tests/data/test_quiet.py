"""What libraries write to standard error while they read sound."""

import contextlib
import os

import numpy as np
import soundfile

from audiovq.data.audio import read_audio
from audiovq.data.quiet import quiet_mp3
from audiovq.errors import BadAudioError


def damaged_mp3s(folder):
    generator = np.random.default_rng(0)
    soundfile.write(folder / "whole.mp3", 0.1 * generator.standard_normal(48000), 16000)
    data = (folder / "whole.mp3").read_bytes()
    for number in range(20):
        changed = bytearray(data)
        for place in generator.integers(200, len(data), 40):
            changed[place] ^= int(generator.integers(1, 256))
        path = folder / f"{number}.mp3"
        path.write_bytes(changed[:1000] + changed[1500:] if number % 2 else changed)
        yield path


def test_no_remark_on_a_damaged_mp3_reaches_standard_error(tmp_path, capfd):
    paths = list(damaged_mp3s(tmp_path))
    soundfile.read(paths[1])
    assert capfd.readouterr().err  # there is something to keep off
    for path in paths:
        for source in (path, path.open("rb")):
            with contextlib.suppress(BadAudioError):
                read_audio(source)
    assert capfd.readouterr().err == ""


def test_what_others_write_meanwhile_appears(tmp_path, capfd):
    path = next(damaged_mp3s(tmp_path))
    with quiet_mp3(path):
        os.write(2, b"Note: Trying to resync...\nsomething else\n")
    assert capfd.readouterr().err == "something else\n"
