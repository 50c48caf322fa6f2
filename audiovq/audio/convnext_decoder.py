"""The network that our feed-forward decoders share: ConvNeXt blocks at the rate of codes, then at a multiple of it."""

from torch import Tensor

from audiovq.audio.decoder import FeedForwardDecoder
from audiovq.layers import ConvNeXtStack
from audiovq.layers.linear import FastLinear


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

    def features(self, z_q: Tensor, speaker: Tensor | None = None) -> Tensor:
        """z_q: `[B, latent_dim, F]`, speaker: `[B, speaker_dim]` -> `[B, F * upsample, fine_channels]`."""
        x = self.coarse(z_q.transpose(1, 2), speaker)
        x = self.widen(x).reshape(x.shape[0], x.shape[1] * self.upsample, -1)  # [B, F, u * C] -> [B, F * u, C]
        return self.fine(x, speaker)
