"""The benchmark of loss damages what it says, and its codecs hear what is left."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from audiovq.codec import Codec
from audiovq.data.audio import read_audio
from audiovq.data.resampling import resample

PACKETS = [100] * 20_000


@pytest.fixture
def speech() -> np.ndarray:
    waveform, _ = read_audio(Path(str(resources.files("audiovq") / "assets" / "sample.flac")))
    return waveform[0, : 2 * 16000]


@pytest.mark.parametrize("burst", [0.0, 3.0])
def test_losses_have_their_share_and_length(benchmark_module, burst):
    channel = benchmark_module("loss").Channel("x", loss=0.1, burst=burst)
    lost, flips = channel.damage(PACKETS, True, 0)
    assert not len(flips)
    assert lost.mean() == pytest.approx(0.1, abs=0.01)
    begins = lost[1:] & ~lost[:-1]
    assert lost.sum() / begins.sum() == pytest.approx(burst or 1 / 0.9, rel=0.1)


def test_bit_errors_cost_checked_packets_only(benchmark_module):
    channel = benchmark_module("loss").Channel("x", bit_errors=1e-3)
    lost, flips = channel.damage(PACKETS, True, 0)
    assert len(flips) / sum(PACKETS) == pytest.approx(1e-3, rel=0.1)
    assert set(np.flatnonzero(lost)) == set(flips // 100)
    lost, same = channel.damage(PACKETS, False, 0)
    assert not lost.any()
    np.testing.assert_array_equal(same, flips)


def test_a_worse_channel_loses_what_a_better_one_does(benchmark_module):
    Channel = benchmark_module("loss").Channel
    some, more = (Channel("x", loss=loss).damage(PACKETS, True, 0)[0] for loss in (0.05, 0.1))
    assert (more | ~some).all()


@pytest.mark.parametrize("name", ["audiovq:1", "silence:1", "repetition:1", "opus:6", "codec2:1300"])
def test_codecs_hear_what_is_left(benchmark_module, speech, name):
    codecs = benchmark_module("loss").CODECS
    try:
        codec = codecs[name](Codec.from_pretrained(device="cpu"))
    except OSError as error:
        pytest.skip(str(error))
    sent = codec.send(resample(speech[None], 16000, codec.rate)[0])
    assert len(sent.packet_bits) in (20, 21)
    lost, none = np.zeros(len(sent.packet_bits), bool), np.zeros(0, np.int64)
    whole = sent.receive(lost, none)
    lost[8:14] = True
    damaged = sent.receive(lost, none)
    assert len(whole) == len(damaged) == 2 * codec.rate
    before, gap = slice(0, int(0.7 * codec.rate)), slice(int(1.25 * codec.rate), int(1.3 * codec.rate))
    np.testing.assert_allclose(damaged[before], whole[before], atol=1e-4)
    assert np.abs(damaged[gap]).max() < 0.1 * np.abs(whole).max()  # faded, by every concealment
    assert not sent.receive(np.ones_like(lost), none)[: codec.rate // 50].any()  # nothing came, nothing is heard
