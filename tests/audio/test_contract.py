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


def streamed(layer, x: torch.Tensor, cuts: list[int], state, *condition) -> tuple[torch.Tensor, list[int]]:
    """All output for `x` in pieces of these lengths, and how long it was after each."""
    parts, lengths = [], []
    for piece in x.split(cuts, dim=-1):
        y, state = layer.stream(piece, state, *condition)
        parts.append(y)
        lengths.append(sum(part.shape[-1] for part in parts))
    parts.append(layer.stream(x[..., :0], state, *condition, last=True)[0])
    return torch.cat(parts, -1), lengths


def some_cuts(length: int, seed: int) -> list[int]:
    """Pieces of random lengths, some of them empty, that add up to `length`."""
    generator = torch.Generator().manual_seed(seed)
    places = torch.randint(length + 1, (int(torch.randint(40, (1,), generator=generator)),), generator=generator)
    return torch.tensor([0, *places.sort().values, length]).diff().tolist()


@pytest.mark.parametrize("kind", ENCODERS)
@pytest.mark.parametrize("seed", range(4))
def test_sound_in_pieces_has_the_vectors_of_the_whole(kind, seed):
    encoder = model_with(encoder=kind).encoder
    x = torch.randn(2, 1, 20 * 80, dtype=torch.float64)
    found, _ = streamed(encoder, x, some_cuts(20 * 80, seed), encoder.initial_state(2))
    torch.testing.assert_close(found, encoder(x), atol=1e-5, rtol=0)  # a spectrogram is always of float32


@pytest.mark.parametrize("kind", ENCODERS)
def test_a_vector_waits_for_the_stated_look_ahead_and_no_longer(kind):
    encoder = model_with(encoder=kind).encoder
    hop, ahead = encoder.hop_length, encoder.lookahead
    x = torch.randn(1, 1, 20 * hop, dtype=torch.float64)
    _, lengths = streamed(encoder, x, [1] * (20 * hop), encoder.initial_state(1))
    assert lengths == [max(0, (n + 1 - ahead) // hop) for n in range(20 * hop)]
    z_e = encoder(x)
    for frame in (3, 10):
        changed = x.clone()
        changed[..., (frame + 1) * hop + ahead :] *= -2
        assert torch.equal(encoder(changed)[..., : frame + 1], z_e[..., : frame + 1])


@pytest.mark.parametrize("kind", FEED_FORWARD)
@pytest.mark.parametrize("seed", range(4))
def test_codes_in_pieces_have_the_sound_of_the_whole(kind, seed):
    model = model_with(decoder=kind, speakers=["ann", "bob"], speaker_dim=4)
    decoder, speaker = model.decoder(), model.speaker_table.weight
    z_q = 3 * torch.randn(2, 8, 300, dtype=torch.float64)
    place = Place(seed=3, first_frame=7, channels=[4, 0])
    found, _ = streamed(decoder, z_q, some_cuts(300, seed), decoder.initial_state(2, place), speaker)
    whole = decoder(z_q, speaker, place)
    assert whole.abs().max() > 1e-3
    torch.testing.assert_close(found, whole, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", FEED_FORWARD)
def test_sound_waits_for_the_stated_look_ahead_and_no_longer(kind):
    decoder = model_with(decoder=kind).decoder()
    hop, ahead = decoder.hop_length, decoder.lookahead
    z_q = torch.randn(1, 8, 30, dtype=torch.float64)
    _, lengths = streamed(decoder, z_q, [1] * 30, decoder.initial_state(1))
    assert lengths == [max(0, (n + 1) * hop - ahead) for n in range(30)]


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
