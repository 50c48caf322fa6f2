"""The Lightning module of image models: the bound of each batch, logged in bits per dimension."""

import torch
from torch import Tensor, nn

from audiovq.image import Bound, ImageVQVAE, build_image_model
from audiovq.quantize import CodeUsage
from audiovq.quantize.search.kmeans import NoVectorsError
from audiovq.train.code_use import log_code_use
from audiovq.train.data import Batch
from audiovq.train.image.config import ImageExperimentConfig
from audiovq.train.optimization import OptimizedModule


class ImageModule(OptimizedModule):
    """Trains an image VQ-VAE or one of its baselines."""

    def __init__(self, config: ImageExperimentConfig) -> None:
        super().__init__(config.train)
        self.config = config
        self.model = build_image_model(config.model)
        sizes = self.model.codebook_sizes if isinstance(self.model, ImageVQVAE) else []
        self.usage = {stage: CodeUsage(sizes) for stage in ("train", "valid")}

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One batch -> loss."""
        step = self.global_step
        # restarts and the draws of a baseline's posterior: seeded here, a resumed run repeats them
        self.seed_step()
        try:
            bound = self._bound(batch["images"], self.config.objective.kl_weight_at(step))
        except NoVectorsError:
            return self.nothing_learned()
        self._log("train", bound, batch)
        return bound.loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """The same on held-out images with the whole KL term; averaged over items."""
        torch.manual_seed(batch_idx)
        self._log("valid", self._bound(batch["images"]), batch)

    def _bound(self, images: Tensor, kl_weight: float = 1.0) -> Bound:
        if isinstance(self.model, ImageVQVAE) and self.global_step < self.config.objective.quantize_from_step:
            return self.model.unquantized(images)
        return self.model(images, kl_weight=kl_weight)

    def _log(self, stage: str, bound: Bound, batch: Batch) -> None:
        images = batch["images"]
        dims = images[0].numel()
        values = {"loss": bound.loss, "reconstruction_bits_per_dim": bound.reconstruction.mean() / dims}
        if bound.vq is not None or not isinstance(self.model, ImageVQVAE):  # else the quantizer rests
            values["bits_per_dim"] = bound.bits.mean() / dims
            values["prior_bits_per_dim"] = bound.prior.mean() / dims
        if bound.vq is not None:
            self.usage[stage].update(bound.vq.codes.cpu())
            values |= bound.vq.losses
            if stage == "train":
                values["restarted"] = bound.vq.stats["restarted"].sum()
        for name, value in values.items():
            shown = stage == "train" and name == "bits_per_dim"
            self.log(
                f"{stage}/{name}", value.detach(), prog_bar=shown, batch_size=len(images), sync_dist=stage == "valid"
            )

    def on_validation_epoch_end(self) -> None:
        """Perplexity and usage of each codebook."""
        if isinstance(self.model, ImageVQVAE):
            log_code_use(self, self.model, self.usage, self.config.train)

    def undecayed(self) -> list[nn.Parameter]:
        """The codebooks."""
        return list(self.model.quantizer.parameters()) if isinstance(self.model, ImageVQVAE) else []
