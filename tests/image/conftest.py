"""Tiny image models with random weights, and images with a structure that can be learnt."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from audiovq.image import ImageModelConfig, build_image_model

SMALL_ENCODER = {"channels": 8, "residual_channels": 8, "residual_blocks": 1, "downsample": 1}
CONV = {"kind": "conv", "channels": 8, "residual_channels": 8, "residual_blocks": 1}
PIXELCNN = {"kind": "pixelcnn", "channels": 8, "depth": 2, "kernel_size": 3, "condition_channels": 6}
VQ = {"kind": "vq", "codebook_size": 8}


def tiny_tree(**changes: Any) -> dict[str, Any]:
    """The configuration of a model of 4 x 6 images."""
    tree = {"kind": "image", "height": 4, "width": 6, "latent_dim": 4, "encoder": SMALL_ENCODER, "decoder": CONV}
    return {**tree, "latent": VQ, **changes}


def tiny_model(seed: int = 0, **changes: Any) -> Any:
    """A model in eval mode, its codebooks filled."""
    torch.manual_seed(seed)
    model = build_image_model(ImageModelConfig.model_validate(tiny_tree(**changes)))
    size = {"height": model.config.height, "width": model.config.width}
    x = slopes(16, channels=model.config.input.channels, values=model.values, **size)
    for _ in range(4):  # k-means, a level a step
        model.train().bound(torch.as_tensor(x, dtype=torch.int64))
    return model.eval()


def slopes(count: int, *, channels: int = 3, height: int = 4, width: int = 6, values: int = 256) -> np.ndarray:
    """Slopes of brightness in random directions, `[N, C, H, W]`."""
    rng = np.random.default_rng(7)
    start, down, across = rng.random((3, count, channels, 1, 1))
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    light = (start + down * y + across * x) / 3
    return np.rint(light * (values - 1)).astype(np.uint8 if values == 256 else np.int64)


@pytest.fixture
def images() -> torch.Tensor:
    """Six of them, uint8."""
    return torch.from_numpy(slopes(6))
