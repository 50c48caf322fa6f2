"""From z to a likelihood of all pixels at once: residual blocks and transposed 4x4 convolutions."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiovq.image.encoder import residual_stack
from audiovq.image.likelihood import DiscretizedLogistic, LogisticMixture, Softmax

PixelLikelihood = DiscretizedLogistic | LogisticMixture | Softmax


class Upsampler(nn.Module):
    """z `[B, D, H', W']` -> features `[B, out_channels, H, W]`: the encoder's mirror.

    Args:
        latent_dim, out_channels: of its ends.
        channels, residual_channels, residual_blocks, upsample: as the encoder's.
    """

    def __init__(
        self,
        latent_dim: int,
        out_channels: int,
        *,
        channels: int,
        residual_channels: int,
        residual_blocks: int,
        upsample: int,
    ) -> None:
        super().__init__()
        self.into = nn.Conv2d(latent_dim, channels, 3, padding=1)
        self.blocks = residual_stack(channels, residual_channels, residual_blocks)
        widths = [channels] * upsample + [out_channels]
        convs: list[nn.Module] = [nn.ConvTranspose2d(a, b, 4, stride=2, padding=1) for a, b in pairwise(widths)]
        self.convs = nn.ModuleList(convs or [nn.Conv2d(channels, out_channels, 3, padding=1)])

    @property
    def context(self) -> int:
        """Places of the grid on every side that an output may depend on: 1 by the first convolution, one a block, and
        less than 2 by the transposed ones, whose reach is halved with every one."""
        return 1 + len(self.blocks) - 1 + 2  # the last is a ReLU

    def forward(self, z: Tensor) -> Tensor:
        """See the class."""
        h = self.blocks(self.into(z))
        for i, conv in enumerate(self.convs):
            h = conv(F.relu(h) if i else h)
        return h


class ConvDecoder(nn.Module):
    """p(x | z), every value by itself given z.

    Args:
        upsampler: z to the likelihood's parameters.
        likelihood: of a value, or of a pixel's values together.
    """

    def __init__(self, upsampler: Upsampler, likelihood: PixelLikelihood) -> None:
        super().__init__()
        self.upsampler, self.likelihood = upsampler, likelihood

    def bits(self, x: Tensor, z: Tensor) -> Tensor:
        """-log2 p(x | z): integers `[B, C, H, W]`, z `[B, D, H', W']` -> bits `[B]`."""
        return self.likelihood.bits(self.upsampler(z), x).flatten(1).sum(1)

    def mean(self, z: Tensor) -> Tensor:
        """E[x | z], `[B, C, H, W]` in the range of the values."""
        return self.likelihood.mean(self.upsampler(z))

    def sample(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """x ~ p(x | z), int64 `[B, C, H, W]`."""
        outputs = self.upsampler(z)
        shape = (len(z), self.likelihood.num_uniforms, *outputs.shape[2:])
        uniform = torch.rand(shape, dtype=torch.float64, generator=generator).to(z.device)
        return self.likelihood.sample(outputs, uniform)
