"""The network that our feed-forward decoders share: ConvNeXt blocks at the rate of codes, then at a multiple of it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from audiovq.audio.decoder import FeedForwardDecoder
from audiovq.layers import ConvNeXtStack
from audiovq.layers.convnext import StackState
from audiovq.layers.linear import FastLinear


@dataclass(frozen=True)
class FeaturesState:
    """Of the stacks at both rates."""

    coarse: StackState
    fine: StackState


class ConvNeXtDecoder(FeedForwardDecoder):
    """ConvNeXt blocks at two rates; a kind makes sound of `features`.

    Args:
        latent_dim: channels of z_q.
        hop_length: samples per frame of z_q.
        channels, depth: width and blocks of the stack at the code rate.
        upsample: fine frames per code frame.
        fine_channels, fine_depth: width and blocks of the stack at the fine rate.
        kernel_size, expansion: of the blocks.
        lookahead: code frames after its own that a feature may depend on.
        fine_lookahead: fine frames more of that.
        window_length: samples over which a fine frame is laid; counted in the context.
        speaker_dim: size of the global speaker vector; 0 for none.
    """

    def __init__(
        self,
        latent_dim: int,
        *,
        hop_length: int,
        channels: int,
        depth: int,
        upsample: int,
        fine_channels: int,
        fine_depth: int,
        kernel_size: int,
        expansion: int,
        lookahead: int,
        fine_lookahead: int,
        window_length: int,
        speaker_dim: int,
    ) -> None:
        super().__init__()
        self.hop_length = hop_length
        self.upsample = upsample
        self.fine_channels = fine_channels
        self.coarse = ConvNeXtStack(
            latent_dim,
            channels,
            depth,
            kernel_size=kernel_size,
            expansion=expansion,
            lookahead=lookahead,
            condition_dim=speaker_dim,
            linear=FastLinear,
        )
        self.widen = FastLinear(channels, upsample * fine_channels)
        self.fine = ConvNeXtStack(
            fine_channels,
            fine_channels,
            fine_depth,
            kernel_size=kernel_size,
            expansion=expansion,
            lookahead=fine_lookahead,
            condition_dim=speaker_dim,
            linear=FastLinear,
        )
        margin = -(-window_length // hop_length)
        left = self.coarse.context + -(-self.fine.context // upsample) + margin
        self.context_frames = (left, lookahead + -(-fine_lookahead // upsample) + margin)
        self.features_lookahead = lookahead * hop_length + fine_lookahead * hop_length // upsample  # in samples

    def features(self, z_q: Tensor, speaker: Tensor | None = None) -> Tensor:
        """z_q: `[B, latent_dim, F]`, speaker: `[B, speaker_dim]` -> `[B, F * upsample, fine_channels]`."""
        return self.stream_features(z_q, self.initial_features(len(z_q)), speaker, last=True)[0]

    def initial_features(self, batch_size: int) -> FeaturesState:
        """The network's state before the first frame."""
        return FeaturesState(self.coarse.initial_state(batch_size), self.fine.initial_state(batch_size))

    def stream_features(
        self, z_q: Tensor, state: FeaturesState, speaker: Tensor | None, *, last: bool
    ) -> tuple[Tensor, FeaturesState]:
        """The next frames of z_q -> the fine frames that are complete, `[B, N, fine_channels]`, and the next state."""
        x, coarse = self.coarse.stream(z_q.transpose(1, 2), state.coarse, speaker, last=last)
        x = self.widen(x).reshape(
            len(x), x.shape[1] * self.upsample, self.fine_channels
        )  # [B, F, u * C] -> [B, F * u, C]
        x, fine = self.fine.stream(x, state.fine, speaker, last=last)
        return x, FeaturesState(coarse, fine)
