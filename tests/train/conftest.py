"""A tiny packed corpus of tones, and a tiny run on it."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiovq.data.corpus.pack import pack
from audiovq.data.kaldi.datadir import DataDir
from audiovq.data.kaldi.utterance import Utterance
from audiovq.train.experiment import parse_experiment
from audiovq.train.speech.config import SpeechExperimentConfig

FRAME = {
    "kind": "frame",
    "channels": 12,
    "depth": 1,
    "fine_channels": 8,
    "fine_depth": 1,
    "window_length": 64,
    "kernel_size": 3,
}
WAVENET = {
    "kind": "wavenet",
    "channels": 8,
    "gate_channels": 8,
    "skip_channels": 8,
    "layers_per_cycle": 3,
    "condition_channels": 6,
}
OBJECTIVES = {
    "fast": {"kind": "spectral", "windows": [64, 128], "num_mels": [8, 12], "quantize_from_step": 3, "bypass": 0.3},
    "wavenet": {"kind": "likelihood", "quantize_from_step": 3},
}


@pytest.fixture(scope="session")
def tiny_pack(tmp_path_factory) -> Path:
    """Eight tones of 0.3 s by two speakers at 8 kHz."""
    root = tmp_path_factory.mktemp("tones")
    utterances = []
    for i in range(8):
        path = root / f"tone{i}.wav"
        soundfile.write(path, 0.3 * np.sin(np.arange(2400) * (0.1 + 0.05 * i)), 8000)
        speaker = "ab"[i % 2]
        utterances.append(Utterance(f"{speaker}-tone{i}", speaker, str(path)))
    DataDir(sorted(utterances, key=lambda u: u.id), {}).write(root / "data")
    pack(root / "data", root / "dump", 8000)
    return root / "dump"


def tiny_tree(tiny_pack: Path, decoder: str = "fast", **train) -> dict:
    """A configuration, as a plain tree, that trains in well under a second per step."""
    return {
        "model": {
            "sample_rate": 8000,
            "latent_dim": 8,
            "speaker_dim": 4,
            "encoder": {"kind": "waveform", "channels": 8, "strides": [2] * 5, "dilations": [1]},
            "quantizer": {"kind": "vq", "num_quantizers": 2, "codebook_size": 8, "level_dropout": True},
            "decoders": {decoder: FRAME if decoder == "fast" else WAVENET},
        },
        "data": {
            "train": [{"path": str(tiny_pack)}],
            "valid": str(tiny_pack),
            "segment_samples": 512,
            "valid_samples": 512,
            "batch_size": 4,
            "valid_segments": 4,
            "num_workers": 0,
        },
        "objective": OBJECTIVES[decoder],
        "train": {
            "max_steps": 6,
            "valid_every": 3,
            "save_every": 3,
            "log_every": 1,
            "weight_average": 0.9,
            "warmup_steps": 2,
        }
        | train,
    }


def tiny_config(tiny_pack: Path, decoder: str = "fast", **train) -> SpeechExperimentConfig:
    """The same, checked."""
    return parse_experiment(tiny_tree(tiny_pack, decoder, **train), "tiny")
