"""What is minimised, term by term."""

import math

import pytest
import torch

from audiovq.audio import AudioVQVAE
from audiovq.errors import ConfigError
from audiovq.train.speech.objectives import build_objective
from audiovq.train.speech.spectral import SpectralLoss

from ..conftest import tiny_config


def batch_of(samples=512, used=512, items=4):
    torch.manual_seed(1)
    waveform = 0.3 * torch.randn(items, 1, samples)
    waveform[..., used:] = 0
    return {
        "waveform": waveform,
        "speaker": torch.zeros(items, dtype=torch.int64),
        "num_samples": torch.full((items,), used),
    }


def make(tiny_pack, decoder, **model_changes):
    config = tiny_config(tiny_pack, decoder)
    quantizer = config.model.quantizer.model_copy(update={"kmeans_init": False, "level_dropout": False})
    model = config.model.model_copy(update={"quantizer": quantizer, "speakers": ["a", "b"]} | model_changes)
    torch.manual_seed(0)
    built = AudioVQVAE.from_config(model).eval()
    return built, build_objective(config.objective, built).eval()


def test_the_elbo_is_the_reconstruction_and_log2_k_for_each_code(tiny_pack):
    model, objective = make(tiny_pack, "wavenet")
    batch = batch_of()
    terms, vq = objective(model, batch, 10)
    bits = model.decoder().bits(batch["waveform"], vq.z_q, model.speaker_vector(batch["speaker"]))
    torch.testing.assert_close(terms["reconstruction_bits"], bits.mean())
    assert (terms["elbo_bits"] - terms["reconstruction_bits"]).item() == pytest.approx(2 * 3 / 32)  # 2 x log2(8) / hop
    torch.testing.assert_close(terms["loss"], bits.mean() * math.log(2) + vq.loss)


def test_padding_has_no_part_in_the_likelihood(tiny_pack):
    model, objective = make(tiny_pack, "wavenet")
    padded, exact = batch_of(512, 256), batch_of(512, 256)
    exact["waveform"] = exact["waveform"][..., :256]
    long, short = (objective(model, b, 10)[0]["reconstruction_bits"] for b in (padded, exact))
    # only the convolution over codes may look two frames into the padding
    torch.testing.assert_close(long, short, atol=0.05, rtol=0)
    changed = {k: v.clone() for k, v in padded.items()}
    changed["waveform"][..., 300:] = 0.5  # garbage behind the end
    bits = model.decoder().bits
    z_q = torch.zeros(4, 8, 16)
    speaker = model.speaker_vector(padded["speaker"])
    assert torch.equal(
        bits(changed["waveform"], z_q, speaker)[:, :256], bits(padded["waveform"], z_q, speaker)[:, :256]
    )


def test_without_codes_the_decoder_cannot_tell_inputs_apart_by_them(tiny_pack):
    model, objective = make(tiny_pack, "wavenet")
    objective.config = objective.config.model_copy(update={"codes": "none"})
    terms, vq = objective(model, batch_of(), 10)
    assert vq is None
    assert set(terms) == {"loss", "reconstruction_bits"}  # and pays for none
    bits = model.decoder().bits(
        batch_of()["waveform"], torch.zeros(4, 8, 16), model.speaker_vector(torch.zeros(4).long())
    )
    torch.testing.assert_close(terms["reconstruction_bits"], bits.mean())


def test_the_spectral_loss_is_zero_for_equal_sound_and_grows_with_the_difference():
    loss = SpectralLoss(8000, [64, 128], [8, 12], per_step=1).eval()
    x = 0.3 * torch.randn(2, 1, 1024, generator=torch.Generator().manual_seed(0))
    assert {k: float(v) for k, v in loss(x, x).items()} == {"mel": 0.0, "linear": 0.0}
    halved = loss(0.5 * x, x)
    assert float(halved["mel"]) == pytest.approx(math.log(2), rel=0.02)  # half amplitude: ln 2 in every band
    assert float(halved["linear"]) == pytest.approx(math.log(2) + 0.5, rel=0.02)  # and half of the energy's norm lost


def test_what_is_out_of_range_counts_as_silence():
    torch.manual_seed(0)
    target = 0.3 * torch.sin(0.3 * torch.arange(4000)).expand(1, 1, -1)
    noise = torch.randn_like(target)
    whole, limited = (SpectralLoss(8000, [256], [16], per_step=1, range_db=r).eval() for r in (None, 60.0))
    soft, loud = target + 5e-4 * noise, target + 0.03 * noise
    assert whole(soft, target)["mel"] > 10 * limited(soft, target)["mel"]
    assert limited(loud, target)["mel"] > 0.1
    # the range is the target's: what the output has too much of counts
    assert limited(loud, 0.001 * target)["mel"] > 1


def test_perceptual_terms_are_weighed_and_left_out_unless_asked_for(tiny_pack):
    model, plain = make(tiny_pack, "fast")
    config = plain.config.model_copy(update={"loudness_weight": 0.5, "envelope_weight": 2.0, "mel_weight": 3.0})
    objective = build_objective(config, model).eval()
    batch = batch_of(4096)
    before, after = (o(model, batch, 10)[0] for o in (plain, objective))
    assert not {"loudness", "envelope"} & before.keys()
    more = 2.0 * before["mel"] + 0.5 * after["loudness"] + 2.0 * after["envelope"]
    torch.testing.assert_close(after["loss"], before["loss"] + more)
    assert min(after["loudness"], after["envelope"]) > 0


def test_silence_has_a_finite_spectral_loss_and_gradient():
    loss = SpectralLoss(8000, [64], [8], per_step=1)
    x = torch.zeros(1, 1, 256, requires_grad=True)
    terms = loss(x, torch.zeros(1, 1, 256))
    (terms["mel"] + terms["linear"]).backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("decoder", ["fast", "wavenet"])
def test_before_its_step_the_quantizer_rests(tiny_pack, decoder):
    model, objective = make(tiny_pack, decoder)
    assert objective(model, batch_of(), 2)[1] is None
    assert objective(model, batch_of(), 3)[1] is not None


def test_an_objective_of_the_wrong_kind_is_refused(tiny_pack):
    model, _ = make(tiny_pack, "fast")
    other = tiny_config(tiny_pack, "wavenet").objective
    with pytest.raises(ConfigError, match="no decoder 'wavenet'"):
        build_objective(other, model)
    with pytest.raises(ConfigError, match="trained with spectral"):
        build_objective(other.model_copy(update={"decoder": "fast"}), model)
