"""Lost frames are bridged by what came before, the same however codes come."""

from __future__ import annotations

import numpy as np
import pytest

from audiovq.codec.conceal import Concealer, fade
from audiovq.codec.source import EncodedAudio

from .conftest import FAST, RATE, SAMPLING, make_codec, sound

FRAME_RATE = 50.0  # 4 frames go on, at full level for 5, and fade in 10 more


def codes_of(*gaps: slice, channels: int = 1, frames: int = 60) -> np.ndarray:
    """Codes `[C, 2, F]` that are different in each frame, lost in the gaps."""
    codes = np.arange(channels * 2 * frames).reshape(channels, 2, frames)
    for gap in gaps:
        codes[:, :, gap] = -1
    return codes


def levels(gains: np.ndarray) -> list[float]:
    """Of one channel, the gain at the end of each frame."""
    return [round(float(gain), 2) for gain in gains[0, :, 1]]


def test_codes_that_came_stay_as_they_are():
    codes = codes_of(channels=3)
    out, gains = Concealer(3, FRAME_RATE).push(codes)
    np.testing.assert_array_equal(out, codes)
    assert (gains == 1).all()


def test_the_last_frame_goes_on_and_fades():
    codes = codes_of(slice(10, 30))
    out, gains = Concealer(1, FRAME_RATE).push(codes)
    np.testing.assert_array_equal(out[:, :, 10:14], codes[:, :, [9] * 4])
    assert (out[:, :, 14:30] == -1).all()
    np.testing.assert_array_equal(out[:, :, 30:], codes[:, :, 30:])
    assert levels(gains[:, 10:15]) == [1.0] * 5
    assert levels(gains[:, 15:30]) == [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0] + [0.0] * 5
    assert levels(gains[:, 30:]) == [1.0] * 30


def test_the_level_never_jumps():
    _, gains = Concealer(1, FRAME_RATE).push(codes_of(slice(10, 17), slice(20, 50)))
    np.testing.assert_array_equal(gains[:, 1:, 0], gains[:, :-1, 1])


def test_what_is_lost_at_the_beginning_is_silence():
    codes = codes_of(slice(0, 7))
    out, gains = Concealer(1, FRAME_RATE).push(codes)
    np.testing.assert_array_equal(out, codes)
    assert not gains[:, :7].any()
    assert gains[0, 7].tolist() == [0.0, 1.0]
    assert (gains[:, 8:] == 1).all()


def test_a_frame_that_lost_its_finer_levels_only_is_no_lost_frame():
    codes = codes_of()
    codes[:, 1, 20:40] = -1
    out, gains = Concealer(1, FRAME_RATE).push(codes)
    np.testing.assert_array_equal(out, codes)
    assert (gains == 1).all()


def test_channels_are_bridged_each_on_its_own():
    codes = codes_of(channels=2)
    codes[0, :, 10:40] = -1
    codes[1, :, 5:8] = -1
    out, gains = Concealer(2, FRAME_RATE).push(codes)
    for channel in range(2):
        alone, own = Concealer(1, FRAME_RATE).push(codes[channel : channel + 1])
        np.testing.assert_array_equal(out[channel], alone[0])
        np.testing.assert_array_equal(gains[channel], own[0])


@pytest.mark.parametrize("seed", range(8))
def test_pieces_joined_equal_the_whole(seed):
    rng = np.random.default_rng(seed)
    codes = codes_of(channels=2, frames=200)
    codes[np.broadcast_to((rng.random((2, 40)) < 0.5).repeat(5, axis=1)[:, None], codes.shape)] = -1
    concealer = Concealer(2, FRAME_RATE)
    cuts = np.sort(rng.integers(0, 201, 30))  # some are the same: empty pieces
    pieces = [concealer.push(piece) for piece in np.split(codes, cuts, axis=2)]
    whole, gains = Concealer(2, FRAME_RATE).push(codes)
    np.testing.assert_array_equal(np.concatenate([out for out, _ in pieces], axis=2), whole)
    np.testing.assert_array_equal(np.concatenate([gain for _, gain in pieces], axis=1), gains)


def test_sound_that_came_is_not_touched_and_lost_sound_follows_the_line():
    gains = np.tile(np.array([[1.0, 1.0], [1.0, 0.5], [0.5, 0.0], [0.0, 1.0]], np.float32), (2, 1, 1))
    expected = [1, 1, 1, 1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125, 0, 0.25, 0.5, 0.75, 1]
    for first, last in ((0, 16), (0, 5), (3, 9)):
        sound = np.ones((2, last - first), np.float32)
        fade(sound, gains, 4, first)
        np.testing.assert_allclose(sound, np.tile(expected[first:last], (2, 1)), rtol=1e-6)


@pytest.mark.parametrize("config", [FAST, SAMPLING], ids=["fast", "wavenet"])
def test_a_stream_over_gaps_gives_the_wholes_sound(config):
    codec = make_codec(config)
    data = bytearray(codec.compress(sound(2.5, codec.sample_rate), codec.sample_rate))
    data[len(data) // 2] ^= 8
    with pytest.warns(UserWarning, match="the sound before goes on there"):
        whole, _ = codec.decompress(bytes(data), conceal=True)
    stream = codec.decoder_stream(conceal=True)
    cuts = [bytes(data[first : first + 97]) for first in range(0, len(data), 97)]
    with pytest.warns(UserWarning, match="the sound before goes on there"):
        pieces = [*(stream.push(cut) for cut in cuts), stream.flush()]
    joined = np.concatenate([piece for piece in pieces if piece.size], axis=1)
    np.testing.assert_allclose(joined, whole, atol=3e-5 * np.abs(whole).max())


@pytest.mark.parametrize(("start", "duration"), [(0.31, 0.5), (0.55, 0.2), (0.9, 0.05), (1.15, 1.0), (1.61, None)])
@pytest.mark.parametrize("block_seconds", [20.0, 0.1])
def test_a_part_over_gaps_is_the_wholes_sound(start, duration, block_seconds):
    codec = make_codec(FAST)
    encoded = codec.encode(sound(2.0, channels=2), RATE)
    codes = encoded.codes.copy()
    codes[:, :, 0:3] = codes[:, :, 20:25] = codes[:, :, 27:75] = codes[0, :, 80:85] = -1
    damaged = EncodedAudio(encoded.header, codes)
    whole = codec.decode(damaged)
    codec.block_seconds = block_seconds
    part = codec.decode(damaged, start=start, duration=duration)
    stop = None if duration is None else round((start + duration) * RATE)
    np.testing.assert_allclose(part, whole[:, round(start * RATE) : stop], atol=3e-5 * np.abs(whole).max())
    assert not whole[:, : 3 * 320].any()
    assert whole[:, 27 * 320 : 35 * 320].any()
    assert not whole[:, (27 + 15) * 320 : 75 * 320].any()
