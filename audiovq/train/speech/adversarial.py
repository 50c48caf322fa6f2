"""Adversarial training of a feed-forward decoder: hinge and feature losses, weighted by the norms of their gradients.

Discriminators and decoder move in the same step, each by its own loss. The discriminators learn from the recording and
the present output. With their weights held fixed, they also give the decoder its gradient.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiovq.quantize.distributed import all_reduce_sum, world_size
from audiovq.quantize.gradients import with_gradient
from audiovq.train.speech.config import AdversarialConfig
from audiovq.train.speech.discriminators import build_discriminators

NORM_DECAY = 0.95  # of the running means of gradient norms
LOWEST_LEVEL = 1e-3  # RMS, -60 dB of full scale: silence is not blown up


class Adversary(nn.Module):
    """Discriminators, what they cost and what they ask for. Only training calls it; no model folder holds it.

    Args:
        config: which discriminators, how many a step, and the weights of what they ask for.
        sample_rate: Hz.
    """

    def __init__(self, config: AdversarialConfig, sample_rate: int) -> None:
        super().__init__()
        self.config = config
        self.discriminators = build_discriminators(
            config.periods, config.windows, config.mel_windows, config.channels, sample_rate
        )
        self.balance = GradientBalance({"adversarial": config.adversarial_weight, "feature": config.feature_weight})

    def forward(
        self, output: Tensor, target: Tensor, last_layer: Tensor, reconstruction: Tensor, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The discriminators' loss, and a term whose gradient on `output` is the balanced sum.

        Args:
            output, target: waveforms `[B, 1, T]`.
            last_layer: weights of the decoder's last layer, where gradients are balanced.
            reconstruction: the distance between them, a scalar; its graph up to `output` is used up here.
            step: training step; up to `config.warmup_steps` after the first, only the discriminators learn.

        Returns:
            A scalar to differentiate in place of `reconstruction`, and the terms by name: `discriminator` (0 where none
            is ever wrong), `adversarial` (negative where the output is taken for a recording), `feature`.
        """
        config = self.config
        real, fake = self._pieces(target, output)
        drawn = torch.randperm(len(self.discriminators))[: config.per_step].tolist()
        past_warmup = step >= config.from_step + config.warmup_steps
        totals = {name: output.new_zeros(()) for name in ("discriminator", "adversarial", "feature")}
        for i in drawn:
            discriminator = self.discriminators[i]
            maps = discriminator(torch.cat([real, fake.detach()]))  # one pass: half real, half made
            true_maps, false_maps = zip(*(m.float().chunk(2) for m in maps), strict=True)
            totals["discriminator"] += hinge_loss(true_maps[-1], false_maps[-1]) / len(drawn)
            if past_warmup:
                with frozen(discriminator):
                    made = [m.float() for m in discriminator(fake)]
                totals["adversarial"] -= made[-1].mean() / len(drawn)
                totals["feature"] += feature_loss(made[:-1], [m.detach() for m in true_maps[:-1]]) / len(drawn)
        generator_losses = {name: totals[name] for name in ("adversarial", "feature")} if past_warmup else {}
        balanced = self.balance(output, last_layer, reconstruction, generator_losses)
        return balanced + totals["discriminator"], {name: total.detach() for name, total in totals.items()}

    def _pieces(self, target: Tensor, output: Tensor) -> tuple[Tensor, Tensor]:
        """The same random piece of both, each item at the level that gives the recording's piece an RMS of one."""
        piece = min(self.config.crop_samples or target.shape[-1], target.shape[-1])
        start = int(torch.randint(target.shape[-1] - piece + 1, ()))
        real, fake = (w[..., start : start + piece] for w in (target, output))
        scale = 1 / real.square().mean((1, 2), keepdim=True).sqrt().clamp_min(LOWEST_LEVEL)
        return real * scale, fake * scale


class GradientBalance(nn.Module):
    """Gives each loss a gradient of a stated norm, relative to that of the reconstruction, at the decoder's last layer.

    What a discriminator sends back has no scale of its own: it grows and shrinks as the discriminator learns, and a
    weight that is right early drowns the reconstruction later. Norms are taken at the last layer's weights, as in VQGAN
    (arXiv 2012.09841, eq. 7): on the waveform, the gradient of a log spectrum is largest where the sound is silent.

    Args:
        weights: by name, the norm of each loss's gradient as a multiple of the reconstruction's.
    """

    norms: Tensor

    def __init__(self, weights: dict[str, float]) -> None:
        super().__init__()
        self.weights = weights
        self.register_buffer("norms", torch.zeros(1 + len(weights)))  # running means; 0 for not met yet

    def forward(self, output: Tensor, last_layer: Tensor, reconstruction: Tensor, losses: dict[str, Tensor]) -> Tensor:
        """A scalar of the value of `reconstruction`, whose gradient on `output` is the balanced sum.

        Args:
            output: what all losses depend on.
            last_layer: weights that `output` was made with.
            reconstruction: scalar; its gradient is taken as it is.
            losses: scalars by name, some or all of `weights`.
        """
        total = torch.autograd.grad(reconstruction, output)[0]
        gradients = [torch.autograd.grad(loss, output, retain_graph=True)[0] for loss in losses.values()]
        if gradients:
            at_last = [
                torch.autograd.grad(output, last_layer, g, retain_graph=True)[0].float().norm()
                for g in (total, *gradients)
            ]
            scales = self._scales(torch.stack(at_last), list(losses))
            total = total + sum(g * scale for g, scale in zip(gradients, scales, strict=True))
        return with_gradient(output, reconstruction.detach(), total)

    @torch.no_grad()
    def _scales(self, norms: Tensor, names: list[str]) -> Tensor:
        """What to multiply the gradients of these losses by, equal on all ranks; `norms` has the measure's first."""
        all_reduce_sum(norms)
        norms = norms / world_size()
        places = [0, *(1 + list(self.weights).index(name) for name in names)]
        before = self.norms[places]
        now = torch.where(before == 0, norms, NORM_DECAY * before + (1 - NORM_DECAY) * norms)
        self.norms[places] = now
        weights = torch.tensor([self.weights[name] for name in names], device=norms.device)
        # a gradient above its own mean is cut to its share: one odd batch must not outweigh the rest
        return weights * now[0] / torch.maximum(now, norms)[1:].clamp_min(1e-12)


def hinge_loss(real: Tensor, fake: Tensor) -> Tensor:
    """0 where every score of a recording is over 1 and every score of an output under -1."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def feature_loss(fake: list[Tensor], real: list[Tensor]) -> Tensor:
    """Mean over layers of mean |fake - real|, relative to mean |real|."""
    distances = [(f - r).abs().mean() / r.abs().mean().clamp_min(1e-6) for f, r in zip(fake, real, strict=True)]
    return torch.stack(distances).mean()


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Within it no graph leads to the module's weights."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
