"""Streams of bytes: however sound and bytes are cut, they give what the whole gives, and no later than they say."""

from __future__ import annotations

import io
import itertools
import tracemalloc
from dataclasses import replace
from importlib import resources

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiovq.bitstream import read_codes
from audiovq.codec import Codec
from audiovq.data.audio import read_audio
from audiovq.errors import BadAudioError, BadCodesError, ConfigError, ModelMismatchError

from .conftest import FAST, RATE, SAMPLING, make_codec, sound

SOURCE = {"kind": "source", "channels": 16, "depth": 1, "fine_channels": 16, "fine_depth": 1}


def with_a_melody(codec: Codec) -> Codec:
    """With a pitch that moves with the codes, which an untrained one hardly does."""
    with torch.no_grad():
        for name, weight in codec.model.decoders.named_parameters():
            if "pitch_head" in name and name.endswith("weight"):
                weight.mul_(10)
    return codec


CODECS = {
    "frames": make_codec(FAST),
    "source": with_a_melody(make_codec(FAST, decoders={"fast": SOURCE})),
    "waveforms and WaveNet": make_codec(SAMPLING),
}


@pytest.fixture(params=CODECS.values(), ids=CODECS.keys())
def codec(request) -> Codec:
    return request.param


def pieces(x, cuts: list[int]):
    """`x` along its last axis, cut at these places."""
    places = [0, *sorted(cuts), len(x) if isinstance(x, bytes) else x.shape[-1]]
    for begin, end in itertools.pairwise(places):
        yield x[begin:end] if isinstance(x, bytes) else x[:, begin:end]


def encoded_in(codec: Codec, waveform: np.ndarray, rate: int, cuts: list[int], **options) -> bytes:
    stream = codec.encoder_stream(rate, len(waveform), **options)
    return b"".join([*map(stream.push, pieces(waveform, cuts)), stream.flush()])


def decoded_in(codec: Codec, data: bytes, cuts: list[int], **options) -> np.ndarray:
    stream = codec.decoder_stream(**options)
    heard = [stream.push(part) for part in pieces(data, cuts)] + [stream.flush()]
    assert stream.num_samples is not None
    return np.concatenate([part for part in heard if part.shape[1]] or heard[-1:], axis=1)


def random_cuts(length: int, seed: int, most: int = 12) -> list[int]:
    rng = np.random.default_rng(seed)
    return [int(place) for place in rng.integers(0, length + 1, rng.integers(most + 1))]


@pytest.mark.parametrize("rate", [None, 44100, 8000, 48000])
@pytest.mark.parametrize("seed", range(3))
def test_sound_and_bytes_in_pieces_give_the_codes_and_the_sound_of_the_whole(codec, rate, seed):
    rate = rate or codec.sample_rate
    waveform = sound(0.3 + 0.61 * seed, rate, channels=1 + seed % 2)
    whole = codec.encode(waveform, rate)
    data = encoded_in(codec, waveform, rate, random_cuts(waveform.shape[1], seed))
    header, codes = read_codes(io.BytesIO(data))
    assert header.num_samples is None
    np.testing.assert_array_equal(codes, whole.codes)
    assert data == encoded_in(codec, waveform, rate, [])
    found = decoded_in(codec, data, random_cuts(len(data), seed), seed=3)
    wanted = codec.decode(whole, seed=3)
    assert found.shape == wanted.shape == waveform.shape
    assert np.abs(wanted).max() > 0.01
    np.testing.assert_allclose(found, wanted, atol=1e-5)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.data())
def test_any_cuts_give_the_same(data):
    codec = CODECS["source"]
    waveform = sound(1.0)
    places = st.lists(st.integers(0, waveform.shape[1]), max_size=8)
    stream = encoded_in(codec, waveform, RATE, data.draw(places))
    assert stream == encoded_in(codec, waveform, RATE, [])
    found = decoded_in(codec, stream, data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    np.testing.assert_allclose(found, codec.decode(stream), atol=1e-5)


def test_byte_after_byte_of_a_file_gives_its_sound(codec):
    data = codec.compress(sound(0.5, 8000), 8000)
    np.testing.assert_allclose(decoded_in(codec, data, list(range(len(data)))), codec.decode(data), atol=1e-5)


@pytest.mark.parametrize("samples", [0, 1, 319, 320, 321])
def test_a_stream_of_hardly_any_sound_has_its_length(codec, samples):
    waveform = sound(1.0, codec.sample_rate)[:, :samples]
    data = encoded_in(codec, waveform, codec.sample_rate, [])
    assert decoded_in(codec, data, list(range(len(data)))).shape == (1, samples)
    np.testing.assert_array_equal(read_codes(io.BytesIO(data))[1], codec.encode(waveform, codec.sample_rate).codes)


def test_what_comes_later_changes_nothing_that_was_given(codec):
    rate, one = codec.sample_rate, sound(1.2, codec.sample_rate)
    other = one.copy()
    half = one.shape[1] // 2
    other[:, half:] *= -3
    given_ = []
    for waveform in (one, other):
        encoder, decoder = codec.encoder_stream(rate, packet_seconds=0.02), codec.decoder_stream()
        given_.append(decoder.push(encoder.push(waveform[:, :half])))
        decoder.push(encoder.push(waveform[:, half:]))
    np.testing.assert_array_equal(*given_)
    whole = codec.decode(codec.encode(one, rate))
    assert given_[0].shape[1] > 0.15 * rate
    np.testing.assert_allclose(given_[0], whole[:, : given_[0].shape[1]], atol=1e-5)


@pytest.mark.parametrize("packet_seconds", [0.02, 0.1])
@pytest.mark.parametrize("rate", [None, 48000])
def test_sound_comes_out_after_the_stated_latency_and_hardly_sooner(codec, rate, packet_seconds):
    rate = rate or codec.sample_rate
    encoder, decoder = codec.encoder_stream(rate, packet_seconds=packet_seconds), codec.decoder_stream()
    step, heard, waits = rate // 500, 0, []
    for n in range(0, 2 * rate, step):
        heard += decoder.push(encoder.push(np.zeros((1, step), np.float32))).shape[1]
        waits.append((n + step - heard) / rate)  # of the sample that comes next, since it went in
    stated = encoder.latency + decoder.latency
    assert max(waits) <= stated + step / rate
    # resamplers need not be at their slowest at once
    assert max(waits) > (stated - 0.005 if rate == codec.sample_rate else 0.75 * stated)


def test_a_model_states_its_latency():
    from audiovq.cli.models import describe_model

    facts = describe_model("speech-16k")
    codec = Codec.from_pretrained("speech-16k")
    encoder, decoder = codec.encoder_stream(16000, packet_seconds=0.02), codec.decoder_stream()
    decoder.push(encoder.push(np.zeros(320, np.float32)))
    assert facts["encoder_lookahead_seconds"] == codec.model.encoder.lookahead / 16000 == 0.011
    assert facts["decoder_lookahead_seconds"] == decoder.latency
    assert facts["latency_seconds"] == pytest.approx(encoder.latency + decoder.latency) == pytest.approx(0.0735)


def test_packets_come_as_they_fill(codec):
    encoder = codec.encoder_stream(codec.sample_rate, packet_seconds=0.1)
    lengths = []
    for _ in range(20):
        lengths.append(len(encoder.push(np.zeros(codec.sample_rate // 20, np.float32))))
    assert lengths[0] == len(encoder.header.to_bytes())
    assert sum(length > 0 for length in lengths[2:]) == 9
    assert encoder.header.frames_per_packet == round(0.1 * codec.frame_rate)


def test_damage_raises_or_is_bridged():
    codec = CODECS["source"]
    waveform = sound(1.5)
    data = bytearray(encoded_in(codec, waveform, RATE, []))
    data[len(data) // 2] ^= 1
    with pytest.raises(BadCodesError, match="damaged"):
        decoded_in(codec, bytes(data), [])
    with pytest.warns(UserWarning, match="the sound before goes on there"):
        found = decoded_in(codec, bytes(data), [300], conceal=True)
    assert found.shape == waveform.shape
    np.testing.assert_allclose(found, codec.decode(bytes(data), conceal=True), atol=1e-5)
    assert (found == 0).mean() < 0.01


def test_an_end_that_is_missing_is_told_at_the_end():
    codec = CODECS["frames"]
    data = encoded_in(codec, sound(0.5), RATE, [])
    for cut in (0, 3, 30, len(data) - 20, len(data) - 1):
        stream = codec.decoder_stream()
        stream.push(data[:cut])
        with pytest.raises(BadCodesError):
            stream.flush()
    with pytest.raises(BadCodesError, match="bytes follow the end"):
        decoded_in(codec, data + b"x", [])


@pytest.mark.parametrize("is_stream", [True, False])
def test_the_end_is_heard_while_the_line_is_still_open(codec, is_stream):
    waveform = sound(0.5, codec.sample_rate)
    data = encoded_in(codec, waveform, codec.sample_rate, [])
    if not is_stream:
        data = codec.compress(waveform, codec.sample_rate)
    stream = codec.decoder_stream()
    heard = [stream.push(data[:-1]), stream.push(data[-1:])]
    assert sum(part.shape[1] for part in heard) == waveform.shape[1]
    with pytest.raises(BadCodesError, match="bytes follow the end"):
        stream.push(b"x")
    assert stream.flush().shape == (1, 0)


def test_what_is_no_stream_or_of_another_model_is_refused_at_once():
    codec, other = CODECS["frames"], CODECS["waveforms and WaveNet"]
    with pytest.raises(BadCodesError, match=r"not a \.codes file"):
        codec.decoder_stream().push(b"RIFF....")
    with pytest.raises(ModelMismatchError):
        codec.decoder_stream().push(other.encoder_stream(8000).push(np.zeros(1, np.float32)))
    with pytest.raises(BadAudioError, match="2 channels in a stream of 1"):
        codec.encoder_stream(8000).push(np.zeros((2, 5), np.float32))
    with pytest.raises(ConfigError, match="packets of 0 s"):
        codec.encoder_stream(8000, packet_seconds=0)


def test_nothing_follows_the_end():
    codec = CODECS["frames"]
    encoder, decoder = codec.encoder_stream(8000), codec.decoder_stream()
    decoder.push(encoder.flush())
    decoder.flush()
    for call in (lambda: encoder.push(np.zeros(1, np.float32)), encoder.flush, lambda: decoder.push(b"")):
        with pytest.raises(ValueError, match="was flushed"):
            call()


@pytest.mark.parametrize("seed", range(2))
def test_the_bundled_model_codes_a_voice_in_pieces_as_in_one(seed):
    codec = Codec.from_pretrained("speech-16k")
    with resources.files("audiovq").joinpath("assets/sample.flac").open("rb") as file:
        voice, rate = read_audio(file)
    voice = voice[:, : 6 * rate]
    whole = codec.encode(voice, rate, num_quantizers=4)
    data = encoded_in(codec, voice, rate, random_cuts(voice.shape[1], seed, 100), num_quantizers=4)
    np.testing.assert_array_equal(read_codes(io.BytesIO(data), codec.coder_of)[1], whole.codes)
    found = decoded_in(codec, data, random_cuts(len(data), seed, 100))
    np.testing.assert_allclose(found, codec.decode(whole), atol=1e-5)


@pytest.mark.parametrize(
    "changes", [{"num_samples": 2**40}, {"channels": 255, "num_samples": 2**30}, {"sample_rate": 768_000}]
)
def test_nothing_is_allocated_on_the_word_of_a_header(changes):
    codec = CODECS["frames"]
    encoded = codec.encode(np.zeros((1, 2 * RATE), np.float32), RATE)
    body = codec.compress(np.zeros((1, 2 * RATE), np.float32), RATE)[len(encoded.header.to_bytes()) :]
    tracemalloc.start()
    try:
        with pytest.raises(BadCodesError):
            decoded_in(codec, replace(encoded.header, **changes).to_bytes() + body, [])
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()
