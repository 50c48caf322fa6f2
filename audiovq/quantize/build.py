"""From the configuration of a quantizer to the quantizer."""

from audiovq.quantize.base import Quantizer
from audiovq.quantize.config import AnyQuantizerConfig, LFQConfig, SimVQConfig, StackConfig, VQConfig
from audiovq.quantize.fsq import FSQ
from audiovq.quantize.grouped import GroupedVQ
from audiovq.quantize.lfq import LFQ
from audiovq.quantize.residual import ResidualVQ
from audiovq.quantize.simvq import SimVQ


def build_quantizer(config: AnyQuantizerConfig, dim: int) -> Quantizer:
    """The quantizer of `dim` channels on axis 1.

    A single codebook is a residual quantizer of one level, so that codes are always `[B, Q, ...]`.
    """
    options = config.model_dump(exclude=set(StackConfig.model_fields))
    count, dropout = config.num_quantizers, config.level_dropout
    levels: list[Quantizer]
    if isinstance(config, VQConfig):
        width = dim // options.pop("groups")
        groups = [ResidualVQ.of(width, count, level_dropout=dropout, **options) for _ in range(config.groups)]
        return groups[0] if len(groups) == 1 else GroupedVQ(groups)
    if isinstance(config, SimVQConfig):
        inner = options.pop("codebook_dim") or dim
        levels = [SimVQ(inner, **options) for _ in range(count)]
    elif isinstance(config, LFQConfig):
        levels = [LFQ(config.bits, scale=0.5**i, **options) for i in range(count)]
    else:
        # what a level leaves over lies within half a step of it, so each works on a finer scale than the one before
        finer = 1 / max(1, min(config.levels) - 1)
        levels = [FSQ(len(config.levels), scale=finer**i, **options) for i in range(count)]
    return ResidualVQ(levels, dim=dim, level_dropout=dropout)
