"""Fixtures that several folders of tests share: the packaged sample, and real speech where it is at hand."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

# models in tests are tiny: a second thread costs more than it gains, most of all on a busy machine
torch.set_num_threads(1)

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def sample_path() -> Path:
    """The packaged recording: 7.4 s of synthetic speech, 16 kHz, mono, FLAC."""
    return REPOSITORY / "audiovq" / "assets" / "sample.flac"


@pytest.fixture(scope="session")
def minivctk() -> Path:
    """A small multi-speaker corpus in VCTK's layout; it is not part of the repository, so the test skips without it."""
    root = Path(os.environ.get("AUDIOVQ_MINIVCTK", REPOSITORY.parent / "shared" / "corpora" / "minivctk"))
    if not (root / "speaker-info.txt").is_file():
        pytest.skip(f"no minivctk corpus at {root}; name its folder in AUDIOVQ_MINIVCTK")
    return root


@pytest.fixture(scope="session")
def sound() -> Callable[..., NDArray[np.float32]]:
    """Bursts of harmonics with noise, so that energies and spectra vary as in speech."""

    def make(seed: int = 0, seconds: float = 1.0, rate: int = 16000) -> NDArray[np.float32]:
        generator = np.random.default_rng(seed)
        t = np.arange(round(seconds * rate)) / rate
        pitch = 110 + 30 * generator.random() + 20 * np.sin(2 * np.pi * 2 * t)
        phase = 2 * np.pi * np.cumsum(pitch) / rate
        voiced = sum(np.sin(h * phase) / h for h in range(1, 20))
        bursts = np.convolve(generator.random(len(t) // 400 + 1).repeat(400), np.hanning(400) / 200, "same")[: len(t)]
        return (0.1 * bursts * voiced + 0.002 * generator.standard_normal(len(t))).astype(np.float32)

    return make
