"""Bits per dimension of an image model, term by term: the cost of its latents, and of the image given them.

The figure of a VQ-VAE means nothing without its prior: 8 x 8 x 10 codes of 512 cost 1.88 bits/dim under the uniform
one. So the terms are reported apart, and a fitted prior can replace the uniform one; the other term stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from audiovq.errors import BadModelError
from audiovq.image import ImageModel, ImageVQVAE
from audiovq.image.importance import importance_weighted_bits
from audiovq.metrics.interval import mean_interval
from audiovq.metrics.table import markdown, number
from audiovq.prior import CodeItem, Prior, score_items

Bits = NDArray[np.float64]
DIGITS = 3


@dataclass(frozen=True)
class ImageBits:
    """Bits of each image `[N]`, by term.

    Attributes:
        dims: values of an image, C H W.
        reconstruction: -log2 p(x | z).
        prior: of the latents, as the model was trained: the uniform prior, or KL to N(0, I).
        learned_prior: -log2 p(codes) under a fitted prior; None without one.
        importance: the importance-weighted bound; None if it was not asked for.
        samples: of that bound.
    """

    dims: int
    reconstruction: Bits
    prior: Bits
    learned_prior: Bits | None = None
    importance: Bits | None = None
    samples: int = 0

    def terms(self) -> dict[str, Bits]:
        """What is reported, in bits per dimension, by its name."""
        found = {"reconstruction": self.reconstruction, "prior": self.prior, "bound": self.reconstruction + self.prior}
        if self.learned_prior is not None:
            found |= {
                "learned prior": self.learned_prior,
                "bound with the learned prior": self.reconstruction + self.learned_prior,
            }
        if self.importance is not None:
            found[f"importance-weighted bound, {self.samples} samples"] = self.importance
        return {name: bits / self.dims for name, bits in found.items()}


@torch.no_grad()
def image_bits(
    model: ImageModel,
    images: Any,
    *,
    prior: Prior | None = None,
    labels: Sequence[str] | None = None,
    importance_samples: int = 0,
    temperature: float = 1.0,
    batch_size: int = 32,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> ImageBits:
    """Measure every image; the average over items is the caller's, so a short last batch counts no more than others.

    Args:
        model: in eval mode.
        images: integers `[N, C, H, W]`, a numpy array, mapped or not.
        prior: over the model's codes, of layout "grid"; only for a VQ-VAE.
        labels: of the images, for a prior that is conditioned on them.
        importance_samples: of the importance-weighted bound; 0 to leave it out.
        temperature: see `audiovq.image.importance.nearby_codes`.
        seed: of draws from posteriors.
        progress: hears of images done and their number.

    Raises:
        BadModelError: a prior for a model without codes.
        BadCodesError: codes of another shape than the prior's.
    """
    if prior is not None and not isinstance(model, ImageVQVAE):
        raise BadModelError("a prior over codes is for a VQ-VAE; this model has no codes")
    device = next(model.parameters()).device
    parts: dict[str, list[Bits]] = {"reconstruction": [], "prior": [], "learned": [], "importance": []}
    torch.manual_seed(seed)
    for start in range(0, len(images), batch_size):
        chosen = np.asarray(images[start : start + batch_size])
        x = torch.from_numpy(chosen if chosen.dtype == np.uint8 else chosen.astype(np.int64)).to(device)
        bound = model.bound(x)
        parts["reconstruction"].append(_numpy(bound.reconstruction))
        parts["prior"].append(_numpy(bound.prior))
        if prior is not None and isinstance(model, ImageVQVAE):
            items = [
                CodeItem(str(start + i), codes, None if labels is None else labels[start + i])
                for i, codes in enumerate(model.encode(x).cpu().numpy())
            ]
            parts["learned"].append(np.array([score.bits for score in score_items(prior, items)]))
        if importance_samples:
            bits = importance_weighted_bits(model, x, importance_samples, temperature=temperature)
            parts["importance"].append(_numpy(bits))
        if progress is not None:
            progress(min(start + batch_size, len(images)), len(images))
    joined = {name: np.concatenate(found) if found else None for name, found in parts.items()}
    reconstruction, uniform = joined["reconstruction"], joined["prior"]
    assert reconstruction is not None
    assert uniform is not None
    dims = int(np.prod(images.shape[1:]))
    return ImageBits(dims, reconstruction, uniform, joined["learned"], joined["importance"], importance_samples)


def bits_table(found: ImageBits) -> str:
    """Markdown: mean and 95 % interval over images of each term."""
    rows = []
    for name, values in found.terms().items():
        rows.append([name, number(float(values.mean()), *mean_interval(values), DIGITS)])
    return markdown(["bits/dim", "mean"], rows)


def bits_tree(found: ImageBits) -> dict[str, Any]:
    """The same, JSON-able, with the values of every image."""
    return {
        "dims": found.dims,
        "items": len(found.reconstruction),
        "mean": {name: float(values.mean()) for name, values in found.terms().items()},
        "interval_95": {name: list(mean_interval(values)) for name, values in found.terms().items()},
        "values": {name: values.tolist() for name, values in found.terms().items()},
    }


def _numpy(bits: torch.Tensor) -> Bits:
    return bits.double().cpu().numpy()
