"""The Lightning module of a prior: its only loss is -log p of an encoder's codes."""

from __future__ import annotations

from torch import Tensor

from audiovq.layers.logistic import LOG2_E
from audiovq.prior import NetworkPrior, PriorConfig
from audiovq.train.data import Batch
from audiovq.train.optimization import OptimizedModule
from audiovq.train.prior.config import PriorRunConfig


class PriorModule(OptimizedModule):
    """Trains a NetworkPrior by maximum likelihood."""

    def __init__(self, config: PriorRunConfig) -> None:
        super().__init__(config.train)
        self.config = config
        self.model = NetworkPrior(PriorConfig(codes=config.codes, prior=config.prior))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One batch of `audiovq.train.prior.data` -> nats per code."""
        loss, _, _ = self._nats(batch)
        self.log("train/loss", loss.detach(), prog_bar=True)
        self.log("train/bits_per_code", loss.detach() * LOG2_E)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log nats and bits per code on held-out codes, and bits of each level; averaged over codes."""
        loss, levels, count = self._nats(batch)
        self.log("valid/loss", loss, batch_size=count, sync_dist=True)
        self.log("valid/bits_per_code", loss * LOG2_E, batch_size=count, sync_dist=True)
        for level, nats in enumerate(levels):
            self.log(f"valid/bits_per_code_{level}", nats * LOG2_E, batch_size=count, sync_dist=True)

    def _nats(self, batch: Batch) -> tuple[Tensor, Tensor, int]:
        """Mean over all codes, over those of each level `[Q]`, and the number of codes."""
        codes = batch["codes"]
        nats = self.model.nats(codes, batch["label"])
        count = int((codes >= 0).sum())
        levels = nats.flatten(2).sum((0, 2)) / (count / codes.shape[1])
        return nats.sum() / count, levels, count
