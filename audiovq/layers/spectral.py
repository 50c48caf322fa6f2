"""Log-mel analysis and inverse STFT with one frame per hop. Both are local: no statistic uses the whole signal."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def mel_filterbank(sample_rate: int, window_length: int, num_mels: int) -> Tensor:
    """Triangles with peaks of 1, evenly spaced on the HTK mel scale from 0 Hz to half the rate: `[bins, num_mels]`.

    mel = 2595 log10(1 + f / 700). Equals torchaudio's `melscale_fbanks` bit for bit: codes depend on it.
    """
    frequency = torch.linspace(0, sample_rate // 2, window_length // 2 + 1)
    top = 2595.0 * math.log10(1.0 + sample_rate / 2 / 700.0)
    corners = 700.0 * (10.0 ** (torch.linspace(0.0, top, num_mels + 2) / 2595.0) - 1.0)
    distance, width = corners - frequency.unsqueeze(1), corners.diff()
    rising, falling = -distance[:, :-2] / width[:-1], distance[:, 2:] / width[1:]
    return torch.minimum(rising, falling).clamp_min(0.0)


def mel_averages(sample_rate: int, window_length: int, num_mels: int) -> Tensor:
    """The same with weights that add up to one in each band: magnitudes @ it are their means, `[bins, num_mels]`."""
    bank = mel_filterbank(sample_rate, window_length, num_mels)
    return bank / bank.sum(0, keepdim=True).clamp_min(1e-8)


class LogMel(nn.Module):
    """Natural-log mel spectrogram, shifted and scaled to about zero mean and unit spread for speech.

    Frame f is centred on its hop: it sees samples from f * hop - (window - hop) / 2, `window` of them.

    Args:
        sample_rate: Hz.
        num_mels: mel bands (HTK scale, 0 Hz to half the rate).
        window_length, hop_length: in samples; the FFT has the window's length.
        floor: smallest magnitude before the logarithm, about the noise of 16-bit audio.
    """

    bank: Tensor
    window: Tensor

    def __init__(
        self, sample_rate: int, num_mels: int, window_length: int, hop_length: int, floor: float = 1e-4
    ) -> None:
        super().__init__()
        self.window_length, self.hop_length, self.floor = window_length, hop_length, floor
        self.register_buffer("bank", mel_filterbank(sample_rate, window_length, num_mels), persistent=False)
        self.register_buffer("window", torch.hann_window(window_length), persistent=False)

    @torch.autocast("cpu", enabled=False)
    @torch.autocast("cuda", enabled=False)
    def forward(self, waveform: Tensor) -> Tensor:
        """waveform: `[B, 1, T]`, T a multiple of the hop -> `[B, T / hop, num_mels]`, always float32."""
        margin = self.window_length - self.hop_length
        x = F.pad(waveform.float().squeeze(1), (margin // 2, margin - margin // 2))
        spectrum = torch.stft(
            x, self.window_length, self.hop_length, window=self.window, center=False, return_complex=True
        )
        mel = spectrum.abs().transpose(1, 2) @ self.bank
        return (mel.clamp_min(self.floor).log() + 3.0) / 3.0


class STFT(nn.Module):
    """Windowed frames of a signal, placed as `InverseSTFT` lays them: T samples give T / hop frames.

    Args:
        window_length, hop_length: in samples; the window is of Hann.
        fft_length: samples, at least those of the window, on whose middle it lies; they are `InverseSTFT`'s window.
    """

    window: Tensor

    def __init__(self, window_length: int, hop_length: int, fft_length: int) -> None:
        super().__init__()
        self.fft_length, self.hop_length = fft_length, hop_length
        margin = (fft_length - window_length) // 2
        window = F.pad(torch.hann_window(window_length), (margin, fft_length - window_length - margin))
        self.register_buffer("window", window, persistent=False)

    @torch.autocast("cpu", enabled=False)
    @torch.autocast("cuda", enabled=False)
    def forward(self, signal: Tensor) -> Tensor:
        """signal: `[B, T]`, T a multiple of the hop -> complex `[B, T / hop, window / 2 + 1]`."""
        margin = (self.fft_length - self.hop_length) // 2
        frames = F.pad(signal, (margin, margin)).unfold(1, self.fft_length, self.hop_length)
        return torch.fft.rfft(frames * self.window)


class InverseSTFT(nn.Module):
    """Overlap-add of windowed frames, normalised by the sum of both windows' product; F frames give F * hop samples.

    Frame f lies on samples from f * hop - (window - hop) / 2: an output sample needs frames at most
    (window - hop) / 2 samples later than its own hop.

    Args:
        window_length: samples, at least twice the hop; the FFT has the same length.
        hop_length: samples.
        analysis: the window that the frames were cut out with; None for the same.
    """

    window: Tensor
    analysis: Tensor

    def __init__(self, window_length: int, hop_length: int, analysis: Tensor | None = None) -> None:
        super().__init__()
        if window_length < 2 * hop_length or window_length % hop_length or (window_length - hop_length) % 2:
            raise ValueError(
                f"window_length {window_length} must be 2 or more times hop_length {hop_length}, "
                "and differ from it by an even number"
            )
        self.window_length, self.hop_length = window_length, hop_length
        window = torch.hann_window(window_length)
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("analysis", window if analysis is None else analysis, persistent=False)

    @torch.autocast("cpu", enabled=False)
    @torch.autocast("cuda", enabled=False)
    def forward(self, spectrum: Tensor) -> Tensor:
        """spectrum: complex `[B, F, window / 2 + 1]` -> `[B, 1, F * hop]`."""
        frames = torch.fft.irfft(spectrum, n=self.window_length, dim=-1) * self.window
        signal = self._overlap_add(frames)
        envelope = self._overlap_add((self.window * self.analysis).expand(1, frames.shape[1], -1))
        margin = (self.window_length - self.hop_length) // 2
        length = frames.shape[1] * self.hop_length
        return (signal / envelope.clamp_min(1e-3))[:, None, margin : margin + length]

    def _overlap_add(self, frames: Tensor) -> Tensor:
        """`[B, F, window]` -> `[B, (F - 1) * hop + window]`, as window / hop shifted sums of whole hops."""
        batch, count, _ = frames.shape
        pieces = self.window_length // self.hop_length
        parts = frames.reshape(batch, count, pieces, self.hop_length)
        total = frames.new_zeros(batch, count + pieces - 1, self.hop_length)
        for p in range(pieces):
            total = total + F.pad(parts[:, :, p], (0, 0, p, pieces - 1 - p))
        return total.flatten(1)
