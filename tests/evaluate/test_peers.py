"""Codecs by command-line programs: stand-ins on the PATH everywhere, the real ones where they are installed."""

from __future__ import annotations

import os
import shutil
import struct
import sys

import numpy as np
import pytest

from audiovq.errors import BadAudioError
from audiovq.evaluate.containers import amr_payload_bits, ogg_payload_bits
from audiovq.evaluate.peers import PEERS, MissingPeerError, make_peer
from audiovq.metrics.alignment import aligned
from audiovq.metrics.speech import stoi

ENCODER = """#!{python}
import sys
import numpy as np
mode, source, target = sys.argv[1:]
samples = np.fromfile(source, "<i2")[::4]  # keeps a quarter of the samples in 8 bits
if not len(samples):
    sys.exit("first line\\nnothing to encode")
(samples >> 8).astype(np.int8).tofile(target)
"""
DECODER = """#!{python}
import sys
import numpy as np
mode, source, target = sys.argv[1:]
samples = np.fromfile(source, np.int8).astype(np.int16) << 8
np.concatenate([np.zeros(80, "<i2"), samples.repeat(4)]).tofile(target)  # 10 ms late
"""


@pytest.fixture
def stand_ins(tmp_path, monkeypatch):
    """`c2enc` and `c2dec` that really code, coarsely."""
    for name, text in (("c2enc", ENCODER), ("c2dec", DECODER)):
        (tmp_path / name).write_text(text.format(python=sys.executable))
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.skipif(sys.platform == "win32", reason="scripts are no programs there")
def test_programs_on_the_path_code_and_their_bytes_are_counted(stand_ins, sound):
    x = 0.9 * sound(seconds=1, rate=8000) / np.abs(sound(seconds=1, rate=8000)).max()
    coder = make_peer("codec2:1200", 16000)
    data = coder.encode(x, "ann")
    assert (coder.name, coder.rate, len(data), coder.payload_bits(data)) == ("Codec2 1200", 8000, 2000, 16000)
    y = coder.decode(data)
    assert len(y) == 8080
    assert np.abs(y[80:].reshape(-1, 4)[:, 0] - x[::4]).max() < 1 / 127
    with pytest.raises(BadAudioError, match=r"^c2enc failed: nothing to encode$"):
        coder.encode(x[:0], "ann")


def test_a_program_that_is_not_there_is_named_with_its_package(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingPeerError, match=r"^opus:6: opusenc .*opus-tools$"):
        make_peer("opus:6", 16000)
    assert make_peer("mulaw", 16000).rate == 16000


@pytest.mark.skipif(sys.platform == "win32", reason="scripts are no programs there")
def test_a_build_without_the_encoder_counts_as_missing(tmp_path, monkeypatch):
    (tmp_path / "ffmpeg").write_text("#!/bin/sh\necho libopus\n")
    (tmp_path / "ffmpeg").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(MissingPeerError, match="libavcodec-extra"):
        make_peer("amr-wb:6.60", 16000)


def test_mu_law_is_8_bits_a_sample_and_nearly_exact(sound):
    x = sound()
    coder = make_peer("mulaw", 16000)
    data = coder.encode(x, "ann")
    assert coder.payload_bits(data) == 8 * len(x) < 8 * len(data)
    assert np.abs(coder.decode(data) - x).max() < 0.02


# Spec, nominal bits/s of codes, and STOI that any of them must reach on the packaged sample.
REAL = [
    ("opus:8", 8000, 0.9),
    ("codec2:3200", 3200, 0.75),
    ("codec2:700C", 700, 0.6),
    ("speex-nb:2", 5950, 0.8),
    ("speex-wb:2", 7750, 0.8),
    ("amr-nb:4.75", 4750, 0.8),
    ("amr-wb:6.60", 6600, 0.85),
    ("lpc10", 2400, 0.7),
]


@pytest.mark.parametrize(("spec", "nominal", "least"), REAL, ids=[spec for spec, *_ in REAL])
def test_installed_codecs_keep_their_rate_and_the_speech(spec, nominal, least, sample_path):
    from audiovq.data.audio import read_audio
    from audiovq.data.resampling import resample

    try:
        coder = make_peer(spec, 16000)
    except MissingPeerError as error:
        pytest.skip(str(error))
    waveform, rate = read_audio(sample_path)
    x = resample(waveform, rate, coder.rate)[0]
    data = coder.encode(x, "")
    y = coder.decode(data)
    assert coder.payload_bits(data) <= 8 * len(data)
    assert coder.payload_bits(data) / (len(x) / coder.rate) == pytest.approx(nominal, rel=0.1)
    y = np.pad(y[: len(x)], (0, max(0, len(x) - len(y))))
    assert stoi(*aligned(x, y, coder.rate), coder.rate) > least


def test_all_codecs_with_programs_are_run_above():
    assert {spec.partition(":")[0] for spec, *_ in REAL} == {name for name, peer in PEERS.items() if peer.programs}


def ogg_page(*packets):
    table = b"".join(bytes([255] * (len(p) // 255) + [len(p) % 255]) for p in packets)
    return b"OggS" + bytes(22) + bytes([len(table)]) + table + b"".join(packets)


def test_ogg_payload_is_what_follows_the_two_headers():
    stream = (
        ogg_page(b"OpusHead") + ogg_page(b"OpusTags" * 10) + ogg_page(b"abc", bytes(255), bytes(300)) + ogg_page(b"d")
    )
    assert ogg_payload_bits(stream) == 8 * (3 + 255 + 300 + 1)
    spanning = b"OggS" + bytes(22) + bytes([1, 255]) + bytes(255)  # a packet that the next page goes on with
    assert ogg_payload_bits(ogg_page(b"h") + ogg_page(b"t") + spanning + ogg_page(b"rest")) == 8 * (255 + 4)
    for damaged in (stream[:-1], stream + b"x", b"RIFF"):
        with pytest.raises(BadAudioError, match="no complete page"):
            ogg_payload_bits(damaged)


def test_amr_payload_is_the_bits_of_each_frame_by_its_type():
    frames = struct.pack("B", 0 << 3) + bytes(12) + struct.pack("B", 7 << 3) + bytes(31)
    silence = struct.pack("B", 8 << 3) + bytes(5) + struct.pack("B", 15 << 3)
    assert amr_payload_bits(b"#!AMR\n" + frames + silence) == 95 + 244 + 39
    assert amr_payload_bits(b"#!AMR-WB\n" + bytes(18)) == 132
    with pytest.raises(BadAudioError, match="cut off"):
        amr_payload_bits(b"#!AMR\n" + frames[:-1])
    with pytest.raises(BadAudioError, match="not an AMR"):
        amr_payload_bits(b"#!SILK" + frames)


def test_the_real_opus_stream_is_read_where_installed(sample_path):
    if shutil.which("opusenc") is None:
        pytest.skip("opusenc is not installed; install Debian's package opus-tools")
    from audiovq.data.audio import read_audio

    waveform, _ = read_audio(sample_path)
    data = make_peer("opus:6", 16000).encode(waveform[0], "")
    container = 8 * len(data) - make_peer("opus:6", 16000).payload_bits(data)
    assert 8 * 27 * 3 < container < 8 * 2000  # three page headers at least, two packets of a few hundred bytes
