"""The paper's decoder: an autoregressive WaveNet conditioned on codes and speaker (arXiv 1711.00937, section 4.3).

Teacher-forced, it gives the likelihood of a waveform in one parallel pass. `wavenet_sampler` draws from it.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiovq.audio.decoder import AutoregressiveDecoder
from audiovq.audio.likelihood import SampleLikelihood
from audiovq.layers import WaveNetStack

LOOKAHEAD = 2  # frames of codes to either side of its own that a sample is conditioned on


class WaveNetDecoder(AutoregressiveDecoder):
    """p(x | z_q, speaker) as a product over samples.

    Args:
        latent_dim: channels of z_q.
        hop_length: samples per frame of z_q.
        likelihood: what is predicted of a sample; its embedding has `channels` channels.
        channels, gate_channels, skip_channels, kernel_size, dilations: of the WaveNet stack.
        condition_channels: width of the convolution over frames that prepares the codes.
        speaker_dim: size of the global speaker vector; 0 for none.
    """

    def __init__(
        self,
        latent_dim: int,
        *,
        hop_length: int,
        likelihood: SampleLikelihood,
        channels: int,
        gate_channels: int,
        skip_channels: int,
        kernel_size: int,
        dilations: Sequence[int],
        condition_channels: int,
        speaker_dim: int,
    ) -> None:
        super().__init__()
        self.hop_length = hop_length
        self.likelihood = likelihood
        # What the codes around a frame say about its sound. The whole condition (codes, then speaker) stays at the
        # frame rate; the layers repeat it to the sample rate.
        self.local_condition = nn.Conv1d(latent_dim, condition_channels, 2 * LOOKAHEAD + 1, padding=LOOKAHEAD)
        self.stack = WaveNetStack(
            channels=channels,
            gate_channels=gate_channels,
            skip_channels=skip_channels,
            kernel_size=kernel_size,
            dilations=dilations,
            out_channels=likelihood.num_outputs,
            condition_dim=condition_channels + speaker_dim,
        )

    def condition(self, z_q: Tensor, speaker: Tensor | None) -> Tensor:
        """Codes, then speaker: `[B, F, condition_channels + speaker_dim]`."""
        local = F.relu(self.local_condition(z_q)).transpose(1, 2)
        if speaker is None:
            return local
        return torch.cat([local, speaker.unsqueeze(1).expand(-1, local.shape[1], -1)], dim=-1)

    def forward(self, waveform: Tensor, z_q: Tensor, speaker: Tensor | None = None) -> Tensor:
        """Teacher-forced pass: outputs at t parametrise p(x_t | x_<t, z_q, speaker).

        waveform: `[B, 1, T]`, z_q: `[B, latent_dim, F]`, F * hop_length >= T, speaker: `[B, speaker_dim]`
        -> `[B, T, likelihood.num_outputs]`.
        """
        length = waveform.shape[-1]
        # x_{t-1} at t: the sample before the first is silence; whole frames, because the stack repeats conditions
        past = F.pad(waveform.squeeze(1), (1, z_q.shape[-1] * self.hop_length - length - 1))
        return self.stack(self.likelihood.embed(past), self.condition(z_q, speaker))[:, :length]

    def bits(self, waveform: Tensor, z_q: Tensor, speaker: Tensor | None = None) -> Tensor:
        return self.likelihood.bits(self(waveform, z_q, speaker), waveform.squeeze(1))
