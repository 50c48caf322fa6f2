"""Synthetic speech-like signals, tiny WaveNet models with random weights, and packs to score them on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray

from audiovq.audio import AudioModelConfig, AudioVQVAE
from audiovq.data.corpus.pack import pack
from audiovq.data.corpus.packed import PackedCorpus
from audiovq.data.kaldi.datadir import DataDir
from audiovq.data.kaldi.utterance import Utterance

RATE = 8000
SPEAKERS = ["ann", "bob", "cyd"]


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory, sound: Callable[..., NDArray[np.float32]]) -> Path:
    """A VQ-VAE with a WaveNet of random weights, hop 16, three speakers, and a codebook that fits its encoder."""
    torch.manual_seed(0)
    config = AudioModelConfig.model_validate(
        {
            "sample_rate": RATE,
            "latent_dim": 8,
            "speaker_dim": 4,
            "speakers": SPEAKERS,
            "encoder": {"kind": "waveform", "channels": 8, "strides": [4, 4]},
            "quantizer": {"kind": "vq", "codebook_size": 16},
            "decoders": {
                "wavenet": {
                    "kind": "wavenet",
                    "channels": 8,
                    "gate_channels": 8,
                    "skip_channels": 8,
                    "cycles": 1,
                    "layers_per_cycle": 3,
                    "condition_channels": 8,
                }
            },
        }
    )
    folder = tmp_path_factory.mktemp("model")
    model = AudioVQVAE.from_config(config)
    with torch.no_grad():
        # as large as if trained, so that sounds differ in their codes, and codes matter to the decoder
        model.encoder.project.weight.mul_(300)
        model.decoders["wavenet"].stack.output.weight.mul_(30)
        model.quantizer(model.encoder(torch.from_numpy(sound(rate=RATE)).view(1, 1, -1)))  # k-means of the codebook
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def model(model_folder: Path) -> AudioVQVAE:
    return AudioVQVAE.from_pretrained(model_folder)


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory, sound: Callable[..., NDArray[np.float32]]) -> Path:
    """Two utterances each of three speakers, of different lengths that are no multiples of the hop."""
    root = tmp_path_factory.mktemp("data")
    utterances = []
    for s, speaker in enumerate(SPEAKERS):
        for k in range(2):
            path = root / f"{speaker}-{k}.wav"
            soundfile.write(path, sound(seed=10 * s + k, seconds=0.012 + 0.003 * s + 0.0051 * k, rate=RATE), RATE)
            utterances.append(Utterance(f"{speaker}-{k}", speaker, str(path), text=f"digit{k}"))
    DataDir(tuple(utterances)).write(root / "kaldi")
    return root / "kaldi"


@pytest.fixture(scope="session")
def corpus(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> PackedCorpus:
    return pack(data_dir, tmp_path_factory.mktemp("pack") / "test", RATE, min_seconds=0)
