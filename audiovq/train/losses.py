"""Multi-resolution spectral distance between waveforms: log-mel, log and linear magnitudes (after arXiv 1910.11480)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchaudio.functional import melscale_fbanks

MAGNITUDE_FLOOR = 2e-3  # of an unnormalised STFT bin; about 20 dB over the noise of 16-bit audio


class SpectralResolution(nn.Module):
    """Distance at one FFT size.

    Args:
        sample_rate: Hz.
        window_length: samples, a quarter of it is the hop.
        num_mels: bands of the mel term.
    """

    bank: Tensor
    window: Tensor

    def __init__(self, sample_rate: int, window_length: int, num_mels: int) -> None:
        super().__init__()
        self.window_length, self.hop_length = window_length, window_length // 4
        bank = melscale_fbanks(window_length // 2 + 1, 0.0, sample_rate / 2, num_mels, sample_rate)
        self.register_buffer("bank", bank / bank.sum(0, keepdim=True).clamp_min(1e-8), persistent=False)
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
        log_mel = (_log(x @ self.bank) - _log(y @ self.bank)).abs().mean()
        log_linear = (_log(x) - _log(y)).abs().mean()
        convergence = (x - y).norm(dim=(1, 2)) / y.norm(dim=(1, 2)).clamp_min(MAGNITUDE_FLOOR * y[0].numel() ** 0.5)
        return log_mel, log_linear + convergence.mean()


def _log(magnitude: Tensor) -> Tensor:
    return magnitude.clamp_min(MAGNITUDE_FLOOR).log()


class SpectralLoss(nn.Module):
    """Mean distance over several resolutions; in training a random few of them at each step.

    Args:
        sample_rate: Hz.
        windows, num_mels: FFT sizes and mel bands, one each per resolution.
        per_step: how many are drawn in training.
    """

    def __init__(self, sample_rate: int, windows: Sequence[int], num_mels: Sequence[int], per_step: int) -> None:
        super().__init__()
        self.per_step = per_step
        self.resolutions = nn.ModuleList(
            SpectralResolution(sample_rate, w, m) for w, m in zip(windows, num_mels, strict=True)
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
