"""Distances after PESQ, ESTOI and ViSQOL order distortions as the metrics do; their gradients are finite."""

import pytest
import soundfile
import torch

from audiovq.train.speech.perceptual import (
    EnvelopeDecorrelation,
    LoudnessDisturbance,
    NeurogramDissimilarity,
    PerceptualLoss,
    bark_bands,
)

RATE = 16000
KINDS = [LoudnessDisturbance, EnvelopeDecorrelation, NeurogramDissimilarity]


@pytest.fixture(scope="module")
def speech(sample_path):
    """Three seconds of the packaged synthetic speech: `[1, T]`."""
    samples, rate = soundfile.read(sample_path, dtype="float32")
    assert rate == RATE
    return torch.from_numpy(samples[RATE : 4 * RATE]).unsqueeze(0)


def noisy(speech, snr_db):
    noise = torch.randn(speech.shape, generator=torch.Generator().manual_seed(1))
    return speech + noise * speech.square().mean().sqrt() * 10 ** (-snr_db / 20)


def distances(kind, outputs, target):
    distance = kind(RATE)
    return [distance(output, target).item() for output in outputs]


@pytest.mark.parametrize("kind", KINDS)
def test_more_noise_is_further_away_and_a_level_is_not(kind, speech):
    same, quieter, *rest = distances(
        kind, [speech, 0.3 * speech, *(noisy(speech, db) for db in (40, 25, 10, -5))], speech
    )
    assert same == pytest.approx(0, abs=2e-3)
    assert quieter == pytest.approx(0, abs=2e-3)
    assert rest == sorted(rest)
    assert rest[0] > same + 1e-3


@pytest.mark.parametrize(("kind", "metric"), [*zip(KINDS, ["pesq", "pystoi", "visqol"], strict=True)])
def test_distortions_are_ordered_as_the_metric_orders_them(kind, metric, speech):
    library = pytest.importorskip(metric)
    low = torch.fft.irfft(torch.fft.rfft(speech) * (torch.fft.rfftfreq(speech.shape[-1], 1 / RATE) < 1500))
    clipped = speech.clamp(-0.05, 0.05)
    outputs = [*(noisy(speech, db) for db in (35, 20, 10, 0)), low, clipped, noisy(low, 20)]

    def score(output):
        pair = speech[0].numpy(), output[0].numpy()
        if metric == "visqol":
            api = library.VisqolApi()
            api.create(mode="speech", use_lattice_model=True)
            return api.measure_from_arrays(
                *(x.astype("float64") for x in pair), RATE
            ).vnsim  # before it is mapped to MOS
        return library.pesq(RATE, *pair, "wb") if metric == "pesq" else library.stoi(*pair, RATE, extended=True)

    wanted, ours = torch.tensor([score(o) for o in outputs]), torch.tensor(distances(kind, outputs, speech))
    ranks = torch.stack([-wanted.argsort().argsort().double(), ours.argsort().argsort().double()])
    assert torch.corrcoef(ranks)[0, 1] > 0.85


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("output", ["equal", "silent", "noise"])
def test_gradients_are_finite(kind, output, speech):
    x = {"equal": speech, "silent": 0 * speech, "noise": noisy(speech, 10)}[output].clone().requires_grad_()
    kind(RATE)(x, speech).sum().backward()
    assert torch.isfinite(x.grad).all()
    if output == "noise":
        assert x.grad.abs().max() > 0


def test_a_step_against_the_gradient_comes_nearer(speech):
    loss = PerceptualLoss(RATE, ["loudness", "envelope", "neurogram"])
    x = noisy(speech, 15).unsqueeze(1).requires_grad_()
    before = loss(x, speech.unsqueeze(1))
    sum(before.values()).backward()
    after = loss((x - 1e-3 * x.grad / x.grad.square().mean().sqrt()).detach(), speech.unsqueeze(1))
    assert all(after[name] < before[name] for name in before)


def test_silent_targets_do_not_count(speech):
    loss = PerceptualLoss(RATE, ["loudness", "envelope", "neurogram"])
    x, y = noisy(speech, 10).unsqueeze(1), speech.unsqueeze(1)
    alone = loss(x, y)
    x = torch.cat([x, 0.1 * torch.randn_like(x)]).requires_grad_()
    beside = loss(x, torch.cat([y, torch.zeros_like(y)]))
    for name, value in alone.items():
        torch.testing.assert_close(beside[name], value)
    sum(beside.values()).backward()
    assert torch.isfinite(x.grad).all()
    assert not x.grad[1].any()
    assert all(value == 0 for value in loss(torch.zeros_like(y), torch.zeros_like(y)).values())
    assert not PerceptualLoss(RATE, [])(x, x)


@pytest.mark.parametrize("rate", [8000, 16000, 24000, 44100])
def test_every_rate_has_bands_that_share_the_bins(rate):
    frequency = torch.fft.rfftfreq(round(0.032 * rate), 1 / rate)[1:]
    bank, centre, width = bark_bands(frequency)
    assert torch.equal(bank.sum(1), torch.ones(len(frequency)))
    assert (bank.sum(0) >= 1).all()
    assert (centre.diff() > 0).all()
    assert (width > 0).all()
    x = 0.1 * torch.randn(2, rate)
    for kind in (LoudnessDisturbance, EnvelopeDecorrelation):
        assert kind(rate)(x, x.roll(50, -1)).shape == (2,)
