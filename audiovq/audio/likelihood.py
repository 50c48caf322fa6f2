"""The distribution of a sample that a WaveNet predicts: an 8-bit mu-law softmax, or a 16-bit mixture of logistics.

Each class defines how a past sample enters the network, how many outputs parametrise a prediction, its negative
log-likelihood in bits, and how one uniform number becomes a sample. The same uniforms give the same sound everywhere.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiovq.audio.mulaw import mulaw_decode, mulaw_encode
from audiovq.layers.logistic import LOG2_E, discretized_logistic


class MuLawSoftmax(nn.Module):
    """Softmax over mu-law classes (van den Oord et al. 2016, section 2.2).

    Args:
        channels: width that an input sample is embedded to.
        levels: classes; 256 is 8 bits.
    """

    def __init__(self, channels: int, *, levels: int) -> None:
        super().__init__()
        self.levels = levels
        self.num_outputs = levels
        self.embedding = nn.Embedding(levels, channels)  # a one-hot input times the first layer's matrix

    def embed(self, waveform: Tensor) -> Tensor:
        """Past samples `[...]` -> network input `[..., channels]`."""
        return self.embedding(mulaw_encode(waveform, self.levels))

    def bits(self, outputs: Tensor, waveform: Tensor) -> Tensor:
        """-log2 p of samples `[B, T]` under outputs `[B, T, levels]`: bits per sample `[B, T]`."""
        classes = mulaw_encode(waveform, self.levels)
        nats = F.cross_entropy(outputs.float().flatten(0, 1), classes.flatten(), reduction="none")
        return nats.view_as(waveform) * LOG2_E

    def sample(self, outputs: Tensor, uniform: Tensor) -> Tensor:
        """Invert the distribution's CDF: outputs `[B, levels]`, uniform `[B]` float64 in [0, 1) -> samples `[B]`."""
        cdf = outputs.double().softmax(-1).cumsum(-1)
        classes = torch.searchsorted(cdf, (uniform * cdf[:, -1]).unsqueeze(-1), right=True).squeeze(-1)
        return mulaw_decode(classes.clamp_max(self.levels - 1), self.levels)


class LogisticMixture(nn.Module):
    """Mixture of logistics, integrated over the bin of each quantized value (PixelCNN++, arXiv 1701.05517, eq. 2).

    Args:
        channels: width that an input sample is embedded to.
        mixtures: logistic components.
        sample_bits: bits of the waveform; the bins are 2 / (2^bits - 1) wide, the outermost are open.
    """

    MIN_LOG_SCALE = -12.0  # a scale far under half a 16-bit bin: narrower gains nothing and overflows

    def __init__(self, channels: int, *, mixtures: int, sample_bits: int) -> None:
        super().__init__()
        self.mixtures = mixtures
        self.num_outputs = 3 * mixtures
        self.bin_width = 2.0 / (2**sample_bits - 1)
        self.project = nn.Linear(1, channels)

    def embed(self, waveform: Tensor) -> Tensor:
        """Past samples `[...]` -> network input `[..., channels]`."""
        return self.project(self.quantize(waveform).unsqueeze(-1))

    def quantize(self, waveform: Tensor) -> Tensor:
        """Samples, clipped to [-1, 1], to the middle of their bin."""
        return ((waveform.float().clamp(-1, 1) + 1) / self.bin_width).round() * self.bin_width - 1

    def _parameters_of(self, outputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits, means, log_scales = outputs.chunk(3, dim=-1)
        return logits, means, log_scales.clamp_min(self.MIN_LOG_SCALE)

    def bits(self, outputs: Tensor, waveform: Tensor) -> Tensor:
        """-log2 p of samples `[B, T]` under outputs `[B, T, 3 * mixtures]`: bits per sample `[B, T]`."""
        logits, means, log_scales = self._parameters_of(outputs.float())
        x = self.quantize(waveform).unsqueeze(-1)
        log_probability = discretized_logistic(x, means, log_scales, self.bin_width)
        return -torch.logsumexp(log_probability + logits.log_softmax(-1), dim=-1) * LOG2_E

    def sample(self, outputs: Tensor, uniform: Tensor) -> Tensor:
        """Outputs `[B, 3 * mixtures]`, uniform `[B]` float64 in [0, 1) -> samples `[B]`.

        One number does both draws: where it falls among the weights picks the component, where within it the value.
        """
        logits, means, log_scales = self._parameters_of(outputs.double())
        weights = logits.softmax(-1)
        cdf = weights.cumsum(-1)
        u = (uniform * cdf[:, -1]).unsqueeze(-1)
        component = torch.searchsorted(cdf, u, right=True).clamp_max(self.mixtures - 1)
        weight = weights.gather(1, component)
        within = ((u - cdf.gather(1, component) + weight) / weight).clamp(1e-12, 1 - 1e-12)
        value = means.gather(1, component) + log_scales.gather(1, component).exp() * torch.logit(within)
        return self.quantize(value.squeeze(-1).float())


SampleLikelihood = MuLawSoftmax | LogisticMixture
"""What a WaveNet may predict of a sample. Another kind needs a draw of its own in the compiled sampler."""
