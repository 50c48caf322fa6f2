"""From the configuration of a quantizer to the quantizer."""

from audiovq.quantize.base import Quantizer
from audiovq.quantize.config import FSQConfig, LFQConfig, SimVQConfig, VQConfig
from audiovq.quantize.fsq import FSQ
from audiovq.quantize.grouped import GroupedVQ
from audiovq.quantize.lfq import LFQ
from audiovq.quantize.residual import ResidualVQ
from audiovq.quantize.simvq import SimVQ


def build_quantizer(part: VQConfig | FSQConfig | SimVQConfig | LFQConfig, dim: int) -> ResidualVQ | GroupedVQ:
    """The quantizer of `dim` channels on axis 1.

    A single codebook is a residual quantizer of one level, so that codes are always `[B, Q, ...]`.
    """
    options = part.model_dump(exclude={"kind"})
    if isinstance(part, VQConfig):
        count = options.pop("groups")
        groups = [ResidualVQ.of(dim // count, **options) for _ in range(count)]
        return groups[0] if len(groups) == 1 else GroupedVQ(groups)
    count, dropout = options.pop("num_quantizers"), options.pop("level_dropout")
    levels: list[Quantizer]
    if isinstance(part, SimVQConfig):
        inner, size = options.pop("codebook_dim") or dim, options.pop("codebook_size")
        levels = [SimVQ(inner, size, **options) for _ in range(count)]
    elif isinstance(part, LFQConfig):
        bits = options.pop("bits")
        levels = [LFQ(bits, bits, scale=0.5**i, **options) for i in range(count)]
    else:
        # what a level leaves over lies within half a step of it, so each works on a finer scale than the one before
        finer = 1 / max(1, min(part.levels) - 1)
        levels = [FSQ(len(part.levels), part.levels, scale=finer**i) for i in range(count)]
    return ResidualVQ(levels, dim=dim, level_dropout=dropout)
