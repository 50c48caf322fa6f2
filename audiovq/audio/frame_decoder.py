"""Fast feed-forward decoder from codes to waveform: ConvNeXt blocks at the frame rate, then an inverse STFT.

After Vocos (arXiv 2306.00814). Nothing runs at the sample rate but the last overlap-add, which is why it decodes at
many times real time on one core.
"""

import torch
from torch import Tensor, nn

from audiovq.layers import ConvNeXtStack, InverseSTFT


class FrameDecoder(nn.Module):
    """z_q and speaker to waveform: a stack at the code rate, one at the spectrum rate, magnitude and phase, overlap.

    Args:
        latent_dim: channels of z_q.
        hop_length: samples per frame of z_q.
        channels, depth: width and blocks of the stack at the code rate.
        upsample: spectral frames per code frame.
        fine_channels, fine_depth: width and blocks of the stack at the spectrum rate.
        window_length: samples of the inverse STFT; its hop is hop_length / upsample.
        kernel_size, expansion: of the blocks.
        lookahead: code frames after its own that an output may depend on.
        speaker_dim: size of the global speaker vector; 0 for none.
    """

    MAX_LOG_MAGNITUDE = 6.0  # nats; over any bin of a full-scale signal: a sine's peak is half the window's sum

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
        window_length: int,
        kernel_size: int,
        expansion: int,
        lookahead: int,
        speaker_dim: int = 0,
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
        )
        self.widen = nn.Linear(channels, upsample * fine_channels)
        self.fine = ConvNeXtStack(
            fine_channels,
            fine_channels,
            fine_depth,
            kernel_size=kernel_size,
            expansion=expansion,
            condition_dim=speaker_dim,
        )
        self.head = nn.Linear(fine_channels, 2 * (window_length // 2 + 1))
        self.inverse_stft = InverseSTFT(window_length, hop_length // upsample)
        margin = -(-window_length // hop_length)
        self.context_frames = (self.coarse.context + -(-self.fine.context // upsample) + margin, lookahead + margin)

    def forward(self, z_q: Tensor, speaker: Tensor | None = None) -> Tensor:
        """z_q: `[B, latent_dim, F]`, speaker: `[B, speaker_dim]` -> waveform `[B, 1, F * hop_length]`."""
        x = self.coarse(z_q.transpose(1, 2), speaker)
        x = self.widen(x).reshape(x.shape[0], x.shape[1] * self.upsample, -1)  # [B, F, u * C] -> [B, F * u, C]
        log_magnitude, phase = self.head(self.fine(x, speaker)).float().chunk(2, dim=-1)
        magnitude = log_magnitude.clamp_max(self.MAX_LOG_MAGNITUDE).exp()
        return self.inverse_stft(torch.polar(magnitude, phase))
