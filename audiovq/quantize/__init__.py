"""The quantizer core: vectors to integer codes and back, for audio, images and anything else.

`VectorQuantizer` (arXiv 1711.00937), `ResidualVQ` over any quantizer and `FSQ`; the two functions under them; and the
counter of code use.
"""

from audiovq.quantize.base import Quantizer
from audiovq.quantize.fsq import FSQ
from audiovq.quantize.output import CodeUsage, VQOutput
from audiovq.quantize.residual import ResidualVQ
from audiovq.quantize.search import code_stats, nearest
from audiovq.quantize.straight_through import straight_through
from audiovq.quantize.vq import VectorQuantizer

__all__ = [
    "FSQ",
    "CodeUsage",
    "Quantizer",
    "ResidualVQ",
    "VQOutput",
    "VectorQuantizer",
    "code_stats",
    "nearest",
    "straight_through",
]
