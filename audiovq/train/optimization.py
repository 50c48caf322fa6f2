"""Optimization of a run: AdamW, the learning rate over the steps, gradient clipping, and the logged gradient norm.

A step whose loss or gradient is not finite moves nothing: neither weights nor codebooks nor optimizer.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from audiovq.errors import ConfigError, TrainingError
from audiovq.train.config import OptimizationConfig

SKIPPED_AT_MOST = 5  # steps in a row; one odd batch passes, weights that have gone astray do not come back
SCALING_AT_MOST = 40  # with 16-mixed, where gradients overflow until the loss's scale is found (from 2^16, by halves)


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
        self.skipped = 0  # steps, in all
        self.skipped_in_a_row = 0
        self._buffers_before: dict[str, Tensor] = {}
        self._loss = torch.zeros(())

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
        norms = []
        for prefix, part in self.clipped().items():
            trained = [p for p in part if p.requires_grad]
            if trained:
                norms.append(nn.utils.clip_grad_norm_(trained, self.options.gradient_clip))
                if self.global_step % self.options.log_every == 0:
                    self.log(f"train/{prefix}gradient_norm", norms[-1])
        finite = bool(torch.stack([value.float() for value in (self._loss, *norms)]).isfinite().all())
        # gradients are those of all processes, the loss is one's own
        if self.trainer.strategy.reduce_boolean_decision(finite):
            self.skipped_in_a_row = 0
        else:
            self._skip(optimizer)
        if self.global_step % self.options.log_every == 0:
            self.log("train/skipped_steps", float(self.skipped))

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Keep what a step changes on its way, as codebooks that are averages."""
        self._buffers_before = {name: buffer.clone() for name, buffer in self._buffers_of_state()}

    def on_before_backward(self, loss: Tensor) -> None:
        """Keep the loss, to be looked at with the gradients."""
        self._loss = loss.detach()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The count of skipped steps."""
        checkpoint["skipped_steps"] = self.skipped

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The same; ConfigError if the checkpoint is of another model."""
        self.skipped = checkpoint.get("skipped_steps", 0)
        own, stored = self.state_dict(), checkpoint["state_dict"]
        wrong = sorted(own.keys() ^ stored.keys()) or [k for k in own if own[k].shape != stored[k].shape]
        if wrong:
            raise ConfigError(f"the checkpoint is of another model ({wrong[0]} differs); resume with its configuration")

    def nothing_learned(self) -> Tensor:
        """The loss of a batch that nothing can be learned from: not finite, and so the step is skipped."""
        return torch.nan * sum((p.float().sum() for p in self.parameters() if p.requires_grad), torch.zeros(()))

    def _skip(self, optimizer: torch.optim.Optimizer) -> None:
        """Undo what the step has changed, and take its gradients away; TrainingError after a few in a row."""
        optimizer.zero_grad(set_to_none=True)  # AdamW leaves alone what has no gradient
        self.load_state_dict(self._buffers_before, strict=False)
        self.skipped += 1
        self.skipped_in_a_row += 1
        said = f"step {self.global_step}: the loss ({float(self._loss):g}) or its gradient is not finite"
        if self.trainer.is_global_zero:
            print(f"WARNING: {said}; the step is skipped, {self.skipped} so far", flush=True)
        most = SCALING_AT_MOST if self.options.precision == "16-mixed" else SKIPPED_AT_MOST
        if self.skipped_in_a_row >= most:
            raise TrainingError(
                f"{said}, for the {most}th time in a row; lower train.learning_rate, use train.precision 32-true, or"
                " look for broken data (`audiovq data validate`), and go on from an earlier checkpoint with --resume"
            )

    def _buffers_of_state(self) -> Iterator[tuple[str, Tensor]]:
        """Buffers that a checkpoint holds, by their full names; others are constants."""
        for prefix, module in self.named_modules():
            for name, buffer in module.named_buffers(recurse=False):
                if name not in module._non_persistent_buffers_set:
                    yield f"{prefix}.{name}" if prefix else name, buffer

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
