"""Feeds a run with batches that are a function of (seed, step, rank), from the trainer's current step."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import lightning.pytorch as pl
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from audiovq.errors import ConfigError
from audiovq.train.callbacks import leave_signals_to_the_run

Batch = dict[str, Tensor]


class StepwiseBatches(IterableDataset[Batch], ABC):
    """Endless batches from `start_step` on; rank r of w gets the r-th of w equal parts of each.

    Raises ConfigError for a batch size that can't be shared.
    """

    def __init__(self, batch_size: int, *, rank: int, world_size: int, start_step: int) -> None:
        if batch_size < 1 or batch_size % world_size:
            raise ConfigError(f"data.batch_size: {batch_size} can't be shared evenly by {world_size} processes")
        self.whole, self.local, self.start_step = batch_size, batch_size // world_size, start_step
        self.offset = rank * self.local

    def __iter__(self) -> Iterator[Batch]:
        step = self.start_step
        while True:
            yield self.batch(step)
            step += 1

    @abstractmethod
    def batch(self, step: int) -> Batch:
        """This rank's part of batch `step`."""


class StepwiseData(pl.LightningDataModule):
    """Ready-made batches; a resumed run sees those of an uninterrupted one.

    Args:
        batches: endless ones, made when called with `start_step`, `rank` and `world_size`.
        valid: the batches of every validation.
        num_workers: processes that read ahead.
    """

    def __init__(
        self, batches: Callable[..., IterableDataset[Any]], valid: Sequence[dict[str, Any]], num_workers: int = 0
    ) -> None:
        super().__init__()
        self.batches, self.valid, self.num_workers = batches, valid, num_workers

    def train_dataloader(self) -> DataLoader[Any]:
        """Batches from `trainer.global_step` on."""
        trainer = self.trainer
        assert trainer is not None
        step, rank, world_size = trainer.global_step, trainer.global_rank, trainer.world_size
        batches = self.batches(start_step=step, rank=rank, world_size=world_size)
        return DataLoader(
            batches, batch_size=None, num_workers=self.num_workers, worker_init_fn=leave_signals_to_the_run
        )

    def val_dataloader(self) -> DataLoader[Any]:
        """The same at every validation."""
        return DataLoader(self.valid, batch_size=None)  # type: ignore[arg-type]
