"""Differentiable distances modelled on PESQ (ITU-T P.862), ESTOI (Jensen and Taal 2016) and ViSQOL (Hines et al. 2015).

They are not these metrics: there is no alignment in time, bands and thresholds come from formulas rather than tables,
and levels are corrected over the segment. They rank distortions much as the metrics do, and show where they are.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

SPEECH_BAND = 325.0, 3250.0  # Hz, in which PESQ measures level
LEVEL = 1e7  # power in that band after PESQ's correction of level
POWER_SCALE = 6.9e-4  # from an STFT's power at that level to PESQ's units, in which 1 kHz is heard from 0.25 on
LOUDNESS_SCALE, LOUDNESS_EXPONENT = 0.1866, 0.23  # Zwicker's law as P.862 has it
SILENT = 1e-4  # RMS under which a segment is not compared
FRAMES_TOGETHER = 20  # frames of 16 ms whose disturbance one bad moment dominates


class PerceptualLoss(nn.Module):
    """The distances below by name, each a mean over the batch.

    Args:
        sample_rate: Hz.
        names: of `loudness`, `envelope` and `neurogram`.
    """

    def __init__(self, sample_rate: int, names: Sequence[str]) -> None:
        super().__init__()
        self.distances = nn.ModuleDict({name: KINDS[name](sample_rate) for name in names})

    @torch.autocast("cpu", enabled=False)
    @torch.autocast("cuda", enabled=False)
    def forward(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """output, target: `[B, 1, T]` -> scalars; items whose target is silent don't count."""
        x, y = output.squeeze(1).float(), target.squeeze(1).float()
        audible = y.square().mean(-1).sqrt() > SILENT
        return {
            name: torch.where(audible, distance(x, y), 0).sum() / audible.sum().clamp_min(1)
            for name, distance in self.distances.items()
        }


class LoudnessDisturbance(nn.Module):
    """How much louder and quieter than the reference a signal is in each critical band, weighed as PESQ does.

    Args:
        sample_rate: Hz.
    """

    bank: Tensor
    width: Tensor
    threshold: Tensor
    exponent: Tensor
    window: Tensor
    emphasis: Tensor
    speech: Tensor

    def __init__(self, sample_rate: int) -> None:
        super().__init__()
        self.window_length = round(0.032 * sample_rate)
        frequency = torch.fft.rfftfreq(self.window_length, 1 / sample_rate)[1:]  # the constant is not heard
        bank, centre, width = bark_bands(frequency)
        threshold = 0.4 * (1 + (500 / centre).pow(6))
        exponent = LOUDNESS_EXPONENT * (6 / (bark(centre) + 2)).clamp(1, 2).pow(0.15)
        speech = (frequency >= SPEECH_BAND[0]) & (frequency <= SPEECH_BAND[1])
        for name, value in {
            "bank": bank,
            "width": width,
            "threshold": threshold,
            "exponent": exponent,
            "window": torch.hann_window(self.window_length),
            "emphasis": high_pass(frequency, sample_rate),
            "speech": speech.float(),
        }.items():
            self.register_buffer(name, value, persistent=False)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """output, target: `[B, T]` -> `[B]`.

        0 for equal signals, about 1.3 for a PESQ of 3.7, 2.1 for one of 2.2, and 4 for one under 1.5.
        """
        x, y = self._powers(output), self._powers(target)
        y = y * self._slow_ratio(x, y)
        audible_x, audible_y = self._audible(x), self._audible(y)
        ratio = (audible_y + 5e3) / (audible_x + 5e3)
        ratio = torch.cat([ratio[:, :1], 0.8 * ratio[:, 1:] + 0.2 * ratio[:, :-1]], 1).clamp(3e-4, 5)
        x = x * ratio.unsqueeze(-1)
        louder = self._loudness(x), self._loudness(y)
        difference = louder[0] - louder[1]
        difference = difference.sign() * (difference.abs() - 0.25 * torch.minimum(*louder)).clamp_min(0)
        # what was added is heard as a sound of its own, what is missing is not
        added = ((x + 50) / (y + 50)).pow(1.2)
        added = torch.where(added < 3, torch.zeros_like(added), added.clamp_max(12))
        total = self.width.sum()
        both = (difference * self.width).square().sum(-1).add(1e-6).sqrt() * total.sqrt()
        extra = (difference * added * self.width).abs().sum(-1)
        loud = ((audible_y + 1e5) / 1e7).pow(0.04)
        return 0.1 * _over_time(both / loud) + 0.0309 * _over_time(extra / loud)

    def _powers(self, waveform: Tensor) -> Tensor:
        """`[B, frames, bands]`, at PESQ's level."""
        size = self.window_length
        spectrum = torch.stft(waveform, size, size // 2, window=self.window, center=False, return_complex=True)
        power = torch.view_as_real(spectrum).square().sum(-1)[:, 1:].transpose(1, 2)
        # Parseval: the sum over bins of a frame is half its energy times the window's length
        level = (power * self.speech).sum(-1).mean(-1) * 2 / (size * self.window.square().sum())
        power = power * self.emphasis * (LEVEL / level.clamp_min(1e-12))[:, None, None]
        return power @ self.bank * POWER_SCALE

    def _audible(self, power: Tensor, times: float = 1.0) -> Tensor:
        return torch.where(power > times * self.threshold, power, torch.zeros_like(power)).sum(-1)

    def _slow_ratio(self, x: Tensor, y: Tensor) -> Tensor:
        """`[B, 1, bands]`: a filter over the whole segment, which is forgiven up to 20 dB."""
        spoken = (self._audible(y, 100) >= 1e7).unsqueeze(-1)
        mean_x, mean_y = (
            torch.where(spoken & (power > 100 * self.threshold), power, torch.zeros_like(power)).mean(1, keepdim=True)
            for power in (x, y)
        )
        return ((mean_x + 1000) / (mean_y + 1000)).clamp(0.01, 100)

    def _loudness(self, power: Tensor) -> Tensor:
        """Zwicker's law; nothing under the threshold."""
        relative = (power / self.threshold).clamp_min(1)
        scale = LOUDNESS_SCALE * (2 * self.threshold).pow(self.exponent)
        return scale * ((0.5 + 0.5 * relative).pow(self.exponent) - 1)


class EnvelopeDecorrelation(nn.Module):
    """One minus ESTOI's measure: how the envelopes of third octaves, over 384 ms at a time, go with the reference's.

    Args:
        sample_rate: Hz.
    """

    bank: Tensor
    window: Tensor

    SEGMENT = 30  # frames

    def __init__(self, sample_rate: int) -> None:
        super().__init__()
        self.hop_length = round(0.0128 * sample_rate)
        self.fft_length = 1 << (round(0.05 * sample_rate) - 1).bit_length()
        frequency = torch.fft.rfftfreq(self.fft_length, 1 / sample_rate)
        centre = 150 * 2 ** (torch.arange(15) / 3)
        centre = centre[centre * 2 ** (1 / 6) < sample_rate / 2]
        low, high = centre * 2 ** (-1 / 6), centre * 2 ** (1 / 6)
        bank = (frequency.unsqueeze(1) >= low) & (frequency.unsqueeze(1) < high)
        self.register_buffer("bank", bank.float(), persistent=False)
        self.register_buffer("window", torch.hann_window(2 * self.hop_length), persistent=False)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """output, target: `[B, T]` -> `[B]` in [0, 2]; 0 where the reference is too short or silent."""
        x, y = self._segments(output), self._segments(target)
        level = y.square().mean((-1, -2))
        loud = level > 1e-3 * level.amax(1, keepdim=True)  # 30 dB under the loudest: a pause
        correlation = (_standardized(x) * _standardized(y)).sum(-2).mean(-1)
        return ((1 - correlation) * loud).sum(1) / loud.sum(1).clamp_min(1)

    def _segments(self, waveform: Tensor) -> Tensor:
        """`[B, segments, bands, SEGMENT]`: envelopes, segments half over one another."""
        missing = max(0, self.SEGMENT * self.hop_length - waveform.shape[-1])
        spectrum = torch.stft(
            pad(waveform, (0, missing)), self.fft_length, self.hop_length, 2 * self.hop_length, self.window,
            pad_mode="constant", return_complex=True,
        )  # fmt: skip
        power = torch.view_as_real(spectrum).square().sum(-1).transpose(1, 2)
        envelope = (power @ self.bank).add(1e-9).sqrt()
        return envelope.unfold(1, self.SEGMENT, self.SEGMENT // 2)


class NeurogramDissimilarity(nn.Module):
    """One minus ViSQOL's similarity (NSIM): how levels go with the reference's, over 3 bands and 60 ms at a time.

    Args:
        sample_rate: Hz.
    """

    bank: Tensor
    window: Tensor
    weights: Tensor

    BANDS, LOWEST, HIGHEST = 21, 50.0, 8000.0  # of ViSQOL's speech mode, Hz
    RANGE = 45.0  # of 10 log10 of an amplitude, as ViSQOL counts: what is softer than the frame's loudest band by more
    SPOKEN = 12.5  # in the same unit, under the loudest frame

    def __init__(self, sample_rate: int) -> None:
        super().__init__()
        self.window_length = round(0.08 * sample_rate)
        self.fft_length = 1 << (self.window_length - 1).bit_length()
        frequency = torch.fft.rfftfreq(self.fft_length, 1 / sample_rate)
        bank = gammatone_bands(frequency, self.BANDS, self.LOWEST, min(self.HIGHEST, sample_rate / 2))
        side, corner, middle = 0.0838251475442633, 0.0113033910173052, 0.619485845753726
        weights = torch.tensor([[corner, side, corner], [side, middle, side], [corner, side, corner]])
        self.register_buffer("bank", bank, persistent=False)
        self.register_buffer("window", torch.hann_window(self.window_length, periodic=False), persistent=False)
        self.register_buffer("weights", weights[None, None], persistent=False)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """output, target: `[B, T]` -> `[B]` in [0, 2], over the frames in which the reference is loud."""
        gain = (target.square().mean(-1, keepdim=True) + 1e-12) / (output.square().mean(-1, keepdim=True) + 1e-12)
        x, y = self._levels(output * gain.sqrt()), self._levels(target)
        loudest = torch.maximum(x, y).amax(-1, keepdim=True).detach()
        spoken = y.amax(-1) > y.amax((-1, -2)).unsqueeze(-1) - self.SPOKEN
        x, y = (torch.maximum(levels, loudest - self.RANGE) for levels in (x, y))
        lowest = torch.minimum(x, y).amin((-1, -2), keepdim=True).detach()
        similarity = self._similarity(x - lowest, y - lowest).mean(-1)
        return ((1 - similarity) * spoken).sum(1) / spoken.sum(1).clamp_min(1)

    def _levels(self, waveform: Tensor) -> Tensor:
        """`[B, frames, bands]`, 10 log10 of the RMS."""
        missing = max(0, self.window_length - waveform.shape[-1])
        frames = pad(waveform, (0, missing)).unfold(1, self.window_length, self.window_length // 4) * self.window
        power = torch.view_as_real(torch.fft.rfft(frames, self.fft_length)).square().sum(-1)
        scale = 2 / (self.fft_length * self.window_length)
        return 5 * (power @ self.bank * scale + 1e-9).log10()

    def _similarity(self, x: Tensor, y: Tensor) -> Tensor:
        """Hines and Harte 2012: agreement of local means times correlation, at each place `[B, frames, bands]`."""
        maps = torch.stack([x, y, x * x, y * y, x * y], 1).flatten(0, 1).unsqueeze(1)
        local = torch.nn.functional.conv2d(pad(maps, (1, 1, 1, 1), "replicate"), self.weights)
        mean_x, mean_y, xx, yy, xy = local.view(len(x), 5, *x.shape[1:]).unbind(1)
        intensity = (2 * mean_x * mean_y + 1e-4) / (mean_x.square() + mean_y.square() + 1e-4)
        product = (xx - mean_x.square()).clamp_min(0) * (yy - mean_y.square()).clamp_min(0)
        structure = (xy - mean_x * mean_y + 4.5e-4) / ((product + 1e-8).sqrt() + 4.5e-4)
        return intensity * structure


def gammatone_bands(frequency: Tensor, num_bands: int, lowest: float, highest: float) -> Tensor:
    """Power responses `[bins, num_bands]` of gammatone filters of order 4, evenly spaced in ERB (Slaney 1993)."""
    offset = 9.26449 * 24.7
    steps = torch.arange(1, num_bands + 1) / num_bands
    centre = (highest + offset) * ((lowest + offset) / (highest + offset)) ** steps - offset
    bandwidth = 1.019 * (centre / 9.26449 + 24.7)
    return (1 + ((frequency.unsqueeze(1) - centre) / bandwidth).square()).pow(-4)


def _standardized(segments: Tensor) -> Tensor:
    """Mean 0 and norm 1 along time, then along the bands."""
    for dim in (-1, -2):
        segments = segments - segments.mean(dim, keepdim=True)
        segments = segments / segments.square().sum(dim, keepdim=True).add(1e-9).sqrt()
    return segments


def _over_time(disturbance: Tensor) -> Tensor:
    """`[B, frames]` -> `[B]`: the sixth power's mean over some frames, then the square's."""
    together = min(FRAMES_TOGETHER, disturbance.shape[1])
    groups = disturbance.clamp(1e-3, 45).unfold(1, together, max(1, together // 2))
    return groups.pow(6).mean(-1).pow(1 / 6).square().mean(-1).sqrt()


def bark(frequency: Tensor) -> Tensor:
    """Hz to Bark (Schroeder 1977, as PESQ's bands roughly follow): 7 asinh(f / 650)."""
    return 7 * torch.asinh(frequency / 650)


def bark_bands(frequency: Tensor, width: float = 0.45) -> tuple[Tensor, Tensor, Tensor]:
    """Bands of `width` Bark or one bin, whatever is more: bank `[bins, bands]` of zeros and ones, centres in Hz, widths
    in Bark."""
    step = float(frequency[1] - frequency[0])
    edges = [float(frequency[0]) - step / 2]
    for f in frequency.tolist():
        if float(bark(torch.tensor(f + step / 2)) - bark(torch.tensor(edges[-1]))) >= width - 1e-6:
            edges.append(f + step / 2)
    edges[-1] = float(frequency[-1]) + step / 2
    bounds = torch.tensor(edges)
    bank = (frequency.unsqueeze(1) > bounds[:-1]) & (frequency.unsqueeze(1) < bounds[1:])
    return bank.float(), (bounds[:-1] + bounds[1:]) / 2, bark(bounds[1:]) - bark(bounds[:-1])


def high_pass(frequency: Tensor, sample_rate: int) -> Tensor:
    """Power response of the filter that P.862.2 puts before wide-band signals, designed for 16 kHz."""
    z = torch.exp(-2j * torch.pi * frequency / sample_rate)
    response = (2.740826 - 5.4816519 * z + 2.740826 * z**2) / (1 - 1.9444777 * z + 0.94597794 * z**2)
    return response.abs().square()


KINDS = {"loudness": LoudnessDisturbance, "envelope": EnvelopeDecorrelation, "neurogram": NeurogramDissimilarity}
