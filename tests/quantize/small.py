"""Our quantizer with a codebook that the test knows."""

from __future__ import annotations

from torch import Tensor

from audiovq.quantize import VectorQuantizer


def quantizer(codebook: Tensor, **options: object) -> VectorQuantizer:
    """Ours on rows [N, D] with this codebook; no restart unless asked for."""
    settings: dict = {"channel_dim": -1, "decay": 0.9, "kmeans_init": False, "restart_threshold": 0, **options}
    vq = VectorQuantizer(codebook.shape[1], codebook.shape[0], **settings)
    vq.codebook.data.copy_(codebook)
    if vq.update == "ema":
        vq.ema_sums.copy_(codebook)
    return vq
