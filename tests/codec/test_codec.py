"""The codec promises: exact lengths at every rate, blocks and parts equal to the whole, and clear refusals."""

from __future__ import annotations

import io
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from audiovq.codec import Codec, EncodedAudio, decode_file, encode_file
from audiovq.codec.loudness import gain_to_target
from audiovq.data.audio import read_audio, write_audio
from audiovq.data.resampling import resample
from audiovq.errors import (
    BadAudioError,
    BadCodesError,
    BadModelError,
    ConfigError,
    ModelMismatchError,
    OutputError,
)

from .conftest import FAST, RATE, make_codec, sound


@pytest.fixture(scope="module")
def codec() -> Codec:
    return make_codec(FAST)


@pytest.fixture(scope="module")
def voices() -> Codec:
    return make_codec(FAST, speakers=["anna", "bob"], speaker_dim=4)


# Lengths, rates, channels


@pytest.mark.parametrize("samples", [0, 1, 399, 16001])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000])
def test_output_has_the_inputs_rate_channels_and_length(codec, rate, channels, samples):
    waveform = sound(1.01 if samples < 16000 else samples / rate, rate, channels)[:, :samples]
    decoded, decoded_rate = codec.decompress(codec.compress(waveform, rate))
    assert decoded_rate == rate
    assert decoded.shape == waveform.shape == (channels, samples)
    assert decoded.dtype == np.float32
    assert np.isfinite(decoded).all()


def test_channels_are_coded_one_by_one(codec):
    waveform = sound(0.5, channels=2)
    both = codec.encode(waveform, RATE)
    alone = [codec.encode(channel, RATE) for channel in waveform]  # [T] will do for one channel
    assert (both.codes[0] != both.codes[1]).any()
    for c in range(2):
        assert (both.codes[c] == alone[c].codes[0]).mean() > 0.99  # a near tie may fall differently in a batch
        one = EncodedAudio(alone[c].header, both.codes[c : c + 1])
        np.testing.assert_allclose(codec.decode(both)[c], codec.decode(one)[0], atol=1e-5)


def test_input_of_another_rate_is_resampled_to_the_models(codec):
    waveform = sound(0.5, 44100)
    expected = codec.encode(resample(waveform, 44100, RATE), RATE)
    np.testing.assert_array_equal(codec.encode(waveform, 44100).codes, expected.codes)


def test_torch_tensors_are_taken_like_arrays(codec):
    waveform = sound(0.2)
    expected = codec.encode(waveform, RATE).codes
    np.testing.assert_array_equal(codec.encode(torch.from_numpy(waveform), RATE).codes, expected)


# Blocks and parts


def test_blocks_give_the_codes_and_the_sound_of_one_pass(codec):
    waveform = sound(3.3, channels=2)
    with torch.inference_mode():
        batch = torch.from_numpy(waveform).unsqueeze(1)
        codes = codec.model.encode(batch)
        whole = codec.model.decode(codes).squeeze(1).numpy()[:, : waveform.shape[1]]
    in_blocks = make_codec(FAST)
    in_blocks.block_seconds = 0.34
    encoded = in_blocks.encode(waveform, RATE)
    assert (codes[..., 1:] != codes[..., :-1]).float().mean() > 0.3  # so that equality says something
    assert np.abs(whole).max() > 0.01
    np.testing.assert_array_equal(encoded.codes, codes.numpy())
    np.testing.assert_allclose(in_blocks.decode(encoded), whole, atol=1e-5)


def test_progress_counts_every_block_up_to_the_end(codec):
    seen: list[tuple[int, int]] = []
    blocks = make_codec(FAST)
    blocks.block_seconds = 0.4
    encoded = blocks.encode(sound(1.0), RATE, progress=lambda *args: seen.append(args))
    lag = math.ceil(blocks.model.encoder.lookahead / 320)  # codes wait for what they look ahead to
    assert seen == [(20 - lag, 50), (40 - lag, 50), (50 - lag, 50), (50, 50)]
    seen.clear()
    blocks.decode(encoded, progress=lambda *args: seen.append(args))
    assert seen == [(20, 50), (40, 50), (50, 50)]


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize(("start", "duration"), [(0.0, 0.5), (1.2345, 0.777), (2.9, 1.0), (2.0, None), (1.0, 0.0)])
def test_a_part_equals_the_slice_of_the_whole(codec, rate, start, duration):
    data = codec.compress(sound(3.05, rate, channels=2), rate, normalize=True)
    whole, _ = codec.decompress(data)
    stop = None if duration is None else round((start + duration) * rate)
    expected = whole[:, round(start * rate) : stop]
    part, _ = codec.decompress(data, start=start, duration=duration)
    assert part.shape == expected.shape
    np.testing.assert_allclose(part, expected, atol=1e-5)


def test_a_part_past_the_end_is_empty(codec):
    assert codec.decode(codec.encode(sound(0.3), RATE), start=5.0).shape == (1, 0)


def test_a_part_reads_only_the_packets_it_needs(codec):
    damaged = bytearray(codec.compress(sound(12.0), RATE, packet_seconds=1.0))
    damaged[len(damaged) // 2] ^= 1  # in the 6th second
    early, _ = codec.decompress(bytes(damaged), start=0.5, duration=2.0)
    late, _ = codec.decompress(bytes(damaged), start=9.0, duration=2.0)
    assert early.shape == late.shape == (1, 2 * RATE)
    with pytest.raises(BadCodesError, match="damaged"):
        codec.decompress(bytes(damaged), start=5.5, duration=1.0)


# Bitrates and levels


def test_bitrates_count_the_bits_of_the_levels(codec):
    assert codec.bitrates == [50 * 8, 50 * 16, 50 * 24]  # 200 codes take 8 bits


@pytest.mark.parametrize(
    ("options", "levels"),
    [
        ({}, 3),
        ({"bitrate": 400}, 1),
        ({"bitrate": 1199}, 2),
        ({"bitrate": 1e6}, 3),
        ({"num_quantizers": 2}, 2),
    ],
)
def test_bitrate_or_number_of_levels_chooses_the_levels(codec, options, levels):
    encoded = codec.encode(sound(0.3), RATE, **options)
    assert encoded.codes.shape[1] == encoded.header.num_quantizers == levels
    np.testing.assert_array_equal(encoded.codes, codec.encode(sound(0.3), RATE).codes[:, :levels])
    assert codec.decode(encoded).shape == (1, 4800)


def test_options_are_checked_without_any_sound(codec, voices, monkeypatch):
    monkeypatch.setattr(codec.model, "encode", lambda *args: pytest.fail("encoded"))
    assert codec.check() == 3
    assert codec.check(bitrate=1199) == codec.check(num_quantizers=2) == voices.check(num_quantizers=2, speaker="bob")
    for options, error, message in [
        ({"bitrate": 100}, ConfigError, "below what tiny can do"),
        ({"num_quantizers": 4}, ConfigError, "tiny takes 1 to 3"),
        ({"bitrate": 400, "num_quantizers": 1}, ConfigError, "give one of them"),
        ({"speaker": "bob"}, BadModelError, "tiny has no speakers"),
    ]:
        with pytest.raises(error, match=message):
            codec.check(**options)
    with pytest.raises(BadModelError, match="tiny has no speaker 'carl'; choose from anna, bob"):
        voices.check(speaker="carl")


def test_the_models_own_default_of_levels_holds():
    encoded = make_codec(FAST, default_num_quantizers=2).encode(sound(0.1), RATE)
    assert encoded.header.num_quantizers == 2


def test_a_grouped_model_offers_only_what_its_groups_can_decode():
    grouped = {"kind": "vq", "groups": 2, "num_quantizers": 2, "codebook_size": 16, "kmeans_init": False}
    codec = make_codec(FAST, quantizer=grouped)
    assert codec.bitrates == [codec.frame_rate * bits for bits in (8, 12, 16)]
    assert codec.encode(sound(0.1), RATE, bitrate=codec.bitrates[0]).codes.shape[1] == 2
    with pytest.raises(ConfigError, match="takes 2 to 4"):
        codec.encode(sound(0.1), RATE, num_quantizers=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bitrate": 399}, "choose from 400, 800, 1200"),
        ({"num_quantizers": 4}, "takes 1 to 3"),
        ({"num_quantizers": 0}, "takes 1 to 3"),
        ({"num_quantizers": 1, "bitrate": 400}, "one of them"),
    ],
)
def test_impossible_levels_are_refused(codec, options, message):
    with pytest.raises(ConfigError, match=message):
        codec.encode(sound(0.1), RATE, **options)


def test_file_size_is_the_nominal_bitrate_and_little_more(codec):
    data = codec.compress(sound(10.0), RATE)
    assert 1200 <= 8 * len(data) / 10 <= 1200 * 1.1


# Loudness


def test_codes_look_ahead_no_farther_than_the_model_unless_normalized(codec):
    waveform = sound(1.0)
    louder_end = waveform.copy()
    louder_end[:, 12000:] *= 3
    frames = (12000 - codec.model.encoder.lookahead) // 320
    plain = [codec.encode(x, RATE).codes[..., :frames] for x in (waveform, louder_end)]
    np.testing.assert_array_equal(*plain)
    normal = [codec.encode(x, RATE, normalize=True).codes[..., :frames] for x in (waveform, louder_end)]
    assert (normal[0] != normal[1]).any()


@pytest.mark.parametrize("seconds", [0.2, 2.0])
def test_normalizing_makes_loud_and_quiet_the_same_codes_and_restores_them(codec, seconds):
    waveform = sound(seconds)
    loud, quiet = (codec.encode(g * waveform, RATE, normalize=True) for g in (1.0, 0.01))
    assert quiet.header.gain_db - loud.header.gain_db == pytest.approx(40.0, abs=0.01)
    assert (loud.codes == quiet.codes).mean() > 0.99
    same_codes = EncodedAudio(quiet.header, loud.codes)
    np.testing.assert_allclose(codec.decode(same_codes), 0.01 * codec.decode(loud), rtol=1e-3, atol=1e-6)


def test_gain_leads_to_the_target_loudness():
    # BS.1770: a 997 Hz sine of full scale in one channel measures -3.01 LUFS
    sine = np.sin(2 * np.pi * 997 * np.arange(48000 * 2) / 48000)[None].astype(np.float32)
    assert gain_to_target([0.999 * sine], 48000, len(sine)) == pytest.approx(-23 + 3.01, abs=0.1)


@pytest.mark.parametrize("samples", [0, 1, 100, 16000])
def test_silence_has_no_gain(codec, samples):
    encoded = codec.encode(np.zeros((1, samples), np.float32), RATE, normalize=True)
    assert encoded.header.gain_db is None
    assert codec.decode(encoded).shape == (1, samples)


# Bad input


@pytest.mark.parametrize(
    ("waveform", "message"),
    [
        (np.array([0.0, np.nan]), "NaN"),
        (np.array([0.0, np.inf]), "infinity"),
        (np.zeros(5, np.int16), "int16"),
        (np.zeros((1, 1, 5)), r"\[1, 1, 5\]"),
        (np.zeros((0, 5)), r"\[0, 5\]"),
        (np.zeros((256, 5)), "255"),
    ],
)
def test_what_is_no_waveform_is_refused(codec, waveform, message):
    with pytest.raises(BadAudioError, match=message):
        codec.encode(waveform, RATE)


@pytest.mark.parametrize("rate", [0, 1_000_000])
def test_impossible_rates_are_refused(codec, rate):
    with pytest.raises(BadAudioError, match=str(rate)):
        codec.encode(sound(0.1), rate)


def test_a_forged_rate_does_not_fill_the_memory(codec):
    encoded = codec.encode(sound(1.0), RATE)
    forged = replace(encoded.header, sample_rate=4_000_000_000, num_samples=4_000_000_000)
    with pytest.raises(BadCodesError, match="4000000000 Hz"):
        codec.decode(EncodedAudio(forged, encoded.codes))


@pytest.mark.parametrize("options", [{"start": -1.0}, {"duration": -0.1}, {"start": math.nan}])
def test_an_impossible_part_is_refused(codec, options):
    with pytest.raises(ConfigError, match="0 or more"):
        codec.decode(codec.encode(sound(0.1), RATE), **options)


def test_unknown_decoder_is_refused_with_the_known_ones(codec):
    with pytest.raises(BadModelError, match="'slow'; choose from fast"):
        codec.decode(codec.encode(sound(0.1), RATE), decoder="slow")


def test_a_damaged_packet_costs_its_own_second_if_concealed(codec):
    data = bytearray(codec.compress(sound(4.0), RATE, packet_seconds=1.0))
    whole, _ = codec.decompress(bytes(data))
    data[-200] ^= 8  # packets are of about 153 bytes: in the third second
    with pytest.warns(UserWarning, match=r"damaged at 2\.00 to 3\.00 s"):
        part, _ = codec.decompress(bytes(data), conceal=True)
    assert part[:, 2 * RATE : 2 * RATE + RATE // 4].any()
    assert not part[:, 2 * RATE + 3 * RATE // 10 : 3 * RATE].any()  # faded out
    reach = max(codec.model.decoder_context("fast")) * 320
    for keep in (slice(0, 2 * RATE - reach), slice(3 * RATE + reach, None)):
        np.testing.assert_allclose(part[:, keep], whole[:, keep], atol=1e-5)


# Models


def test_another_models_codes_are_refused_unless_allowed(codec):
    encoded = codec.encode(sound(0.2), RATE)
    other = Codec(codec.model, "other", bytes(32))
    with pytest.raises(ModelMismatchError, match="made by model tiny 000102030405,"):
        other.decode(encoded)
    np.testing.assert_array_equal(other.decode(encoded, allow_mismatch=True), codec.decode(encoded))


def test_codes_of_another_shape_are_refused_even_if_allowed(codec):
    other = make_codec(FAST, quantizer={"kind": "fsq", "levels": [8, 8], "num_quantizers": 3})
    with pytest.raises(ModelMismatchError, match="codebook sizes"):
        other.decode(codec.encode(sound(0.2), RATE), allow_mismatch=True)


def test_a_file_finds_a_bundled_model_by_the_name_of_its_folder(codec, tmp_path, monkeypatch):
    codec.model.save_pretrained(tmp_path / "m")
    loaded = Codec.from_pretrained(tmp_path / "m", device="cpu")
    encoded = loaded.encode(sound(0.2), RATE)
    assert encoded.header.model == "m"
    monkeypatch.setattr("audiovq.modelfolder.bundled_models", lambda: {"m": tmp_path / "m"})
    again = Codec.for_header(encoded.header, device="cpu")
    assert len(loaded.fingerprint) == 32
    np.testing.assert_array_equal(again.decode(encoded), loaded.decode(encoded))


@pytest.mark.parametrize("name", ["nobody/nothing", "no-such-model", "m", "./m", "{}/m", "~/m", "../m"])
def test_a_model_named_in_a_file_is_never_downloaded_nor_opened(codec, name, tmp_path, monkeypatch):
    monkeypatch.setattr("audiovq.codec.model.read_model", lambda *args: pytest.fail("looked for it elsewhere"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    codec.model.save_pretrained(tmp_path / "m")
    name = name.format(tmp_path)
    header = codec.encode(sound(0.1), RATE).header
    with pytest.raises(BadModelError, match="--model"):
        Codec.for_header(replace(header, model=name))


@pytest.mark.parametrize("device", ["tpu", "cuda"])
def test_a_device_that_is_not_there_is_refused(device, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=device):
        Codec.from_pretrained("anything", device=device)


# Speakers


def test_the_speaker_named_at_encoding_is_decodings_default(voices):
    encoded = voices.encode(sound(0.3), RATE, speaker="bob")
    assert encoded.header.speaker == "bob"
    bob, anna = voices.decode(encoded, speaker="bob"), voices.decode(encoded, speaker="anna")
    np.testing.assert_array_equal(voices.decode(encoded), bob)
    assert np.abs(bob - anna).max() > 1e-4


def test_a_model_with_speakers_needs_one(voices):
    with pytest.raises(BadModelError, match="--speaker: anna, bob"):
        voices.decode(voices.encode(sound(0.1), RATE))


def test_unknown_speakers_are_refused(codec, voices):
    with pytest.raises(BadModelError, match="'carl'; choose from anna, bob"):
        voices.encode(sound(0.1), RATE, speaker="carl")
    with pytest.raises(BadModelError, match="'carl'; choose from anna, bob"):
        voices.decode(voices.encode(sound(0.1), RATE), speaker="carl")
    with pytest.raises(BadModelError, match="has no speakers"):
        codec.encode(sound(0.1), RATE, speaker="anna")


# Files


class Pipe(io.RawIOBase):
    """Gives at most five bytes at a time and can't seek, as a slow pipe does."""

    def __init__(self, data: bytes) -> None:
        self._rest = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        part = self._rest.read(min(5, len(buffer)))
        buffer[: len(part)] = part
        return len(part)


def test_files_and_pipes_hold_the_same(codec, tmp_path):
    wav, codes, out = tmp_path / "a.wav", tmp_path / "a.codes", tmp_path / "b.wav"
    write_audio(wav, sound(1.5, 22050, 2), 22050)
    report = encode_file(codec, wav, codes)
    assert report.seconds == pytest.approx(1.5)
    assert report.num_bytes == codes.stat().st_size
    assert report.bits_per_second == pytest.approx(8 * report.num_bytes / 1.5)
    assert report.times_real_time > 0
    decoded = decode_file(codec, codes, out)
    assert decoded.num_bytes == out.stat().st_size
    assert read_audio(out)[0].shape == (2, 33075)

    piped_codes, piped_wav = io.BytesIO(), io.BytesIO()
    encode_file(codec, Pipe(wav.read_bytes()), piped_codes)
    decode_file(codec, Pipe(codes.read_bytes()), piped_wav)
    assert piped_codes.getvalue() == codes.read_bytes()
    assert piped_wav.getvalue() == out.read_bytes()


def test_existing_files_stay_unless_forced(codec, tmp_path):
    wav, codes = tmp_path / "a.wav", tmp_path / "a.codes"
    write_audio(wav, sound(0.2), RATE)
    codes.write_bytes(b"mine")
    with pytest.raises(OutputError, match="--force"):
        encode_file(codec, wav, codes)
    assert codes.read_bytes() == b"mine"
    encode_file(codec, wav, codes, force=True)
    before = wav.read_bytes()
    with pytest.raises(OutputError, match="--force"):
        decode_file(codec, codes, wav)
    assert wav.read_bytes() == before
    with pytest.raises(OutputError, match=r"\.wav, \.flac"):
        decode_file(codec, codes, tmp_path / "a.mp4")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.codes", "a.wav"]


def test_nothing_is_left_behind_by_a_failure(codec, tmp_path):
    (tmp_path / "text.wav").write_text("no sound at all")
    with pytest.raises(BadAudioError, match=r"text\.wav"):
        encode_file(codec, tmp_path / "text.wav", tmp_path / "a.codes")
    assert [p.name for p in tmp_path.iterdir()] == ["text.wav"]
