"""Tiny Kaldi data directories and packs, synthesized."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiovq.data.kaldi.datadir import DataDir
from audiovq.data.kaldi.utterance import Utterance


def noise(samples: int, seed: int = 0, channels: int = 1) -> np.ndarray:
    """int16 `[T, C]`, well below full scale."""
    return np.random.default_rng(seed).integers(-8000, 8000, (samples, channels)).astype(np.int16)


def tone(rate: int, seconds: float, hz: float = 440.0) -> np.ndarray:
    """float32 `[1, T]` at half of full scale."""
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(round(rate * seconds)) / rate)).astype(np.float32)[None]


@pytest.fixture
def make_data(tmp_path: Path) -> Callable[..., Path]:
    """make_data({"utterance": samples}, rate=...): a data directory; the speaker is the id up to the first dash."""

    def make(lengths: dict[str, int], *, rate: int = 16000, name: str = "data", channels: int = 1) -> Path:
        audio = tmp_path / f"{name}-audio"
        audio.mkdir()
        utterances = []
        for seed, (utterance, samples) in enumerate(lengths.items()):
            file = audio / f"{utterance}.wav"
            soundfile.write(file, noise(samples, seed, channels), rate, subtype="PCM_16")
            utterances.append(Utterance(utterance, utterance.split("-")[0], str(file)))
        DataDir(tuple(utterances)).write(tmp_path / name)
        return tmp_path / name

    return make
