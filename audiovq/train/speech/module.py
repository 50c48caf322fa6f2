"""The Lightning module of a codec: one step, its schedule, its logs. Its draws depend on seed, step and rank alone."""

from typing import Any

import torch
from torch import Tensor, nn

from audiovq.audio import AudioVQVAE
from audiovq.quantize import CodeUsage
from audiovq.quantize.search.kmeans import NoVectorsError
from audiovq.train.code_use import log_code_use
from audiovq.train.optimization import OptimizedModule
from audiovq.train.speech.config import SpeechExperimentConfig
from audiovq.train.speech.initialization import frozen_parts, load_released, trained_parts
from audiovq.train.speech.objectives import build_objective

Batch = dict[str, Any]


class AudioVQVAEModule(OptimizedModule):
    """Trains an AudioVQVAE with the objective of the configuration."""

    def __init__(self, config: SpeechExperimentConfig) -> None:
        super().__init__(config.train)
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
        """One batch of `audiovq.data.corpus.segments` -> loss."""
        step = self.global_step
        # restarts, level dropout and bypass draw from the default generator: seeded here, a resumed run repeats them
        self.seed_step()
        finite = batch["waveform"].isfinite()
        if not (whole := bool(finite.all())):  # goes on, as other processes may be waiting, to be skipped in the end
            batch = batch | {"waveform": batch["waveform"].masked_fill(~finite, 0)}
        try:
            terms, vq = self.objective(self.model, batch, step)
        except NoVectorsError:
            return self.nothing_learned()
        if not whole:
            terms["loss"] = terms["loss"] * torch.nan
        if vq is not None:
            self.usage.update(vq.codes.cpu())
            restarted = vq.stats["restarted"].sum()
            self.log("train/restarted", restarted)
        for name, value in terms.items():
            self.log(f"train/{name}", value.detach(), prog_bar=name in ("loss", "mel", "reconstruction_bits"))
        return terms["loss"]

    def clipped(self) -> dict[str, list[nn.Parameter]]:
        """Model and discriminators apart."""
        return {"": list(self.model.parameters()), "discriminator_": list(self.objective.parameters())}

    def undecayed(self) -> list[nn.Parameter]:
        """The codebooks."""
        return list(self.model.quantizer.parameters())

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the same terms on held-out segments; averaged over items."""
        terms, vq = self.objective(self.model, batch, self.global_step)
        if vq is not None:
            self.valid_usage.update(vq.codes.cpu())
        for name, value in terms.items():
            self.log(f"valid/{name}", value, batch_size=len(batch["waveform"]), sync_dist=True)

    def on_validation_epoch_end(self) -> None:
        """Perplexity and usage of each level, in training since the last validation and on the held-out segments."""
        log_code_use(self, self.model, {"train": self.usage, "valid": self.valid_usage}, self.config.train)
