"""What encoders and decoders promise, asked of every kind that a configuration can name."""

import inspect
from typing import get_args

import pytest
import torch

from audiovq.audio import AutoregressiveDecoder, FeedForwardDecoder, LogisticMixture, MuLawSoftmax, Place
from audiovq.audio.config import DecoderConfig, EncoderConfig

from .conftest import FRAME, WAVENET, make_model

RATE = 8000  # Hz, and a hop of 10 ms
ENCODERS = {
    "waveform": {"channels": 8, "strides": [4, 4, 5], "dilations": [1, 3]},
    "log-mel": {
        "hop_length": 80,
        "num_mels": 10,
        "window_length": 128,
        "channels": 12,
        "depth": 2,
        "kernel_size": 3,
        "lookahead": 1,
    },
}
SOURCE = {"channels": 12, "depth": 1, "upsample": 1, "fine_channels": 8, "fine_depth": 1, "window_length": 160}
DECODERS = {"wavenet": WAVENET, "frame": FRAME | {"window_length": 80}, "source": SOURCE}


def model_with(encoder: str = "waveform", decoder: str = "frame", **changes):
    model = make_model(
        sample_rate=RATE,
        encoder={"kind": encoder} | ENCODERS[encoder],
        decoders={"it": DECODERS[decoder] | {"kind": decoder}},
        **changes,
    )
    return model.double()


def kinds(union) -> set[str]:
    return {get_args(part.model_fields["kind"].annotation)[0] for part in get_args(get_args(union)[0])}


FEED_FORWARD = [kind for kind in DECODERS if isinstance(model_with(decoder=kind).decoder(), FeedForwardDecoder)]
AUTOREGRESSIVE = [kind for kind in DECODERS if isinstance(model_with(decoder=kind).decoder(), AutoregressiveDecoder)]


def test_every_kind_of_the_configuration_is_asked():
    assert set(ENCODERS) == kinds(EncoderConfig)
    assert set(DECODERS) == kinds(DecoderConfig) == {*FEED_FORWARD, *AUTOREGRESSIVE}


@pytest.mark.parametrize("kind", ENCODERS)
def test_an_encoder_gives_a_vector_for_every_hop_begun(kind):
    model = model_with(encoder=kind)
    assert model.encoder.hop_length == model.config.encoder.hop_length == 80
    for samples, frames in ((1, 1), (80, 1), (81, 2), (400, 5)):
        assert model.encoder(torch.randn(2, 1, samples, dtype=torch.float64)).shape == (2, 8, frames)


@pytest.mark.parametrize("kind", ENCODERS)
def test_a_piece_with_the_stated_context_gives_the_frames_of_the_whole(kind):
    encoder = model_with(encoder=kind).encoder
    hop, (left, right) = encoder.hop_length, encoder.context_frames
    x = torch.randn(1, 1, 80 * hop, dtype=torch.float64)
    start, stop = 50, 60
    piece = encoder(x[..., (start - left) * hop : (stop + right) * hop])
    torch.testing.assert_close(piece[..., left : left + stop - start], encoder(x)[..., start:stop])


@pytest.mark.parametrize("kind", FEED_FORWARD)
def test_a_piece_with_its_context_has_the_sound_of_the_whole(kind):
    decoder = model_with(decoder=kind).decoder()
    hop, (left, right) = decoder.hop_length, decoder.context_frames
    start, stop = left + 10, left + 20
    z_q = torch.randn(2, 8, stop + right + 10, dtype=torch.float64)
    whole = decoder(z_q, None, Place(seed=3))
    assert whole.shape == (2, 1, z_q.shape[-1] * hop)
    piece = decoder(z_q[..., start - left : stop + right], None, Place(seed=3, first_frame=start - left))
    wanted = whole[..., start * hop : stop * hop]
    assert wanted.abs().max() > 1e-3
    torch.testing.assert_close(piece[..., left * hop : (left + stop - start) * hop], wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", FEED_FORWARD)
def test_the_last_layer_is_a_weight_that_the_sound_is_made_with(kind):
    decoder = model_with(decoder=kind).decoder()
    decoder(torch.randn(1, 8, 10, dtype=torch.float64)).square().sum().backward()
    assert any(decoder.last_layer is parameter for parameter in decoder.parameters())
    assert decoder.last_layer.grad.abs().sum() > 0


@pytest.mark.parametrize("kind", AUTOREGRESSIVE)
def test_an_autoregressive_decoder_says_the_bits_of_each_sample(kind):
    decoder = model_with(decoder=kind).decoder()
    z_q = torch.randn(2, 8, 3, dtype=torch.float64)
    bits = decoder.bits(torch.rand(2, 1, 201, dtype=torch.float64) - 0.5, z_q)
    assert bits.shape == (2, 201)
    assert bits.isfinite().all()
    assert decoder.condition(z_q, None).shape[:2] == (2, 3)


@pytest.mark.parametrize("kind", DECODERS)
def test_a_decoder_hears_the_speaker(kind):
    model = model_with(decoder=kind, speakers=["ann", "bob"], speaker_dim=4)
    z_q = torch.randn(1, 8, 10, dtype=torch.float64)
    decoder, vectors = model.decoder(), model.speaker_table.weight
    say = decoder if kind in FEED_FORWARD else decoder.condition
    assert not torch.allclose(say(z_q, vectors[:1]), say(z_q, vectors[1:]))


def test_an_option_has_its_default_in_the_configuration_alone():
    built = [model_with(encoder=kind).encoder for kind in ENCODERS]
    built += [model_with(decoder=kind).decoder() for kind in DECODERS]
    for kind in (*map(type, built), MuLawSoftmax, LogisticMixture):
        for cls in kind.__mro__[: kind.__mro__.index(torch.nn.Module)]:
            for name, parameter in inspect.signature(cls.__init__).parameters.items():
                assert parameter.default is inspect.Parameter.empty, f"{cls.__name__}({name})"
