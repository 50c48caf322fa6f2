"""A synthesized stand-in for the Free Spoken Digit Dataset: the recipe runs on it without the corpus."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

RECIPE = Path(__file__).resolve().parents[2] / "egs" / "fsdd" / "vqvae"


@pytest.fixture(scope="session")
def recipe() -> Path:
    return RECIPE


@pytest.fixture(scope="session")
def tiny_fsdd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """3,000 files of 0.1 s, named as in the data set: a speaker is a pitch, a digit a gliding resonance."""
    root = tmp_path_factory.mktemp("fsdd")
    (root / "recordings").mkdir()
    t = np.arange(800) / 8000
    for s, speaker in enumerate(["george", "jackson", "lucas", "nicolas", "theo", "yweweler"]):
        pulses = np.diff(np.floor((90 + 25 * s) * t), prepend=-1.0)
        for digit in range(10):
            ring = np.exp(-np.arange(80) / 15) * np.sin(2 * np.pi * (400 + 250 * digit) * np.arange(80) / 8000)
            clean = 0.3 * np.convolve(pulses, ring)[:800] * np.hanning(800)
            for index in range(50):
                noise = np.random.default_rng([s, digit, index]).standard_normal(800)
                path = root / "recordings" / f"{digit}_{speaker}_{index}.wav"
                soundfile.write(path, clean + 0.003 * noise, 8000, subtype="PCM_16")
    return root
