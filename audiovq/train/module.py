"""The Lightning module: one step, its schedule, what is logged. A step's draws are a function of (seed, step, rank)."""

from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from audiovq.audio import AudioVQVAE
from audiovq.quantize import CodeUsage
from audiovq.train.config import ExperimentConfig
from audiovq.train.objectives import build_objective
from audiovq.train.schedule import warmup_cosine
from audiovq.train.start import frozen_parts, load_released, trained_parts

Batch = dict[str, Any]


class AudioVQVAEModule(pl.LightningModule):
    """Trains an AudioVQVAE with the objective of the configuration."""

    def __init__(self, config: ExperimentConfig) -> None:
        super().__init__()
        self.config = config
        self.model = AudioVQVAE.from_config(config.model)
        trained = trained_parts(self.model, config.init)
        load_released(self.model, config, trained)
        self.frozen = frozen_parts(self.model, trained)
        self.objective = build_objective(config.objective, self.model, trained)
        self.usage = CodeUsage(self.model.codebook_sizes)  # over the steps since the last validation
        self.valid_usage = CodeUsage(self.model.codebook_sizes)

    def train(self, mode: bool = True) -> "AudioVQVAEModule":
        """Training mode, in which what is frozen stays in eval mode: its codebooks rest too."""
        super().train(mode)
        for part in self.frozen:
            part.eval()
        return self

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One batch of `audiovq.data.segments` -> loss."""
        step = self.global_step
        # restarts, level dropout and bypass draw from the default generator: seeded here, a resumed run repeats them
        torch.manual_seed((self.config.train.seed * 1_000_003 + step) * 4099 + self.global_rank)
        terms, vq = self.objective(self.model, batch, step)
        if vq is not None:
            self.usage.update(vq.codes.cpu())
            restarted = vq.stats["restarted"].sum()
            self.log("train/restarted", restarted)
        for name, value in terms.items():
            self.log(f"train/{name}", value.detach(), prog_bar=name in ("loss", "mel", "reconstruction_bits"))
        return terms["loss"]

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the gradients of model and discriminators apart; log the norms before."""
        for name, part in (("", self.model), ("discriminator_", self.objective)):
            trained = [p for p in part.parameters() if p.requires_grad]
            if trained:
                norm = nn.utils.clip_grad_norm_(trained, self.config.train.gradient_clip)
                if self.global_step % self.config.train.log_every == 0:
                    self.log(f"train/{name}gradient_norm", norm)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the same terms on held-out segments; averaged over items."""
        terms, vq = self.objective(self.model, batch, self.global_step)
        if vq is not None:
            self.valid_usage.update(vq.codes.cpu())
        for name, value in terms.items():
            self.log(f"valid/{name}", value, batch_size=len(batch["waveform"]), sync_dist=True)

    def on_validation_epoch_end(self) -> None:
        """Perplexity and usage of each level, in training since the last validation and on the held-out segments."""
        for stage, usage in (("train", self.usage), ("valid", self.valid_usage)):
            counted = any(count.sum() for count in usage.counts)
            if not counted:
                continue
            figures = usage.compute(reduce=True)
            for level in range(self.model.num_quantizers):
                self.log(f"{stage}/perplexity_{level}", figures["perplexity"][level])
                self.log(f"{stage}/usage_{level}", figures["usage"][level])
            # a level that has not been started yet uses no codes
            if stage == "train" and self.model.quantizer.ready and not self.trainer.sanity_checking:
                self._warn_of_collapse(figures["usage"])
        self.valid_usage.reset()
        if not self.trainer.sanity_checking:
            self.usage.reset()

    def _warn_of_collapse(self, usage: Tensor) -> None:
        for level, share in enumerate(usage.tolist()):
            if share < self.config.train.collapse_usage:
                self.print(
                    f"WARNING: step {self.global_step}: level {level} used {share:.1%} of its codes since the last "
                    "validation. Codes are collapsing: raise model.quantizer.restart_threshold, lower "
                    "model.quantizer.codebook_dim or train.learning_rate, or start with model.quantizer.kmeans_init "
                    "(and objective.quantize_from_step, if spectral)."
                )

    def configure_optimizers(self) -> Any:
        """AdamW; linear warm-up, then a cosine down to `final_rate` of the peak."""
        options = self.config.train
        quantizer = {id(p) for p in self.model.quantizer.parameters()}  # decay would pull codes away from their vectors
        trained = [p for p in self.parameters() if p.requires_grad]
        decayed = [p for p in trained if p.ndim > 1 and id(p) not in quantizer]
        others = [p for p in trained if p.ndim <= 1 or id(p) in quantizer]
        groups = [{"params": decayed, "weight_decay": options.weight_decay}, {"params": others, "weight_decay": 0.0}]
        fused = options.precision != "16-mixed"  # a fused optimizer unscales gradients itself, after they were clipped
        optimizer = torch.optim.AdamW(groups, lr=options.learning_rate, betas=options.betas, fused=fused)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, warmup_cosine(options))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
