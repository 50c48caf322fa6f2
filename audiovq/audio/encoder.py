"""Encoders from waveform to z_e, one vector per hop: the strided convolutions of the paper, or a log-mel front end.

Both are causal up to a stated look-ahead and use no statistic of the whole signal (arXiv 1711.00937, section 4.3).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from audiovq.audio.mulaw import mulaw_compand
from audiovq.layers import CausalConv1d, ConvNeXtStack, LogMel
from audiovq.layers.convnext import StackState
from audiovq.layers.streaming import whole_windows


class Encoder(nn.Module, ABC):
    """What an encoder must offer: z_e of a waveform, one vector per hop.

    It streams as `audiovq.layers.streaming` says. A kind defines `initial_state` and `stream`, and sets the attributes.

    Attributes:
        hop_length: samples per frame; the encoder's configuration says the same by that name.
        lookahead: samples after its own hop that a frame depends on.
    """

    hop_length: int
    lookahead: int

    def forward(self, waveform: Tensor) -> Tensor:
        """waveform: `[B, 1, T]` -> z_e `[B, latent_dim, ceil(T / hop_length)]`; past its end there is silence."""
        waveform = F.pad(waveform, (0, -waveform.shape[-1] % self.hop_length))
        return self.stream(waveform, self.initial_state(len(waveform)), last=True)[0]

    @abstractmethod
    def initial_state(self, batch_size: int) -> Any:
        """The state before the first sample."""

    @abstractmethod
    def stream(self, waveform: Tensor, state: Any, *, last: bool = False) -> tuple[Tensor, Any]:
        """The next samples, any number -> the frames that are complete, `[B, latent_dim, M]`, and the next state.

        The last piece ends with a whole hop.
        """


class ResidualUnit(nn.Module):
    """x + conv1x1(relu(dilated_conv(relu(x)))), causal."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.dilated = CausalConv1d(channels, channels, 3, dilation=dilation)
        self.pointwise = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """x: `[B, C, F]` -> `[B, C, F]`."""
        return self.stream(x, self.initial_state(len(x)), last=True)[0]

    def initial_state(self, batch_size: int) -> Tensor:
        """Zeros before the first frame."""
        return self.dilated.initial_state(batch_size)

    def stream(self, x: Tensor, state: Tensor, *, last: bool = False) -> tuple[Tensor, Tensor]:
        """x: `[B, C, F]` -> as many frames, and the next state."""
        if x.shape[-1] == 0:
            return x, state
        h, state = self.dilated.stream(F.relu(x), state, last=last)
        return x + self.pointwise(F.relu(h)), state


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
        self.lookahead = 0

    def initial_state(self, batch_size: int) -> tuple[Tensor, ...]:
        """Of each layer, in order."""
        return tuple(layer.initial_state(batch_size) for layer in (*self.downsample, *self.units))

    def stream(
        self, waveform: Tensor, state: tuple[Tensor, ...], *, last: bool = False
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        x, after = mulaw_compand(waveform), []
        for layer, before in zip((*self.downsample, *self.units), state, strict=True):
            x, seen = layer.stream(x, before, last=last)
            x = F.relu(x) if isinstance(layer, CausalConv1d) else x
            after.append(seen)
        return self.project(self.norm(x.transpose(1, 2))).transpose(1, 2), tuple(after)


@dataclass(frozen=True)
class LogMelEncoderState:
    """Of the spectrogram `[B, N]`, mel frames that wait to be a whole code's `[B, M, mels]`, and of the stack."""

    samples: Tensor
    mel: Tensor
    stack: StackState


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
        self.lookahead = self.mel.lookahead + lookahead * hop_length

    def initial_state(self, batch_size: int) -> LogMelEncoderState:
        samples = self.mel.initial_state(batch_size)
        mel = self.mel.bank.new_zeros(batch_size, 0, self.mel.bank.shape[1])
        return LogMelEncoderState(samples, mel, self.stack.initial_state(batch_size))

    def stream(
        self, waveform: Tensor, state: LogMelEncoderState, *, last: bool = False
    ) -> tuple[Tensor, LogMelEncoderState]:
        mel, samples = self.mel.stream(waveform, state.samples, last=last)
        size = self.mel_frames_per_code
        mel, rest = whole_windows(mel, state.mel, size=size, step=size, dim=1)
        joined = mel.reshape(len(mel), mel.shape[1] // size, size * mel.shape[2])
        x, stack = self.stack.stream(joined, state.stack, last=last)
        return self.project(x).transpose(1, 2), LogMelEncoderState(samples, rest, stack)
