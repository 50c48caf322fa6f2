"""Mu-law companding (the continuous form of ITU-T G.711's curve): fine steps near zero, coarse near full scale."""

import math

import torch
from torch import Tensor


def mulaw_compand(waveform: Tensor, levels: int = 256) -> Tensor:
    """Samples in [-1, 1] of any shape and type -> the same on the companded scale, [-1, 1]."""
    mu = float(levels - 1)
    return torch.sign(waveform) * torch.log1p(mu * waveform.abs()) / math.log1p(mu)


def mulaw_encode(waveform: Tensor, levels: int = 256) -> Tensor:
    """Samples in [-1, 1] (beyond are clipped) of any shape -> int64 classes in [0, levels)."""
    companded = mulaw_compand(waveform.float().clamp(-1.0, 1.0), levels)
    return ((companded + 1.0) / 2.0 * (levels - 1) + 0.5).long()


def mulaw_decode(classes: Tensor, levels: int = 256) -> Tensor:
    """Integer classes in [0, levels) of any shape -> float32 samples in [-1, 1]; class to sample to class is exact."""
    mu = float(levels - 1)
    companded = 2.0 * classes.float() / mu - 1.0
    return torch.sign(companded) * torch.expm1(companded.abs() * math.log1p(mu)) / mu
