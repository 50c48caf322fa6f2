"""Small models with random weights."""

import pytest
import torch

from audiovq.audio import AudioModelConfig, AudioVQVAE
from audiovq.quantize import VectorQuantizer

WAVENET = {
    "kind": "wavenet",
    "channels": 8,
    "gate_channels": 8,
    "skip_channels": 12,
    "layers_per_cycle": 4,
    "condition_channels": 6,
}
FRAME = {
    "kind": "frame",
    "channels": 12,
    "depth": 1,
    "fine_channels": 8,
    "fine_depth": 1,
    "window_length": 64,
    "kernel_size": 3,
}


def make_model(**changes) -> AudioVQVAE:
    """An untrained model that is ready to encode: its codebook does not wait for k-means."""
    tree = {
        "sample_rate": 8000,
        "latent_dim": 8,
        "encoder": {"kind": "waveform", "channels": 8, "strides": [2, 2, 2], "dilations": [1]},
        "quantizer": {"kind": "vq", "codebook_size": 16, "kmeans_init": False},
        "decoders": {"wavenet": WAVENET},
    }
    torch.manual_seed(0)
    model = AudioVQVAE.from_config(AudioModelConfig.model_validate(tree | changes)).eval()
    for module in model.quantizer.modules():  # spread the codes, so that an untrained encoder uses several
        if isinstance(module, VectorQuantizer):
            module.codebook.data.normal_(std=0.1)
    return model


@pytest.fixture
def codec_model() -> AudioVQVAE:
    """Log-mel encoder, four levels, feed-forward decoder."""
    return make_model(
        encoder={
            "kind": "log-mel",
            "hop_length": 32,
            "num_mels": 10,
            "window_length": 64,
            "channels": 12,
            "depth": 1,
            "kernel_size": 3,
        },
        quantizer={"kind": "vq", "num_quantizers": 4, "codebook_size": 16, "kmeans_init": False},
        decoders={"fast": FRAME},
        default_num_quantizers=2,
    )
