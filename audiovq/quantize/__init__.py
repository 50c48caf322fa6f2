"""The quantizer core: vectors to integer codes and back, for audio, images and anything else.

`VectorQuantizer` (arXiv 1711.00937), `FSQ`, `LFQ` and `SimVQ`; `ResidualVQ`, `GroupedVQ` and `SplitVQ` over any of
them; importers of other codecs' codebooks; the two functions under all; and the counter of code use. `plain.py` is the
paper's quantizer, equation by equation; `Quantizer` in `base.py` is the contract of all kinds.
"""

from audiovq.quantize.base import Quantizer, num_weights, training_state
from audiovq.quantize.fsq import FSQ
from audiovq.quantize.gradients import straight_through
from audiovq.quantize.grouped import GroupedVQ, SplitVQ
from audiovq.quantize.importers import dac_quantizer, encodec_quantizer, mimi_quantizer
from audiovq.quantize.lfq import LFQ
from audiovq.quantize.output import CodeUsage, VQOutput
from audiovq.quantize.residual import ResidualVQ
from audiovq.quantize.search.nearest import code_stats, nearest
from audiovq.quantize.simvq import SimVQ
from audiovq.quantize.vq import VectorQuantizer

__all__ = [
    "FSQ",
    "LFQ",
    "CodeUsage",
    "GroupedVQ",
    "Quantizer",
    "ResidualVQ",
    "SimVQ",
    "SplitVQ",
    "VQOutput",
    "VectorQuantizer",
    "code_stats",
    "dac_quantizer",
    "encodec_quantizer",
    "mimi_quantizer",
    "nearest",
    "num_weights",
    "straight_through",
    "training_state",
]
