"""The typed configuration of an image model's training: the same style as a codec's, `model.kind` is `image`."""

from pathlib import Path

from pydantic import model_validator

from audiovq.config import Config
from audiovq.image.config import GaussianConfig, ImageModelConfig
from audiovq.train.config import OptimizationConfig


class ImageDataConfig(Config):
    """What is trained on.

    Attributes:
        root: folder that `train` and `valid` count from.
        train, valid: folders or packs of images (`audiovq.data.image`), or `.npy` files of codes for a second stage.
        batch_size: images per step over all processes together.
        valid_images: how many of `valid` are looked at, spread evenly; None for all.
        flip: mirror every other training image.
    """

    root: Path = Path(".")
    train: Path
    valid: Path
    batch_size: int = 128
    valid_images: int | None = 1000
    flip: bool = False


class ImageObjectiveConfig(Config):
    """The bound on the likelihood (`audiovq.image.model.Bound`).

    Attributes:
        kl_weight: of the KL term of a VAE, which 1 makes a bound.
        kl_warmup_steps: it rises linearly from 0 over these.
        quantize_from_step: before it the decoder of a VQ-VAE is fed z_e, and the quantizer rests. Several codes at a
            place that start by k-means on latents of an untrained encoder all say the same.
    """

    kl_weight: float = 1.0
    kl_warmup_steps: int = 0
    quantize_from_step: int = 0

    def kl_weight_at(self, step: int) -> float:
        """The weight at a step."""
        return self.kl_weight * min(1.0, (step + 1) / self.kl_warmup_steps if self.kl_warmup_steps else 1.0)


class ImageExperimentConfig(Config):
    """A whole training run."""

    model: ImageModelConfig
    data: ImageDataConfig
    objective: ImageObjectiveConfig = ImageObjectiveConfig()
    train: OptimizationConfig

    @model_validator(mode="after")
    def _has_a_kl_term(self) -> "ImageExperimentConfig":
        kind, gaussian = self.model.latent.kind, isinstance(self.model.latent, GaussianConfig)
        if not gaussian and (self.objective.kl_weight != 1 or self.objective.kl_warmup_steps):
            raise ValueError(f"objective: model.latent.kind {kind} has no KL term to weigh")
        if self.objective.quantize_from_step and kind in ("gaussian", "categorical", "none"):
            raise ValueError(f"objective.quantize_from_step: model.latent.kind {kind} quantizes nothing")
        return self
