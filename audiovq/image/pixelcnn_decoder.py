"""A gated PixelCNN as the decoder: p(x | z) one pixel after the other (arXiv 1606.05328, section 2.4).

A decoder as strong as this can do without latents. The collapse experiment tests whether it uses them (arXiv
1711.00937, section 4.2). The latents, enlarged to the image's size, are a condition at every place and layer.
"""

import torch
from torch import Tensor, nn

from audiovq.image.decoder import PixelLikelihood, Upsampler
from audiovq.image.likelihood import Softmax, to_unit
from audiovq.layers import GatedPixelCNN
from audiovq.layers.levels import DepthHead, LevelEmbedding
from audiovq.layers.pixelcnn import PixelCNNSteps


class PixelVectors(nn.Module):
    """Colours, scaled to [-1, 1], as vectors: a direction a channel; what `LevelEmbedding` is to codes."""

    def __init__(self, channels: int, dim: int, *, values: int) -> None:
        super().__init__()
        self.values = values
        self.directions = nn.Parameter(torch.randn(channels, dim) / channels**0.5)

    def forward(self, x: Tensor, level: int) -> Tensor:
        """x: integers of channel `level`, any shape -> `[..., dim]`."""
        return to_unit(x, self.values).unsqueeze(-1) * self.directions[level]


class PixelCNNDecoder(nn.Module):
    """p(x | z) in raster order, and within a pixel channel after channel.

    Args:
        upsampler: z to a condition `[B, condition_channels, H, W]`; None for a model without latents.
        embed: integers of a channel as vectors of `channels`.
        likelihood: of a pixel given those before. `Softmax` has a head that tells each channel those before it; the
            others take one linear map, and `LogisticMixture` has coefficients between channels.
        image_channels: C.
        channels, depth, kernel_size, condition_channels: of the PixelCNN.
    """

    def __init__(
        self,
        upsampler: Upsampler | None,
        embed: PixelVectors | LevelEmbedding,
        likelihood: PixelLikelihood,
        *,
        image_channels: int,
        channels: int,
        depth: int,
        kernel_size: int,
        condition_channels: int,
    ) -> None:
        super().__init__()
        self.upsampler, self.embed, self.likelihood, self.image_channels = upsampler, embed, likelihood, image_channels
        self.network = GatedPixelCNN(
            channels=channels,
            depth=depth,
            kernel_size=kernel_size,
            condition_dim=condition_channels if upsampler is not None else 0,
        )
        sizes = [likelihood.values] * image_channels
        depthwise = isinstance(likelihood, Softmax)
        self.head = DepthHead(channels, sizes) if depthwise else nn.Linear(channels, likelihood.num_outputs)

    def bits(self, x: Tensor, z: Tensor | None) -> Tensor:
        """-log2 p(x | z): integers `[B, C, H, W]`, z `[B, D, H', W']` -> bits `[B]`."""
        vectors = self._vectors(x)
        features = self.network(torch.stack(vectors).sum(0), self._condition(z))
        return self.likelihood.bits(self._outputs(features, vectors), x).flatten(1).sum(1)

    @torch.inference_mode()
    def sample(
        self, z: Tensor | None, generator: torch.Generator | None = None, *, shape: tuple[int, int, int] | None = None
    ) -> Tensor:
        """x ~ p(x | z), int64 `[B, C, H, W]`; what was computed for earlier pixels is kept.

        Without latents `shape` says what to draw: how many, height, width.
        """
        condition = self._condition(z)
        if condition is not None:
            shape = (len(condition), *condition.shape[1:3])
        if shape is None:
            raise ValueError("a model without latents: give the shape (B, H, W)")
        batch, height, width = shape
        steps = self.network.steps(batch, width, condition)
        device = next(self.parameters()).device
        uniform = torch.rand(
            height * width, batch, self.likelihood.num_uniforms, dtype=torch.float64, generator=generator
        )
        pixels, before = [], None
        for u in uniform.to(device):
            pixel = self._draw(steps, before, u)
            pixels.append(pixel)
            before = torch.stack([self.embed(pixel[:, c], c) for c in range(self.image_channels)]).sum(0)
        return torch.stack(pixels, dim=-1).unflatten(-1, (height, width))

    def _draw(self, steps: PixelCNNSteps, before: Tensor | None, uniform: Tensor) -> Tensor:
        """The next pixel of each image `[B, C]`, from the embedded one before it and uniforms `[B, ...]`."""
        features, places = steps.advance(before), (..., None, None)
        if not isinstance(self.head, DepthHead):
            return self.likelihood.sample(self.head(features)[places], uniform[places])[:, :, 0, 0]
        coarser, drawn = torch.zeros_like(features), []
        for c in range(self.image_channels):
            cdf = self.head(c, features, coarser).double().softmax(-1).cumsum(-1)
            found = torch.searchsorted(cdf, uniform[:, c : c + 1] * cdf[:, -1:], right=True)[:, 0]
            drawn.append(found.clamp_max(self.likelihood.values - 1))
            coarser = coarser + self.embed(drawn[-1], c)
        return torch.stack(drawn, dim=1)

    def _vectors(self, x: Tensor) -> list[Tensor]:
        return [self.embed(x[:, c].long(), c) for c in range(self.image_channels)]

    def _condition(self, z: Tensor | None) -> Tensor | None:
        """The latents at every place, `[B, H, W, condition_channels]`."""
        return None if self.upsampler is None or z is None else self.upsampler(z).permute(0, 2, 3, 1)

    def _outputs(self, features: Tensor, vectors: list[Tensor]) -> Tensor:
        """Features `[B, H, W, channels]` and the pixels' own vectors -> what the likelihood takes, `[B, P, H, W]`."""
        if not isinstance(self.head, DepthHead):
            return self.head(features).permute(0, 3, 1, 2)
        coarser, logits = torch.zeros_like(features), []
        for c, vector in enumerate(vectors):
            logits.append(self.head(c, features, coarser))
            coarser = coarser + vector
        return torch.cat(logits, dim=-1).permute(0, 3, 1, 2)
