"""The training objectives: spectral distance for a feed-forward decoder, negative log-likelihood for a WaveNet.

An objective is called with the model, a batch and the step, and returns its terms by name; `loss` is differentiated.
"""

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from audiovq.audio import AudioVQVAE, AutoregressiveDecoder, FeedForwardDecoder, Place, SourceDecoder
from audiovq.errors import ConfigError
from audiovq.quantize import VQOutput
from audiovq.train.speech.adversarial import Adversary
from audiovq.train.speech.config import LikelihoodObjectiveConfig, SpectralObjectiveConfig
from audiovq.train.speech.perceptual import KINDS as PERCEPTUAL
from audiovq.train.speech.perceptual import PerceptualLoss
from audiovq.train.speech.pitch_targets import pulses_of
from audiovq.train.speech.source import PeriodicityLoss, pitch_loss
from audiovq.train.speech.spectral import PowerLoss, SpectralLoss

Batch = dict[str, Any]


class SpectralObjective(nn.Module):
    """Multi-resolution spectral distance plus the quantizer's loss (a feed-forward decoder)."""

    def __init__(self, config: SpectralObjectiveConfig, sample_rate: int, fixed_codes: bool = False) -> None:
        super().__init__()
        self.config, self.fixed_codes = config, fixed_codes
        self.distance = SpectralLoss(
            sample_rate,
            config.windows,
            config.num_mels,
            config.resolutions_per_step,
            config.range_db,
            config.mode_scale,
        )
        names = ("mel", "linear", "loudness", "envelope", "neurogram", "power", "periodicity", "analysis")
        self.weights: dict[str, float] = {name: getattr(config, f"{name}_weight") for name in names}
        self.perceptual = PerceptualLoss(sample_rate, [n for n in PERCEPTUAL if self.weights[n]])
        self.power = PowerLoss(sample_rate)
        self.periodicity = PeriodicityLoss(sample_rate)
        self.adversary = Adversary(config.adversarial, sample_rate) if config.adversarial else None

    def forward(self, model: AudioVQVAE, batch: Batch, step: int) -> tuple[dict[str, Tensor], VQOutput | None]:
        """Terms `loss`, `mel`, `linear`, of the losses that have a weight, of pitch where the decoder has a source, in
        training those of the discriminators (all scalars), and the quantizer's output (None while it rests).
        """
        waveform = batch["waveform"]
        vq: VQOutput | None = None
        if self.fixed_codes:
            z = z_e = fixed_latents(model, waveform, self.training, self.config.depth_weights)
        else:
            z = z_e = model.encoder(waveform)
        if not self.fixed_codes and _quantizes(self, model, step, self.config.quantize_from_step):
            vq = model.quantizer(z_e, model.frame_mask(batch["num_samples"], z_e.shape[-1]))
            z = vq.z_q
            if self.training and self.config.bypass:
                bypassed = torch.rand(len(z), 1, 1, device=z.device) < self.config.bypass
                z = torch.where(bypassed, z_e, z)
        decoder = model.decoder(self.config.decoder)
        assert isinstance(decoder, FeedForwardDecoder)  # or build_objective had refused it
        output, pitch = self._decode(decoder, z, model.speaker_vector(batch["speaker"]), batch)
        output = output[..., : waveform.shape[-1]]
        terms = self._distances(model, output, batch)
        loss = cast(Tensor, sum(self.weights[name] * term for name, term in terms.items()))
        if self.adversary is not None and self.training and step >= self.adversary.config.from_step:
            loss, adversarial_terms = self.adversary(output, waveform, decoder.last_layer, loss, step)
            terms |= adversarial_terms
        for term in pitch.values():
            loss = loss + self.config.pitch_weight * term
        terms |= pitch
        if vq is not None:
            terms |= vq.losses
            loss = loss + self.config.vq_weight * vq.loss
        return {"loss": loss, **terms}, vq

    def _decode(
        self, decoder: FeedForwardDecoder, z: Tensor, speaker: Tensor | None, batch: Batch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The decoder's output, and what its pitch is off by, if it has one.

        In training a source is told the recording's pitch, so that its pulses fall in step with it; elsewhere it speaks
        as it does in use.
        """
        if not isinstance(decoder, SourceDecoder):
            return decoder(z, speaker), {}
        controls = decoder.controls(z, speaker)
        if not self.training:
            output = decoder.speak(controls, Place())
        else:
            noise = torch.randn(batch["waveform"].shape[0], z.shape[-1] * decoder.hop_length, device=z.device)
            output = decoder.synthesize(controls, pulses_of(batch), noise)
        divergence, voicing = pitch_loss(controls.pitch, pulses_of(batch))
        return output, {"f0_divergence": divergence, "voicing": voicing}

    def _distances(self, model: AudioVQVAE, output: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Of output and recording, by name; those without a weight are left out."""
        waveform = batch["waveform"]
        terms = self.distance(output, waveform) | self.perceptual(output, waveform)
        if self.weights["power"]:
            terms["power"] = self.power(output, waveform)
        if self.weights["periodicity"]:
            terms["periodicity"] = self.periodicity(output, waveform, pulses_of(batch))
        if self.weights["analysis"]:
            terms["analysis"] = analysis_distance(model, output, waveform)
        return terms


@torch.autocast("cpu", enabled=False)
@torch.autocast("cuda", enabled=False)
def analysis_distance(model: AudioVQVAE, output: Tensor, target: Tensor) -> Tensor:
    """How far what the encoder makes of the output is from what it makes of the recording, as a share of that."""
    with torch.no_grad():
        wanted = model.encoder(target.float())
    found = model.encoder(output.float())
    return (found - wanted).square().mean() / wanted.square().mean().clamp_min(1e-9)


class LikelihoodObjective(nn.Module):
    """-log p(x | z_q, speaker) plus the quantizer's loss: eq. 3 of the paper, per sample."""

    def __init__(self, config: LikelihoodObjectiveConfig, fixed_codes: bool = False) -> None:
        super().__init__()
        self.config, self.fixed_codes = config, fixed_codes

    def forward(self, model: AudioVQVAE, batch: Batch, step: int) -> tuple[dict[str, Tensor], VQOutput | None]:
        """Terms `loss` (nats), `reconstruction_bits`, and once codes are used `elbo_bits` (uniform prior)
        and the quantizer's losses by name, `commitment` first.

        The bits are per sample. The quantizer's output is None while it rests, and for a decoder without codes.
        """
        waveform, num_samples = batch["waveform"], batch["num_samples"]
        decoder = model.decoder(self.config.decoder)
        assert isinstance(decoder, AutoregressiveDecoder)  # or build_objective had refused it
        vq: VQOutput | None = None
        z = fixed_latents(model, waveform, self.training) if self.fixed_codes else model.encoder(waveform)
        if self.config.codes == "none":
            z = torch.zeros_like(z)
        elif not self.fixed_codes and _quantizes(self, model, step, self.config.quantize_from_step):
            vq = model.quantizer(z, model.frame_mask(num_samples, z.shape[-1]))
            z = vq.z_q
        bits = decoder.bits(waveform, z, model.speaker_vector(batch["speaker"]))
        valid = torch.arange(bits.shape[-1], device=bits.device) < num_samples.unsqueeze(1)
        reconstruction = (bits * valid).sum() / valid.sum().clamp_min(1)
        terms = {"reconstruction_bits": reconstruction}
        loss = reconstruction * math.log(2)
        if vq is not None:
            code_bits = sum(math.log2(size) for size in model.codebook_sizes) / model.hop_length
            terms |= {"elbo_bits": reconstruction + code_bits, **vq.losses}
            loss = loss + self.config.vq_weight * vq.loss
        return {"loss": loss, **terms}, vq


def _quantizes(objective: nn.Module, model: AudioVQVAE, step: int, from_step: int) -> bool:
    """Whether codes are used: from that step on, but in validation not before training has made the codebooks."""
    return step >= from_step and (objective.training or model.quantizer.ready)


@torch.no_grad()
@torch.autocast("cpu", enabled=False)
@torch.autocast("cuda", enabled=False)
def fixed_latents(
    model: AudioVQVAE, waveform: Tensor, training: bool, depth_weights: Sequence[float] | None = None
) -> Tensor:
    """z_q `[B, D, F]` of a model whose codes are fixed, exactly as a decoder of those codes gets it.

    In training each item keeps its first n levels, n drawn by `depth_weights`, or as the quantizer's level dropout
    says: a decoder that is added later learns every bitrate too.
    """
    codes = model.encode(waveform.float())
    weights = getattr(model.quantizer, "level_weights", None)  # only a stack of levels has them
    if depth_weights is not None:
        weights = torch.tensor(depth_weights)
    if training and weights is not None:
        depths = torch.multinomial(weights, len(codes), replacement=True).to(codes.device) + 1
        levels = torch.arange(codes.shape[1], device=codes.device)
        codes = codes.masked_fill((levels >= depths.unsqueeze(1)).unsqueeze(-1), -1)
    return model.quantizer.decode(codes)


def build_objective(
    config: SpectralObjectiveConfig | LikelihoodObjectiveConfig, model: AudioVQVAE, trained: Sequence[str] | None = None
) -> SpectralObjective | LikelihoodObjective:
    """The objective that the configuration names, where only the parts `trained` are trained; None for all.

    Raises ConfigError if the decoder it trains is of another kind, or is not trained.
    """
    if config.decoder not in model.decoders:
        raise ConfigError(f"objective.decoder: the model has no decoder {config.decoder!r}, only {model.decoder_names}")
    autoregressive = isinstance(model.decoder(config.decoder), AutoregressiveDecoder)
    if autoregressive != isinstance(config, LikelihoodObjectiveConfig):
        want = "likelihood" if autoregressive else "spectral"
        raise ConfigError(f"objective.kind: decoder {config.decoder!r} is trained with {want}, not {config.kind}")
    if trained is not None and f"decoders.{config.decoder}" not in trained:
        raise ConfigError(f"init.train: must hold decoders.{config.decoder}, which the objective trains")
    fixed_codes = trained is not None and not {"encoder", "quantizer"} & set(trained)
    if isinstance(config, LikelihoodObjectiveConfig):
        return LikelihoodObjective(config, fixed_codes)
    return SpectralObjective(config, model.sample_rate, fixed_codes)
