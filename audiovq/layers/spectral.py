"""Log-mel analysis and inverse STFT with one frame per hop. Both are local: no statistic uses the whole signal."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiovq.layers.streaming import whole_windows


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

    @property
    def lookahead(self) -> int:
        """Samples after its own hop that a frame sees."""
        margin = self.window_length - self.hop_length
        return margin - margin // 2

    def forward(self, waveform: Tensor) -> Tensor:
        """waveform: `[B, 1, T]`, T a multiple of the hop -> `[B, T / hop, num_mels]`, always float32."""
        return self.stream(waveform, self.initial_state(len(waveform)), last=True)[0]

    def initial_state(self, batch_size: int) -> Tensor:
        """Silence before the first sample, `[B, n]`."""
        return self.window.new_zeros(batch_size, (self.window_length - self.hop_length) // 2)

    @torch.autocast("cpu", enabled=False)
    @torch.autocast("cuda", enabled=False)
    def stream(self, waveform: Tensor, state: Tensor, *, last: bool = False) -> tuple[Tensor, Tensor]:
        """waveform: `[B, 1, N]` -> the frames that are complete, `[B, M, num_mels]`, and the next state."""
        size, step = self.window_length, self.hop_length
        x, state = whole_windows(waveform.float().squeeze(1), state, size=size, step=step, ahead=self.lookahead * last)
        if x.shape[1] == 0:
            return self.bank.new_zeros(len(x), 0, self.bank.shape[1]), state
        spectrum = torch.stft(x, size, step, window=self.window, center=False, return_complex=True)
        mel = spectrum.abs().transpose(1, 2) @ self.bank
        return (mel.clamp_min(self.floor).log() + 3.0) / 3.0, state


class STFT(nn.Module):
    """Windowed frames of a signal, placed as `InverseSTFT` lays them: T samples give T / hop frames.

    Args:
        window_length, hop_length: in samples; the window is of Hann.
        fft_length: samples, at least those of the window, on whose middle it lies; they are `InverseSTFT`'s window.
    """

    window: Tensor

    def __init__(self, window_length: int, hop_length: int, fft_length: int) -> None:
        super().__init__()
        self.window_length, self.hop_length = window_length, hop_length
        margin = (fft_length - window_length) // 2
        self.margins = (margin, fft_length - window_length - margin)
        self.past = (fft_length - hop_length) // 2 - margin  # samples before its own hop that a frame sees
        window = F.pad(torch.hann_window(window_length), self.margins)
        self.register_buffer("window", window, persistent=False)

    @property
    def lookahead(self) -> int:
        """Samples after its own hop that a frame sees."""
        return self.window_length - self.hop_length - self.past

    def forward(self, signal: Tensor) -> Tensor:
        """signal: `[B, T]`, T a multiple of the hop -> complex `[B, T / hop, fft_length / 2 + 1]`."""
        return self.stream(signal, self.initial_state(len(signal)), last=True)[0]

    def initial_state(self, batch_size: int) -> Tensor:
        """Silence before the first sample, `[B, n]`."""
        return self.window.new_zeros(batch_size, self.past)

    @torch.autocast("cpu", enabled=False)
    @torch.autocast("cuda", enabled=False)
    def stream(self, signal: Tensor, state: Tensor, *, last: bool = False) -> tuple[Tensor, Tensor]:
        """signal: `[B, N]` -> the frames that are complete, `[B, M, fft_length / 2 + 1]`, and the next state."""
        size, step = self.window_length, self.hop_length
        signal, state = whole_windows(signal, state, size=size, step=step, ahead=self.lookahead * last)
        if signal.shape[1] == 0:
            bins = len(self.window) // 2 + 1
            return torch.zeros(len(signal), 0, bins, dtype=signal.dtype.to_complex(), device=signal.device), state
        window = self.window[self.margins[0] : self.margins[0] + size]
        frames = F.pad(signal.unfold(1, size, step) * window, self.margins)
        return torch.fft.rfft(frames), state


@dataclass(frozen=True)
class OverlapState:
    """Of an `InverseSTFT`: sums that wait for later frames.

    Attributes:
        signal: `[B, window - hop]`; envelope: `[1, window - hop]`, the windows' products there.
        skip: samples of it that lie before the signal's first.
    """

    signal: Tensor
    envelope: Tensor
    skip: int


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

    @property
    def lookahead(self) -> int:
        """Samples by which the signal lags behind its frames' hops."""
        return (self.window_length - self.hop_length) // 2

    def forward(self, spectrum: Tensor) -> Tensor:
        """spectrum: complex `[B, F, window / 2 + 1]` -> `[B, 1, F * hop]`."""
        return self.stream(spectrum, self.initial_state(len(spectrum)), last=True)[0]

    def initial_state(self, batch_size: int) -> OverlapState:
        """No frame before the first."""
        empty = self.window.new_zeros(batch_size, self.window_length - self.hop_length)
        return OverlapState(empty, empty[:1], self.lookahead)

    @torch.autocast("cpu", enabled=False)
    @torch.autocast("cuda", enabled=False)
    def stream(self, spectrum: Tensor, state: OverlapState, *, last: bool = False) -> tuple[Tensor, OverlapState]:
        """spectrum: complex `[B, F, window / 2 + 1]` -> the samples that are complete, `[B, 1, N]`, and the state."""
        count = spectrum.shape[1]
        frames = self.window.new_zeros(len(spectrum), 0, self.window_length)
        if count:
            frames = torch.fft.irfft(spectrum, n=self.window_length, dim=-1) * self.window
        signal = self._overlap_add(frames, state.signal)
        envelope = self._overlap_add((self.window * self.analysis).expand(1, count, -1), state.envelope)
        ready = count * self.hop_length
        rest = OverlapState(signal[:, ready:].clone(), envelope[:, ready:].clone(), max(0, state.skip - ready))
        done = slice(state.skip, max(state.skip, ready + self.lookahead * last))
        return (signal[:, done] / envelope[:, done].clamp_min(1e-3)).unsqueeze(1), rest

    def _overlap_add(self, frames: Tensor, past: Tensor) -> Tensor:
        """`[B, F, window]` on the sums of those before -> `[B, F * hop + window - hop]`, as shifted sums of hops."""
        batch, count, _ = frames.shape
        pieces = self.window_length // self.hop_length
        parts = frames.reshape(batch, count, pieces, self.hop_length)
        total = F.pad(past.to(frames).reshape(batch, pieces - 1, self.hop_length), (0, 0, 0, count))
        for p in range(pieces):
            total = total + F.pad(parts[:, :, p], (0, 0, p, pieces - 1 - p))
        return total.flatten(1)
