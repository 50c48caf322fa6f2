"""Batches of codes for a prior, a pure function of (seed, step, rank), so that a resumed run sees the same data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from audiovq.errors import BadDataError, ConfigError
from audiovq.prior import CodeItem, CodeSpec
from audiovq.prior.base import Codes
from audiovq.train.data import Batch, StepwiseBatches
from audiovq.train.prior.config import PriorDataConfig


class CodeBatches(StepwiseBatches):
    """Endless batches from `start_step` on: codes int64 `[B, Q, *space]` (-1: none), label int64 `[B]`.

    Args:
        items: all of one spec. Sequences give random segments, an item drawn by its length; grids are taken whole.
        spec: its labels are what `label` counts.
        config, seed: of the run; rank, world_size: rank r of w gets the r-th of w equal parts of each batch.
        start_step: the first batch's number.

    Raises BadDataError for no codes or grids of several sizes, ConfigError for a batch size that can't be shared.
    """

    def __init__(
        self,
        items: Sequence[CodeItem],
        spec: CodeSpec,
        config: PriorDataConfig,
        *,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        start_step: int = 0,
    ) -> None:
        self.items = [item for item in items if item.codes.size]
        if not self.items:
            raise BadDataError("there are no codes to train on; check the paths")
        super().__init__(config.batch_size, rank=rank, world_size=world_size, start_step=start_step)
        if config.segment_frames < 1:
            raise ConfigError(f"data.batch_size: {config.batch_size} can't be shared evenly by {world_size} processes")
        _check_grids(self.items, spec)
        self.spec, self.config, self.seed = spec, config, seed
        sizes = [item.codes.shape[1] if spec.layout == "sequence" else 1 for item in self.items]
        self.ends = np.cumsum(sizes)

    def batch(self, step: int) -> Batch:
        """This rank's part of batch `step`."""
        first = step * self.whole + self.offset
        drawn = [self._draw(first + i) for i in range(self.local)]
        return collate([self.items[i] for i, _ in drawn], [codes for _, codes in drawn], self.spec)

    def _draw(self, index: int) -> tuple[int, Codes]:
        # counter-based: stream `index` is reached at no cost, and no two draws share numbers
        u_item, u_start = np.random.Generator(np.random.Philox(key=self.seed, counter=index << 64)).random(2)
        i = int(np.searchsorted(self.ends, int(u_item * int(self.ends[-1])), side="right"))
        codes = self.items[i].codes
        if self.spec.layout == "grid":
            return i, codes
        start = int(u_start * (max(0, codes.shape[1] - self.config.segment_frames) + 1))
        return i, codes[:, start : start + self.config.segment_frames]


def held_out_batches(items: Sequence[CodeItem], spec: CodeSpec, config: PriorDataConfig) -> list[Batch]:
    """The same held-out segments at every validation, spread evenly over all pieces of all items."""
    pieces: list[tuple[CodeItem, Codes]] = []
    for item in items:
        step = config.segment_frames if spec.layout == "sequence" else max(1, item.codes.shape[1])
        pieces += [(item, item.codes[:, start : start + step]) for start in range(0, item.codes.shape[1], step)]
    count = min(len(pieces), config.valid_segments)
    chosen = [pieces[k * len(pieces) // count] for k in range(count)]
    if not chosen:
        raise BadDataError("there are no held-out codes; give some with --valid")
    _check_grids([item for item, _ in chosen], spec)
    return [
        collate([item for item, _ in part], [codes for _, codes in part], spec)
        for part in (chosen[i : i + config.batch_size] for i in range(0, count, config.batch_size))
    ]


def collate(items: Sequence[CodeItem], codes: Sequence[Codes], spec: CodeSpec) -> Batch:
    """Codes of equal rank, the shorter filled up with -1 at their end, and the places of the items' labels."""
    longest = max(piece.shape[1] for piece in codes)
    batch = torch.full((len(codes), codes[0].shape[0], longest, *codes[0].shape[2:]), -1, dtype=torch.int64)
    for row, piece in zip(batch, codes, strict=True):
        row[:, : piece.shape[1]] = torch.from_numpy(piece)
    return {"codes": batch, "label": torch.tensor([_place(item, spec) for item in items])}


def _place(item: CodeItem, spec: CodeSpec) -> int:
    """Of the item's label among those of the spec; 0 where there are none."""
    if not spec.labels:
        return 0
    if item.label not in spec.labels:
        raise ConfigError(f"{item.name}: its label {item.label!r} is not among those that the prior is to learn")
    return spec.labels.index(item.label)


def _check_grids(items: Sequence[CodeItem], spec: CodeSpec) -> None:
    sizes = sorted({item.codes.shape[1:] for item in items})
    if spec.layout == "grid" and len(sizes) > 1:
        raise BadDataError(f"grids of several sizes, {sizes[0]} and {sizes[-1]}; train on images of one size")
