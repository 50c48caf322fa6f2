"""The one distance that the losses of eq. 3 (arXiv 1711.00937) are made of, over valid rows only."""

from torch import Tensor


def mean_square(difference: Tensor, mask: Tensor | None) -> Tensor:
    """Mean of squares over the rows of [N, D] that mask [N] keeps (None: all); 0 if there are none."""
    if mask is None:
        return difference.square().mean() if difference.numel() else difference.sum()
    kept = difference.masked_fill(~mask.unsqueeze(1), 0)
    return kept.square().sum() / (mask.sum().clamp(min=1) * difference.shape[1])
