"""What is minimised: spectral distance for a feed-forward decoder, negative log-likelihood for an autoregressive one.

An objective is called with the model, a batch and the step, and returns its terms by name; `loss` is differentiated.
"""

import math
from typing import Any, cast

import torch
from torch import Tensor, nn

from audiovq.audio import AudioVQVAE, WaveNetDecoder
from audiovq.errors import ConfigError
from audiovq.quantize import VQOutput
from audiovq.train.config import LikelihoodConfig, SpectralConfig
from audiovq.train.losses import SpectralLoss

Batch = dict[str, Any]


class SpectralObjective(nn.Module):
    """Multi-resolution spectral distance plus the quantizer's loss (a feed-forward decoder)."""

    def __init__(self, config: SpectralConfig, sample_rate: int) -> None:
        super().__init__()
        self.config = config
        self.distance = SpectralLoss(sample_rate, config.windows, config.num_mels, config.resolutions_per_step)

    def forward(self, model: AudioVQVAE, batch: Batch, step: int) -> tuple[dict[str, Tensor], VQOutput | None]:
        """Terms `loss`, `mel`, `linear` and the quantizer's losses (scalars), and its output (None while it rests)."""
        waveform = batch["waveform"]
        z_e = model.encoder(waveform)
        vq: VQOutput | None = None
        z = z_e
        if _quantizes(self, model, step, self.config.quantize_from_step):
            vq = model.quantizer(z_e, model.frame_mask(batch["num_samples"], z_e.shape[-1]))
            z = vq.z_q
            if self.training and self.config.bypass:
                bypassed = torch.rand(len(z), 1, 1, device=z.device) < self.config.bypass
                z = torch.where(bypassed, z_e, z)
        output = model.decoders[self.config.decoder](z, model.speaker_vector(batch["speaker"]))
        terms = self.distance(output[..., : waveform.shape[-1]], waveform)
        loss = terms["mel"] + self.config.linear_weight * terms["linear"]
        if vq is not None:
            terms |= vq.losses
            loss = loss + self.config.vq_weight * vq.loss
        return {"loss": loss, **terms}, vq


class LikelihoodObjective(nn.Module):
    """-log p(x | z_q, speaker) plus the quantizer's loss: eq. 3 of the paper, per sample."""

    def __init__(self, config: LikelihoodConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, model: AudioVQVAE, batch: Batch, step: int) -> tuple[dict[str, Tensor], VQOutput | None]:
        """Terms `loss` (nats), `reconstruction_bits`, and once codes are used `elbo_bits` (uniform prior)
        and the quantizer's losses by name, `commitment` first.

        The bits are per sample. The quantizer's output is None while it rests, and for a decoder without codes.
        """
        waveform, num_samples = batch["waveform"], batch["num_samples"]
        decoder = cast(WaveNetDecoder, model.decoders[self.config.decoder])
        z = model.encoder(waveform)
        vq: VQOutput | None = None
        if self.config.codes == "none":
            z = torch.zeros_like(z)
        elif _quantizes(self, model, step, self.config.quantize_from_step):
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


def build_objective(
    config: SpectralConfig | LikelihoodConfig, model: AudioVQVAE
) -> SpectralObjective | LikelihoodObjective:
    """The objective that the configuration names; ConfigError if the decoder it trains is of another kind."""
    if config.decoder not in model.decoders:
        raise ConfigError(f"objective.decoder: the model has no decoder {config.decoder!r}, only {model.decoder_names}")
    autoregressive = isinstance(model.decoders[config.decoder], WaveNetDecoder)
    if autoregressive != isinstance(config, LikelihoodConfig):
        want = "likelihood" if autoregressive else "spectral"
        raise ConfigError(f"objective.kind: decoder {config.decoder!r} is trained with {want}, not {config.kind}")
    if isinstance(config, LikelihoodConfig):
        return LikelihoodObjective(config)
    return SpectralObjective(config, model.sample_rate)
