"""The discretized logistic: the log-probability of a quantized value is that of its bin under a logistic.

Source: PixelCNN++ (Salimans et al. 2017, arXiv 1701.05517, section 2.1). The bins cover [-1, 1], all equally wide, with
the first and last centred at -1 and 1. These two are open to the outside, so that the probabilities of all values sum
to 1.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

LOG2_E = math.log2(math.e)  # bits in a nat
FAR = 1e30  # an open bin's outer edge in units of the scale: its sigmoid is exactly 1, and 0 times it is 0


def discretized_logistic(x: Tensor, means: Tensor, log_scales: Tensor, bin_width: float) -> Tensor:
    """log p(x) in nats, in the shape of `means`.

    Args:
        x: values in the middle of their bin, -1 to 1, of a shape that broadcasts to that of `means`; gets no gradient.
        means, log_scales: of the logistics, both of one shape.
        bin_width: 2 / (number of values - 1).
    """
    log_probability: Tensor = _DiscretizedLogistic.apply(x, means, log_scales, bin_width)
    return log_probability


class _DiscretizedLogistic(torch.autograd.Function):
    """log(sigmoid(upper) - sigmoid(lower)) of the bin's edges, without the difference of two numbers near 0 or 1:

        log sigmoid(upper) + log sigmoid(-lower) + log(1 - exp(lower - upper)), where
        log sigmoid(upper) = min(upper, 0) + log sigmoid(|upper|), and log sigmoid(-lower) likewise,

    so that one logarithm of a product serves all three. Its gradient is as stable, and keeps three tensors where
    autograd would keep ten.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, means: Tensor, log_scales: Tensor, bin_width: float) -> Tensor:
        first, last = x < -1 + bin_width / 2, x > 1 - bin_width / 2
        inverse_scale = torch.exp(-log_scales)
        half_bin = inverse_scale * (bin_width / 2)
        upper = (x - means).mul_(inverse_scale)
        lower = (upper - half_bin).masked_fill_(first, -FAR)
        upper.add_(half_bin).masked_fill_(last, FAR)
        ctx.save_for_backward(upper, lower, inverse_scale, first | last)
        ctx.bin_width = bin_width
        product = half_bin.mul_(-2).masked_fill_(first | last, -FAR).expm1_().neg_()
        for edge in (upper, lower):
            product.mul_(edge.abs().sigmoid_())
        return product.log_().add_(upper.clamp_max(0)).sub_(lower.clamp_min(0))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor, Tensor, None]:
        upper, lower, inverse_scale, open_bins = ctx.saved_tensors
        to_upper = torch.sigmoid(-upper)  # d/d upper of log sigmoid(upper)
        to_lower = torch.sigmoid(lower)  # minus d/d lower of log sigmoid(-lower)
        width = inverse_scale * ctx.bin_width
        to_log_scale = width.div_(torch.expm1(width)).masked_fill_(open_bins, 0)
        to_log_scale.addcmul_(upper, to_upper).addcmul_(lower, to_lower, value=-1).mul_(grad).neg_()
        to_mean = to_lower.sub_(to_upper).mul_(inverse_scale).mul_(grad)
        return None, to_mean, to_log_scale, None
