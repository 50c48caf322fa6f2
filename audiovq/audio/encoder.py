"""Encoders from waveform to z_e, one vector per hop: the strided convolutions of the paper, or a log-mel front end.

Both are causal up to a stated look-ahead and use no statistic of the whole signal (arXiv 1711.00937, section 4.3).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from audiovq.audio.mulaw import mulaw_compand
from audiovq.layers import CausalConv1d, ConvNeXtStack, LogMel


def pad_to_frames(waveform: Tensor, hop_length: int) -> Tensor:
    """Zero-pad `[B, 1, T]` at the end to whole frames: T becomes hop_length * ceil(T / hop_length)."""
    return F.pad(waveform, (0, -waveform.shape[-1] % hop_length))


class Encoder(nn.Module, ABC):
    """What an encoder must offer: z_e of a waveform, one vector per hop. A kind defines `forward`, sets the attributes.

    Attributes:
        hop_length: samples per frame; the encoder's configuration says the same by that name.
        context_frames: frames to the left and right of its own, that a frame depends on.
    """

    hop_length: int
    context_frames: tuple[int, int]

    @abstractmethod
    def forward(self, waveform: Tensor) -> Tensor:
        """waveform: `[B, 1, T]` -> z_e `[B, latent_dim, ceil(T / hop_length)]`; past its end there is silence."""


class ResidualUnit(nn.Module):
    """x + conv1x1(relu(dilated_conv(relu(x)))), causal."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.dilated = CausalConv1d(channels, channels, 3, dilation=dilation)
        self.pointwise = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """x: `[B, C, F]` -> `[B, C, F]`."""
        return x + self.pointwise(F.relu(self.dilated(F.relu(x))))


class WaveformEncoder(Encoder):
    """Strided convolutions on samples, then dilated residual units at the frame rate.

    Samples are companded (mu-law), weights drawn for ReLU without biases, and the last layer normalised: with samples
    of 0.05 and default weights z_e would hardly vary at first, and a WaveNet learns to do without it.

    Args:
        latent_dim: channels of z_e.
        channels: width of all hidden layers.
        strides: one per convolution; the paper has six of 2, hop 64.
        kernel_size: window of the strided convolutions, 4 in the paper.
        dilations: of the residual units after them.
    """

    def __init__(
        self,
        latent_dim: int,
        *,
        channels: int,
        strides: Sequence[int],
        kernel_size: int,
        dilations: Sequence[int],
    ) -> None:
        super().__init__()
        self.hop_length = math.prod(strides)
        downsample = [
            CausalConv1d(1 if i == 0 else channels, channels, max(kernel_size, stride), stride=stride)
            for i, stride in enumerate(strides)
        ]
        for conv in downsample:
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]  # there is one
        self.downsample = nn.ModuleList(downsample)
        self.units = nn.ModuleList(ResidualUnit(channels, d) for d in dilations)
        self.norm = nn.LayerNorm(channels)
        self.project = nn.Linear(channels, latent_dim)
        self.context_frames = (1 + 2 * sum(dilations) + len(strides) * kernel_size, 0)

    def forward(self, waveform: Tensor) -> Tensor:
        x = mulaw_compand(pad_to_frames(waveform, self.hop_length))
        for conv in self.downsample:
            x = F.relu(conv(x))
        for unit in self.units:
            x = unit(x)
        return self.project(self.norm(x.transpose(1, 2))).transpose(1, 2)


class LogMelEncoder(Encoder):
    """Log-mel bands, several mel frames joined per code, then ConvNeXt blocks at the frame rate.

    Args:
        latent_dim: channels of z_e.
        sample_rate: Hz; hop_length: samples per code.
        num_mels, window_length: of the mel spectrogram (window in samples).
        mel_frames_per_code: mel frames in each hop; the mel hop is hop_length divided by it.
        channels, depth, kernel_size, expansion, lookahead: of the ConvNeXt stack (lookahead in frames).
    """

    def __init__(
        self,
        latent_dim: int,
        *,
        sample_rate: int,
        hop_length: int,
        num_mels: int,
        window_length: int,
        mel_frames_per_code: int,
        channels: int,
        depth: int,
        kernel_size: int,
        expansion: int,
        lookahead: int,
    ) -> None:
        super().__init__()
        self.hop_length = hop_length
        self.mel_frames_per_code = mel_frames_per_code
        self.mel = LogMel(sample_rate, num_mels, window_length, hop_length // mel_frames_per_code)
        self.stack = ConvNeXtStack(
            num_mels * mel_frames_per_code,
            channels,
            depth,
            kernel_size=kernel_size,
            expansion=expansion,
            lookahead=lookahead,
        )
        self.project = nn.Linear(channels, latent_dim)
        margin = math.ceil(window_length / hop_length)
        self.context_frames = (self.stack.context + margin, lookahead + margin)

    def forward(self, waveform: Tensor) -> Tensor:
        mel = self.mel(pad_to_frames(waveform, self.hop_length))
        joined = mel.reshape(mel.shape[0], -1, self.mel_frames_per_code * mel.shape[2])
        return self.project(self.stack(joined)).transpose(1, 2)
