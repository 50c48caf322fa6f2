"""Fast feed-forward decoder from codes to waveform: ConvNeXt blocks at the frame rate, then an inverse STFT.

It follows Vocos (arXiv 2306.00814). Only the last overlap-add runs at the sample rate, so it decodes many times faster
than real time on one core.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from audiovq.audio.convnext_decoder import ConvNeXtDecoder, FeaturesState
from audiovq.audio.excitation import Place
from audiovq.layers import InverseSTFT
from audiovq.layers.linear import FastLinear
from audiovq.layers.spectral import OverlapState


@dataclass(frozen=True)
class FrameDecoderState:
    """Of the network and of the overlap-add."""

    features: FeaturesState
    overlap: OverlapState


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
        self.lookahead = self.features_lookahead + self.inverse_stft.lookahead

    @property
    def last_layer(self) -> Tensor:
        return self.head.weight

    def initial_state(self, batch_size: int, place: Place | None = None) -> FrameDecoderState:
        """The same at every place."""
        return FrameDecoderState(self.initial_features(batch_size), self.inverse_stft.initial_state(batch_size))

    def stream(
        self, z_q: Tensor, state: FrameDecoderState, speaker: Tensor | None = None, *, last: bool = False
    ) -> tuple[Tensor, FrameDecoderState]:
        x, features = self.stream_features(z_q, state.features, speaker, last=last)
        log_magnitude, phase = self.head(x).float().chunk(2, dim=-1)
        magnitude = log_magnitude.clamp_max(self.MAX_LOG_MAGNITUDE).exp()
        sound, overlap = self.inverse_stft.stream(torch.polar(magnitude, phase), state.overlap, last=last)
        return sound, FrameDecoderState(features, overlap)
