"""Fast feed-forward decoder from codes to waveform: ConvNeXt blocks at the frame rate, then an inverse STFT.

It follows Vocos (arXiv 2306.00814). Only the last overlap-add runs at the sample rate, so it decodes many times faster
than real time on one core.
"""

from typing import Any

import torch
from torch import Tensor

from audiovq.audio.convnext_decoder import ConvNeXtDecoder
from audiovq.audio.excitation import Place
from audiovq.layers import InverseSTFT
from audiovq.layers.linear import FastLinear


class FrameDecoder(ConvNeXtDecoder):
    """z_q and speaker to waveform: the network, magnitude and phase of a spectrum a fine frame, overlap-add.

    Args:
        latent_dim: channels of z_q.
        window_length: samples of the inverse STFT; its hop is hop_length / upsample.
        network: see `ConvNeXtDecoder`.
    """

    MAX_LOG_MAGNITUDE = 6.0  # nats; over any bin of a full-scale signal: a sine's peak is half the window's sum

    def __init__(self, latent_dim: int, *, window_length: int, **network: Any) -> None:
        super().__init__(latent_dim, window_length=window_length, fine_lookahead=0, **network)
        self.head = FastLinear(network["fine_channels"], 2 * (window_length // 2 + 1))
        self.inverse_stft = InverseSTFT(window_length, self.hop_length // self.upsample)

    @property
    def last_layer(self) -> Tensor:
        return self.head.weight

    def forward(self, z_q: Tensor, speaker: Tensor | None = None, place: Place | None = None) -> Tensor:
        """The same at every place."""
        log_magnitude, phase = self.head(self.features(z_q, speaker)).float().chunk(2, dim=-1)
        magnitude = log_magnitude.clamp_max(self.MAX_LOG_MAGNITUDE).exp()
        return self.inverse_stft(torch.polar(magnitude, phase))
