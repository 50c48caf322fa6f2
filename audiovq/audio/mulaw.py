"""Mu-law companding (the continuous form of ITU-T G.711's curve): fine steps near zero, coarse near full scale."""

import torch
from torch import Tensor


def mulaw_encode(waveform: Tensor, levels: int = 256) -> Tensor:
    """Samples in [-1, 1] (beyond are clipped) of any shape -> int64 classes in [0, levels)."""
    mu = float(levels - 1)
    x = waveform.float().clamp(-1.0, 1.0)
    companded = torch.sign(x) * torch.log1p(mu * x.abs()) / torch.log1p(torch.tensor(mu))
    return ((companded + 1.0) / 2.0 * mu + 0.5).long()


def mulaw_decode(classes: Tensor, levels: int = 256) -> Tensor:
    """Integer classes in [0, levels) of any shape -> float32 samples in [-1, 1]; class to sample to class is exact."""
    mu = float(levels - 1)
    companded = 2.0 * classes.float() / mu - 1.0
    return torch.sign(companded) * torch.expm1(companded.abs() * torch.log1p(torch.tensor(mu))) / mu
