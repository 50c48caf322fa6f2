"""Tiny models with random weights, and a sound that keeps them busy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from audiovq.audio import AudioModelConfig, AudioVQVAE
from audiovq.codec import Codec

RATE = 16000
FAST = {
    "sample_rate": RATE,
    "latent_dim": 8,
    "encoder": {"kind": "log-mel", "channels": 16, "depth": 1, "lookahead": 1},
    "quantizer": {"kind": "fsq", "levels": [8, 5, 5], "num_quantizers": 3},
    "decoders": {"fast": {"kind": "frame", "channels": 16, "depth": 1, "fine_channels": 16, "fine_depth": 1}},
}
SAMPLING = {
    "sample_rate": 8000,
    "latent_dim": 4,
    "encoder": {"kind": "waveform", "channels": 4, "strides": [2, 2, 2], "dilations": [1]},
    "quantizer": {"kind": "fsq", "levels": [5, 5]},
    "decoders": {
        "wavenet": {
            "kind": "wavenet",
            "channels": 4,
            "gate_channels": 4,
            "skip_channels": 4,
            "cycles": 1,
            "layers_per_cycle": 2,
            "condition_channels": 4,
        }
    },
}


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make_codec(config: dict, **changes: object) -> Codec:
    """A tiny model with random weights, such that its codes change with sound and context."""
    torch.manual_seed(0)
    model = AudioVQVAE.from_config(AudioModelConfig.model_validate(config | changes))
    with torch.no_grad():
        for name, weight in model.encoder.named_parameters():
            weight.mul_(20 if name.startswith("project.weight") or ".contract" in name else 1)
    return Codec(model, "tiny", bytes(range(32)))


def sound(seconds: float, rate: int = RATE, channels: int = 1, level: float = 0.3) -> np.ndarray:
    """Sweeping tones in noise that comes and goes, different in each channel."""
    rng = np.random.default_rng(1)
    t = np.arange(math.ceil(seconds * rate)) / rate
    tone = np.stack([np.sin(2 * np.pi * (200 + 40 * c) * t * (1 + t)) for c in range(channels)])
    noise = rng.standard_normal((channels, len(t))) * (0.6 + 0.4 * np.sin(9 * t))
    return (level * (0.5 * tone + 0.2 * noise)).astype(np.float32)
