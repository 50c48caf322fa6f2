"""Tests whether an image model uses its latents: the extra bits of an image given the latents of another image.

A powerful decoder can ignore z. Neither the KL term nor the perplexity of codes shows this, because a VQ-VAE under the
uniform prior pays log2 K for codes that its decoder may ignore. With shuffled latents -log2 p(x | z) stays the same if
z is ignored, and otherwise rises by what z told about x.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from audiovq.errors import BadDataError
from audiovq.image import ImageModel
from audiovq.image.importance import posterior_draws
from audiovq.metrics.interval import mean_interval
from audiovq.metrics.table import markdown, number

Bits = NDArray[np.float64]


@dataclass(frozen=True)
class LatentUse:
    """Bits of each image `[N]`, in the order of the images.

    Attributes:
        dims: values of an image, C H W.
        own: -log2 p(x | z), z of the image itself.
        shuffled: the same, z of another image.
    """

    dims: int
    own: Bits
    shuffled: Bits

    @property
    def gap(self) -> Bits:
        """What the own latents are worth, in bits of each image; 0 where z is ignored."""
        return self.shuffled - self.own

    def tree(self) -> dict[str, Any]:
        """JSON-able, with the values of every image."""
        terms = {"own": self.own, "shuffled": self.shuffled, "gap": self.gap}
        return {
            "dims": self.dims,
            "items": len(self.own),
            "mean_bits": {name: float(bits.mean()) for name, bits in terms.items()},
            "interval_95": {name: list(mean_interval(bits)) for name, bits in terms.items()},
            "bits": {name: bits.tolist() for name, bits in terms.items()},
        }


@torch.no_grad()
def latent_use(
    model: ImageModel,
    images: Any,
    *,
    batch_size: int = 32,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> LatentUse:
    """Measure each image with its own latents and with those of another.

    The images are put in a random circle, and each is given the latents of the next: none its own, each once. z is
    z_q, or a draw of the posterior.

    Args:
        model: in eval mode.
        images: integers `[N, C, H, W]`, two or more; a numpy array, mapped or not.
        seed: of the circle and the draws.
        progress: hears of images done and their number.

    Raises:
        BadModelError: the model has no latents.
        BadDataError: fewer than two images.
    """
    count = len(images)
    if count < 2:
        raise BadDataError(f"{count} images: two or more are needed to give one the latents of another")
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(seed)
    circle = torch.randperm(count, generator=generator).numpy()
    own, shuffled = np.empty(count), np.empty(count)
    for start in range(0, count, batch_size):
        rows = circle[np.arange(start, min(start + batch_size, count) + 1) % count]  # one more: the last one's next
        chosen = np.asarray(images[rows])
        x = torch.from_numpy(chosen if chosen.dtype == np.uint8 else chosen.astype(np.int64)).to(device)
        z, _ = next(posterior_draws(model, x, 1, generator=generator))
        own[rows[:-1]] = model.decoder.bits(x[:-1], z[:-1]).double().cpu().numpy()
        shuffled[rows[:-1]] = model.decoder.bits(x[:-1], z[1:]).double().cpu().numpy()
        if progress is not None:
            progress(min(start + batch_size, count), count)
    return LatentUse(int(np.prod(images.shape[1:])), own, shuffled)


def use_table(use: LatentUse) -> str:
    """Markdown: mean and 95 % interval over images of -log2 p(x | z), in bits per image and per dimension."""
    rows = []
    for name, bits in {"own latents": use.own, "another image's": use.shuffled, "difference": use.gap}.items():
        cells = [(bits, 1), (bits / use.dims, 3)]
        rows.append([name, *(number(float(x.mean()), *mean_interval(x), digits) for x, digits in cells)])
    return markdown(["-log2 p(x given z)", "bits/image", "bits/dim"], rows)
