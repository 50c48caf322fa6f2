"""Optimization of a run: AdamW, the learning rate over the steps, gradient clipping, and the logged gradient norm."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import lightning.pytorch as pl
import torch
from torch import nn

from audiovq.train.config import OptimizationConfig


def warmup_cosine(options: OptimizationConfig) -> Callable[[int], float]:
    """The factor of the peak rate at a step: linear up to it, then a cosine down to `final_rate` at max_steps."""

    def factor(step: int) -> float:
        if step < options.warmup_steps:
            return (step + 1) / options.warmup_steps
        done = (step - options.warmup_steps) / max(1, options.max_steps - options.warmup_steps)
        return options.final_rate + (1 - options.final_rate) * (1 + math.cos(math.pi * min(done, 1))) / 2

    return factor


class OptimizedModule(pl.LightningModule):
    """A Lightning module with all of that, and whose steps can be seeded.

    Args:
        options: of the run.
    """

    def __init__(self, options: OptimizationConfig) -> None:
        super().__init__()
        self.options = options

    def seed_step(self) -> None:
        """Make what this step draws a function of (seed, step, rank)."""
        torch.manual_seed((self.options.seed * 1_000_003 + self.global_step) * 4099 + self.global_rank)

    def clipped(self) -> dict[str, list[nn.Parameter]]:
        """What is clipped together, by the prefix of its norm's name."""
        return {"": list(self.parameters())}

    def undecayed(self) -> list[nn.Parameter]:
        """Parameters that weight decay spares, beside biases and the like."""
        return []

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Lightning would refuse to clip for a fused optimizer under autocast."""
        for prefix, part in self.clipped().items():
            trained = [p for p in part if p.requires_grad]
            if trained:
                norm = nn.utils.clip_grad_norm_(trained, self.options.gradient_clip)
                if self.global_step % self.options.log_every == 0:
                    self.log(f"train/{prefix}gradient_norm", norm)

    def configure_optimizers(self) -> Any:
        """See `adamw`."""
        return adamw(self.parameters(), self.options, undecayed=self.undecayed())


def adamw(
    parameters: Iterable[nn.Parameter], options: OptimizationConfig, *, undecayed: Iterable[nn.Parameter] = ()
) -> Any:
    """What a Lightning module returns from `configure_optimizers`.

    Args:
        parameters: those that don't require a gradient are left out.
        options: rates, decay, schedule.
        undecayed: without weight decay, as all of one dimension; codebooks, which it would pull from their vectors.
    """
    spared = {id(p) for p in undecayed}
    trained = [p for p in parameters if p.requires_grad]
    decayed = [p for p in trained if p.ndim > 1 and id(p) not in spared]
    others = [p for p in trained if p.ndim <= 1 or id(p) in spared]
    groups = [{"params": decayed, "weight_decay": options.weight_decay}, {"params": others, "weight_decay": 0.0}]
    fused = options.precision != "16-mixed"  # a fused optimizer unscales gradients itself, after they were clipped
    optimizer = torch.optim.AdamW(groups, lr=options.learning_rate, betas=options.betas, fused=fused)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, warmup_cosine(options))
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
