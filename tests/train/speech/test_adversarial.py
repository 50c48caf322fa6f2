"""Discriminators, their losses, and how what they ask for is weighed."""

from functools import partial

import pytest
import torch
from torch import nn

from audiovq.audio import AudioVQVAE
from audiovq.errors import ConfigError
from audiovq.train.experiment import parse_experiment
from audiovq.train.run import train
from audiovq.train.speech.adversarial import Adversary, GradientBalance, feature_loss, frozen, hinge_loss
from audiovq.train.speech.config import AdversarialConfig
from audiovq.train.speech.discriminators import MelDiscriminator, PeriodDiscriminator, SpectrumDiscriminator
from audiovq.train.speech.objectives import build_objective

from ..conftest import tiny_config, tiny_tree
from ..test_run import losses, stop_at
from .test_objectives import batch_of

SMALL = {"periods": (2, 3), "windows": (64,), "channels": 4, "warmup_steps": 0}


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture
def waveform():
    return 0.1 * torch.randn(2, 1, 600)


@torch.no_grad()
def test_a_period_discriminator_never_mixes_columns(waveform):
    discriminator = PeriodDiscriminator(5, 4)
    before = discriminator(waveform)
    changed = waveform.clone()
    changed[..., 202] += 1  # column 2 of 5
    for a, b in zip(before, discriminator(changed), strict=True):
        differs = (a != b).any(dim=(0, 1, 2))
        assert differs.tolist() == [False, False, True, False, False]


@torch.no_grad()
def test_a_spectrum_discriminator_hears_its_bands_apart(waveform):
    discriminator = SpectrumDiscriminator(128, 4)
    before = discriminator(waveform)
    tone = torch.sin(torch.arange(600) * 2 * torch.pi * 25 / 128)  # bin 25 of 65: the band from 0.25 to 0.5
    maps = discriminator(waveform + tone)
    layers = len(discriminator.bands[0])
    changes = [(a - b).abs().max().item() for a, b in zip(maps[:-1], before[:-1], strict=True)]
    by_band = [max(changes[i * layers : (i + 1) * layers]) for i in range(len(discriminator.bands))]
    assert by_band.index(max(by_band)) == 2
    assert by_band[4] < 0.05 * by_band[2]  # leakage of the window only
    assert maps[-1].shape[1] == 1


@pytest.mark.parametrize(
    ("kind", "size"),
    [(PeriodDiscriminator, 3), (SpectrumDiscriminator, 64), (partial(MelDiscriminator, 16000), 256)],
)
def test_a_discriminator_learns_to_tell_tones_from_noise(kind, size):
    discriminator = kind(size, 4)
    optimizer = torch.optim.Adam(discriminator.parameters(), 1e-2)
    time = torch.arange(400)
    for _ in range(40):
        tones = torch.sin(time * (0.1 + 0.4 * torch.rand(8, 1, 1)) + 6 * torch.rand(8, 1, 1))
        noise = torch.randn(8, 1, 400) * 0.7
        loss = hinge_loss(discriminator(tones)[-1], discriminator(noise)[-1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.5  # 2 for one that can't tell


def test_hinge_and_feature_losses_by_hand():
    assert hinge_loss(torch.tensor([2.0, 0.5]), torch.tensor([-3.0, 0.0])).item() == pytest.approx(0.25 + 0.5)
    real, fake = [torch.tensor([1.0, -3.0])], [torch.tensor([2.0, -3.0])]
    assert feature_loss(fake, real).item() == pytest.approx(0.25)
    assert feature_loss(real, real).item() == 0


def test_the_balance_gives_each_loss_its_share_at_the_last_layer():
    layer = nn.Linear(3, 4)
    output = layer(torch.randn(5, 3))
    reconstruction, first, second = output.square().mean(), 1e6 * output.sin().sum(), 1e-6 * output.abs().sum()

    def gradient(loss):
        return torch.autograd.grad(loss, layer.weight, retain_graph=True)[0]

    balance = GradientBalance({"first": 0.5, "second": 2.0})
    plain, g1, g2 = gradient(reconstruction), gradient(first), gradient(second)
    total = balance(output, layer.weight, reconstruction, {"first": first, "second": second})
    assert total.item() == reconstruction.item()
    want = plain + plain.norm() * (0.5 * g1 / g1.norm() + 2.0 * g2 / g2.norm())
    torch.testing.assert_close(gradient(total), want)


def test_without_other_losses_the_balance_changes_nothing():
    layer = nn.Linear(3, 4)
    output = layer(torch.randn(5, 3))
    loss = output.square().mean()
    want = torch.autograd.grad(loss, layer.weight, retain_graph=True)[0]
    total = GradientBalance({"first": 1.0})(output, layer.weight, loss, {})
    assert torch.equal(torch.autograd.grad(total, layer.weight)[0], want)


def test_one_odd_batch_does_not_outweigh_the_reconstruction():
    layer = nn.Linear(3, 4)
    balance = GradientBalance({"first": 1.0})
    for scale in (1.0, 1.0, 1e6):
        output = layer(torch.ones(5, 3))
        reconstruction = output.square().mean()
        plain = torch.autograd.grad(reconstruction, layer.weight, retain_graph=True)[0]
        total = balance(output, layer.weight, reconstruction, {"first": scale * output.sum()})
        added = torch.autograd.grad(total, layer.weight)[0] - plain
        assert added.norm() <= 1.01 * plain.norm()


def setup_of(waveform, **changes):
    adversary = Adversary(AdversarialConfig(**SMALL | changes), 16000)
    decoder = nn.Conv1d(1, 1, 5, padding=2)
    output = decoder(waveform)
    return adversary, decoder, output, (output - waveform).abs().mean()


def test_each_side_is_moved_by_its_own_loss_only(waveform):
    adversary, decoder, output, distance = setup_of(waveform, adversarial_weight=0.0, feature_weight=0.0)
    plain = torch.autograd.grad(distance, decoder.weight, retain_graph=True)[0]
    loss, terms = adversary(output, waveform, decoder.weight, distance, 0)
    loss.backward()
    torch.testing.assert_close(decoder.weight.grad, plain)  # the discriminators' loss doesn't reach the decoder
    level = waveform.square().mean((1, 2), keepdim=True).sqrt()
    heard = [hinge_loss(d(waveform / level)[-1], d(output.detach() / level)[-1]) for d in adversary.discriminators]
    torch.testing.assert_close(terms["discriminator"], torch.stack(heard).mean())
    parameters = list(adversary.parameters())
    wanted = torch.autograd.grad(torch.stack(heard).mean(), parameters)  # and what the decoder is asked not them
    for parameter, want in zip(parameters, wanted, strict=True):
        torch.testing.assert_close(parameter.grad, want, rtol=1e-3, atol=1e-4)


def test_what_is_asked_for_moves_the_decoder(waveform):
    adversary, decoder, output, distance = setup_of(waveform)
    plain = torch.autograd.grad(distance, decoder.weight, retain_graph=True)[0]
    loss, terms = adversary(output, waveform, decoder.weight, distance, 0)
    loss.backward()
    assert 0.1 * plain.norm() < (decoder.weight.grad - plain).norm() <= 1.51 * plain.norm()
    assert terms["feature"] > 0


def test_discriminators_first_learn_alone(waveform):
    adversary, decoder, output, distance = setup_of(waveform, from_step=10, warmup_steps=5)
    plain = torch.autograd.grad(distance, decoder.weight, retain_graph=True)[0]
    loss, terms = adversary(output, waveform, decoder.weight, distance, 14)
    loss.backward()
    assert torch.equal(decoder.weight.grad, plain)
    assert terms["discriminator"] > 0
    assert terms["feature"] == terms["adversarial"] == 0


def test_they_judge_at_one_level(waveform):
    adversary = Adversary(AdversarialConfig(**SMALL), 16000)
    output = waveform.roll(3, -1)
    loud, soft = adversary._pieces(waveform, output), adversary._pieces(0.01 * waveform, 0.01 * output)
    for a, b in zip(loud, soft, strict=True):
        torch.testing.assert_close(a, b)
    silent = adversary._pieces(torch.zeros_like(waveform), output)
    assert torch.isfinite(silent[1]).all()


def test_frozen_weights_wake_up_again():
    layer = nn.Linear(2, 2)
    layer.bias.requires_grad_(False)
    with frozen(layer):
        assert not layer.weight.requires_grad
    assert layer.weight.requires_grad
    assert not layer.bias.requires_grad


def adversarial_tree(tiny_pack, **changes):
    tree = tiny_tree(tiny_pack)
    adversarial = {"from_step": 2, "per_step": 2, "crop_samples": 300, **SMALL, "warmup_steps": 1} | changes
    return tree | {"objective": tree["objective"] | {"adversarial": adversarial}}


def test_validation_asks_no_discriminator(tiny_pack):
    config = tiny_config(tiny_pack)
    config = config.model_copy(
        update={"objective": config.objective.model_copy(update={"adversarial": AdversarialConfig(**SMALL)})}
    )
    model = AudioVQVAE.from_config(config.model.model_copy(update={"speakers": ["a"]})).eval()
    objective = build_objective(config.objective, model).eval()
    terms, _ = objective(model, batch_of(), 0)
    assert "discriminator" not in terms


def test_an_adversarial_run_resumes_exactly_and_exports_no_discriminator(tiny_pack, tmp_path):
    config = parse_experiment(adversarial_tree(tiny_pack), "tiny")
    train(config, tmp_path / "whole", device="cpu")
    stop_at(4, config, tmp_path / "parts")
    train(config, tmp_path / "parts", device="cpu")
    assert losses(tmp_path / "whole") == losses(tmp_path / "parts")
    one, two = (AudioVQVAE.from_pretrained(tmp_path / run / "models" / "latest") for run in ("whole", "parts"))
    for (name, a), b in zip(one.state_dict().items(), two.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    checkpoint = torch.load(tmp_path / "whole" / "checkpoints" / "last.ckpt", weights_only=True)
    held = [k for k in checkpoint["state_dict"] if "adversary.discriminators" in k]
    assert held
    assert not any("adversary" in k for k in one.state_dict())


def test_float16_is_refused(tiny_pack):
    tree = adversarial_tree(tiny_pack)
    tree["train"]["precision"] = "16-mixed"
    with pytest.raises(ConfigError, match="bf16-mixed"):
        parse_experiment(tree, "tiny")
