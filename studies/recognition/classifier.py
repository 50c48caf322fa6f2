"""A small convolutional classifier of images or log-mel spectra, trained on the spot, and its features.

Its features serve for distances between sets (`frechet`). They know only what this classifier was trained on. State the
classifier and its accuracy with every such distance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from audiovq.errors import BadDataError

Pixels = NDArray[np.float32]  # [C, H, W]; of a spectrum the bands are channels, H is 1
WIDTH, FEATURES, LAYERS = 64, 32, 4
STEPS, BATCH_SIZE, LEARNING_RATE = 400, 32, 3e-3
LONGEST = 128  # columns of a training example; of what is longer a segment is drawn
HELD_OUT = 10  # one example in so many


class ConvClassifier(nn.Module):
    """3x3 convolutions, the first at full size and the others with stride 2, their mean over all places, and a layer.

    Args:
        channels: C of the images; classes: how many.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        widths = [channels, *[WIDTH] * (LAYERS - 1), FEATURES]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(a, b, 3, stride=1 if i == 0 else 2, padding=1) for i, (a, b) in enumerate(pairwise(widths))
        )
        self.norms = nn.ModuleList(nn.GroupNorm(1, width) for width in widths[1:])
        self.logits = nn.Linear(FEATURES, classes)

    def features(self, x: Tensor) -> Tensor:
        """x: `[B, C, H, W]` -> `[B, 32]`, what the last layer reads."""
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = F.gelu(norm(convolution(x)))
        return x.mean(dim=(2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """x: `[B, C, H, W]` -> logits `[B, classes]`."""
        return self.logits(self.features(x))


@dataclass(frozen=True)
class Trained:
    """A classifier, and its share of right answers on examples that it was not shown."""

    model: ConvClassifier
    classes: list[str]
    accuracy: float
    held_out: int

    @torch.inference_mode()
    def features(self, images: Sequence[Pixels]) -> NDArray[np.float64]:
        """`[N, 32]`, of images of any sizes."""
        found = [self.model.features(torch.from_numpy(x).unsqueeze(0))[0] for x in images]
        return torch.stack(found).double().numpy()


def train_classifier(images: Sequence[Pixels], labels: Sequence[str], *, seed: int = 0, steps: int = STEPS) -> Trained:
    """Fit one to nine examples in ten by cross-entropy (AdamW, one cycle), and count its answers on the tenth.

    Args:
        images: float32 `[C, H, W]` of about [-1, 1]; widths may differ, the shorter are repeated to fill a batch.
        labels: of each. seed: of weights and batches.

    Raises BadDataError for fewer than two classes, or less than ten examples.
    """
    classes = sorted(set(labels))
    if len(classes) < 2 or len(images) < HELD_OUT:
        raise BadDataError(f"{len(images)} examples of {len(classes)} class(es) make no classifier; give more")
    # chosen at random, not every tenth: lists are often sorted by class
    order = np.random.default_rng(seed).permutation(len(images))
    held_out, shown = order[: len(order) // HELD_OUT], order[len(order) // HELD_OUT :]
    target = torch.tensor([classes.index(label) for label in labels])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = ConvClassifier(len(images[0]), len(classes))
    _train(model, images, target, shown, np.random.default_rng(seed), steps)
    with torch.inference_mode():
        answers = [int(model(torch.from_numpy(images[i]).unsqueeze(0)).argmax()) for i in held_out]
    right = float(np.mean(np.array(answers) == target[held_out].numpy()))
    return Trained(model, classes, right, len(held_out))


def _train(
    model: ConvClassifier,
    images: Sequence[Pixels],
    target: Tensor,
    shown: NDArray[np.int64],
    generator: np.random.Generator,
    steps: int,
) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    for _ in range(steps):
        drawn = generator.choice(shown, BATCH_SIZE)
        loss = F.cross_entropy(model(_batch([images[i] for i in drawn], generator)), target[drawn])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    model.eval().requires_grad_(False)


def _batch(images: Sequence[Pixels], generator: np.random.Generator) -> Tensor:
    """`[B, C, H, W]`: a segment of each that is too wide, and repetitions of each that is narrower than the widest."""
    width = min(LONGEST, max(x.shape[2] for x in images))
    rows = []
    for x in images:
        start = int(generator.integers(0, max(0, x.shape[2] - width) + 1))
        rows.append(np.take(x, range(start, start + width), axis=2, mode="wrap"))
    return torch.from_numpy(np.stack(rows))
