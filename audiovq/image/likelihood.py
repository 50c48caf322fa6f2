"""The distribution of a pixel that an image decoder predicts: a discretized logistic, a mixture of them, or a softmax.

Each turns a network's outputs `[B, P, H, W]` into bits of integer images `[B, C, H, W]` with values 0..V-1, into the
expected image, and, with uniform numbers, into a sample. The same numbers give the same sample in any batch.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from audiovq.errors import BadDataError
from audiovq.layers.logistic import LOG2_E, discretized_logistic

INTEGERS = (torch.uint8, torch.int16, torch.int32, torch.int64)


def to_unit(x: Tensor, values: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Integers 0..values-1 of any shape to [-1, 1], as a network takes them and a logistic sees them."""
    return x.to(dtype) * (2 / (values - 1)) - 1


def full_precision(outputs: Tensor) -> Tensor:
    """A network's outputs in float32 where they have less, as under autocast."""
    return outputs.to(torch.promote_types(outputs.dtype, torch.float32))


def bits_per_dim(bits: Tensor, shape: Sequence[int]) -> Tensor:
    """Bits of whole images `[B]`, of shape (C, H, W) each, by value: bits / (C H W)."""
    return bits / math.prod(shape)


def check_values(x: Tensor, values: int) -> None:
    """Raise BadDataError unless x holds integers 0..values-1: bits of scaled or dithered pixels mean something else."""
    if x.dtype not in INTEGERS:
        raise BadDataError(
            f"an image of {x.dtype}: bits are those of integers 0 to {values - 1}; pass it as uint8 or int64, unscaled"
        )
    if x.numel() == 0 or (x.dtype == torch.uint8 and values >= 256):
        return  # 8-bit pixels can't be out of range, and looking would make a GPU wait
    low, high = (int(end) for end in x.aminmax())
    if low < 0 or high >= values:
        raise BadDataError(f"an image with values {low} to {high}: this model takes 0 to {values - 1}")


class ImageLikelihood(nn.Module):
    """What the three have in common.

    Attributes:
        channels, values: of the images, C and V.
        num_outputs: channels P of the network's outputs.
        num_uniforms: uniform numbers that a sample of one pixel takes.
    """

    def __init__(self, channels: int, values: int, *, num_outputs: int, num_uniforms: int) -> None:
        super().__init__()
        if values < 2:
            raise ValueError(f"{values} values: a pixel needs two or more")
        self.channels, self.values = channels, values
        self.num_outputs, self.num_uniforms = num_outputs, num_uniforms

    def extra_repr(self) -> str:
        """Shown in repr()."""
        return f"channels={self.channels}, values={self.values}"

    def bits(self, outputs: Tensor, x: Tensor) -> Tensor:
        """-log2 p of x `[B, C, H, W]` under outputs `[B, P, H, W]`: `[B, C, H, W]`, or `[B, 1, H, W]` where a pixel is
        one event. Computed in float32, or in float64 if the outputs are.

        Raises:
            BadDataError: x is not of an integer type, or has values outside 0..V-1.
        """
        check_values(x, self.values)
        return self._nats(full_precision(outputs), x) * LOG2_E

    def mean(self, outputs: Tensor) -> Tensor:
        """The expected image `[B, C, H, W]` under outputs `[B, P, H, W]`, float, 0 to V-1."""
        raise NotImplementedError

    def sample(self, outputs: Tensor, uniform: Tensor) -> Tensor:
        """Outputs `[B, P, H, W]`, uniform `[B, num_uniforms, H, W]` float64 in [0, 1) -> int64 `[B, C, H, W]`."""
        raise NotImplementedError

    def _nats(self, outputs: Tensor, x: Tensor) -> Tensor:
        raise NotImplementedError


class _Logistics(ImageLikelihood):
    """Logistics on [-1, 1], the middles of whose V bins are the values."""

    MAX_LOG_SCALE = 20.0  # far above uniform; without a limit the inverse could be 0, and its logarithm not finite

    def __init__(self, channels: int, values: int, *, num_outputs: int, num_uniforms: int) -> None:
        super().__init__(channels, values, num_outputs=num_outputs, num_uniforms=num_uniforms)
        self.bin_width = 2 / (values - 1)
        self.min_log_scale = math.log(self.bin_width / 20)  # all but 1e-4 in one bin: narrower gains nothing

    def _log_scale(self, outputs: Tensor) -> Tensor:
        return outputs.clamp(self.min_log_scale, self.MAX_LOG_SCALE)

    def _expected(self, mean: Tensor, log_scale: Tensor) -> Tensor:
        """The mean of a logistic clipped to [-1, 1]: less than half a bin from that of the discretized one, and where
        the scale is a bin or more, equal to it in practice."""
        scale = log_scale.exp()
        return scale * (F.softplus((mean + 1) / scale) - F.softplus((mean - 1) / scale)) - 1

    def _draw(self, mean: Tensor, log_scale: Tensor, uniform: Tensor) -> Tensor:
        """The value whose bin holds the logistic's quantile at `uniform`, int64."""
        position = mean + log_scale.exp() * torch.logit(uniform)
        return ((position + 1) / self.bin_width).round().clamp(0, self.values - 1).long()

    def _to_values(self, position: Tensor) -> Tensor:
        return (position + 1) / self.bin_width


class DiscretizedLogistic(_Logistics):
    """One logistic for each value, integrated over the value's bin, with its scale learned at each place.

    Kingma et al. 2016 (arXiv 1606.04934). Outputs: C means, then C logarithms of scales.

    Args:
        channels, values: of the images.
    """

    def __init__(self, channels: int, values: int = 256) -> None:
        super().__init__(channels, values, num_outputs=2 * channels, num_uniforms=channels)

    def _nats(self, outputs: Tensor, x: Tensor) -> Tensor:
        means, log_scales = outputs.chunk(2, dim=1)
        unit = to_unit(x, self.values, outputs.dtype)
        return -discretized_logistic(unit, means, self._log_scale(log_scales), self.bin_width)

    def mean(self, outputs: Tensor) -> Tensor:
        """The expected image `[B, C, H, W]` under outputs `[B, P, H, W]`, float, 0 to V-1."""
        means, log_scales = outputs.float().chunk(2, dim=1)
        return self._to_values(self._expected(means, self._log_scale(log_scales)))

    def sample(self, outputs: Tensor, uniform: Tensor) -> Tensor:
        """Outputs `[B, P, H, W]`, uniform `[B, C, H, W]` float64 in [0, 1) -> int64 `[B, C, H, W]`."""
        means, log_scales = outputs.double().chunk(2, dim=1)
        return self._draw(means, self._log_scale(log_scales), uniform)


class LogisticMixture(_Logistics):
    """A mixture of discretized logistics for a whole pixel (PixelCNN++, arXiv 1701.05517, sections 2.1 and 2.2).

    A component's mean in a channel moves with the pixel's values in the channels before it, linearly. So a pixel is
    one event, and its bits are given as one number. Outputs, M of each: weights (as logits), C means, C logarithms
    of scales, C (C - 1) / 2 coefficients (before a tanh; of channel 1 on 0, of 2 on 0, of 2 on 1, ...).

    Args:
        channels, values: of the images.
        components: logistics M.
    """

    def __init__(self, channels: int, values: int = 256, *, components: int = 10) -> None:
        parts = 1 + 2 * channels + channels * (channels - 1) // 2
        super().__init__(channels, values, num_outputs=components * parts, num_uniforms=channels + 1)
        self.components = components

    def extra_repr(self) -> str:
        """Shown in repr()."""
        return f"{super().extra_repr()}, components={self.components}"

    def _parameters_of(self, outputs: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor], list[list[Tensor]]]:
        """Logits, and for each channel means, log-scales and the coefficients of those before: `[B, M, H, W]` each."""
        logits, *rest = outputs.split(self.components, dim=1)
        means, log_scales, flat = (
            rest[: self.channels],
            rest[self.channels : 2 * self.channels],
            rest[2 * self.channels :],
        )
        coefficients = [[flat.pop(0).tanh() for _ in range(channel)] for channel in range(self.channels)]
        return logits, means, [self._log_scale(log_scale) for log_scale in log_scales], coefficients

    def _nats(self, outputs: Tensor, x: Tensor) -> Tensor:
        logits, means, log_scales, coefficients = self._parameters_of(outputs)
        unit = to_unit(x, self.values, outputs.dtype).split(1, dim=1)
        joint = logits.log_softmax(1)
        for channel, mean in enumerate(means):
            for coefficient, earlier in zip(coefficients[channel], unit, strict=False):
                mean = torch.addcmul(mean, coefficient, earlier)
            joint = joint + discretized_logistic(unit[channel], mean, log_scales[channel], self.bin_width)
        return -joint.logsumexp(1, keepdim=True)

    def mean(self, outputs: Tensor) -> Tensor:
        """The expected image `[B, C, H, W]`, float, 0 to V-1, with the expected channels before in each component's
        mean: exact but for what a component loses outside of 0..V-1."""
        logits, means, log_scales, coefficients = self._parameters_of(outputs.float())
        expected: list[Tensor] = []
        for channel, mean in enumerate(means):
            for coefficient, earlier in zip(coefficients[channel], expected, strict=True):
                mean = torch.addcmul(mean, coefficient, earlier)
            expected.append(self._expected(mean, log_scales[channel]))
        weights = logits.softmax(1)
        return self._to_values(torch.stack([(weights * part).sum(1) for part in expected], dim=1))

    def sample(self, outputs: Tensor, uniform: Tensor) -> Tensor:
        """Outputs `[B, P, H, W]`, uniform `[B, C + 1, H, W]` float64 in [0, 1) -> int64 `[B, C, H, W]`.

        The first number picks the component, the others the channels' values.
        """
        logits, means, log_scales, coefficients = self._parameters_of(outputs.double())
        cdf = logits.softmax(1).cumsum(1)
        chosen = (cdf <= uniform[:, :1] * cdf[:, -1:]).sum(1, keepdim=True).clamp_max(self.components - 1)
        drawn: list[Tensor] = []
        for channel in range(self.channels):
            mean = means[channel].gather(1, chosen)
            for coefficient, earlier in zip(coefficients[channel], drawn, strict=True):
                mean = mean + coefficient.gather(1, chosen) * to_unit(earlier, self.values, torch.float64)
            scale = log_scales[channel].gather(1, chosen)
            drawn.append(self._draw(mean, scale, uniform[:, channel + 1 : channel + 2]))
        return torch.cat(drawn, dim=1)


class Softmax(ImageLikelihood):
    """A softmax over the V values of each channel (PixelRNN, arXiv 1601.06759): no shape is assumed, and
    values need no order, so that it serves grids of codes too. Outputs: V logits of channel 0, then of channel 1, ...

    Args:
        channels, values: of the images.
    """

    def __init__(self, channels: int, values: int = 256) -> None:
        super().__init__(channels, values, num_outputs=channels * values, num_uniforms=channels)

    def _nats(self, outputs: Tensor, x: Tensor) -> Tensor:
        x = x.long()
        if outputs.is_contiguous() or not outputs.is_contiguous(memory_format=torch.channels_last):
            nats: Tensor = _ChosenNats.apply(outputs.unflatten(1, (self.channels, self.values)), x, 2)
            return nats
        logits = outputs.permute(0, 2, 3, 1).unflatten(3, (self.channels, self.values))  # as it lies in memory
        nats = _ChosenNats.apply(logits, x.permute(0, 2, 3, 1), 4)
        return nats.permute(0, 3, 1, 2)

    def mean(self, outputs: Tensor) -> Tensor:
        """The expected image `[B, C, H, W]` under outputs `[B, P, H, W]`, float, 0 to V-1."""
        probabilities = outputs.float().unflatten(1, (self.channels, self.values)).softmax(2)
        return torch.einsum("bcvhw,v->bchw", probabilities, torch.arange(self.values, device=outputs.device).float())

    def sample(self, outputs: Tensor, uniform: Tensor) -> Tensor:
        """Outputs `[B, P, H, W]`, uniform `[B, C, H, W]` float64 in [0, 1) -> int64 `[B, C, H, W]`: inverts the CDF."""
        logits = outputs.double().unflatten(1, (self.channels, self.values)).movedim(2, -1)
        cdf = logits.softmax(-1).cumsum(-1)
        place = uniform.unsqueeze(-1) * cdf[..., -1:]
        return torch.searchsorted(cdf, place, right=True).squeeze(-1).clamp_max(self.values - 1)


class _ChosenNats(torch.autograd.Function):
    """-log softmax of the logits at x along `dim`: cross entropy, with one tensor of the logits' size in each pass
    where PyTorch's makes two in the second."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, x: Tensor, dim: int) -> Tensor:
        log_probabilities, x = logits.log_softmax(dim), x.unsqueeze(dim)
        ctx.save_for_backward(log_probabilities, x)
        ctx.dim = dim
        return log_probabilities.gather(dim, x).squeeze(dim).neg_()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        log_probabilities, x = ctx.saved_tensors
        grad = grad.unsqueeze(ctx.dim)
        return log_probabilities.exp().mul_(grad).scatter_add_(ctx.dim, x, -grad), None, None
