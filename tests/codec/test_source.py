"""A decoder with a source in `Codec`: parts, blocks, channels and seeds, and a shift of pitch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from audiovq.audio.source_decoder import F0_BINS, decode_pitch
from audiovq.codec import Codec
from audiovq.errors import ConfigError

from .conftest import FAST, RATE, make_codec, sound

SOURCE = {
    **FAST,
    "encoder": {**FAST["encoder"], "lookahead": 0},
    "decoders": {
        "fast": {"kind": "source", "channels": 16, "depth": 1, "fine_channels": 16, "fine_depth": 1, "sharpening": 0.3}
    },
}


@pytest.fixture
def codec() -> Codec:
    return with_voice(make_codec(SOURCE))


def with_voice(codec: Codec) -> Codec:
    """Heads that say much of the codes, and a voice half of the time."""
    decoder = codec.model.decoder()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        decoder.pitch_head[2].weight.normal_(std=0.5, generator=generator)
        decoder.spectrum_head.weight.normal_(std=0.1, generator=generator)
        z_q = codec.model.quantizer.decode(torch.from_numpy(codec.encode(sound(2.0), RATE).codes))
        decoder.pitch_head[2].bias[F0_BINS] -= decoder.controls(z_q).pitch[..., F0_BINS].median()
        _, voiced = decode_pitch(decoder.controls(z_q).pitch)
    assert 0.2 < voiced.mean() < 0.8
    return codec


def test_blocks_give_the_sound_of_one_pass(codec):
    waveform = sound(6.3, channels=2)
    encoded = codec.encode(waveform, RATE)
    whole = codec.decode(encoded)
    codec.block_seconds = 0.34
    assert np.abs(whole).max() > 0.05
    np.testing.assert_allclose(codec.decode(encoded), whole, atol=1e-5 * np.abs(whole).max() / 0.3)


@pytest.mark.parametrize("rate", [16000, 44100])
@pytest.mark.parametrize(("start", "duration"), [(0.0, 0.5), (1.2345, 0.777), (4.9, 0.4), (5.0, None)])
def test_a_part_equals_the_slice_of_the_whole(codec, rate, start, duration):
    data = codec.compress(sound(6.05, rate, channels=2), rate)
    whole, _ = codec.decompress(data, seed=3)
    stop = None if duration is None else round((start + duration) * rate)
    expected = whole[:, round(start * rate) : stop]
    part, _ = codec.decompress(data, start=start, duration=duration, seed=3)
    np.testing.assert_allclose(part, expected, atol=3e-5 * np.abs(whole).max())


def test_what_follows_a_lost_packet_is_the_sound_of_the_whole_after_the_stated_context(codec):
    data = bytearray(codec.compress(sound(7.0), RATE, packet_seconds=1.0))
    whole, _ = codec.decompress(bytes(data))
    data[-700] ^= 8  # packets are of about 153 bytes: in the third second
    with pytest.warns(UserWarning, match=r"damaged at 2\.00 to 3\.00 s"):
        part, _ = codec.decompress(bytes(data), conceal=True)
    left, right = (frames * 320 for frames in codec.model.decoder_context("fast"))
    for keep in (slice(0, 2 * RATE - right), slice(3 * RATE + left, None)):
        assert whole[:, keep].size
        np.testing.assert_allclose(part[:, keep], whole[:, keep], atol=3e-5 * np.abs(whole).max())


def test_channels_have_noise_of_their_own_and_a_seed_repeats_it(codec):
    mono = sound(1.0)
    encoded = codec.encode(np.concatenate([mono, mono]), RATE)
    left, right = codec.decode(encoded)
    np.testing.assert_array_equal(encoded.codes[0], encoded.codes[1])
    assert np.abs(left - right).max() > 0.01
    np.testing.assert_array_equal(codec.decode(encoded), np.stack([left, right]))
    assert np.abs(codec.decode(encoded, seed=1)[0] - left).max() > 0.01


def test_pitch_is_shifted_on_request_and_only_where_there_is_a_source(codec):
    encoded = codec.encode(sound(1.0), RATE)
    plain = codec.decode(encoded)
    assert np.abs(codec.decode(encoded, pitch_shift=3.0) - plain).max() > 0.01
    np.testing.assert_array_equal(codec.decode(encoded, pitch_shift=0.0), plain)
    with pytest.raises(ConfigError, match="-24 to 24 semitones"):
        codec.decode(encoded, pitch_shift=25.0)
    with pytest.raises(ConfigError, match="-24 to 24 semitones"):
        codec.decode(encoded, pitch_shift=float("nan"))
    other = make_codec(FAST)
    with pytest.raises(ConfigError, match="no source whose pitch could be shifted; leave --pitch-shift out"):
        other.decode(other.encode(sound(0.2), RATE), pitch_shift=1.0)
