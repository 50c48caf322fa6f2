"""Codes for a prior are a function of the sound alone: nothing is updated, dropped or drawn while they are made."""

from __future__ import annotations

import numpy as np
import torch

from audiovq.audio import AudioModelConfig, AudioVQVAE
from audiovq.codec import Codec


def test_encoding_twice_gives_the_same_codes_and_leaves_the_model_as_it_was():
    config = {
        "sample_rate": 16000,
        "latent_dim": 8,
        "encoder": {"kind": "log-mel", "channels": 16, "depth": 1},
        "quantizer": {"kind": "vq", "codebook_size": 16, "num_quantizers": 2, "level_dropout": True},
        "decoders": {"fast": {"kind": "frame", "channels": 16, "depth": 1, "fine_channels": 16, "fine_depth": 1}},
    }
    torch.manual_seed(0)
    model = AudioVQVAE.from_config(AudioModelConfig.model_validate(config)).train()
    sound = 0.1 * torch.randn(1, 1, 64000)
    model.quantizer(model.encoder(sound))  # as in training: makes codebooks, and would move them again
    model.quantizer(model.encoder(sound))
    codec = Codec(model, "tiny", bytes(32))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    first, second = (codec.encode(sound[0, :, :40000], 16000).codes for _ in range(2))
    assert (first == second).all()
    assert len(np.unique(first)) > 4
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
