"""WaveNet decoding: blocks, parts, channels, threads and precisions change nothing that they should not."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from audiovq.audio.wavenet_sampler import WaveNetSampler
from audiovq.codec import Codec, EncodedAudio, FrameSource
from audiovq.codec.autoregressive import BLOCK_FRAMES
from audiovq.codec.conceal import Concealer
from audiovq.errors import ConfigError

from .conftest import FAST, SAMPLING, make_codec, sound

RATE, HOP = 8000, 8


@pytest.fixture(scope="module")
def codec() -> Codec:
    return make_codec(SAMPLING)


@pytest.fixture(scope="module")
def encoded(codec) -> EncodedAudio:
    """Three blocks, the last one not full, of two channels with different codes."""
    encoded = codec.encode(sound(0.15, RATE, channels=2), RATE)
    assert encoded.codes.shape == (2, 1, 150)
    assert (encoded.codes[0] != encoded.codes[1]).any()
    return encoded


def uniforms(seed: int, channel: int, count: int) -> np.ndarray:
    return np.random.default_rng([seed, channel]).random(count)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
@pytest.mark.parametrize("likelihood", [{"kind": "mu-law"}, {"kind": "logistic-mixture", "mixtures": 3}])
def test_blocks_give_what_one_call_over_the_whole_gives(precision, likelihood):
    decoders = {"wavenet": SAMPLING["decoders"]["wavenet"] | {"likelihood": likelihood}}
    codec = make_codec(SAMPLING, decoders=decoders)
    encoded = codec.encode(sound(0.15, RATE), RATE)
    sampler = WaveNetSampler(codec.model.decoder("wavenet"), precision)
    with torch.inference_mode():
        condition = sampler.condition(codec.model.quantizer.decode(torch.from_numpy(encoded.codes)), None)
    whole, _ = sampler.sample(condition, torch.from_numpy(uniforms(5, 0, 1200)[None]))
    assert whole.unique().numel() > 50
    np.testing.assert_array_equal(codec.decode(encoded, seed=5, precision=precision), whole[:, 0].numpy())


def test_channels_run_as_if_alone(codec, encoded):
    both = codec.decode(encoded, seed=3)
    first = codec.decode(EncodedAudio(codec.encode(sound(0.15, RATE), RATE).header, encoded.codes[:1]), seed=3)
    assert both.shape == (2, 1200)
    np.testing.assert_array_equal(both[:1], first)


@pytest.mark.parametrize("decoder", ["wavenet", "fast"])
def test_many_recordings_in_step_sound_as_if_alone(decoder):
    wavenet = SAMPLING["decoders"]["wavenet"]
    fast = FAST["decoders"]["fast"] | {"upsample": 1}
    codec = make_codec(SAMPLING, decoders={"wavenet": wavenet, "fast": fast}, speakers=["anna", "bob"], speaker_dim=4)
    lengths = ((0.15, 2), (0.02, 1), (0.0, 1), (0.07, 1))  # seconds, channels: of three blocks, one, none and two
    recordings = [codec.encode(sound(s, RATE, c), RATE, speaker="bob") for s, c in lengths]
    how = {"decoder": decoder, "seed": 5}
    for speakers in (None, ["anna", None, "bob", "anna"]):
        together = codec.decode_many(recordings, speakers=speakers, **how)
        for recording, voice, one in zip(recordings, speakers or [None] * 4, together, strict=True):
            np.testing.assert_array_equal(one, codec.decode(recording, speaker=voice, **how))
    assert (together[0] != codec.decode(recordings[0], **how)).any()  # the voice matters
    assert codec.decode_many([]) == []


@pytest.mark.parametrize(("start", "duration"), [(0.0, 0.02), (0.03, 0.05), (0.1, None), (0.128, 0.001)])
def test_a_part_is_that_slice_of_the_whole(codec, encoded, start, duration):
    whole = codec.decode(encoded, seed=7)
    stop = None if duration is None else round((start + duration) * RATE)
    part = codec.decode(encoded, seed=7, start=start, duration=duration)
    np.testing.assert_array_equal(part, whole[:, round(start * RATE) : stop])


def test_a_seed_repeats_and_seeds_and_channels_differ(codec, encoded):
    same_codes = EncodedAudio(encoded.header, encoded.codes[[0, 0]])
    one = codec.decode(same_codes, seed=7)
    np.testing.assert_array_equal(codec.decode(same_codes, seed=7), one)
    other = codec.decode(same_codes, seed=8)
    pairs = [(one[0], one[1]), (one[0], other[0]), (one[1], other[0])]
    assert all(np.abs(a - b).max() > 0.01 for a, b in pairs)


def test_no_more_codes_are_read_at_once_than_a_block_needs(codec, encoded, monkeypatch):
    asked: list[int] = []
    read = FrameSource.read
    monkeypatch.setattr(
        FrameSource, "read", lambda self, first, last: asked.append(last - first) or read(self, first, last)
    )
    codec.decode(encoded)
    assert len(asked) == 3
    assert max(asked) <= BLOCK_FRAMES + 4 + Concealer(1, RATE / HOP).memory


def test_a_part_reads_no_packet_after_it(codec):
    damaged = bytearray(codec.compress(sound(2.5, RATE), RATE, packet_seconds=1.0))
    damaged[-40] ^= 1  # in the last packet
    part, _ = codec.decompress(bytes(damaged), duration=0.1)
    assert part.shape == (1, 800)


def test_lost_codes_are_bridged_by_the_last_ones_and_fade_out(codec):
    gap = slice(60, 500)  # over edges of blocks, and longer than what goes on
    received = codec.encode(sound(0.6, RATE), RATE)
    codes, held = received.codes.copy(), received.codes.copy()
    codes[:, :, gap] = -1
    held[:, :, 60 : 60 + 80] = held[:, :, 59:60]  # the last frame for 80 ms, then no codes
    held[:, :, 140:500] = -1
    header = received.header
    whole, part, repeated = (codec.decode(EncodedAudio(header, c))[0] for c in (received.codes, codes, held))
    np.testing.assert_array_equal(part[: 58 * HOP], whole[: 58 * HOP])
    np.testing.assert_array_equal(part[: 140 * HOP], repeated[: 140 * HOP])
    assert not part[(60 + 300) * HOP : 500 * HOP].any()
    assert part[501 * HOP :].any()


def test_progress_counts_the_blocks_up_to_the_end(codec, encoded):
    seen: list[tuple[int, int]] = []
    codec.decode(encoded, progress=lambda *args: seen.append(args))
    assert seen == [(64, 150), (128, 150), (150, 150)]


def test_threads_share_a_codec_and_change_nothing():
    codec, alone = make_codec(SAMPLING), make_codec(SAMPLING)
    recordings = [codec.encode(sound(seconds, RATE), RATE) for seconds in (0.1, 0.03, 0.07, 0.02, 0.09)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(codec.decode, recordings))
    for recording, one in zip(recordings, together, strict=True):
        np.testing.assert_array_equal(one, alone.decode(recording))


def test_speakers_change_the_voice():
    codec = make_codec(SAMPLING, speakers=["anna", "bob"], speaker_dim=4)
    encoded = codec.encode(sound(0.05, RATE), RATE, speaker="bob")
    bob, anna = codec.decode(encoded), codec.decode(encoded, speaker="anna")
    np.testing.assert_array_equal(codec.decode(encoded, speaker="bob"), bob)
    assert (bob != anna).any()


def test_a_precision_that_there_is_not_is_refused(codec, encoded):
    with pytest.raises(ConfigError, match=r"'fp64'.*fp32, bf16, int8"):
        codec.decode(encoded, precision="fp64")


def test_a_precision_for_a_feed_forward_decoder_is_refused():
    codec = make_codec(FAST)
    with pytest.raises(ConfigError, match=r"fp32: decoder 'fast' is no WaveNet.*leave --precision out"):
        codec.decode(codec.encode(sound(0.1), 16000), precision="fp32")


def test_which_decoder_draws_sample_by_sample():
    wavenet = SAMPLING["decoders"]["wavenet"]
    codec = make_codec(FAST, decoders=FAST["decoders"] | {"wavenet": wavenet})
    assert not codec.is_autoregressive()
    assert codec.is_autoregressive("wavenet")
