"""A tiny model with random weights in a folder, and the command run in this process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from audiovq import modelfolder
from audiovq.cli.main import cli
from audiovq.data.audio import write_audio


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


MODELS: dict[str, Path] = {}


@pytest.fixture(scope="session")
def bundled() -> dict[str, Path]:
    """Models that come with the package, as far as the command can tell: it finds what files name."""
    return MODELS


@pytest.fixture(autouse=True)
def _bundled(monkeypatch: pytest.MonkeyPatch):
    known = modelfolder.bundled_models
    monkeypatch.setattr(modelfolder, "bundled_models", lambda: known() | MODELS)


def save_model(folder: Path, seed: int = 0, **changes: object) -> Path:
    from audiovq.audio import AudioModelConfig, AudioVQVAE

    config = {
        "sample_rate": 16000,
        "latent_dim": 8,
        "encoder": {"kind": "log-mel", "channels": 16, "depth": 1},
        "quantizer": {"kind": "fsq", "levels": [8, 5, 5], "num_quantizers": 2},
        "decoders": {"fast": {"kind": "frame", "channels": 16, "depth": 1, "fine_channels": 16, "fine_depth": 1}},
    }
    torch.manual_seed(seed)
    AudioVQVAE.from_config(AudioModelConfig.model_validate(config | changes)).save_pretrained(folder)
    MODELS[folder.name] = folder
    return folder


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of a model at 16 kHz, 400 bits/s a level, two levels."""
    return str(save_model(tmp_path_factory.mktemp("models") / "tiny"))


@pytest.fixture(scope="session")
def other_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of the same shape, with other weights."""
    return str(save_model(tmp_path_factory.mktemp("models") / "other", seed=1))


@pytest.fixture(scope="session")
def voices(tmp_path_factory: pytest.TempPathFactory) -> str:
    """With two speakers."""
    return str(save_model(tmp_path_factory.mktemp("models") / "voices", speakers=["anna", "bob"], speaker_dim=4))


@pytest.fixture(scope="session")
def speech() -> np.ndarray:
    """2.5 s of something loud and quiet, `[1, 40000]` at 16 kHz."""
    t = np.arange(40000) / 16000
    noise = np.random.default_rng(0).standard_normal(40000)
    return (0.2 * np.sin(5 * t) * (np.sin(2 * np.pi * 300 * t) + 0.3 * noise))[None].astype(np.float32)


@pytest.fixture
def wav(tmp_path: Path, speech: np.ndarray) -> Path:
    write_audio(tmp_path / "in.wav", speech, 16000)
    return tmp_path / "in.wav"


@pytest.fixture
def run():
    """`run("encode", a, b, input=...)` -> click's Result: exit_code, stdout_bytes, stderr."""

    def invoke(*args: object, input: bytes | None = None) -> Result:
        return CliRunner().invoke(cli, [str(arg) for arg in args], input=input)

    return invoke
