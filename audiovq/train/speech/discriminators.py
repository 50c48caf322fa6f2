"""Discriminators of waveforms: by period (HiFi-GAN, arXiv 2010.05646), by complex spectrum in bands (after EnCodec,
arXiv 2210.13438, and DAC, arXiv 2306.06546), and by patches of a mel spectrogram (after PatchGAN, arXiv 1611.07004).

Each returns a list of feature maps. The last one is its score, which is high for a recording.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from audiovq.layers import mel_averages

LEAK = 0.1  # slope of the leaky ReLU under zero, as in HiFi-GAN
# Edges of the bands as shares of half the sample rate (DAC): a filter for vowels need not serve fricatives.
BAND_EDGES = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)


def _conv(inputs: int, outputs: int, kernel: tuple[int, int], **options: tuple[int, int]) -> nn.Module:
    """Conv2d with weight normalisation that keeps the size, up to its stride, and at first the variance."""
    dilation = options.get("dilation", (1, 1))
    padding = (dilation[0] * (kernel[0] - 1) // 2, dilation[1] * (kernel[1] - 1) // 2)
    conv = nn.Conv2d(inputs, outputs, kernel, padding=padding, **options)  # type: ignore[arg-type]
    nn.init.kaiming_normal_(conv.weight, LEAK)
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]  # there is one
    return weight_norm(conv)


class PeriodDiscriminator(nn.Module):
    """Looks at every `period`-th sample: the waveform folded to rows of one period, filtered along columns.

    Args:
        period: samples in a row.
        channels: of the first layer; they double with each of the next three.
    """

    def __init__(self, period: int, channels: int) -> None:
        super().__init__()
        self.period = period
        widths = [1, channels, 2 * channels, 4 * channels, 8 * channels]
        self.layers = nn.ModuleList(_conv(a, b, (5, 1), stride=(3, 1)) for a, b in pairwise(widths))
        self.layers.append(_conv(widths[-1], widths[-1], (5, 1)))
        self.score = _conv(widths[-1], 1, (3, 1))

    def forward(self, waveform: Tensor) -> list[Tensor]:
        """waveform: `[B, 1, T]` -> feature maps `[B, C, rows, period]`, the score last, with C = 1."""
        x = F.pad(waveform, (0, -waveform.shape[-1] % self.period), mode="reflect")
        x = x.unflatten(-1, (-1, self.period)).contiguous(memory_format=torch.channels_last)
        maps = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), LEAK)
            maps.append(x)
        return [*maps, self.score(x)]


class SpectrumDiscriminator(nn.Module):
    """Looks at real and imaginary parts of a short-time Fourier transform, with filters of its own for each band.

    Args:
        window_length: samples of the window; a quarter is the hop.
        channels: of every layer.
    """

    window: Tensor
    DILATIONS = (1, 2, 4)  # in frames, of the strided layers

    def __init__(self, window_length: int, channels: int) -> None:
        super().__init__()
        self.window_length = window_length
        self.register_buffer("window", torch.hann_window(window_length), persistent=False)
        bins = window_length // 2 + 1
        self.edges = [round(edge * bins) for edge in BAND_EDGES]
        self.bands = nn.ModuleList(self._band(channels) for _ in self.edges[1:])
        self.score = _conv(channels, 1, (3, 3))

    def _band(self, channels: int) -> nn.ModuleList:
        layers = [_conv(2, channels, (3, 9))]
        layers += [_conv(channels, channels, (3, 9), stride=(1, 2), dilation=(d, 1)) for d in self.DILATIONS]
        return nn.ModuleList([*layers, _conv(channels, channels, (3, 3))])

    def forward(self, waveform: Tensor) -> list[Tensor]:
        """waveform: `[B, 1, T]` -> feature maps `[B, C, frames, bins]` of all bands, the score last, with C = 1."""
        with torch.autocast(waveform.device.type, enabled=False):
            spectrum = torch.stft(
                waveform.squeeze(1).float(),
                self.window_length,
                self.window_length // 4,
                window=self.window,
                normalized=True,
                return_complex=True,
            )
        spectrum = torch.view_as_real(spectrum).permute(0, 3, 2, 1)  # [B, 2, frames, bins]
        maps, ends = [], []
        for (low, high), layers in zip(pairwise(self.edges), self.bands, strict=True):
            x = spectrum[..., low:high].contiguous(memory_format=torch.channels_last)
            for layer in layers:  # type: ignore[attr-defined]  # a ModuleList
                x = F.leaky_relu(layer(x), LEAK)
                maps.append(x)
            ends.append(x)
        return [*maps, self.score(torch.cat(ends, dim=-1))]


class MelDiscriminator(nn.Module):
    """Looks at formants: patches of a log-mel spectrogram, in which neither phases nor single harmonics of noise stand.

    Args:
        sample_rate: Hz.
        window_length: samples of the window; a quarter is the hop.
        channels: of the first layer; they double with each of the next two.
    """

    window: Tensor
    bank: Tensor

    NUM_MELS = 64
    FLOOR = 1e-2  # of the magnitude of white noise at the level that waveforms are brought to

    def __init__(self, sample_rate: int, window_length: int, channels: int) -> None:
        super().__init__()
        self.window_length = window_length
        self.register_buffer("bank", mel_averages(sample_rate, window_length, self.NUM_MELS), persistent=False)
        self.register_buffer("window", torch.hann_window(window_length), persistent=False)
        widths = [1, channels, 2 * channels, 4 * channels]
        self.layers = nn.ModuleList(_conv(a, b, (5, 5), stride=(1, 2)) for a, b in pairwise(widths))
        self.layers.append(_conv(widths[-1], widths[-1], (5, 3), stride=(2, 1)))
        self.score = _conv(widths[-1], 1, (3, 3))

    def forward(self, waveform: Tensor) -> list[Tensor]:
        """waveform: `[B, 1, T]` -> feature maps `[B, C, frames, bands]`, the score last, with C = 1."""
        with torch.autocast(waveform.device.type, enabled=False):
            hop = self.window_length // 4
            spectrum = torch.stft(
                waveform.squeeze(1).float(), self.window_length, hop, window=self.window, normalized=True,
                return_complex=True,
            )  # fmt: skip
            magnitude = torch.view_as_real(spectrum).square().sum(-1).add(1e-9).sqrt().transpose(1, 2)
            x = (magnitude @ self.bank).clamp_min(self.FLOOR).log().unsqueeze(1)
        maps, x = [], x.contiguous(memory_format=torch.channels_last)
        for layer in self.layers:
            x = F.leaky_relu(layer(x), LEAK)
            maps.append(x)
        return [*maps, self.score(x)]


def build_discriminators(
    periods: Sequence[int], windows: Sequence[int], mel_windows: Sequence[int], channels: int, sample_rate: int
) -> nn.ModuleList:
    """One discriminator for each period and each window (samples), with `channels` at their first layer."""
    by_period = [PeriodDiscriminator(period, channels) for period in periods]
    by_spectrum = [SpectrumDiscriminator(window, channels) for window in windows]
    by_mel = [MelDiscriminator(sample_rate, window, channels) for window in mel_windows]
    return nn.ModuleList([*by_period, *by_spectrum, *by_mel])
