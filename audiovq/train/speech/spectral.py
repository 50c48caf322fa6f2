"""Multi-resolution spectral distance between waveforms: log-mel, log and linear magnitudes (after arXiv 1910.11480)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiovq.layers import mel_averages, mel_filterbank

MAGNITUDE_FLOOR = 2e-3  # of an unnormalised STFT bin; about 20 dB over the noise of 16-bit audio


class SpectralResolution(nn.Module):
    """Distance at one FFT size.

    Args:
        sample_rate: Hz.
        window_length: samples, a quarter of it is the hop.
        num_mels: bands of the mel term.
        range_db: under the target's loudest mel band, where silence begins; None for the noise of 16-bit audio only.
        mode_scale: s, nats: a difference d of log-mel bands counts as s log(1 + d / s); None for d itself.
    """

    bank: Tensor
    window: Tensor

    def __init__(
        self,
        sample_rate: int,
        window_length: int,
        num_mels: int,
        range_db: float | None = None,
        mode_scale: float | None = None,
    ) -> None:
        super().__init__()
        self.mode_scale = mode_scale
        self.window_length, self.hop_length = window_length, window_length // 4
        self.range = 0.0 if range_db is None else 10 ** (-range_db / 20)
        self.register_buffer("bank", mel_averages(sample_rate, window_length, num_mels), persistent=False)
        self.register_buffer("window", torch.hann_window(window_length), persistent=False)

    def magnitude(self, waveform: Tensor) -> Tensor:
        """`[B, T]` -> `[B, frames, bins]`."""
        spectrum = torch.stft(
            waveform, self.window_length, self.hop_length, window=self.window, return_complex=True, pad_mode="constant"
        )
        # sqrt(|S|^2 + eps) has a gradient at zero, where abs has none
        return torch.view_as_real(spectrum).square().sum(-1).add(1e-12).sqrt().transpose(1, 2)

    def forward(self, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """output, target: `[B, T]` -> mean |difference| of log-mel in nats, and the linear-frequency distance.

        The latter is the mean |difference| of log magnitudes plus the relative error (spectral convergence).
        """
        x, y = self.magnitude(output), self.magnitude(target)
        mel_x, mel_y = x @ self.bank, y @ self.bank
        floor = (self.range * mel_y.amax((1, 2), keepdim=True)).clamp_min(MAGNITUDE_FLOOR)
        log_mel = _log_difference(mel_x, mel_y, floor)
        if self.mode_scale is not None:
            log_mel = self.mode_scale * torch.log1p(log_mel / self.mode_scale)
        log_linear = _log_difference(x, y, floor).mean()
        convergence = (x - y).norm(dim=(1, 2)) / y.norm(dim=(1, 2)).clamp_min(MAGNITUDE_FLOOR * y[0].numel() ** 0.5)
        return log_mel.mean(), log_linear + convergence.mean()


class PowerLoss(nn.Module):
    """Distance of the mean powers of patches of a mel spectrogram, in nats: what a smeared envelope lacks.

    A distance of logarithms is smallest at a median, which is softer than the mean of what it stands for: where a
    decoder is not sure, its sound is dull. The logarithm of the mean power of a patch of `PATCH` seconds counts what is
    loud in it, and leaves open where that is.

    Args:
        sample_rate: Hz.
    """

    WINDOW, HOP, PATCH = 0.032, 0.008, 0.096  # seconds
    NUM_MELS = 48

    bank: Tensor
    window: Tensor

    def __init__(self, sample_rate: int) -> None:
        super().__init__()
        size, self.hop_length = round(self.WINDOW * sample_rate), round(self.HOP * sample_rate)
        self.register_buffer("bank", mel_filterbank(sample_rate, size, self.NUM_MELS), persistent=False)
        self.register_buffer("window", torch.hann_window(size), persistent=False)

    @torch.autocast("cpu", enabled=False)
    @torch.autocast("cuda", enabled=False)
    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """output, target: `[B, 1, T]` -> scalar."""
        x, y = self._powers(output), self._powers(target)
        floor = 1e-6 * y.amax((1, 2), keepdim=True).clamp_min(1e-6)
        return ((x + floor).log() - (y + floor).log()).abs().mean() / 2

    def _powers(self, waveform: Tensor) -> Tensor:
        """`[B, bands, patches]`, half over one another."""
        size = len(self.window)
        spectrum = torch.stft(
            waveform.squeeze(1).float(), size, self.hop_length, window=self.window, center=False, return_complex=True
        )
        power = self.bank.T @ torch.view_as_real(spectrum).square().sum(-1)
        patch = round(self.PATCH / self.HOP)
        return F.avg_pool1d(power, patch, patch // 2)


def _log_difference(x: Tensor, y: Tensor, floor: Tensor) -> Tensor:
    return (torch.maximum(x, floor).log() - torch.maximum(y, floor).log()).abs()


class SpectralLoss(nn.Module):
    """Mean distance over several resolutions; in training a random few of them at each step.

    Args:
        sample_rate: Hz.
        windows, num_mels: FFT sizes and mel bands, one each per resolution.
        per_step: how many are drawn in training.
        range_db, mode_scale: see `SpectralResolution`.
    """

    def __init__(
        self,
        sample_rate: int,
        windows: Sequence[int],
        num_mels: Sequence[int],
        per_step: int,
        range_db: float | None = None,
        mode_scale: float | None = None,
    ) -> None:
        super().__init__()
        self.per_step = per_step
        self.resolutions = nn.ModuleList(
            SpectralResolution(sample_rate, w, m, range_db, mode_scale) for w, m in zip(windows, num_mels, strict=True)
        )

    @torch.autocast("cpu", enabled=False)
    @torch.autocast("cuda", enabled=False)
    def forward(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """output, target: `[B, 1, T]` -> `mel` and `linear`, scalars in nats."""
        order = (
            torch.randperm(len(self.resolutions))[: self.per_step] if self.training else range(len(self.resolutions))
        )
        x, y = output.squeeze(1).float(), target.squeeze(1).float()
        terms = [self.resolutions[int(i)](x, y) for i in order]
        return {
            "mel": torch.stack([mel for mel, _ in terms]).mean(),
            "linear": torch.stack([linear for _, linear in terms]).mean(),
        }
