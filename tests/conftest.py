"""Fixtures that several folders of tests share: the packaged sample, and real speech where it is at hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

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
