"""Measures how much of its codebooks a run uses between two validations, and warns if codes collapse."""

from collections.abc import Mapping
from typing import Protocol

import lightning.pytorch as pl

from audiovq.quantize import CodeUsage, Quantizer
from audiovq.train.config import OptimizationConfig


class HasQuantizer(Protocol):
    """A model of sound or of images."""

    @property
    def quantizer(self) -> Quantizer:
        """Of its latents."""
        ...


def log_code_use(
    module: pl.LightningModule, model: HasQuantizer, stages: Mapping[str, CodeUsage], options: OptimizationConfig
) -> None:
    """Log perplexity and usage of each level; to be called at the end of a validation by all processes.

    Args:
        module: logs them.
        model: whose codes were counted.
        stages: counters "train", over the steps since the last validation, and "valid"; both start anew.
        options: `collapse_usage`, below which a warning is printed.
    """
    for stage, usage in stages.items():
        if not any(count.sum() for count in usage.counts):
            continue
        figures = usage.compute(reduce=True)
        for level, (perplexity, share) in enumerate(zip(figures["perplexity"], figures["usage"], strict=True)):
            module.log(f"{stage}/perplexity_{level}", perplexity)
            module.log(f"{stage}/usage_{level}", share)
        # a level that has not been started yet uses no codes
        if stage == "train" and model.quantizer.ready and not module.trainer.sanity_checking:
            for level, share in enumerate(figures["usage"].tolist()):
                if share < options.collapse_usage:
                    module.print(_warning(module.global_step, level, share))
    for stage, usage in stages.items():
        if stage != "train" or not module.trainer.sanity_checking:
            usage.reset()


def _warning(step: int, level: int, share: float) -> str:
    return (
        f"WARNING: step {step}: level {level} used {share:.1%} of its codes since the last validation. Codes are "
        "collapsing: raise the quantizer's restart_threshold, lower its codebook_dim or train.learning_rate, or start "
        "with its kmeans_init (and objective.quantize_from_step, if spectral)."
    )
