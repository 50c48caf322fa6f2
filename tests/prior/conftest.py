"""Tiny priors with random weights in float64, and codes with a structure that can be learnt."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from audiovq.prior import CodeItem, NetworkPrior, PriorConfig

SMALL: dict[str, dict[str, Any]] = {
    "wavenet": {"channels": 12, "gate_channels": 12, "skip_channels": 16, "cycles": 1, "layers_per_cycle": 3},
    "transformer": {"channels": 12, "heads": 2, "depth": 2, "window": 4},
    "pixelcnn": {"channels": 12, "depth": 2, "kernel_size": 3},
}
# Every kind with every layout it takes, and the shape of an item.
CASES = [
    ("wavenet", (14,)),
    ("transformer", (14,)),
    ("wavenet", (3, 5)),
    ("transformer", (5, 3)),
    ("pixelcnn", (3, 5)),
    ("pixelcnn", (5, 3)),
    ("pixelcnn", (1, 6)),
    ("pixelcnn", (6, 1)),
]


def config(kind: str, space: tuple[int, ...], sizes: list[int], labels: list[str] | None = None) -> PriorConfig:
    layout = "sequence" if len(space) == 1 else "grid"
    codes = {"codebook_sizes": sizes, "layout": layout, "labels": labels or []}
    if layout == "sequence":
        codes["frame_rate"] = 50.0
    return PriorConfig.model_validate({"codes": codes, "prior": {"kind": kind, **SMALL.get(kind, {})}})


def network(kind: str, space: tuple[int, ...], sizes: list[int], labels: list[str] | None = None) -> NetworkPrior:
    torch.manual_seed(0)
    return NetworkPrior(config(kind, space, sizes, labels)).double().eval()


def random_codes(space: tuple[int, ...], sizes: list[int], seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([rng.integers(0, size, space) for size in sizes])


def markov_items(count: int, length: int, size: int = 8, seed: int = 0) -> list[CodeItem]:
    """Codes that go up by one, modulo K, three times out of four, and anywhere else."""
    rng = np.random.default_rng(seed)
    items = []
    for i in range(count):
        steps = np.where(rng.random(length) < 0.75, 1, rng.integers(0, size, length))
        items.append(CodeItem(f"item{i}", (np.cumsum(steps) % size)[None].astype(np.int64)))
    return items


def markov_bits(size: int = 8) -> float:
    """True bits per code of `markov_items`, but for the first of each."""
    p = np.full(size, 0.25 / size)
    p[1] += 0.75
    return float(-(p * np.log2(p)).sum())
