"""Losses of a decoder with a source, besides the spectral ones: pitch, voicing, and the periodicity of each band."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiovq.audio.excitation import Pulses, at_samples
from audiovq.audio.pitch import F0_MIN, FRAMES_PER_SECOND
from audiovq.audio.source_decoder import F0_BINS, F0_STEP

BANDS = ((80, 1000), (1000, 2000), (2000, 3000), (3000, 4000), (4000, 7000))  # Hz
EDGE = 40.0  # Hz over which a band sets in
RATE = 4000  # Hz at which bands and their envelopes are kept; enough for a band of 3 kHz
WINDOW = 4  # frames of 10 ms that a correlation is taken over
PITCH_SPREAD = 0.6  # bins of the F0 head


class PeriodicityLoss(nn.Module):
    """How far each band's periodicity is from the recording's, and its mean over the batch.

    Periodicity: correlation over 40 ms of a band's envelope (of the lowest band itself) with itself one period of F0
    later. Blind to phase and level; it tells pulses from noise as listeners do, where a spectral distance hardly does.

    Args:
        sample_rate: Hz.
    """

    def __init__(self, sample_rate: int) -> None:
        super().__init__()
        self.sample_rate = sample_rate

    @torch.autocast("cpu", enabled=False)
    @torch.autocast("cuda", enabled=False)
    def forward(self, output: Tensor, target: Tensor, pulses: Pulses) -> Tensor:
        """output, target: `[B, 1, T]`, pulses: the target's -> scalar, 0 for equal signals."""
        with torch.no_grad():
            wanted = self.periodicity(target.squeeze(1).float(), pulses.f0)
        difference = self.periodicity(output.squeeze(1).float(), pulses.f0) - wanted
        inner = pulses.voiced.clone()
        inner[:, :2] = inner[:, -6:] = 0  # the longest lag and half a window
        count = inner.sum().clamp_min(1)
        difference = difference * inner.unsqueeze(1)
        bias = difference.sum((0, 2)) / count
        return difference.abs().sum() / (count * len(BANDS)) + bias.abs().mean()

    def periodicity(self, waveform: Tensor, f0: Tensor) -> Tensor:
        """`[B, T]` and F0 in Hz `[B, F]`, without gaps -> `[B, bands, F]`."""
        envelopes = self.envelopes(waveform)
        hop = RATE // FRAMES_PER_SECOND
        length = envelopes.shape[-1]
        place = torch.arange(length, device=f0.device) + RATE / at_samples(f0, hop)
        place = place.clamp_max(length - 2)
        before = place.floor().long()
        share = (place - before).unsqueeze(1)
        index = before.unsqueeze(1).expand_as(envelopes)
        later = envelopes.gather(2, index) * (1 - share) + envelopes.gather(2, index + 1) * share

        def mean(x: Tensor) -> Tensor:
            return F.avg_pool1d(F.pad(x, ((WINDOW - 1) * hop // 2,) * 2), WINDOW * hop, hop)

        own, other = mean(envelopes), mean(later)
        power = (mean(envelopes.square()) - own.square()).clamp_min(1e-8)
        power = power * (mean(later.square()) - other.square()).clamp_min(1e-8)
        return (mean(envelopes * later) - own * other) / power.sqrt()

    def envelopes(self, waveform: Tensor) -> Tensor:
        """`[B, T]` -> the lowest band and the envelopes of the others at `RATE`: `[B, bands, T']`."""
        length = waveform.shape[-1] * RATE // self.sample_rate
        spectrum = torch.fft.rfft(waveform)
        frequency = torch.fft.rfftfreq(waveform.shape[-1], 1 / self.sample_rate, device=waveform.device)
        found = []
        for low, high in BANDS:
            inside = torch.sigmoid((frequency - low) / EDGE) * torch.sigmoid((high - frequency) / EDGE)
            # an analytic signal, moved down to where the lower rate holds it
            first = 0 if low < RATE // 4 else int((low - 500) * waveform.shape[-1] / self.sample_rate)
            part = (2 * spectrum * inside)[:, first : first + length]
            part = torch.fft.ifft(F.pad(part, (0, length - part.shape[-1]))) * (length / waveform.shape[-1])
            power = part.real.square() + part.imag.square()
            found.append(part.real if low < RATE // 4 else (power + 1e-9).sqrt())
        return torch.stack(found, 1)


def pitch_loss(logits: Tensor, pulses: Pulses) -> tuple[Tensor, Tensor]:
    """Divergence of the F0 head `[B, F, F0_BINS + 1]` from a bump about the recording's F0, in nats over voiced frames,
    and the cross-entropy of voicing."""
    place = 12 / F0_STEP * torch.log2(pulses.f0 / F0_MIN)
    wanted = torch.softmax(
        -0.5 * ((torch.arange(F0_BINS, device=logits.device) - place.unsqueeze(-1)) / PITCH_SPREAD).square(), -1
    )
    found = logits[..., :F0_BINS].log_softmax(-1)
    divergence = F.kl_div(found, wanted, reduction="none").sum(-1)
    voicing = F.binary_cross_entropy_with_logits(logits[..., F0_BINS], pulses.voiced)
    return (divergence * pulses.voiced).sum() / pulses.voiced.sum().clamp_min(1), voicing
